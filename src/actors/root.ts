/**
 * Root: the supervisor of a node's cages, in the main thread. It runs no user code.
 * J1. Each cage is a worker thread; a module that is isolated or quarantined has another one of its own.
 * J2. A module that stalls its worker, or fills its heap, for the second time is quarantined: it can harm nobody but itself.
 * J3. A cage that cannot be kept up ends the node, for whoever supervises processes to see.
 */
import { join } from 'node:path'
import type { CallKeeper } from '../bus/bus.ts'
import type { BusOptions } from '../bus/connection.ts'
import type { LogLevel } from '../levels.ts'
import type { Log } from '../log.ts'
import type { CageSettings, TracingSettings } from '../settings.ts'
import { type Told, teller } from './notify.ts'
import type { WorkerReport } from './report.ts'
import { packageOf } from './sources.ts'
import { DEFAULT_INTENSITY, Supervisor } from './supervisor.ts'
import { CageThread, type SpareWorker, ThreadDeath, type WorkerFacts } from './thread.ts'

export interface RootOptions {
  node: string
  version: string
  cagesDir: string
  dataDir: string
  logLevel: LogLevel
  bus: BusOptions
  tracing?: TracingSettings | undefined
  keeper: CallKeeper
  spare: SpareWorker
  log: Log
  /** A cage cannot be kept up (J3). */
  onEscalate: (error: Error) => void
  onReady: (cage: string) => void
}

/** How often a module may kill its worker before it is quarantined. */
const PARDONS = 1

export class Root {
  readonly #options: RootOptions
  readonly #supervisor: Supervisor
  /** Of isolated modules: they are restarted for ever and end nothing but themselves (J2). */
  readonly #isolation: Supervisor
  readonly #cages = new Map<string, CageEntry>()

  constructor(options: RootOptions) {
    this.#options = options
    this.#supervisor = new Supervisor(options.log, (error) => this.#escalate(error))
    this.#isolation = new Supervisor(options.log, () => {}, { intensity: Number.POSITIVE_INFINITY, periodMs: DEFAULT_INTENSITY.periodMs })
  }

  /** Runs a cage from now on. */
  async run(cage: string, settings: CageSettings): Promise<void> {
    const entry: CageEntry = { settings, threads: new Map(), deaths: new Map() }
    this.#cages.set(cage, entry)
    await this.#startThread(cage, entry, undefined)
  }

  /** Hands a changed configuration to the cage's workers. */
  reconfigure(cage: string, settings: CageSettings): void {
    const entry = this.#cages.get(cage)
    if (!entry) return
    entry.settings = settings
    for (const thread of entry.threads.values()) thread.reconfigure()
  }

  /** Stops all cages at once, each letting its accepted calls end. */
  async stop(): Promise<void> {
    await Promise.all(this.#threads().flatMap(({ id }) => [this.#supervisor.release(id), this.#isolation.release(id)]))
  }

  /** All workers as they are seen from here, at once. */
  facts(): WorkerFacts[] {
    return this.#threads().map((thread) => thread.facts())
  }

  /** What the workers tell of themselves; those that do not within so long, or are known to be stuck, are left out. */
  async reports(whole: boolean, withinMs: number): Promise<WorkerReport[]> {
    const able = this.#threads().filter((thread) => thread.facts().silentMs < withinMs)
    const reports = await Promise.all(able.map((thread) => thread.report(whole, withinMs)))
    return reports.filter((report) => report !== undefined)
  }

  #threads(): CageThread[] {
    return [...this.#cages.values()].flatMap((entry) => [...entry.threads.values()])
  }

  async #startThread(cage: string, entry: CageEntry, only: string | undefined): Promise<void> {
    const { node, version, dataDir, logLevel, bus, tracing, onReady } = this.#options
    const own = packageOf(this.#options.cagesDir, cage)
    const cagesDir = own === undefined ? this.#options.cagesDir : join(own, 'cages')
    const thread = new CageThread({
      id: only === undefined ? `cage ${cage}` : `module ${cage}.${only}`,
      data: () => ({
        node,
        cage,
        cagesDir,
        dataDir,
        version,
        logLevel,
        bus,
        tracing,
        settings: entry.settings,
        placement: { only, except: only === undefined ? isolated(entry) : [] },
      }),
      settings: () => entry.settings,
      keeper: this.#options.keeper,
      spare: this.#options.spare,
      onReady: () => {
        if (only === undefined) onReady(cage)
      },
      onIsolate: (module, isolate) => void this.#place(cage, entry, module, isolate),
      onDeath: (death) => this.#blame(cage, entry, death),
      onEnd: (error) => {
        this.#tellEnd(cage, only, error)
        if (only !== undefined) entry.threads.get(undefined)?.died(only)
      },
    })
    entry.threads.set(only, thread)
    await (only === undefined ? this.#supervisor : this.#isolation).keep(thread)
  }

  async #place(cage: string, entry: CageEntry, module: string, isolate: boolean): Promise<void> {
    const quarantined = (entry.deaths.get(module) ?? 0) > PARDONS
    if (isolate === entry.threads.has(module) || (!isolate && quarantined)) return
    this.#options.log.info({ cage, module }, isolate ? 'module gets a worker of its own' : 'module joins the others')
    if (isolate) await this.#startThread(cage, entry, module)
    else {
      const thread = entry.threads.get(module)
      entry.threads.delete(module)
      if (thread) await this.#isolation.release(thread.id)
    }
    entry.threads.get(undefined)?.reconfigure()
  }

  #tell(cage: string, told: Told): void {
    teller(this.#options.keeper, cage, this.#options.node)(told)
  }

  #tellEnd(cage: string, only: string | undefined, error: Error): void {
    const { node } = this.#options
    const death = error instanceof ThreadDeath ? error : undefined
    const stalled = death?.stalled === true
    const worker = only === undefined ? `the worker of cage ${cage}` : `the worker of module ${cage}.${only}`
    const message = `${worker} at node ${node} ${stalled ? 'stood still' : 'has died'}, it is started again`
    const { where } = (death?.details ?? {}) as { where?: string }
    const details = { reason: error.message, method: death?.method, where }
    this.#tell(cage, { level: 'error', kind: stalled ? 'cage.stalled' : 'cage.restarted', module: death?.module ?? only, message, details })
  }

  /** J3. */
  #escalate(error: Error): void {
    const { node, onEscalate } = this.#options
    const cage = /^cage (\S+)/.exec(error.message)?.[1] // the child's id
    const details = { reason: error.message, cause: error.cause instanceof Error ? error.cause.message : undefined }
    if (cage !== undefined)
      this.#tell(cage, { level: 'alert', kind: 'cage.failed', message: `cage ${cage} cannot be kept up, node ${node} ends`, details })
    onEscalate(error)
  }

  /** A changed configuration is not taken over. */
  refused(cage: string, mistakes: readonly string[]): void {
    const message = `the new configuration of cage ${cage} is refused at node ${this.#options.node}, the old one goes on`
    this.#tell(cage, { level: 'error', kind: 'reload.refused', message, details: { mistakes } })
  }

  #blame(cage: string, entry: CageEntry, { module, method, message, details }: ThreadDeath): void {
    const { log } = this.#options
    log.error({ cage, module, method, where: (details as { where?: string }).where }, `${message}, replacing it`)
    if (module === undefined) return
    const deaths = (entry.deaths.get(module) ?? 0) + 1
    entry.deaths.set(module, deaths)
    if (deaths <= PARDONS || entry.threads.has(module)) return
    log.error({ cage, module, deaths }, 'module is quarantined: it gets a worker of its own')
    this.#tell(cage, {
      ...{ level: 'error', kind: 'module.quarantined', module, details: { deaths } },
      message: `module ${cage}.${module} has ended its worker ${deaths} times, it gets one of its own`,
    })
    void this.#startThread(cage, entry, module)
  }
}

interface CageEntry {
  settings: CageSettings
  /** By isolated module; undefined: the cage's own worker with all the others. */
  threads: Map<string | undefined, CageThread>
  /** Times that each module killed its worker. */
  deaths: Map<string, number>
}

function isolated(entry: CageEntry): string[] {
  return [...entry.threads.keys()].filter((module) => module !== undefined)
}
