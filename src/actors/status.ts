/** Status: what a copy of a cage tells of itself in a survey, put together of what its parts know. */
import { hostname } from 'node:os'
import type { Bus } from '../bus/bus.ts'
import type { CopyStatus, ModuleStatus } from '../bus/survey/contract.ts'
import type { Flows } from './flows.ts'
import { InterfaceActor } from './interface.ts'
import type { ModuleActor } from './module.ts'
import { QueueActor } from './queue.ts'
import type { Resources } from './resources.ts'
import type { Supervisor } from './supervisor.ts'
import type { WorkerPast } from './thread.ts'
import { ThreadWatch } from './thread-status.ts'

/** The server has so long to answer, ms: less than a survey waits for one that is late. */
const ROUND_TRIP_MS = 200

/** What is told. */
export interface StatusSource {
  readonly node: string
  readonly cage: string
  readonly version: string
  readonly only: string | undefined
  readonly bus: Bus
  readonly past: WorkerPast
  readonly modules: ReadonlyMap<string, ModuleActor>
  readonly supervisor: Supervisor
  readonly resources: Resources
  readonly flows: Flows
  /** Interface → its kind. */
  readonly kinds: () => Readonly<Record<string, { kind: string }>>
}

export class CopyState {
  state: CopyStatus['state'] = 'starting'
  readonly #source: StatusSource
  readonly #loads = new Map<string, Loads>()
  readonly #startedAt = Date.now()
  readonly #thread: ThreadWatch

  constructor(source: StatusSource) {
    this.#source = source
    this.#thread = new ThreadWatch(source.past)
  }

  /** A version of a module came into service, so long after its file had changed. */
  loaded(module: string, ms: number): void {
    const { reloads = 0 } = this.#loads.get(module) ?? {}
    this.#loads.set(module, { reloads: reloads + 1, reloadMs: ms, since: Date.now(), broken: undefined })
  }

  /** A module's newest file is not in service. */
  broken(module: string, why: string): void {
    const before = this.#loads.get(module) ?? { reloads: 0, reloadMs: undefined, since: undefined }
    this.#loads.set(module, { ...before, broken: why })
  }

  /** A module is here no more. */
  gone(module: string): void {
    this.#loads.delete(module)
  }

  async read(): Promise<CopyStatus> {
    const { node, cage, version, only, bus, supervisor, resources, flows, kinds } = this.#source
    const roundTripMs = await bus.roundTrip(ROUND_TRIP_MS)
    const { children } = supervisor
    const interfaces = children.filter((child) => child instanceof InterfaceActor).map((child) => child.status())
    return {
      cage,
      only,
      node,
      host: hostname(),
      pid: process.pid,
      id: bus.id,
      runtime: `menagerie ${version}`,
      nodeVersion: process.version,
      startedAt: this.#startedAt,
      at: Date.now(),
      state: this.state,
      modules: [...this.#modules()],
      interfaces: interfaces.map((status) => ({ ...status, kind: kinds()[status.interface]?.kind ?? '' })),
      resources: [...resources.status()],
      queues: children.filter((child) => child instanceof QueueActor).map((child) => child.status()),
      flows: [...flows.read()],
      thread: this.#thread.status(),
      connection: { roundTripMs, ...bus.stats(), server: bus.server },
    }
  }

  close(): void {
    this.#thread.close()
  }

  *#modules(): Iterable<ModuleStatus> {
    const { modules, only } = this.#source
    for (const module of new Set([...modules.keys(), ...this.#loads.keys()])) {
      const loads = this.#loads.get(module) ?? { reloads: 0, reloadMs: undefined, since: undefined, broken: undefined }
      yield { module, ...loads, isolated: only === module, ...(modules.get(module)?.status() ?? NEVER_GOOD) }
    }
  }
}

type Loads = Pick<ModuleStatus, 'since' | 'reloads' | 'reloadMs' | 'broken'>

const NEVER_GOOD: ReturnType<ModuleActor['status']> = {
  version: undefined,
  hash: undefined,
  concurrency: 0,
  maxQueued: 0,
  running: 0,
  waiting: 0,
  refused: 0,
  methods: [],
}
