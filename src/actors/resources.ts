/**
 * Resources: what a cage calls outside, by name, each through its pool. They end after the modules, which use them to the last.
 * O1. Nothing is loaded or connected before the first call, unless the pool has a `standby`.
 * O2. A changed configuration makes a new pool for new work; the old one ends when its work has.
 */
import type { Drivers, ResourceHost, Scope } from '../adapters/adapter.ts'
import type { CacheCall, CacheSettings, Pool, PoolSource, ReadCache } from '../adapters/pool/contract.ts'
import type { ResourceStatus } from '../bus/survey/contract.ts'
import { CageError, toCageError } from '../errors.ts'
import { Histogram } from '../histogram.ts'
import type { Log } from '../log.ts'
import { didYouMean } from '../names.ts'
import type { ResourceSettings } from '../settings.ts'
import { Tally } from './tally.ts'

/** Makes the cache of what is read from a resource; what it is made with is loaded then. */
export type OpenCache = (name: string, settings: CacheSettings) => Promise<ReadCache>

/** What resources are made of. */
export interface ResourcesSource {
  readonly cage: string
  readonly log: Log
  readonly drivers: Drivers
  readonly openPool: (source: PoolSource) => Pool
  readonly openCache: OpenCache
  /** A resource is taken for broken, or is reachable again. */
  readonly onCircuit?: (resource: string, open: boolean, why: CageError | undefined) => void
}

interface Configured {
  pool: Pool
  cache: Promise<ReadCache> | undefined
  settings: ResourceSettings
}

/** Of one name, whatever its configuration: calls from the moment when a connection was there, and how long that took. */
interface Counted {
  tally: Tally
  waits: Histogram
}

export class Resources {
  readonly #source: ResourcesSource
  readonly #known = new Map<string, Configured>()
  readonly #counted = new Map<string, Counted>()

  constructor(source: ResourcesSource) {
    this.#source = source
  }

  /** O2. Resolves when what has been replaced, or is gone, has ended. */
  async configure(settings: Readonly<Record<string, ResourceSettings>>): Promise<void> {
    const ending: Promise<void>[] = []
    for (const [name, { pool, settings: before }] of this.#known) {
      if (JSON.stringify(before) === JSON.stringify(settings[name])) continue
      this.#known.delete(name)
      ending.push(pool.stop())
    }
    for (const [name, each] of Object.entries(settings)) {
      if (this.#known.has(name)) continue
      const cache = each.cache && this.#source.openCache(name, each.cache)
      this.#known.set(name, { pool: this.#open(name, each), cache, settings: each })
    }
    await Promise.all(ending)
  }

  /** Ask at each use: a changed configuration makes another. */
  get(name: string): Pool | undefined {
    return this.#known.get(name)?.pool
  }

  /** What was read from it, if that is configured. */
  cache(name: string): Promise<ReadCache> | undefined {
    return this.#known.get(name)?.cache
  }

  /** Its adapter's. */
  kindOf(name: string): string | undefined {
    return this.#known.get(name)?.settings.kind
  }

  names(): string[] {
    return [...this.#known.keys()]
  }

  /** The pool, or INVALID_ARGUMENT with the name that was probably meant. */
  pool(name: string): Pool {
    const pool = this.get(name)
    if (pool) return pool
    throw new CageError('INVALID_ARGUMENT', `cage ${this.#source.cage} has no resource ${name}${didYouMean(name, this.#known.keys())}`)
  }

  /** One call on a connection of its own, or what is kept of an earlier one. */
  async call(name: string, method: string, args: readonly unknown[], scope: Scope, cached?: CacheCall | false): Promise<unknown> {
    const pool = this.pool(name)
    const execute = (): Promise<unknown> =>
      pool.use(scope, (lease) => this.counted(name, () => lease.connection.call(method, args, lease.scope)))
    const { cache, settings } = this.#known.get(name) ?? {}
    const how = cached ?? (settings?.cache?.always ? {} : false)
    return await (cache !== undefined && how ? (await cache).use(method, args, how, scope, execute) : execute())
  }

  /** Counts what is done with a connection. */
  async counted<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { tally } = this.#countsOf(name)
    const begun = performance.now()
    try {
      const result = await work()
      tally.count(performance.now() - begun)
      return result
    } catch (error) {
      tally.count(performance.now() - begun, toCageError(error).code)
      throw error
    }
  }

  /** All of them, as they are now. */
  *status(): Iterable<ResourceStatus> {
    for (const [resource, { pool, settings }] of this.#known) {
      const { size: limit, idle, busy, ...stats } = pool.stats()
      const { tally, waits } = this.#countsOf(resource)
      yield { resource, kind: settings.kind, ...stats, limit, size: busy + idle, busy, ...tally.read(), waits: waits.read() }
    }
  }

  async stop(): Promise<void> {
    await this.configure({})
  }

  #countsOf(name: string): Counted {
    let counted = this.#counted.get(name)
    if (!counted) {
      counted = { tally: new Tally(), waits: new Histogram() }
      this.#counted.set(name, counted)
    }
    return counted
  }

  #open(name: string, { kind, options, pool: settings }: ResourceSettings): Pool {
    const { cage, drivers, openPool, onCircuit } = this.#source
    const log = this.#source.log.child({ resource: name })
    const host: ResourceHost = { cage, name, log, maxCallMs: settings.maxCallMs }
    const { tally, waits } = this.#countsOf(name)
    return openPool({
      name,
      settings,
      log,
      onWaited: (ms, code) => {
        waits.add(ms)
        if (code !== undefined) tally.refuse(code)
      },
      onCircuit: (open, why) => onCircuit?.(name, open, why),
      open: async () => {
        const driver = drivers.get(kind)
        if (!driver?.open) throw new CageError('INTERNAL', `there is no driver of ${kind}`)
        return await driver.open(options, host)
      },
    })
  }
}
