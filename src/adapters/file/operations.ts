/**
 * Operations: what can be done with files, within a branch if there is one (branch.ts), else at once.
 * F1, F2: resource.ts.
 */
import { randomUUID } from 'node:crypto'
import { constants as flags } from 'node:fs'
import { type FileHandle, link, lstat, rename, unlink } from 'node:fs/promises'
import { CageError } from '../../errors.ts'
import type { FileEntry } from './api.ts'
import type { Branch } from './branch.ts'
import { type Folder, ifThere, type Place } from './folder.ts'
import { matcher, OWN, partsOf } from './names.ts'
import type { FileOptions } from './options.ts'

/** Throws when nobody wants it any more. */
export type Check = () => void
type Method = (args: readonly unknown[], check: Check) => Promise<unknown>

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class Operations {
  /** Of the transaction that they belong to. */
  branch: Branch | undefined
  readonly #folder: Folder
  readonly #options: FileOptions
  /** By their names, with arguments as a module gives them. */
  readonly methods: Readonly<Record<string, Method>> = {
    read: ([name]) => this.#read(partsOf(name)),
    readText: async ([name]) => textOf(await this.#read(partsOf(name))),
    write: ([name, content, options], check) => this.#write(partsOf(name), this.#bytesOf(content), this.#overwrites(options), check),
    append: ([name, content], check) => this.#append(partsOf(name), this.#bytesOf(content), check),
    remove: ([name]) => this.#remove(partsOf(name)),
    move: ([from, to, options], check) => this.#move(partsOf(from), partsOf(to), this.#overwrites(options), check),
    list: ([folder, pattern], check) => this.#list(folder === undefined ? [] : partsOf(folder), pattern, check),
    stat: ([name]) => this.#stat(partsOf(name)),
  }

  constructor(folder: Folder, options: FileOptions) {
    this.#folder = folder
    this.#options = options
  }

  async #read(parts: string[]): Promise<Uint8Array> {
    const seen = this.branch?.find(parts)
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
    if (this.branch) {
      this.#checkPromise(overwrite)
      return await this.branch.write(parts, bytes, check)
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
    if (this.branch) throw new CageError('INVALID_ARGUMENT', 'append is of no transaction: it cannot be undone')
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
    if (this.branch) return await this.branch.remove(parts)
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
    if (this.branch) {
      this.#checkPromise(overwrite)
      return await this.branch.move(from, to)
    }
    await this.#folder.beside(from, async (source, oldName) => {
      const seen = await lstat(source.path(oldName))
      if (!seen.isFile()) throw new CageError('INVALID_ARGUMENT', 'it is no file')
      const work = async (target: Place, newName: string): Promise<void> => {
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
    const touched = this.branch?.touched(parts) ?? new Map<string, boolean>()
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
    const seen = this.branch?.find(parts)
    if (seen === 'gone') return undefined
    let entry: FileEntry | undefined
    await ifThere(
      this.#folder.beside(seen ?? parts, async (place, last) => {
        const stats = await lstat(place.path(last))
        entry = { name: parts.at(-1) ?? '', folder: stats.isDirectory(), bytes: stats.size, modifiedAt: stats.mtime }
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
    throw error
  }
}
