/**
 * Drop folder: each file that is put into a folder, and has settled, is a call; then it is removed, or moved.
 *
 *   interfaces: { orders: { kind: 'file', dir: '/srv/in', pattern: '*.csv', content: 'utf8', call: 'orders.load', doneDir: '/srv/in/done' } },
 *   export async function load(ctx: Context, file: DroppedFile<string>): Promise<void> { ... }
 *
 * L1. A file is taken when its size, time and number have not changed for `settleMs`. Names that begin with a dot, folders and links are left alone.
 * L2. All copies of the cage look; one has the file (claims.ts). It is gone from the folder when its call has succeeded, never before.
 * L3. A call that fails is made again, with back-off; after `attempts`, or at once if its error says that it is of no use, the file is set aside
 *     in `failedDir`. UNAVAILABLE and OVERLOADED are not the file's fault, and do not count.
 * L4. What a copy was working on when it died is handled again: by a queue once, since the calls have one id; else with a higher `attempt`.
 */
import { type FSWatcher, watch } from 'node:fs'
import { lstat, mkdir, readdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { CageError, toCageError } from '../../errors.ts'
import { backOffMs, pause } from '../../pause.ts'
import type { InterfaceHost, Listener } from '../adapter.ts'
import type { DroppedFile } from './api.ts'
import { type Claim, Claims } from './claims.ts'
import { fromFileSystem } from './errors.ts'
import { Folder } from './folder.ts'
import { matcher } from './names.ts'
import type { FileListenOptions } from './options.ts'
import { ownerName, TOUCH_MS } from './owner.ts'

const FILE_MODE = 0o660
/** Until what the file system refused is tried again, ms. */
const AGAIN_MS = 1_000
const INNOCENT: ReadonlySet<string> = new Set(['UNAVAILABLE', 'OVERLOADED'])

/** Starts to look. UNAVAILABLE if the folder is not there; INVALID_ARGUMENT if the others are in another file system. */
export async function listen(options: FileListenOptions, host: InterfaceHost): Promise<Listener> {
  const dir = resolve(options.dir)
  const failedDir = resolve(options.failedDir ?? join(dir, 'failed'))
  const doneDir = options.doneDir === undefined ? undefined : resolve(options.doneDir)
  try {
    const { dev } = await stat(dir)
    for (const other of [failedDir, ...(doneDir === undefined ? [] : [doneDir])]) {
      await mkdir(other, { recursive: true })
      if (!(await lstat(other)).isDirectory()) throw new CageError('INVALID_ARGUMENT', `${other} is no folder, or a link to one`)
      if ((await stat(other)).dev !== dev) throw new CageError('INVALID_ARGUMENT', `${other} is in another file system than ${dir}`)
    }
    const claims = new Claims(new Folder(dir, FILE_MODE), ownerName(host.cage, host.name))
    await claims.open()
    return new DropFolder({ ...options, dir, failedDir, doneDir }, host, claims)
  } catch (error) {
    const mapped = fromFileSystem(error, dir)
    throw mapped.code === 'NOT_FOUND' ? new CageError('UNAVAILABLE', mapped.message, { cause: error }) : mapped
  }
}

interface Seen {
  readonly mark: string
  readonly since: number
}

class DropFolder implements Listener {
  readonly address: string
  readonly done: Promise<void>
  readonly #options: FileListenOptions & { failedDir: string }
  readonly #host: InterfaceHost
  readonly #claims: Claims
  readonly #folder: Folder
  readonly #matches: (name: string) => boolean
  readonly #stopping = new AbortController()
  readonly #running = new Set<Promise<void>>()
  #seen = new Map<string, Seen>()
  #woken = false
  #wake: () => void = () => {}
  #touchedAt = 0

  constructor(options: FileListenOptions & { failedDir: string }, host: InterfaceHost, claims: Claims) {
    this.#options = options
    this.#host = host
    this.#claims = claims
    this.#folder = new Folder(options.dir, FILE_MODE)
    this.#matches = matcher(options.pattern)
    this.address = `file://${options.dir}`
    this.done = this.#look()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#wake()
    await this.done.catch(() => {}) // whoever started it is told
  }

  /** Rejects if the folder is lost. */
  async #look(): Promise<void> {
    const { signal } = this.#stopping
    const watcher = this.#watch()
    try {
      while (!signal.aborted) {
        this.#woken = false
        const nextAt = await this.#scan(Date.now())
        await this.#rest(Math.max(0, nextAt - Date.now()))
      }
    } finally {
      this.#stopping.abort()
      watcher?.close()
      await Promise.all(this.#running)
      await this.#claims.close().catch((error: unknown) => this.#host.log.warn({ err: error }, 'the folder of claims is left behind'))
    }
  }

  /** What is told is looked at at once; without it, every `scanMs`. */
  #watch(): FSWatcher | undefined {
    const { log } = this.#host
    try {
      const watcher = watch(this.#options.dir, () => this.#wakeUp())
      watcher.on('error', (error) => log.warn({ err: error }, 'the folder is no longer watched, only looked at'))
      return watcher
    } catch (error) {
      log.warn({ err: error }, 'the folder cannot be watched, only looked at')
      return undefined
    }
  }

  #wakeUp(): void {
    this.#woken = true
    this.#wake()
  }

  async #rest(ms: number): Promise<void> {
    if (this.#woken) return
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    await pause(ms, woken.signal)
    this.#wake = () => {}
  }

  /** Takes as many files as there is room for; returns when there may be the next, epoch ms. */
  async #scan(now: number): Promise<number> {
    const { scanMs, settleMs, concurrency } = this.#options
    let nextAt = now + scanMs
    if (now - this.#touchedAt >= TOUCH_MS) {
      this.#touchedAt = now
      await this.#claims.touch()
      const files = await this.#claims.recover(now)
      if (files > 0) this.#host.log.warn({ files }, 'files of a copy that has died are handled again')
    }
    nextAt = Math.min(nextAt, this.#touchedAt + TOUCH_MS)
    const isFree = (): boolean => this.#running.size < concurrency && !this.#stopping.signal.aborted
    for (const waiting of await this.#claims.waiting()) {
      if (waiting.dueAt > now) nextAt = Math.min(nextAt, waiting.dueAt)
      else if (isFree()) this.#begin(await this.#claims.takeWaiting(waiting))
    }
    for (const [name, { since }] of await this.#settling(now)) {
      if (since + settleMs > now) nextAt = Math.min(nextAt, since + settleMs)
      else if (isFree()) this.#begin(await this.#claims.take(name))
    }
    return nextAt
  }

  /** L1. By name. */
  async #settling(now: number): Promise<Map<string, Seen>> {
    const names = await this.#folder.within([], (place) => readdir(place.path()))
    const seen = new Map<string, Seen>()
    for (const name of names.sort()) {
      if (name.startsWith('.') || !this.#matches(name)) continue
      const stats = await lstat(join(this.#options.dir, name)).catch((error: unknown) => this.#gone(error))
      if (!stats?.isFile()) continue
      const mark = `${stats.ino} ${stats.size} ${stats.mtimeMs}`
      const before = this.#seen.get(name)
      seen.set(name, before?.mark === mark ? before : { mark, since: now })
    }
    this.#seen = seen
    return seen
  }

  #gone(error: unknown): undefined {
    if (fromFileSystem(error, '').code !== 'NOT_FOUND') throw error
  }

  #begin(claim: Claim | undefined): void {
    if (!claim) return
    const run = this.#handle(claim).finally(() => {
      this.#running.delete(run)
      this.#wakeUp()
    })
    this.#running.add(run)
  }

  /** Never rejects. */
  async #handle(claim: Claim): Promise<void> {
    const { attempts, doneDir } = this.#options
    try {
      if (claim.attempt > attempts) throw new CageError('CRASHED', 'it was given up by those who died over it', { retryable: false })
      await this.#call(claim)
    } catch (error) {
      return await this.#failed(claim, toCageError(error))
    }
    await this.#persist(claim, () => (doneDir === undefined ? this.#claims.remove(claim) : this.#claims.move(claim, doneDir)))
    this.#host.log.debug({ file: claim.name, attempt: claim.attempt }, 'file is handled')
  }

  async #call(claim: Claim): Promise<void> {
    const { call, queue, timeoutMs } = this.#options
    const { cage, name } = this.#host
    const file = await this.#read(claim)
    const about = { protocol: 'file', parameters: { file: claim.name, attempt: claim.attempt } }
    if (queue === undefined) await this.#host.call(call, [file], { timeoutMs, ...about })
    else await this.#host.enqueue(queue, call, [file], { id: `file:${cage}.${name}:${claim.id}`, ...about }) // L4
  }

  async #read({ name, parts, attempt }: Claim): Promise<DroppedFile<unknown>> {
    const { content: how, maxBytes, dir } = this.#options
    return await this.#folder
      .within(parts, async (place) => {
        const handle = await this.#folder.open(place.path(name))
        try {
          const { size, mtime: modifiedAt } = await handle.stat()
          const file = { name, bytes: size, modifiedAt, attempt }
          if (how === 'path') return { ...file, content: undefined, path: join(dir, ...parts, name) }
          if (size > maxBytes) throw new CageError('PAYLOAD_TOO_LARGE', `it has ${size} bytes, ${maxBytes} are allowed`)
          return { ...file, content: contentOf(await handle.readFile(), how) }
        } finally {
          await handle.close()
        }
      })
      .catch((error: unknown) => Promise.reject(fromFileSystem(error, name)))
  }

  /** L3. */
  async #failed(claim: Claim, error: CageError): Promise<void> {
    const { attempts, failedDir, retry } = this.#options
    const { name, attempt, failures } = claim
    const counts = !INNOCENT.has(error.code)
    if (counts && (!error.retryable || attempt >= attempts)) {
      await this.#persist(claim, async () => {
        const path = await this.#claims.move(claim, failedDir)
        this.#host.log.error({ file: name, attempt, path, err: error }, 'a file is set aside: its call failed')
      })
      return
    }
    const delayMs = backOffMs(failures + 1, retry, Math.random())
    const fields = { file: name, attempt, delayMs: Math.round(delayMs), err: error }
    this.#host.log[counts || failures === 0 ? 'warn' : 'debug'](fields, 'the call of a file failed, it is made again')
    await this.#persist(claim, () => this.#claims.giveBack(claim, counts ? attempt + 1 : attempt, Date.now() + delayMs))
  }

  /** What has been handled is not handled again because the file system refuses something: that is repeated, until we are stopped. */
  async #persist({ name }: Claim, work: () => Promise<unknown>): Promise<void> {
    for (let told = false; ; told = true) {
      try {
        await work()
        return
      } catch (error) {
        this.#host.log[told ? 'debug' : 'error']({ file: name, err: error }, 'a file cannot be put where it belongs, this is tried again')
        if (this.#stopping.signal.aborted) return
        await pause(AGAIN_MS, this.#stopping.signal)
      }
    }
  }
}

function contentOf(bytes: Buffer, how: 'bytes' | 'utf8' | 'latin1'): unknown {
  if (how === 'bytes') return new Uint8Array(bytes)
  if (how === 'latin1') return bytes.toString('latin1')
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    throw new CageError('INVALID_ARGUMENT', 'it is not UTF-8', { cause: error })
  }
}
