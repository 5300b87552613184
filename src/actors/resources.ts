/**
 * Resources: what a cage calls outside, by name, each through its pool. They end after the modules, which use them to the last.
 * O1. Nothing is loaded or connected before the first call, unless the pool has a `standby`.
 * O2. A changed configuration makes a new pool for new work; the old one ends when its work has.
 */
import type { Driver, ResourceHost, Scope } from '../adapters/adapter.ts'
import type { Pool, PoolSource } from '../adapters/pool/contract.ts'
import { CageError } from '../errors.ts'
import type { Log } from '../log.ts'
import { didYouMean } from '../names.ts'
import type { ResourceSettings } from '../settings.ts'

/** What resources are made of. */
export interface ResourcesSource {
  readonly cage: string
  readonly log: Log
  readonly drivers: ReadonlyMap<string, Driver>
  readonly openPool: (source: PoolSource) => Pool
}

interface Configured {
  pool: Pool
  settings: ResourceSettings
}

export class Resources {
  readonly #source: ResourcesSource
  readonly #known = new Map<string, Configured>()

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
      if (!this.#known.has(name)) this.#known.set(name, { pool: this.#open(name, each), settings: each })
    }
    await Promise.all(ending)
  }

  /** Ask at each use: a changed configuration makes another. */
  get(name: string): Pool | undefined {
    return this.#known.get(name)?.pool
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

  /** One call on a connection of its own. */
  async call(name: string, method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    return await this.pool(name).use(scope, (lease) => lease.connection.call(method, args, lease.scope))
  }

  async stop(): Promise<void> {
    await this.configure({})
  }

  #open(name: string, { kind, options, pool: settings }: ResourceSettings): Pool {
    const { cage, drivers, openPool } = this.#source
    const log = this.#source.log.child({ resource: name })
    const host: ResourceHost = { cage, name, log, maxCallMs: settings.maxCallMs }
    return openPool({
      name,
      settings,
      log,
      open: async () => {
        const driver = drivers.get(kind)
        if (!driver?.open) throw new CageError('INTERNAL', `there is no driver of ${kind}`)
        return await driver.open(options, host)
      },
    })
  }
}
