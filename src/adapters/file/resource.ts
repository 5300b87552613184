/**
 * Files below one folder as a resource.
 *
 *   resources: { out: { kind: 'file', dir: '/srv/out' } },
 *   await ctx.resources.out.write('orders/7.csv', text)
 *   await ctx.transaction ... xa.out.write('orders/7.csv', text) // seen when the transaction commits
 *
 * F1. What is written is seen whole or not at all: it is renamed to its name when it is on the disk.
 * F2. Nothing outside the folder is reached, whatever the name and whatever links are in it (folder.ts).
 * F3. In a transaction it is prepared (branch.ts): the copies of a cage must have the same folder.
 * F4. Nobody waits longer than GRACE_MS past the deadline for a file system that does not answer; the connection is not used again then.
 * POSIX.1-2017: rename, link, fsync.
 */
import { randomUUID } from 'node:crypto'
import { constants as flags } from 'node:fs'
import { type FileHandle, link, lstat, rename, unlink } from 'node:fs/promises'
import { resolve } from 'node:path'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Branch as BranchOf, Decision, Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import type { FileEntry } from './api.ts'
import { Branch, finish, prepared, tidy } from './branch.ts'
import { errnoOf, fromFileSystem } from './errors.ts'
import { Folder, ifThere } from './folder.ts'
import { matcher, OWN, partsOf } from './names.ts'
import type { FileOptions } from './options.ts'

const GRACE_MS = 500
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export async function open(options: FileOptions, { name }: ResourceHost): Promise<Resource> {
  const folder = new Folder(resolve(options.dir), options.fileMode)
  let tidied: Promise<void> | undefined
  return {
    async connect(scope) {
      const connection = new FileConnection(folder, options, name)
      await connection.check(scope)
      tidied ??= connection.tidy(scope)
      await tidied.catch((error: unknown) => {
        tidied = undefined
        throw error
      })
      return connection
    },
  }
}

/** What a call works with. */
type Check = () => void
type Method = (args: readonly unknown[], check: Check) => Promise<unknown>

class FileConnection implements ResourceConnection {
  readonly participant = 'prepared'
  readonly #folder: Folder
  readonly #options: FileOptions
  readonly #name: string
  #branch: Branch | undefined
  #broken = false
  readonly #methods: Readonly<Record<string, Method>> = {
    read: ([name]) => this.#read(partsOf(name)),
    readText: async ([name]) => textOf(await this.#read(partsOf(name))),
    write: ([name, content, options], check) => this.#write(partsOf(name), this.#bytesOf(content), this.#overwrites(options), check),
    append: ([name, content], check) => this.#append(partsOf(name), this.#bytesOf(content), check),
    remove: ([name]) => this.#remove(partsOf(name)),
    move: ([from, to, options], check) => this.#move(partsOf(from), partsOf(to), this.#overwrites(options), check),
    list: ([folder, pattern], check) => this.#list(folder === undefined ? [] : partsOf(folder), pattern, check),
    stat: ([name]) => this.#stat(partsOf(name)),
  }

  constructor(folder: Folder, options: FileOptions, name: string) {
    this.#folder = folder
    this.#options = options
    this.#name = name
  }

  get broken(): boolean {
    return this.#broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    const known = Object.hasOwn(this.#methods, method) ? this.#methods[method] : undefined
    if (!known)
      throw new CageError(
        'INVALID_ARGUMENT',
        `${this.#name}: there is no method ${method}${didYouMean(method, Object.keys(this.#methods))}`,
      )
    const subject = typeof args[0] === 'string' ? `${this.#name}: ${JSON.stringify(args[0])}` : this.#name
    return await this.#guarded(scope, subject, (check) => known(args, check))
  }

  async begin({ id, options }: BranchOf, scope: Scope): Promise<void> {
    const [unknown] = Object.keys(options)
    if (unknown !== undefined) throw new CageError('INVALID_ARGUMENT', `${this.#name}: a transaction has no option ${unknown}`)
    await this.#guarded(scope, this.#name, async () => {})
    this.#branch = new Branch(this.#folder, id)
  }

  async prepare(scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, async () => await this.#branch?.prepare())
  }

  async commit(scope: Scope): Promise<void> {
    const branch = this.#branch
    this.#branch = undefined
    await this.#guarded(scope, this.#name, async () => await branch?.commit())
  }

  async rollback(scope: Scope): Promise<void> {
    const branch = this.#branch
    this.#branch = undefined
    await this.#guarded(scope, this.#name, async () => await branch?.rollback())
  }

  async finish(branch: string, decision: Decision, scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, () => finish(this.#folder, branch, decision))
  }

  async leftovers(prefix: string, scope: Scope): Promise<{ branch: string; ageMs: number }[]> {
    return await this.#guarded(scope, this.#name, async () => {
      await tidy(this.#folder)
      return await prepared(this.#folder, prefix)
    })
  }

  /** UNAVAILABLE if the folder is not there: a disk that is not mounted yet. */
  async check(scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, () => this.#folder.within([OWN], async () => {}, true)).catch((error: unknown) => {
      if (!(error instanceof CageError) || !['NOT_FOUND', 'INVALID_ARGUMENT'].includes(error.code)) throw error
      throw new CageError('UNAVAILABLE', `${this.#name}: the folder is not there`, { cause: error })
    })
  }

  async tidy(scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, () => tidy(this.#folder))
  }

  async close(): Promise<void> {}

  /** F4. */
  async #guarded<T>(scope: Scope, what: string, work: (check: Check) => Promise<T>): Promise<T> {
    const check = (): void => {
      const ended = endOf(scope, Date.now(), what)
      if (ended) throw ended
    }
    check()
    let off = (): void => {}
    let timer: NodeJS.Timeout | undefined
    const silent = new Promise<never>((_, reject) => {
      off = whenEnded(scope, what, (why) => {
        timer = setTimeout(() => {
          this.#broken = true
          reject(why)
        }, GRACE_MS)
      })
    })
    try {
      return await Promise.race([work(check), silent])
    } catch (error) {
      if (error instanceof CageError && !error.message.startsWith(this.#name))
        throw new CageError(error.code, `${what}: ${error.message}`, { details: error.details, cause: error, retryable: error.retryable })
      throw fromFileSystem(error, what)
    } finally {
      off()
      clearTimeout(timer)
    }
  }

  async #read(parts: string[]): Promise<Uint8Array> {
    const seen = this.#branch?.find(parts)
    if (seen === 'gone') throw new CageError('NOT_FOUND', 'it is not there')
    return await this.#folder.beside(seen ?? parts, async (place, name) => {
      const handle = await this.#folder.open(place.path(name))
      try {
        await this.#checkFile(handle)
        return await handle.readFile()
      } finally {
        await handle.close()
      }
    })
  }

  async #checkFile(handle: FileHandle): Promise<void> {
    const seen = await handle.stat()
    if (!seen.isFile()) throw new CageError('INVALID_ARGUMENT', seen.isDirectory() ? 'it is a folder' : 'it is no file')
    const { maxBytes } = this.#options
    if (seen.size > maxBytes) throw new CageError('PAYLOAD_TOO_LARGE', `it has ${seen.size} bytes, ${maxBytes} are allowed`)
  }

  /** F1. */
  async #write(parts: string[], bytes: Uint8Array, overwrite: boolean, check: Check): Promise<void> {
    if (this.#branch) {
      this.#checkPromise(overwrite)
      return await this.#branch.write(parts, bytes, check)
    }
    const draft = randomUUID()
    await this.#folder.within(
      [OWN, 'open'],
      async (own) => {
        try {
          await this.#folder.create(own.path(draft), bytes, check)
          const name = async (path: string): Promise<void> => (overwrite ? rename(own.path(draft), path) : link(own.path(draft), path))
          await this.#folder.beside(
            parts,
            async (place, last) => {
              check()
              await name(place.path(last))
              await place.sync()
            },
            true,
          )
        } finally {
          await ifThere(unlink(own.path(draft)))
        }
      },
      true,
    )
  }

  async #append(parts: string[], bytes: Uint8Array, check: Check): Promise<void> {
    if (this.#branch) throw new CageError('INVALID_ARGUMENT', 'append is of no transaction: it cannot be undone')
    await this.#folder.beside(
      parts,
      async (place, name) => {
        const handle = await this.#folder.open(place.path(name), flags.O_WRONLY | flags.O_APPEND | flags.O_CREAT)
        try {
          if (!(await handle.stat()).isFile()) throw new CageError('INVALID_ARGUMENT', 'it is no file')
          check()
          await appendWhole(handle, bytes)
          await handle.sync()
          await place.sync()
        } finally {
          await handle.close()
        }
      },
      true,
    )
  }

  async #remove(parts: string[]): Promise<boolean> {
    if (this.#branch) return await this.#branch.remove(parts)
    return await ifThere(
      this.#folder.beside(parts, async (place, name) => {
        if ((await lstat(place.path(name))).isDirectory()) throw new CageError('INVALID_ARGUMENT', 'it is a folder')
        await unlink(place.path(name))
        await place.sync()
      }),
    )
  }

  async #move(from: string[], to: string[], overwrite: boolean, check: Check): Promise<void> {
    if (from.join('/') === to.join('/')) throw new CageError('INVALID_ARGUMENT', 'it has that name')
    if (this.#branch) {
      this.#checkPromise(overwrite)
      return await this.#branch.move(from, to)
    }
    await this.#folder.beside(from, async (source, oldName) => {
      const seen = await lstat(source.path(oldName))
      if (!seen.isFile()) throw new CageError('INVALID_ARGUMENT', 'it is no file')
      const work = async (target: { path(name: string): string; sync(): Promise<void> }, newName: string): Promise<void> => {
        check()
        if (overwrite) await rename(source.path(oldName), target.path(newName))
        else {
          await link(source.path(oldName), target.path(newName))
          await unlink(source.path(oldName))
        }
        await Promise.all([source.sync(), target.sync()])
      }
      await this.#folder.beside(to, work, true)
    })
  }

  async #list(parts: string[], pattern: unknown, check: Check): Promise<FileEntry[]> {
    if (pattern !== undefined && typeof pattern !== 'string') throw new CageError('INVALID_ARGUMENT', 'a pattern is text')
    const matches = matcher(pattern ?? '*')
    const touched = this.#branch?.touched(parts) ?? new Map<string, boolean>()
    const there = (await this.#folder.names(parts)).filter((name) => touched.get(name) !== false && !(parts.length === 0 && name === OWN))
    const names = new Set([...there, ...[...touched].flatMap(([name, isThere]) => (isThere ? [name] : []))])
    const entries: FileEntry[] = []
    for (const name of [...names].filter(matches).sort()) {
      check()
      const entry = await this.#stat([...parts, name])
      if (entry) entries.push(entry) // it may have gone since
    }
    return entries
  }

  async #stat(parts: string[]): Promise<FileEntry | undefined> {
    const seen = this.#branch?.find(parts)
    if (seen === 'gone') return undefined
    let entry: FileEntry | undefined
    await ifThere(
      this.#folder.beside(seen ?? parts, async (place, last) => {
        const {
          size: bytes,
          mtime: modifiedAt,
          ...stats
        } = await lstat(place.path(last)).then((all) => ({
          size: all.size,
          mtime: all.mtime,
          folder: all.isDirectory(),
        }))
        entry = { name: parts.at(-1) ?? '', folder: stats.folder, bytes, modifiedAt }
      }),
    )
    return entry
  }

  #bytesOf(content: unknown): Uint8Array {
    if (typeof content !== 'string' && !(content instanceof Uint8Array))
      throw new CageError('INVALID_ARGUMENT', 'the content is neither text nor bytes')
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    const { maxBytes } = this.#options
    if (bytes.length > maxBytes) throw new CageError('PAYLOAD_TOO_LARGE', `the content has ${bytes.length} bytes, ${maxBytes} are allowed`)
    return bytes
  }

  #overwrites(options: unknown): boolean {
    if (options === undefined) return true
    const { overwrite = true, ...others } = (typeof options === 'object' && options !== null ? options : { options }) as Record<
      string,
      unknown
    >
    if (Object.keys(others).length > 0 || typeof overwrite !== 'boolean')
      throw new CageError('INVALID_ARGUMENT', 'the only option is overwrite: true or false')
    return overwrite
  }

  #checkPromise(overwrite: boolean): void {
    if (!overwrite)
      throw new CageError('INVALID_ARGUMENT', 'overwrite: false is of no transaction: a name cannot be kept free until it commits')
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes)
  } catch (error) {
    throw new CageError('INVALID_ARGUMENT', 'it is not UTF-8', { cause: error })
  }
}

/** What a full disk cuts off is taken away again, unless somebody has appended to it. */
async function appendWhole(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  const { size } = await handle.stat()
  let written = 0
  try {
    while (written < bytes.length) written += (await handle.write(bytes, written)).bytesWritten
  } catch (error) {
    if (written > 0 && (await handle.stat()).size === size + written) await handle.truncate(size)
    throw errnoOf(error) === undefined ? new CageError('INTERNAL', 'it could not be appended', { cause: error }) : error
  }
}
