/**
 * Record: what the copies of a cage know together about a schedule, and who may fire. Pure; server.ts keeps it by compare-and-set.
 * R1. Each tick has at most one claim. Ticks go forward only: whoever comes with an older one is late.
 * R2. Where calls must not overlap, a running one holds a lease until its deadline, so that a copy that dies with it holds up nothing for long.
 */

/** How the latest run began, and what came of it. */
export interface LastRun {
  /** The time of the schedule, ISO 8601; undefined if an engineer had it run. */
  tick?: string | undefined
  /** ISO 8601. */
  at: string
  /** `running`, `ok`, `queued`, `skipped` (the call before still ran), or the code of an error. */
  outcome: string
  message?: string | undefined
  ms?: number | undefined
}

export interface ScheduleRecord {
  /** What the ticks were counted by: other words, other ticks. */
  timing: string
  /** The latest tick that somebody has dealt with, epoch ms. */
  tick: number
  /** The copy that did. */
  by: string
  lease?: Lease | undefined
  last?: LastRun | undefined
}

/** A running direct call. */
export interface Lease {
  id: string
  /** Epoch ms. */
  until: number
}

/** taken: another copy has this tick, or a later one. busy: the call before still runs. */
export type Claim = { kind: 'ours'; record: ScheduleRecord } | { kind: 'taken' } | { kind: 'busy' }

/** The record to begin with: as it is, or a new one if there is none or the schedule is another one now. */
export function firstRecord(current: ScheduleRecord | undefined, timing: string, since: number): ScheduleRecord {
  if (current?.timing === timing) return current
  return { timing, tick: since, by: '', lease: current?.lease, last: current?.last }
}

/** A copy's claim to a tick. `lease`: of the call that it is about to make, if calls must not overlap. */
export function claim(current: ScheduleRecord, tick: number, by: string, now: number, lease?: Lease): Claim {
  const isKnown = current.tick === tick && current.by === by // we have it, and had not heard so
  if (current.tick >= tick && !isKnown) return { kind: 'taken' }
  if (lease && lease.id !== current.lease?.id && isBusy(current, now)) return { kind: 'busy' }
  return { kind: 'ours', record: { ...current, tick, by, lease: lease ?? current.lease } }
}

export function isBusy({ lease }: ScheduleRecord, now: number): boolean {
  return lease !== undefined && lease.until > now
}

/** The call with this id has ended. */
export function ended(current: ScheduleRecord, id: string, last: LastRun): ScheduleRecord {
  const lease = current.lease?.id === id ? undefined : current.lease
  const isLatest = current.last === undefined || current.last.at <= last.at // ISO 8601 in UTC: the order of texts is that of time
  return { ...current, lease, last: isLatest ? last : current.last }
}
