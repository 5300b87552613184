/**
 * Thread: a worker thread with a cage in it, or with one isolated module of a cage, as the root supervisor's child.
 * H1. A worker whose heartbeat stands still for `stallMs` is asked where it is (inspector), ended, and dies of STALLED with that culprit.
 * H2. `process.exit()`, a crash and a full heap end the worker, never the node.
 * It is just over 300 lines, because it has both ends' messages, and all that is known of a worker from outside.
 */
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import type { CallKeeper } from '../bus/bus.ts'
import type { BusOptions } from '../bus/connection.ts'
import type { Culprit } from '../bus/queue/contract.ts'
import { CageError } from '../errors.ts'
import type { LogLevel } from '../levels.ts'
import { pause } from '../pause.ts'
import type { CageSettings, TracingSettings } from '../settings.ts'
import type { Placement } from './cage.ts'
import { readHeartbeat, sharedHeartbeat } from './heartbeat.ts'
import type { WorkerReport } from './report.ts'
import { whereIs } from './stall.ts'
import type { Child } from './supervisor.ts'

/** What a worker is told when it begins. Plain data. */
export interface WorkerData {
  node: string
  cage: string
  cagesDir: string
  dataDir: string
  version: string
  logLevel: LogLevel
  bus: BusOptions
  tracing?: TracingSettings | undefined
  settings: CageSettings
  placement: Placement
  heartbeat: SharedArrayBuffer
  beatMs: number
  /** What it holds of its queues (CallKeeper). */
  held: SharedArrayBuffer
  past: WorkerPast
}

/** The cage's workers before this one. */
export interface WorkerPast {
  restarts: number
  /** Why the last one ended. */
  lastDeath?: { at: number; reason: string } | undefined
}

export type ToWorker =
  | { type: 'begin'; data: WorkerData }
  | { type: 'reconfigure'; settings: CageSettings; placement: Placement }
  /** The own worker of an isolated module has ended. */
  | { type: 'died'; module: string }
  /** It is answered with a report. */
  | { type: 'ask'; id: number; whole: boolean }
  | { type: 'stop' }
export type FromWorker =
  | { type: 'ready' }
  | { type: 'mark'; mark: number; name: string }
  | { type: 'isolate'; module: string; isolate: boolean }
  | { type: 'report'; id: number; report: WorkerReport }

/** A worker's death that a module is to blame for. */
export class ThreadDeath extends CageError {
  /** The module that was running, if that can be told. */
  readonly module: string | undefined
  readonly method: string | undefined
  /** It was seen at work, not only entered last. */
  readonly certain: boolean
  /** Its event loop stood still. */
  readonly stalled: boolean

  constructor(message: string, module: string | undefined, method: string | undefined, where: string | undefined, stalled: boolean) {
    super('INTERNAL', message, { details: { module, method, where } })
    this.module = module
    this.method = method
    this.certain = where !== undefined
    this.stalled = stalled
  }
}

export interface ThreadOptions {
  id: string
  /** Read at each start, so that a restart takes the newest. */
  data: () => Omit<WorkerData, 'heartbeat' | 'beatMs' | 'held' | 'past'>
  keeper: CallKeeper
  spare: SpareWorker
  settings: () => Pick<CageSettings, 'stallMs' | 'memoryMb' | 'drainMs'>
  onReady: () => void
  onIsolate: (module: string, isolate: boolean) => void
  onDeath: (death: ThreadDeath) => void
  /** It has ended without being asked to, and is started again unless it does so too often. */
  onEnd: (error: Error) => void
}

const WORKER = new URL(import.meta.url.endsWith('.ts') ? '../worker.ts' : '../worker.js', import.meta.url)

/**
 * A full heap has 16 MB of grace while its worker is ended (Node.js, Worker::NearHeapLimit). What a collection moves out of the young
 * generation must fit into them, else V8 aborts the process: the live third of 48 MB does (Node 20's default), that of Node 24's 192 MB does not.
 */
const YOUNG_MB = 48

function boot(memoryMb: number): Worker {
  return new Worker(WORKER, { resourceLimits: { maxOldGenerationSizeMb: memoryMb, maxYoungGenerationSizeMb: YOUNG_MB } })
}

/** A worker that boots while the configuration is still being read: a sixth of a node's start. For the first cage that is content with its memory. */
export class SpareWorker {
  readonly #memoryMb: number
  #worker: Worker | undefined

  constructor(memoryMb: number) {
    this.#memoryMb = memoryMb
    this.#worker = boot(memoryMb)
  }

  /** Gives it away once; ends it if it does not fit. */
  take(memoryMb: number): Worker | undefined {
    const worker = this.#worker
    this.#worker = undefined
    if (memoryMb === this.#memoryMb) return worker
    void worker?.terminate()
    return undefined
  }

  /** Ends it if nobody has taken it. */
  async stop(): Promise<void> {
    await this.#worker?.terminate()
  }
}

/** A worker as the main thread sees it. */
export interface WorkerFacts {
  cage: string
  only: string | undefined
  life: 'starting' | 'ready' | 'ended'
  /** For how long its event loop has stood still, and how long it may. */
  silentMs: number
  stallMs: number
  /** `module.method` that was entered last. */
  stuckIn: string | undefined
  restarts: number
  /** How often it stood still for too long. */
  stalls: number
  lastDeath: { at: number; reason: string } | undefined
}

/** How long a worker that is stuck is asked where, ms: it is ended whatever comes of that. */
const WHERE_MS = 2_000

export class CageThread implements Child {
  readonly id: string
  readonly restart = 'permanent'
  done: Promise<void> = Promise.resolve()
  readonly #options: ThreadOptions
  #worker: Worker | undefined
  #marks = new Map<number, string>()
  #stopped = false
  readonly #asked = new Map<number, (report: WorkerReport) => void>()
  #asks = 0
  #life: WorkerFacts['life'] = 'starting'
  #stalls = 0
  /** The last beat that was seen, and when. */
  #beat = { heartbeat: sharedHeartbeat(), count: 0, at: Date.now() }
  #starts = 0
  #lastDeath: WorkerPast['lastDeath']

  constructor(options: ThreadOptions) {
    this.id = options.id
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#stopped) return
    const { stallMs, memoryMb } = this.#options.settings()
    const heartbeat = sharedHeartbeat()
    const beatMs = Math.min(250, stallMs / 5)
    const held = this.#options.keeper.table()
    const worker = this.#options.spare.take(memoryMb) ?? boot(memoryMb)
    const data: WorkerData = {
      ...this.#options.data(),
      heartbeat,
      beatMs,
      held,
      past: { restarts: this.#starts++, lastDeath: this.#lastDeath },
    }
    worker.postMessage({ type: 'begin', data } satisfies ToWorker)
    this.#worker = worker
    this.#life = 'starting'
    this.#beat = { heartbeat, count: 0, at: Date.now() }
    this.#marks = new Map()
    worker.on('message', (message: FromWorker) => this.#receive(message))
    this.done = this.#watch(worker, heartbeat, stallMs, held)
    this.done.catch(() => {}) // the supervisor waits for it
  }

  /** Tells the worker its new configuration or placement. */
  reconfigure(): void {
    const { settings, placement } = this.#options.data()
    this.#worker?.postMessage({ type: 'reconfigure', settings, placement } satisfies ToWorker)
  }

  /** Tells the cage's worker that an isolated module has lost its own. */
  died(module: string): void {
    this.#worker?.postMessage({ type: 'died', module } satisfies ToWorker)
  }

  /** What the main thread knows by itself. */
  facts(): WorkerFacts {
    const { cage, placement } = this.#options.data()
    const silentMs = this.#life === 'ended' ? 0 : this.#silentMs()
    const stuckIn = silentMs > 0 ? this.#marked(this.#beat.heartbeat).join('.') || undefined : undefined
    const { stallMs } = this.#options.settings()
    const { restarts, lastDeath } = { restarts: Math.max(0, this.#starts - 1), lastDeath: this.#lastDeath }
    return { cage, only: placement.only, life: this.#life, silentMs, stallMs, stuckIn, restarts, stalls: this.#stalls, lastDeath }
  }

  /** What the worker tells of itself; undefined: nothing within so long. */
  async report(whole: boolean, withinMs: number): Promise<WorkerReport | undefined> {
    if (this.#life === 'ended') return undefined
    const id = ++this.#asks
    const report = await new Promise<WorkerReport | undefined>((resolve) => {
      const timer = setTimeout(() => resolve(undefined), withinMs)
      this.#asked.set(id, (told) => {
        clearTimeout(timer)
        resolve(told)
      })
      this.#worker?.postMessage({ type: 'ask', id, whole } satisfies ToWorker)
    })
    this.#asked.delete(id)
    return report
  }

  /** Lets accepted calls end, for `drainMs` at most. */
  async stop(): Promise<void> {
    this.#stopped = true
    const worker = this.#worker
    if (!worker) return
    worker.postMessage({ type: 'stop' } satisfies ToWorker)
    const timer = setTimeout(() => void worker.terminate(), this.#options.settings().drainMs)
    await this.done.catch(() => {}) // it is stopping: how it ends does not matter
    clearTimeout(timer)
  }

  #receive(message: FromWorker): void {
    if (message.type === 'ready') {
      this.#life = 'ready'
      this.#options.onReady()
    } else if (message.type === 'report') this.#asked.get(message.id)?.(message.report)
    else if (message.type === 'mark') this.#marks.set(message.mark, message.name)
    else this.#options.onIsolate(message.module, message.isolate)
  }

  /** Settles when the worker has ended; rejects with the reason. */
  #watch(worker: Worker, heartbeat: SharedArrayBuffer, stallMs: number, held: SharedArrayBuffer): Promise<void> {
    let death: ThreadDeath | Error | undefined
    const timer = setInterval(() => {
      if (this.#silentMs() >= stallMs) {
        clearInterval(timer)
        this.#stalls++
        void this.#endStalled(worker, heartbeat, stallMs).then((reason) => (death = reason))
      }
    }, stallMs / 10)
    return new Promise((resolve, reject) => {
      worker.on('error', (error: NodeJS.ErrnoException) => {
        const [module, method] = this.#marked(heartbeat)
        death =
          error.code === 'ERR_WORKER_OUT_OF_MEMORY'
            ? new ThreadDeath('the worker is out of memory', module, method, undefined, false)
            : error
      })
      worker.on('exit', (code) => {
        clearInterval(timer)
        this.#life = 'ended'
        this.#asked.clear()
        void this.#options.keeper.handBack(held, this.#culprit(heartbeat, death))
        if (this.#stopped) return resolve()
        const error = death ?? new Error(`the worker ended with status ${code}`)
        this.#lastDeath = { at: Date.now(), reason: error.message }
        this.#options.onEnd(error)
        if (code === 0 && !death) return resolve()
        if (error instanceof ThreadDeath) this.#options.onDeath(error)
        reject(error)
      })
    })
  }

  /** How long the worker's event loop has stood still, ms, as far as it was looked at. */
  #silentMs(): number {
    const { heartbeat, count } = this.#beat
    const { beat } = readHeartbeat(heartbeat)
    const at = Date.now()
    if (beat !== count) this.#beat = { heartbeat, count: beat, at }
    return beat === 0 ? 0 : at - this.#beat.at
  }

  async #endStalled(worker: Worker, heartbeat: SharedArrayBuffer, stallMs: number): Promise<ThreadDeath> {
    const [markedModule, markedMethod] = this.#marked(heartbeat)
    const { cagesDir, dataDir } = this.#options.data()
    const asked = whereIs(worker.threadId, cagesDir, join(dataDir, 'cache')).catch(() => undefined)
    const place = await Promise.race([asked, pause(WHERE_MS).then(() => undefined)]) // without an answer the mark has to do
    const death = new ThreadDeath(
      `the worker's event loop stood still for ${stallMs} ms`,
      place?.module ?? markedModule,
      place?.method ?? markedMethod,
      place?.where,
      true,
    )
    queueMicrotask(() => void worker.terminate())
    return death
  }

  /** Who ended the worker, for its queued calls. */
  #culprit(heartbeat: SharedArrayBuffer, death: Error | undefined): Culprit {
    if (death instanceof ThreadDeath) return { module: death.module, method: death.method, certain: death.certain }
    if (this.#stopped) return { module: undefined, method: undefined, certain: true } // we did
    const [module, method] = this.#marks.get(readHeartbeat(heartbeat).culprit)?.split('.') ?? []
    return { module, method, certain: module !== undefined }
  }

  #marked(heartbeat: SharedArrayBuffer): string[] {
    return this.#marks.get(readHeartbeat(heartbeat).mark)?.split('.') ?? []
  }
}
