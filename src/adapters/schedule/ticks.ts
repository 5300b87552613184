/**
 * Ticks: when a schedule is due. Pure: every moment is a parameter, epoch ms.
 * D1. All copies of a cage come to the same ticks from the configuration alone: `everyMs` counts from the epoch, not from a start.
 * D2. Clocks that are put forward: a time that there is not comes at the end of the gap, once, except where expression steps over hours anyway.
 *     Clocks that are put back: a time that there is twice comes the first time; an hour by hour, minute by minute expression goes on through both.
 */
import { Cron } from 'croner'
import { CageError } from '../../errors.ts'

/** When; one of `cron`, `everyMs` and `at`. */
export interface Timing {
  cron?: string | undefined
  everyMs?: number | undefined
  at?: string | undefined
  timezone: string
}

export interface Timetable {
  /** The first tick after a moment; undefined: never again. */
  next(after: number): number | undefined
  /** The last tick up to a moment, itself included. */
  last(upTo: number): number | undefined
}

/** What becomes of ticks that came while no copy could fire: none, the latest one, or each. */
export type Missed = 'skip' | 'once' | 'all'

/** How many ticks are caught up with at most; older ones are given up. */
export const MAX_CAUGHT_UP = 1_000

/** A tick that copies who were there could not fire for so long (the bus was away) counts as missed, ms. */
const LATE_MS = 60_000

const ISO = /^(\d{4})-(\d\d)-(\d\d)T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?$/

/** Throws INVALID_ARGUMENT for what cannot be understood, or never comes. */
export function timetable({ cron, everyMs, at, timezone }: Timing): Timetable {
  if (cron !== undefined) return byCron(cron, timezone)
  if (everyMs !== undefined)
    return {
      next: (after) => (Math.floor(after / everyMs) + 1) * everyMs,
      last: (upTo) => Math.floor(upTo / everyMs) * everyMs,
    }
  const once = momentOf(at ?? '', timezone)
  return { next: (after) => (once > after ? once : undefined), last: (upTo) => (once <= upTo ? once : undefined) }
}

/** The ticks after one moment and up to another, in their order; of too many the latest. */
export function dueTicks(table: Timetable, after: number, upTo: number): number[] {
  const found: number[] = []
  for (let tick = table.last(upTo); tick !== undefined && tick > after && found.length < MAX_CAUGHT_UP; tick = table.last(tick - 1))
    found.push(tick)
  return found.reverse()
}

/** Those of the due ticks that are to be fired. `since`: from when on a copy was there. */
export function ticksToFire(due: readonly number[], missed: Missed, since: number, now: number): number[] {
  const isMissed = (tick: number): boolean => tick <= since || tick < now - LATE_MS
  if (missed === 'all') return [...due]
  const latest = missed === 'once' ? due.findLast(isMissed) : undefined
  return due.filter((tick) => !isMissed(tick) || tick === latest)
}

function byCron(expression: string, timezone: string): Timetable {
  if (ISO.test(expression)) throw invalid(`${JSON.stringify(expression)} is a moment, not a cron expression: name it with at`)
  const cron = understood(() => new Cron(expression, { timezone, paused: true }))
  const table: Timetable = {
    next: (after) => cron.nextRun(new Date(after))?.getTime(),
    last: (upTo) => cron.previousRuns(1, new Date(upTo + 1))[0]?.getTime(),
  }
  if (understood(() => table.next(0)) === undefined) throw invalid(`the cron expression ${JSON.stringify(expression)} never comes`)
  return table
}

/** A moment in words: by its offset, or as the clocks of the time zone show it. */
function momentOf(text: string, timezone: string): number {
  const [, year, month, day, seconds, offset] = ISO.exec(text) ?? []
  const exists = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day))).getUTCDate() === Number(day)
  const local = seconds === undefined ? `${text}:00` : text
  const moment =
    offset === undefined && exists
      ? understood(() => new Cron(local, { timezone, paused: true }).nextRun(new Date(0))?.getTime())
      : Date.parse(text)
  if (!exists || moment === undefined || Number.isNaN(moment))
    throw invalid(`${JSON.stringify(text)} is no moment like 2026-12-31T23:59:00Z, 2026-12-31T23:59:00+01:00 or 2026-12-31T23:59`)
  return moment
}

function understood<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    const message = cause instanceof Error ? cause.message.replace(/^\w+: /, '') : String(cause)
    throw new CageError('INVALID_ARGUMENT', `${message.charAt(0).toLowerCase()}${message.slice(1)}`, { cause })
  }
}

function invalid(message: string): CageError {
  return new CageError('INVALID_ARGUMENT', message)
}
