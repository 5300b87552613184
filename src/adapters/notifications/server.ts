/**
 * Notifications: what cages and the runtime tell people calls methods, by rules.
 *
 *   onCall: { kind: 'notifications', level: 'error', call: 'monitor.alerts.mail', args: ['mail', { to: 'ops@shop.test' }], queue: 'retry' }
 *   export async function mail(ctx: Context, notification: Notification, resource: string, options: MailOptions): Promise<void> { ... }
 *
 * N1. All copies of the cage follow; whoever takes the lease deals with what is new, and delivers. Everything is in one record, changed by
 *     compare-and-set: one that dies has its work done by another once its lease is over.
 * N2. What came while no copy was there is dealt with by the next one: the record has the latest sequence. The first start begins with now.
 * N3. A queued delivery is enqueued under an id made of the interface and the sequence: once, however often it is tried. A direct one is made at
 *     least once: a copy that dies after its call and before it has noted that repeats it.
 * N4. A delivery that fails and may succeed later is repeated with back-off; after the last one it is told in the log, never as a notification.
 */
import { randomBytes } from 'node:crypto'
import { CageError, toCageError } from '../../errors.ts'
import { backOffMs, pause } from '../../pause.ts'
import type { InterfaceHost, KeptNotification, Listener } from '../adapter.ts'
import type { NotificationsOptions } from './options.ts'
import { advance, concerns, type Entry, firstRecord, nextDue, type RuleRecord, summaryOf } from './rules.ts'

const KEY = 'record'
/** Dealt with at once. */
const BATCH = 500
const LONGEST_WAIT_MS = 30_000
/** What was heard of is in the stream a moment later: looked for again after so long, and twice as long, so often. */
const LOOK_MS = 25
const LOOKS = 6
/** What was passed over is noted after so many. */
const NOTE_EVERY = 200
/** A direct delivery is tried so often (N4). */
const ATTEMPTS = 8
const BACKOFF = { firstMs: 1_000, maxMs: 60_000 }
const RETRY_MS = 1_000
/** What a lease has beyond the calls' limit, ms. */
const LEASE_MS = 2_000
/** A queue confirms within so long, ms. */
const ENQUEUE_MS = 10_000

/** Starts to follow. Rejects with UNAVAILABLE where nothing can be remembered (no bus, no JetStream). */
export async function listen(options: NotificationsOptions, host: InterfaceHost): Promise<Listener> {
  const rule = new Rule(options, host)
  await rule.start()
  return rule
}

class Rule implements Listener {
  readonly address: string
  readonly done: Promise<void>
  readonly #options: NotificationsOptions
  readonly #host: InterfaceHost
  readonly #copy: string = randomBytes(6).toString('base64url')
  readonly #stopping = new AbortController()
  #looks = 0
  #woken = false
  /** Passed over, and not noted yet. */
  #cursor = 0
  #wake: () => void = () => {}
  #unfollow: (() => void) | undefined
  #loop: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #end = (): void => {}

  constructor(options: NotificationsOptions, host: InterfaceHost) {
    this.#options = options
    this.#host = host
    this.address = `${options.level} and above to ${options.call}`
    this.done = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  async start(): Promise<void> {
    const { memory, notifications } = this.#host
    const last = await notifications.last()
    if ((await memory.get(KEY)) === undefined) await memory.update(KEY, (current) => current ?? firstRecord(last)) // N2
    this.#unfollow = await notifications.follow(this.#options.level, () => {
      this.#looks = LOOKS
      this.#woken = true
      this.#wake()
    })
    this.#looks = LOOKS
    this.#loop = this.#run()
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      this.#unfollow?.()
      this.#stopping.abort()
      this.#wake()
      await this.#loop
      this.#end()
    })()
    return this.#stopped
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      let waitMs = RETRY_MS
      try {
        waitMs = await this.#round()
      } catch (error) {
        this.#host.log.warn({ err: error }, 'notifications cannot be delivered yet, trying again')
      }
      if (waitMs > 0) await this.#pause(waitMs)
    }
  }

  /** Looks once, and resolves with how long nothing is to be done. */
  async #round(): Promise<number> {
    const record = await this.#record()
    const { lease } = record
    const now = Date.now()
    if (lease && lease.by !== this.#copy && lease.until > now) return lease.until - now
    const { found, seq } = await this.#new(record)
    const next = advance(record, found, seq, this.#options, now)
    const due = next.outbox.filter(({ at }) => at <= now)
    const changed = due.length > 0 || found.length > 0 || lease !== undefined || nextDue(record) <= now || seq - record.seq >= NOTE_EVERY
    if (!changed) {
      this.#cursor = seq // nothing up to there concerns us
      return this.#waitFor(record)
    }
    if (due.length > 0) next.lease = { by: this.#copy, until: now + this.#limitMs() + LEASE_MS }
    else delete next.lease
    if (!(await this.#write(record, next))) return 0 // another copy was faster
    if (due.length > 0) await this.#deliver(next, due)
    return due.length > 0 || found.length > 0 ? 0 : this.#waitFor(next)
  }

  #waitFor(record: RuleRecord): number {
    const dueMs = Math.max(1, Math.min(nextDue(record) - Date.now(), LONGEST_WAIT_MS))
    if (this.#looks <= 0) return dueMs
    return Math.min(dueMs, LOOK_MS * 2 ** (LOOKS - this.#looks--))
  }

  async #record(): Promise<RuleRecord> {
    const { memory, notifications } = this.#host
    const record = (await memory.get(KEY)) as RuleRecord | undefined // only we write there
    return record ?? firstRecord(await notifications.last()) // somebody has deleted it
  }

  /** What is new and concerns the rule, and up to where that was looked for. */
  async #new(record: RuleRecord): Promise<{ found: KeptNotification[]; seq: number }> {
    const { notifications, cage } = this.#host
    const last = await notifications.last()
    if (last < record.seq) record.seq = 0 // the stream was made anew
    const found: KeptNotification[] = []
    const from = last < this.#cursor ? record.seq : Math.max(record.seq, this.#cursor)
    let seq = Math.max(from, last)
    if (last <= from) return { found, seq: from }
    for await (const kept of notifications.list(from, this.#options.level)) {
      if (concerns(this.#options, cage, kept)) found.push(kept)
      if (found.length < BATCH) continue
      seq = kept.seq
      break
    }
    return { found, seq: Math.max(seq, found.at(-1)?.seq ?? 0) }
  }

  /** Compare-and-set. */
  async #write(before: RuleRecord, next: RuleRecord): Promise<boolean> {
    next.revision = before.revision + 1
    try {
      await this.#host.memory.update(KEY, (current) => {
        const { revision = before.revision } = (current ?? {}) as Partial<RuleRecord>
        if (revision !== before.revision) throw new CageError('CONFLICT', 'another copy was faster')
        return next
      })
      return true
    } catch (error) {
      if (toCageError(error).code === 'CONFLICT') return false
      throw error
    }
  }

  /** Makes the deliveries that are due, and notes what came of them. */
  async #deliver(record: RuleRecord, due: readonly Entry[]): Promise<void> {
    const left = await Promise.all(due.map((entry) => this.#deliverOne(entry)))
    const rest = record.outbox.filter((entry) => !due.includes(entry))
    const { lease: _, ...free } = record
    const next: RuleRecord = { ...free, outbox: [...rest, ...left.filter((entry) => entry !== undefined)] }
    if (!(await this.#write(record, next))) this.#host.log.warn({}, 'deliveries took longer than their lease, they may be repeated')
  }

  /** N3, N4. Undefined: it is done with. */
  async #deliverOne(entry: Entry): Promise<Entry | undefined> {
    const { log, cage, name } = this.#host
    const { call, args, queue, timeoutMs = this.#host.timeoutMs } = this.#options
    const id = `notifications:${cage}.${name}:${entry.held ? 'summary-' : ''}${entry.seq}`
    try {
      const notification = await this.#notification(entry)
      if (!notification) return undefined
      const about = { requestId: id, protocol: 'notifications', parameters: { notification: entry.seq } }
      if (queue === undefined) await this.#host.call(call, [notification, ...args], { timeoutMs, ...about })
      else await this.#host.enqueue(queue, call, [notification, ...args], { id, ...about })
      return undefined
    } catch (thrown) {
      const error = toCageError(thrown)
      const failures = entry.failures + 1
      const again = error.retryable && (queue !== undefined || failures < ATTEMPTS)
      const fields = { notification: entry.seq, call, failures, err: error }
      if (!again) log.error(fields, 'a notification could not be delivered')
      else log.warn(fields, 'a notification could not be delivered, trying again')
      return again ? { ...entry, failures, at: Date.now() + backOffMs(failures, BACKOFF, Math.random()) } : undefined
    }
  }

  async #notification({ seq, count, held }: Entry): Promise<KeptNotification | undefined> {
    const { notifications, cage, name, log } = this.#host
    if (held) return summaryOf(held, cage, name, Date.now())
    const kept = await notifications.get(seq)
    if (kept) return count === 1 ? kept : { ...kept, repeated: count }
    log.warn({ notification: seq }, 'a notification is not kept any more, newer ones have pushed it out')
    return undefined
  }

  #limitMs(): number {
    return this.#options.queue === undefined ? (this.#options.timeoutMs ?? this.#host.timeoutMs) : ENQUEUE_MS
  }

  async #pause(ms: number): Promise<void> {
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    if (!this.#woken && !this.#stopping.signal.aborted) await pause(ms, woken.signal)
    this.#woken = false
  }
}
