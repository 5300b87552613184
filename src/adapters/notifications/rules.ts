/**
 * Rules: what becomes of notifications, one after the other. Pure; server.ts keeps the record by compare-and-set.
 * R1. The same one (level, cage, module, kind, message) is delivered once in `sameEveryMs`; those that came meanwhile are delivered as one at its end.
 * R2. At most `perMinute` deliveries are begun in a minute; what is beyond is put together into one summary at its end.
 * R3. Nothing is forgotten but by number: whatever is not delivered by itself is counted in what is.
 * R4. A dead call of the very method that delivers is not delivered: that would be the next dead call.
 */
import { createHash } from 'node:crypto'
import type { KeptNotification, NotificationLevel } from '../adapter.ts'
import type { NotificationsOptions } from './options.ts'

const MINUTE_MS = 60_000

/** As many different ones are told apart at once; of more, the one that ends first is ended. */
const MOST_TOLD = 500

/** Kinds that a summary tells apart. */
const MOST_KINDS = 50

/** What the copies of the cage know together. */
export interface RuleRecord {
  /** Up to here everything has been dealt with. */
  seq: number
  /** Counts the writes: who has read another one is late. */
  revision: number
  /** By hash: what was delivered, and what came since. */
  told: Record<string, Told>
  minute: Minute
  /** What is to be delivered. */
  outbox: Entry[]
  lease?: { by: string; until: number } | undefined
}

interface Told {
  /** Epoch ms. */
  until: number
  count: number
  /** Of the latest one. */
  seq: number
}

interface Minute {
  /** Epoch ms. */
  until: number
  begun: number
  held?: Held | undefined
}

/** What a minute had no room for. */
export interface Held {
  count: number
  firstSeq: number
  lastSeq: number
  /** The worst. */
  level: NotificationLevel
  /** `error shop call.dead` → how many. */
  by: Record<string, number>
}

/** One delivery: of the notification with this `seq`, or of a summary. */
export interface Entry {
  seq: number
  /** It stands for so many. */
  count: number
  held?: Held | undefined
  failures: number
  /** Not before, epoch ms. */
  at: number
}

export function firstRecord(seq: number): RuleRecord {
  return { seq, revision: 0, told: {}, minute: { until: 0, begun: 0 }, outbox: [] }
}

/** Whether a rule is about a notification at all. Its level has been looked at. */
export function concerns(options: NotificationsOptions, cage: string, { cage: from, module, kind }: KeptNotification): boolean {
  const { cages, modules, kinds, call } = options
  const [, method = '', owner = cage] = call.split('.').reverse()
  if (kind === 'call.dead' && from === owner && module === method) return false // R4
  return (
    (cages?.includes(from) ?? true) &&
    (modules === undefined || (module !== undefined && modules.includes(module))) &&
    (kinds === undefined || (kind !== undefined && kinds.includes(kind)))
  )
}

/** The record once these have been dealt with, and what has come to its end by now. */
export function advance(
  before: RuleRecord,
  found: readonly KeptNotification[],
  seq: number,
  options: NotificationsOptions,
  now: number,
): RuleRecord {
  const record = structuredClone(before)
  for (const [key, told] of Object.entries(record.told)) if (told.until <= now) endTold(record, key, options, now)
  endMinute(record, now)
  for (const kept of found) {
    const count = kept.repeated ?? 1
    const key = keyOf(kept)
    const told = record.told[key]
    if (told) {
      told.count += count
      told.seq = kept.seq
      continue
    }
    if (options.sameEveryMs > 0) makeRoom(record, options, now)
    if (options.sameEveryMs > 0) record.told[key] = { until: now + options.sameEveryMs, count: 0, seq: kept.seq }
    begin(record, kept.seq, count, options, now, kept)
  }
  record.seq = Math.max(record.seq, seq)
  return record
}

/** When there is something to do although nothing new has come, epoch ms. */
export function nextDue({ told, minute, outbox }: RuleRecord): number {
  const ends = Object.values(told).flatMap(({ until, count }) => (count > 0 ? [until] : []))
  const times = [...ends, ...outbox.map(({ at }) => at), ...(minute.held ? [minute.until] : [])]
  return times.reduce((first, time) => Math.min(first, time), Number.POSITIVE_INFINITY)
}

/** The notification that a summary is. */
export function summaryOf({ count, level, by, firstSeq, lastSeq }: Held, cage: string, name: string, now: number): KeptNotification {
  const message = `${count} more notifications than ${name} delivers in a minute, see menagerie notify ls`
  return { level, cage, kind: 'summary', at: now, message, repeated: count, details: { by, firstSeq, lastSeq }, seq: lastSeq }
}

/** R1. It is begun again where others came meanwhile. */
function endTold(record: RuleRecord, key: string, options: NotificationsOptions, now: number): void {
  const told = record.told[key]
  delete record.told[key]
  if (!told || told.count === 0) return
  begin(record, told.seq, told.count, options, now, undefined)
  if (options.sameEveryMs > 0) record.told[key] = { until: now + options.sameEveryMs, count: 0, seq: told.seq }
}

function makeRoom(record: RuleRecord, options: NotificationsOptions, now: number): void {
  const all = Object.entries(record.told)
  if (all.length < MOST_TOLD) return
  const [first] = all.sort(([, a], [, b]) => a.until - b.until)
  if (!first) return
  const [key, { seq, count }] = first
  delete record.told[key]
  if (count > 0) begin(record, seq, count, options, now, undefined)
}

/** R2. */
function begin(
  record: RuleRecord,
  seq: number,
  count: number,
  options: NotificationsOptions,
  now: number,
  kept: KeptNotification | undefined,
): void {
  endMinute(record, now)
  const { minute } = record
  if (minute.begun < options.perMinute) {
    minute.begun++
    record.outbox.push({ seq, count, failures: 0, at: 0 })
    return
  }
  minute.held ??= { count: 0, firstSeq: seq, lastSeq: seq, level: 'info', by: {} }
  const { held } = minute
  held.count += count
  held.lastSeq = Math.max(held.lastSeq, seq)
  const word = kept ? [kept.level, kept.cage, kept.kind ?? kept.module ?? ''].join(' ').trim() : 'the same again'
  const known = held.by[word] !== undefined || Object.keys(held.by).length < MOST_KINDS ? word : 'others'
  held.by[known] = (held.by[known] ?? 0) + count
  if (LEVELS.indexOf(kept?.level ?? options.level) > LEVELS.indexOf(held.level)) held.level = kept?.level ?? options.level
}

/** The minute is over: what it had no room for begins the next one. */
function endMinute(record: RuleRecord, now: number): void {
  const { until, held } = record.minute
  if (until > now) return
  record.minute = { until: now + MINUTE_MS, begun: held ? 1 : 0 }
  if (held) record.outbox.push({ seq: held.lastSeq, count: held.count, held, failures: 0, at: 0 })
}

const LEVELS: readonly NotificationLevel[] = ['info', 'warn', 'error', 'alert']

function keyOf({ level, cage, module, kind, message }: KeptNotification): string {
  return createHash('sha256')
    .update(JSON.stringify([level, cage, module, kind, message]))
    .digest('base64url')
    .slice(0, 16)
}
