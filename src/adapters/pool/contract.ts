/** A pool of connections to one resource, as those who use it know it. Types only. */
import type { Log } from '../../log.ts'
import type { ParticipantClass, Resource, ResourceConnection, Scope } from '../adapter.ts'

/** What a pool is made of. */
export interface PoolSource {
  readonly name: string
  readonly settings: PoolSettings
  /** Called when the first connection is needed, and again if it fails. */
  readonly open: () => Promise<Resource>
  readonly log: Log
}

/** `pool` of a resource's configuration, checked and complete. Defaults stand in options.ts. */
export interface PoolSettings {
  /** Connections at once. Default 10. */
  size: number
  /** Kept connected although nobody needs them. Default 0. */
  standby: number
  /** An idle connection is closed after so long, ms. Default 30,000. */
  idleMs: number
  /** A connection is closed once it is so old, ms, and free. Default 300,000. */
  maxAgeMs: number
  /** Work that has less time left is refused at once, ms. Default 0. */
  minRemainingMs: number
  /** The longest that one piece of work may hold a connection, ms. Default: its deadline. */
  maxCallMs?: number | undefined
  /** An attempt to connect that takes longer has failed, ms. It is the pool's, not one caller's. Default 5,000. */
  connectMs: number
  /** Back-off between attempts to reach a broken resource, ms: all others are refused meanwhile. Default from 100 to 3,000. */
  backoff: { firstMs: number; maxMs: number }
}

/** A connection that is ours until it is given back. */
export interface Lease {
  readonly connection: ResourceConnection
  /** Limited by the pool's `maxCallMs` too. */
  readonly scope: Scope
  /** Back into the pool, or closed if it is broken. Once. */
  release(): void
  /** Never used again. */
  destroy(): void
}

export interface PoolStats {
  size: number
  busy: number
  idle: number
  waiting: number
  connects: number
  failures: number
  /** The resource is taken for broken: no work is begun before `retryAt` (epoch ms), when one attempt is made for all. */
  open: boolean
  retryAt: number | undefined
}

export interface Pool {
  readonly name: string
  readonly settings: PoolSettings
  /**
   * `count` connections at once, all or none, first come first served. Rejects with OVERLOADED if `count` is more than there can ever be, or if
   * the work has less time than `minRemainingMs`; UNAVAILABLE (retryAfterMs) while the resource is broken; DEADLINE_EXCEEDED, CANCELLED.
   */
  acquire(scope: Scope, count?: number): Promise<Lease[]>
  /** Acquires, works, gives back. */
  use<T>(scope: Scope, work: (lease: Lease) => Promise<T>): Promise<T>
  /** What its connections are in a transaction; undefined before the first one was made. */
  readonly participant: ParticipantClass | undefined
  stats(): PoolStats
  /** Takes no more work; resolves when what waits and runs has ended and all is closed. A changed configuration makes another pool: ask for it by name at each use. */
  stop(): Promise<void>
}
