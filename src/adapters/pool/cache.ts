/**
 * Cache: what was read from a resource, kept to be read again. On lru-cache; the other policies choose who makes room before it would.
 * Q1. Of those who read the same at once, one executes; the others wait for it, each within its own scope. If it gave up, another one executes.
 * Q2. A write forgets the reads that share a key with it, also those under way: their callers get what they read, nobody else does.
 * Q3. Everybody gets a copy: what one caller does to its result is nobody else's.
 * Q4. Neither failures, nor undefined and null, are kept.
 */
import { serialize } from 'node:v8'
import { LRUCache } from 'lru-cache'
import { CageError } from '../../errors.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import type { CacheCall, CacheSettings, CacheStats, ReadCache } from './contract.ts'
import { type Candidate, type Kept, victim } from './victim.ts'

/** Makes the cache of a resource. */
export function openCache(name: string, settings: CacheSettings): ReadCache {
  return new ResourceCache(name, settings)
}

interface Result extends Kept {
  readonly value: unknown
  readonly readKeys: readonly string[]
}

/** A read under way. */
interface Reading {
  readonly readKeys: readonly string[]
  readonly done: Promise<unknown>
  /** Q2. */
  stale: boolean
}

class ResourceCache implements ReadCache {
  readonly #name: string
  readonly #settings: CacheSettings
  readonly #results: LRUCache<string, Result>
  readonly #reading = new Map<string, Reading>()
  readonly #groups: GroupWorth
  #hits = 0
  #misses = 0

  constructor(name: string, settings: CacheSettings) {
    this.#name = name
    this.#settings = settings
    this.#results = new LRUCache({ max: settings.size, ttl: settings.ttlMs ?? 0, ttlAutopurge: false })
    this.#groups = new GroupWorth(settings.groupIntervalMs)
  }

  async use(method: string, args: readonly unknown[], call: CacheCall, scope: Scope, execute: () => Promise<unknown>): Promise<unknown> {
    const { writeKeys } = call
    if (writeKeys !== undefined) return await execute().finally(() => this.invalidate(writeKeys)) // a failed one may have written
    const key = call.key === undefined ? keyOf(method, args) : `k${call.key}`
    if (key === undefined) return await execute()
    for (;;) {
      const result = this.#results.get(key)
      if (result) {
        this.#hits++
        result.hits++
        this.#groups.saved(result.group, result.weight)
        return structuredClone(result.value)
      }
      const reading = this.#reading.get(key)
      if (!reading) return await this.#read(key, call, execute)
      try {
        const value = structuredClone(await this.#wait(reading.done, scope))
        this.#hits++
        return value
      } catch (error) {
        const ended = endOf(scope, Date.now(), this.#name)
        if (ended) throw ended
        if (!(error instanceof CageError) || !GAVE_UP.has(error.code)) throw error // Q1
      }
    }
  }

  invalidate(keys: readonly string[]): void {
    const touches = (readKeys: readonly string[]): boolean => readKeys.some((key) => keys.includes(key))
    for (const key of [...this.#results.keys()]) if (touches(this.#results.peek(key)?.readKeys ?? [])) this.#results.delete(key)
    for (const [key, reading] of this.#reading) {
      if (!touches(reading.readKeys)) continue
      reading.stale = true
      this.#reading.delete(key) // who comes now reads anew
    }
  }

  stats(): CacheStats {
    return { size: this.#settings.size, kept: this.#results.size, hits: this.#hits, misses: this.#misses }
  }

  async #read(key: string, call: CacheCall, execute: () => Promise<unknown>): Promise<unknown> {
    this.#misses++
    const begun = performance.now()
    const reading: Reading = { readKeys: call.readKeys ?? [], done: execute(), stale: false }
    this.#reading.set(key, reading)
    try {
      const value = await reading.done
      if (!reading.stale && value !== undefined && value !== null) this.#keep(key, value, call, performance.now() - begun) // Q2, Q4
      return structuredClone(value) // Q3: those who wait copy the same
    } finally {
      if (this.#reading.get(key) === reading) this.#reading.delete(key)
    }
  }

  #wait(done: Promise<unknown>, scope: Scope): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const off = whenEnded(scope, this.#name, reject)
      done.then(resolve, reject).finally(off)
    })
  }

  #keep(key: string, value: unknown, { ttlMs, weight, group = '', readKeys = [] }: CacheCall, tookMs: number): void {
    const { policy, size, groupIntervalMs } = this.#settings
    const isLibrarys = policy === 'lru' && groupIntervalMs === undefined
    if (!isLibrarys && this.#results.size >= size && !this.#results.has(key)) {
      this.#results.purgeStale()
      const counts = new Map<string, number>()
      for (const { group: other } of this.#results.values()) counts.set(other, (counts.get(other) ?? 0) + 1)
      const out = victim(this.#candidates(), policy, Math.random, (other) => this.#groups.worth(other, counts.get(other) ?? 1))
      if (out !== undefined && this.#results.size >= size) this.#results.delete(out)
    }
    this.#results.set(key, { value, readKeys, group, weight: weight ?? tookMs, hits: 0 }, ttlMs === undefined ? {} : { ttl: ttlMs })
  }

  *#candidates(): Iterable<Candidate<string>> {
    for (const key of this.#results.rkeys()) {
      const kept = this.#results.peek(key)
      if (kept) yield { key, kept, remainingMs: this.#results.getRemainingTTL(key) }
    }
  }
}

/** With these a read gave up for reasons of its own caller. */
const GAVE_UP: ReadonlySet<string> = new Set(['CANCELLED', 'DEADLINE_EXCEEDED'])

/** The method and its arguments as text; undefined if they cannot be compared: a function is among them. */
function keyOf(method: string, args: readonly unknown[]): string | undefined {
  try {
    return `a${serialize([method, args]).toString('latin1')}`
  } catch {
    return undefined // DataCloneError: whoever passes a function wants it called
  }
}

/** What each group has saved lately, per result in it. All are equal without an interval. */
class GroupWorth {
  readonly #intervalMs: number | undefined
  #since = Date.now()
  #now = new Map<string, number>()
  #before = new Map<string, number>()

  constructor(intervalMs: number | undefined) {
    this.#intervalMs = intervalMs
  }

  saved(group: string, weight: number): void {
    if (this.#intervalMs === undefined) return
    this.#turn(this.#intervalMs)
    this.#now.set(group, (this.#now.get(group) ?? 0) + weight)
  }

  worth(group: string, results: number): number {
    if (this.#intervalMs === undefined) return 0
    this.#turn(this.#intervalMs)
    return ((this.#now.get(group) ?? 0) + (this.#before.get(group) ?? 0)) / results
  }

  /** Two intervals are kept: this one, and the one before. */
  #turn(intervalMs: number): void {
    const passed = Date.now() - this.#since
    if (passed < intervalMs) return
    this.#before = passed < 2 * intervalMs ? this.#now : new Map()
    this.#now = new Map()
    this.#since = Date.now()
  }
}
