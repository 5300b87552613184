/** A pool of connections to one resource, and a cache of what was read from it, as those who use them know them. Types only. */
import type { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { ParticipantClass, Resource, ResourceConnection, Scope } from '../adapter.ts'

/** What a pool is made of. */
export interface PoolSource {
  readonly name: string
  readonly settings: PoolSettings
  /** Called when the first connection is needed, and again if it fails. */
  readonly open: () => Promise<Resource>
  readonly log: Log
  /** Told how long work waited for its connections, and in which error that ended, if it did. */
  readonly onWaited?: (ms: number, code?: string) => void
  /** Hears when the resource is taken for broken, and why, and when it is reachable again. */
  readonly onCircuit?: ((open: boolean, why: CageError | undefined) => void) | undefined
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
   * the work has less time than `minRemainingMs`; UNAVAILABLE (details.retryAfterMs) while the resource is broken; DEADLINE_EXCEEDED, CANCELLED.
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

/** Who makes room: the least recently used, the least often used, the cheapest to get again, what has saved the least, the next to expire, anyone. */
export type CachePolicy = 'lru' | 'lfu' | 'weight' | 'useless' | 'old' | 'random'

/** `cache` of a resource's configuration, checked and complete. Defaults stand in options.ts. */
export interface CacheSettings {
  /** Results kept at once. Default 1,000. */
  size: number
  /** A result is kept so long, ms. Default: until it makes room or is invalidated. */
  ttlMs?: number | undefined
  policy: CachePolicy
  /** With it, room is made in the group that has saved the least per result within so long, ms; the policy decides within that group. */
  groupIntervalMs?: number | undefined
  /** Every call is a read, unless it says otherwise. Default false: only those that ask for it are. */
  always: boolean
}

/** How one call is cached. */
export interface CacheCall {
  /** What the result is known by. Default: the method and its arguments. */
  key?: string | undefined
  ttlMs?: number | undefined
  /** What it would cost to get it again. Default: the ms that it took. */
  weight?: number | undefined
  group?: string | undefined
  /** What has been read: a write of one of them invalidates it. */
  readKeys?: readonly string[] | undefined
  /** What is written: the call is made, and reads of these are forgotten, also those under way. */
  writeKeys?: readonly string[] | undefined
}

export interface CacheStats {
  size: number
  kept: number
  hits: number
  misses: number
}

export interface ReadCache {
  /** The result as it is kept, or as `execute` makes it; each caller gets a copy of its own. */
  use(method: string, args: readonly unknown[], call: CacheCall, scope: Scope, execute: () => Promise<unknown>): Promise<unknown>
  /** Forgets what has read one of the keys. */
  invalidate(keys: readonly string[]): void
  stats(): CacheStats
}
