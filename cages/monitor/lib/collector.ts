/**
 * Collector: surveys, one after the other, become tracks: what is counted of cages, modules, methods, flows and resources (views.ts shows it).
 * C1. A copy counts from the second survey that it answers; one that was started since the last survey, from its start.
 * C2. A step of the history is what was surveyed in its time; its rates are of that time, however many surveys it had.
 */
import { type CopyStatus, type Durations, durationsSince, NO_DURATIONS } from 'menagerie'
import { COARSE, FINE, History } from './history.ts'
import { grown, type Point, Track } from './track.ts'

/** A copy that has not answered for so long is gone, ms. */
const GONE_MS = 7_000
/** One that is gone is shown for so long. */
const SHOWN_MS = 600_000
const SPARK = 36
/** A step counts if so much of it was seen, ms. */
const SEEN_MS = 2_000
/** Clocks and timers are not exact. */
const SLACK_MS = 1_000

export interface Seen {
  status: CopyStatus
  /** By our clock. */
  at: number
  cpu: number
}

export class Collector {
  readonly fine: History = new History(FINE)
  readonly coarse: History = new History(COARSE)
  readonly #copies = new Map<string, Seen>()
  readonly #tracks = new Map<string, Track>()
  /** Module → since when its copies run different code. */
  readonly #mixed = new Map<string, number>()
  #at = 0
  #step = -1
  #coveredMs = 0

  /** Takes a survey in, made at `at`. */
  take(copies: readonly CopyStatus[], at: number): void {
    const ms = at - this.#at
    const isFirst = this.#at === 0
    if (!isFirst) {
      const step = this.fine.stepOf(at - ms / 2)
      if (step !== this.#step) this.#endStep(step)
      this.#coveredMs += ms
    }
    for (const copy of copies) this.#takeCopy(copy, at, isFirst ? undefined : ms)
    if (!isFirst) for (const track of this.#tracks.values()) track.surveyed(ms)
    this.#at = at
    this.#forget(at)
    this.#noteMixed(at)
  }

  copies(): readonly Seen[] {
    return [...this.#copies.values()]
  }

  /** Since when the copies of `cage.module` run different code; undefined: they do not. */
  mixedSince(module: string): number | undefined {
    return this.#mixed.get(module)
  }

  isGone({ at }: Seen): boolean {
    return this.#at - at >= GONE_MS
  }

  track(name: string): Track | undefined {
    return this.#tracks.get(name)
  }

  /** All of them, by name: methods, queues, and with line breaks in their names flows, resources and refusals. */
  tracks(): Iterable<[string, Track]> {
    return this.#tracks
  }

  spark(name: string, field: 'rate' | 'errorRate'): number[] {
    return this.fine.recent(name, field, this.#at, SPARK)
  }

  /** C1. `ms`: since the last survey; undefined: this is the first one. */
  #takeCopy(status: CopyStatus, at: number, ms: number | undefined): void {
    const key = `${status.id} ${status.only ?? ''}`
    const before = this.#copies.get(key)?.status
    const isNew = before === undefined && ms !== undefined && status.at - status.startedAt < ms + SLACK_MS
    const cpu = before ? cpuOf(status, before) : 0
    this.#copies.set(key, { status, at, cpu })
    if (!before && !isNew) return
    const { cage } = status
    status.modules.forEach((module, i) => {
      const earlier = samePlace(before?.modules, i, (one) => one.module === module.module)
      this.#track(`refused\n${cage}.${module.module}`).add(grown(module.refused, earlier?.refused ?? 0), 0, NO_DURATIONS)
      module.methods.forEach((method, j) => {
        const prior = samePlace(earlier?.methods, j, (one) => one.method === method.method)
        const name = `${cage}.${module.module}.${method.method}`
        this.#count(name, method.requests, prior?.requests, errorsOf(method), prior && errorsOf(prior), method.durations, prior?.durations)
      })
    })
    status.flows.forEach((flow, i) => {
      const prior = samePlace(before?.flows, i, (one) => one.from === flow.from && one.to === flow.to)
      const name = `flow\n${placeOf(cage, flow.from)}\n${placeOf(cage, flow.to)}`
      this.#count(name, flow.calls, prior?.calls, flow.errors, prior?.errors, flow.durations, prior?.durations)
    })
    status.queues.forEach((queue, i) => {
      const prior = samePlace(before?.queues, i, (one) => one.queue === queue.queue)
      const failed = queue.retried + queue.dead
      this.#count(`queue ${queue.queue}`, queue.done, prior?.done, failed, prior && prior.retried + prior.dead, NO_DURATIONS, undefined)
    })
    status.resources.forEach((resource, i) => {
      const prior = samePlace(before?.resources, i, (one) => one.resource === resource.resource)
      const name = `resource\n${key}\n${resource.resource}`
      const { calls, durations, waits } = resource
      this.#count(name, calls, prior?.calls, errorsOf(resource), prior && errorsOf(prior), durations, prior?.durations)
      this.#track(`${name}\nwaits`).add(0, 0, durationsSince(waits, prior?.waits ?? NO_DURATIONS))
    })
  }

  #count(
    name: string,
    ...[calls, callsBefore = 0, errors, errorsBefore = 0, durations, durationsBefore = NO_DURATIONS]: [
      number,
      number | undefined,
      number,
      number | undefined,
      Durations,
      Durations | undefined,
    ]
  ): void {
    const since = durations.count === durationsBefore.count ? NO_DURATIONS : durationsSince(durations, durationsBefore)
    this.#track(name).add(grown(calls, callsBefore), grown(errors, errorsBefore), since)
  }

  #track(name: string): Track {
    let track = this.#tracks.get(name)
    if (!track) {
      track = new Track()
      this.#tracks.set(name, track)
    }
    return track
  }

  /** C2. */
  #endStep(next: number): void {
    const ended = this.#step
    const coveredMs = this.#coveredMs
    this.#step = next
    this.#coveredMs = 0
    if (ended < 0) return
    const points: [string, Point][] = []
    for (const [name, track] of this.#tracks) {
      const point = track.endStep(coveredMs)
      if (isKept(name)) points.push([name, point])
    }
    if (coveredMs >= SEEN_MS) this.fine.put(ended, points)
    const perMinute = COARSE.stepMs / FINE.stepMs
    const minute = Math.floor(ended / perMinute)
    if (Math.floor(next / perMinute) === minute) return
    const kept = [...this.#tracks].filter(([name]) => isKept(name))
    this.coarse.put(
      minute,
      kept.map(([name, track]) => [name, track.pointOf((ended % perMinute) + 1)] as const),
    )
  }

  #forget(now: number): void {
    for (const [key, seen] of this.#copies) {
      const isReplaced = (): boolean => [...this.#copies.values()].some((other) => other.at > seen.at && isSamePlace(other, seen))
      const isOver = seen.status.state === 'stopping' || now - seen.at > SHOWN_MS || isReplaced()
      if (seen.at === now || !this.isGone(seen) || !isOver) continue
      this.#copies.delete(key)
      for (const name of this.#tracks.keys()) if (name.startsWith(`resource\n${key}\n`)) this.#tracks.delete(name)
    }
  }

  #noteMixed(now: number): void {
    const hashes = new Map<string, Set<string>>()
    for (const seen of this.#copies.values()) {
      if (this.isGone(seen)) continue
      for (const { module, hash } of seen.status.modules) {
        if (hash === undefined) continue
        const name = `${seen.status.cage}.${module}`
        hashes.set(name, (hashes.get(name) ?? new Set()).add(hash))
      }
    }
    for (const [name, found] of hashes) {
      if (found.size < 2) this.#mixed.delete(name)
      else if (!this.#mixed.has(name)) this.#mixed.set(name, now)
    }
    for (const name of this.#mixed.keys()) if (!hashes.has(name)) this.#mixed.delete(name)
  }
}

/** Usually at the same place as before. */
function samePlace<T>(list: readonly T[] | undefined, i: number, is: (one: T) => boolean): T | undefined {
  const there = list?.[i]
  return there !== undefined && is(there) ? there : list?.find(is)
}

/** A call that was put off has not failed. */
function errorsOf({ errors }: { errors: Record<string, number> }): number {
  let total = 0
  for (const code in errors) if (code !== 'SNOOZED') total += errors[code] ?? 0
  return total
}

/** `interface web` → `interface sample.web`, `greeter` → `sample.greeter`; queues are of all cages. */
function placeOf(cage: string, place: string): string {
  const [kind, name] = place.split(' ')
  if (name !== undefined) return kind === 'queue' ? place : `${kind} ${cage}.${name}`
  return place.includes('.') ? place : `${cage}.${place}`
}

/** Methods and queues; what has a line break in its name is not for people. */
function isKept(name: string): boolean {
  return !name.includes('\n')
}

export function isSamePlace({ status: a }: Seen, { status: b }: Seen): boolean {
  return a.cage === b.cage && a.node === b.node && a.only === b.only
}

/** Share of a core: of the thread if Node tells it, else of the whole process. */
function cpuOf({ thread: now, at }: CopyStatus, { thread: before, at: then }: CopyStatus): number {
  const ms = at - then
  if (ms <= 0) return 0
  const used =
    now.threadCpuMs !== undefined && before.threadCpuMs !== undefined
      ? now.threadCpuMs - before.threadCpuMs
      : now.processCpuMs - before.processCpuMs
  return Math.max(0, used / ms)
}
