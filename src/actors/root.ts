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
import type { CageSettings } from '../settings.ts'
import { packageOf } from './sources.ts'
import { DEFAULT_INTENSITY, Supervisor } from './supervisor.ts'
import { CageThread, type SpareWorker, type ThreadDeath } from './thread.ts'

export interface RootOptions {
  node: string
  version: string
  cagesDir: string
  dataDir: string
  logLevel: LogLevel
  bus: BusOptions
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
    this.#supervisor = new Supervisor(options.log, options.onEscalate)
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
    const threads = [...this.#cages.values()].flatMap((entry) => [...entry.threads.values()])
    await Promise.all(threads.flatMap(({ id }) => [this.#supervisor.release(id), this.#isolation.release(id)]))
  }

  async #startThread(cage: string, entry: CageEntry, only: string | undefined): Promise<void> {
    const { node, version, dataDir, logLevel, bus, onReady } = this.#options
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
      onEnd: () => {
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

  #blame(cage: string, entry: CageEntry, { module, method, message, details }: ThreadDeath): void {
    const { log } = this.#options
    log.error({ cage, module, method, where: (details as { where?: string }).where }, `${message}, replacing it`)
    if (module === undefined) return
    const deaths = (entry.deaths.get(module) ?? 0) + 1
    entry.deaths.set(module, deaths)
    if (deaths <= PARDONS || entry.threads.has(module)) return
    log.error({ cage, module, deaths }, 'module is quarantined: it gets a worker of its own')
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
