/**
 * Lanes: which of the calls that one copy hands out may begin now. Pure: times come in.
 * N1. In an ordered lane one call is under way at a time, the oldest first; a failed one holds its lane until it is tried again, and no other.
 * N2. A limit counts the calls under way, and the time since the last start, for each of its keys.
 * N3. Lanes take turns: a long one does not keep the others waiting.
 */
import type { LaneInfo, QueueLimits } from './contract.ts'

/** What may wait in a lane. */
export interface Waiting {
  readonly lane: string
  readonly limit: string
}

interface Lane<T> {
  name: string
  items: T[]
  running: number
  heldUntil: number
}

interface Usage {
  running: number
  nextAt: number
}

/** With more keys than this, idle ones are looked for. */
const MANY_KEYS = 1_000

export class Lanes<T extends Waiting> {
  #rules: { ordered: boolean; limits: Omit<QueueLimits, 'key'> }
  readonly #lanes = new Map<string, Lane<T>>()
  readonly #usage = new Map<string, Usage>()

  constructor(rules: { ordered: boolean; limits: Omit<QueueLimits, 'key'> }) {
    this.#rules = rules
  }

  setRules(rules: { ordered: boolean; limits: Omit<QueueLimits, 'key'> }): void {
    this.#rules = rules
  }

  add(item: T): void {
    this.#laneOf(item.lane).items.push(item)
  }

  /** The next call that may begin; it counts as under way. */
  take(now: number): T | undefined {
    const { ordered, limits } = this.#rules
    if (this.#usage.size > MANY_KEYS) this.#forgetIdle(now)
    for (const lane of this.#lanes.values()) {
      const [item] = lane.items
      if (!item || lane.heldUntil > now || (ordered && lane.running > 0)) continue
      const usage = this.#usageOf(item.limit)
      if (usage.nextAt > now || usage.running >= (limits.concurrency ?? Number.POSITIVE_INFINITY)) continue
      lane.items.shift()
      lane.running++
      usage.running++
      if (limits.ratePerSecond !== undefined) usage.nextAt = Math.max(now, usage.nextAt) + 1_000 / limits.ratePerSecond
      this.#lanes.delete(lane.name) // N3: to the end of the line
      this.#lanes.set(lane.name, lane)
      return item
    }
    return undefined
  }

  /** Nothing holds the lane any more: the call that did was cancelled. */
  release(lane: string): void {
    this.#laneOf(lane).heldUntil = 0
  }

  /** Forgets what has not begun, and returns how much that was. */
  clear(): number {
    let cleared = 0
    for (const lane of this.#lanes.values()) cleared += lane.items.splice(0).length
    return cleared
  }

  /** A call has ended; `againAt` (epoch ms): it is to be tried again, before all others of its lane. */
  ended(item: T, againAt?: number): void {
    const lane = this.#laneOf(item.lane)
    lane.running--
    const usage = this.#usageOf(item.limit)
    usage.running--
    if (againAt !== undefined) {
      lane.items.unshift(item)
      lane.heldUntil = againAt
    }
    if (lane.items.length === 0 && lane.running === 0) this.#lanes.delete(lane.name)
    if (usage.running === 0 && this.#rules.limits.ratePerSecond === undefined) this.#usage.delete(item.limit)
  }

  /** Epoch ms: when a lane or limit that is closed now opens by itself; undefined if none does. */
  nextAt(now: number): number | undefined {
    let next = Number.POSITIVE_INFINITY
    for (const { items, heldUntil } of this.#lanes.values()) {
      const [item] = items
      if (!item) continue
      const opensAt = Math.max(heldUntil, this.#usage.get(item.limit)?.nextAt ?? 0)
      if (opensAt > now && opensAt < next) next = opensAt
    }
    return next === Number.POSITIVE_INFINITY ? undefined : next
  }

  /** The lanes with most waiting. */
  info(now: number, most: number): LaneInfo[] {
    return [...this.#lanes.values()]
      .map(({ name, items, running, heldUntil }) => ({
        lane: name,
        waiting: items.length,
        running,
        heldUntil: heldUntil > now ? heldUntil : undefined,
      }))
      .sort((a, b) => b.waiting - a.waiting)
      .slice(0, most)
  }

  #laneOf(name: string): Lane<T> {
    let lane = this.#lanes.get(name)
    if (!lane) {
      lane = { name, items: [], running: 0, heldUntil: 0 }
      this.#lanes.set(name, lane)
    }
    return lane
  }

  /** Keys that come once are not remembered for ever. */
  #forgetIdle(now: number): void {
    for (const [name, { running, nextAt }] of this.#usage) if (running === 0 && nextAt <= now) this.#usage.delete(name)
  }

  #usageOf(name: string): Usage {
    let usage = this.#usage.get(name)
    if (!usage) {
      usage = { running: 0, nextAt: 0 }
      this.#usage.set(name, usage)
    }
    return usage
  }
}
