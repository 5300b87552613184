/**
 * Files below one folder as a resource.
 *
 *   resources: { out: { kind: 'file', dir: '/srv/out' } },
 *   await ctx.resources.out.write('orders/7.csv', text)
 *   xa.out.write('orders/7.csv', text) // in a transaction: seen when it commits
 *
 * F1. What is written is seen whole or not at all: it is renamed to its name when it is on the disk.
 * F2. Nothing outside the folder is reached, whatever the name and whatever links are in it (folder.ts).
 * F3. In a transaction it is prepared (branch.ts): the copies of a cage must have the same folder.
 * F4. Nobody waits longer than GRACE_MS past the deadline for a file system that does not answer; the connection is not used again then.
 * POSIX.1-2017: rename, link, fsync.
 */
import { resolve } from 'node:path'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { didYouMean } from '../../names.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Branch as BranchOf, Decision, Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import { Branch } from './branch.ts'
import { finish, prepared, tidy } from './ending.ts'
import { fromFileSystem } from './errors.ts'
import { Folder } from './folder.ts'
import { type Check, Operations } from './operations.ts'
import type { FileOptions } from './options.ts'

const GRACE_MS = 500

export async function open(options: FileOptions, { name, log }: ResourceHost): Promise<Resource> {
  const folder = new Folder(resolve(options.dir), options.fileMode)
  let tidied: Promise<void> | undefined
  return {
    async connect(scope) {
      const connection = new FileConnection(folder, options, name, log)
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

class FileConnection implements ResourceConnection {
  readonly participant = 'prepared'
  readonly #folder: Folder
  readonly #operations: Operations
  readonly #name: string
  readonly #log: Log
  #broken = false
  constructor(folder: Folder, options: FileOptions, name: string, log: Log) {
    this.#log = log
    this.#folder = folder
    this.#operations = new Operations(folder, options)
    this.#name = name
  }

  get broken(): boolean {
    return this.#broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    const { methods } = this.#operations
    const known = Object.hasOwn(methods, method) ? methods[method] : undefined
    if (!known)
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: there is no method ${method}${didYouMean(method, Object.keys(methods))}`)
    const subject = typeof args[0] === 'string' ? `${this.#name}: ${JSON.stringify(args[0])}` : this.#name
    return await this.#guarded(scope, subject, (check) => known(args, check))
  }

  async begin({ id, options }: BranchOf, scope: Scope): Promise<void> {
    const [unknown] = Object.keys(options)
    if (unknown !== undefined) throw new CageError('INVALID_ARGUMENT', `${this.#name}: a transaction has no option ${unknown}`)
    await this.#guarded(scope, this.#name, async () => {})
    this.#operations.branch = new Branch(this.#folder, id)
  }

  async prepare(scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, async () => await this.#operations.branch?.prepare())
  }

  async commit(scope: Scope): Promise<void> {
    const { branch } = this.#operations
    this.#operations.branch = undefined
    try {
      await this.#guarded(scope, this.#name, async () => await branch?.commit())
    } catch (error) {
      if (branch?.mayBeDecided)
        this.#broken = true // nobody is to take it for refused
      else if (!this.#broken) await this.#discard(branch)
      throw error
    }
  }

  async rollback(scope: Scope): Promise<void> {
    const { branch } = this.#operations
    this.#operations.branch = undefined
    await this.#guarded(scope, this.#name, async () => await branch?.rollback())
  }

  async finish(branch: string, decision: Decision, scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, () => finish(this.#folder, branch, decision))
  }

  async leftovers(prefix: string, scope: Scope): Promise<{ branch: string; ageMs: number }[]> {
    return await this.#guarded(scope, this.#name, async () => {
      await tidy(this.#folder, this.#log)
      return await prepared(this.#folder, prefix)
    })
  }

  /** UNAVAILABLE if the folder is not there: a disk that is not mounted yet. */
  async check(scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, () => this.#folder.within([], async () => {})).catch((error: unknown) => {
      if (!(error instanceof CageError) || !['NOT_FOUND', 'INVALID_ARGUMENT'].includes(error.code)) throw error
      throw new CageError('UNAVAILABLE', `${this.#name}: the folder is not there`, { cause: error })
    })
  }

  async tidy(scope: Scope): Promise<void> {
    await this.#guarded(scope, this.#name, () => tidy(this.#folder, this.#log))
  }

  async close(): Promise<void> {}

  /** What cannot be removed now, is when it is old (ending.ts). */
  async #discard(branch: Branch | undefined): Promise<void> {
    const scope = { deadline: Date.now() + GRACE_MS, signal: new AbortController().signal }
    await this.#guarded(scope, this.#name, async () => await branch?.rollback()).catch((error: unknown) => {
      this.#log.warn({ err: error }, 'a branch that was refused cannot be removed yet')
    })
  }

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
}
