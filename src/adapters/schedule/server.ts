/**
 * Schedule: calls by the clock. Cron expressions as croner has them (crontab(5), with seconds, L, # and W).
 *
 *   nightly: { kind: 'schedule', cron: '0 3 * * *', timezone: 'Europe/Berlin', call: 'reports.build', queue: 'retry' }
 *   export async function build(ctx: Context): Promise<void> { const due = ctx.request.parameters.tick ... }
 *
 * T1. All copies of the cage wait for each tick, and one fires it. A queued tick: all enqueue it under the same id, so the queue has it once;
 *     then it is noted. A copy that dies in between loses nothing.
 * T2. A direct tick: the copy whose claim is stored calls, at most once. What dies with its copy is not called again.
 * T3. A tick that cannot be fired because the bus is away waits. What came while no copy was there, or waited too long, is treated as
 *     `missed` says, counted from the latest tick that anybody dealt with.
 */
import { randomBytes } from 'node:crypto'
import { CageError, toCageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { InterfaceCallOptions, InterfaceHost, Listener } from '../adapter.ts'
import type { ScheduleOptions } from './options.ts'
import { ended, isBusy, type LastRun, type Lease } from './record.ts'
import { SharedRecord } from './shared.ts'
import { dueTicks, MAX_CAUGHT_UP, type Timetable, ticksToFire, timetable } from './ticks.ts'

/** A wait is cut into parts, ms: a clock that is set, or a machine that slept, is noticed, and Node's timers end at 2^31 ms. */
const LONGEST_WAIT_MS = 30_000

/** Until a tick that could not be fired is tried again, ms. */
const RETRY_MS = 1_000

/** How often a tick that is caught up with looks whether the call before has ended, ms. */
const BUSY_MS = 250

/** What a lease has beyond the call's own limit, ms. */
const LEASE_MS = 1_000

/** Starts to fire. Rejects with UNAVAILABLE where nothing can be remembered (no bus, no JetStream). */
export async function listen(options: ScheduleOptions, host: InterfaceHost): Promise<Listener> {
  const schedule = new Schedule(options, host)
  await schedule.start()
  return schedule
}

class Schedule implements Listener {
  readonly address: string
  readonly done: Promise<void>
  readonly #options: ScheduleOptions
  readonly #host: InterfaceHost
  readonly #table: Timetable
  readonly #timing: string
  readonly #record: SharedRecord
  readonly #running = new Set<Promise<void>>()
  readonly #stopping = new AbortController()
  readonly #since: number = Date.now()
  /** Up to here every tick has been dealt with, epoch ms. */
  #cursor = 0
  #unexpose: (() => Promise<void>) | undefined
  #loop: Promise<void> | undefined
  #stopped: Promise<void> | undefined
  #end = (): void => {}

  constructor(options: ScheduleOptions, host: InterfaceHost) {
    this.#options = options
    this.#host = host
    this.#record = new SharedRecord(host.memory, randomBytes(6).toString('base64url'))
    this.#table = timetable(options)
    this.#timing = this.address = timingText(options)
    this.done = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  async start(): Promise<void> {
    const since = this.#options.at === undefined ? this.#since : 0 // a moment that is past was missed, whenever it is heard of
    const record = await this.#record.open(this.#timing, since)
    this.#cursor = record.tick
    this.#unexpose = await this.#host.expose({ info: () => this.#info(), run: () => this.#runNow() })
    this.#loop = this.#fireAll()
  }

  stop(): Promise<void> {
    this.#stopped ??= (async () => {
      this.#stopping.abort()
      await this.#unexpose?.()
      await this.#loop
      await Promise.all(this.#running)
      this.#end()
    })()
    return this.#stopped
  }

  async #fireAll(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        const now = Date.now()
        await this.#fireDue(now)
        const next = this.#table.next(now)
        await pause(next === undefined ? LONGEST_WAIT_MS : Math.min(next - Date.now(), LONGEST_WAIT_MS), signal)
      } catch (error) {
        this.#host.log.warn({ err: error }, 'a tick cannot be fired yet, it is tried again') // T3
        await pause(RETRY_MS, signal)
      }
    }
  }

  async #fireDue(now: number): Promise<void> {
    const due = dueTicks(this.#table, this.#cursor, now)
    const firing = ticksToFire(due, this.#options.missed, this.#since, now)
    if (due.length === MAX_CAUGHT_UP) this.#host.log.warn({ ticks: due.length }, 'too many ticks were missed, older ones are given up')
    if (firing.length < due.length) this.#host.log.info({ ticks: due.length - firing.length }, 'missed ticks are left out')
    for (const tick of firing) {
      if (this.#stopping.signal.aborted) return
      await this.#fire(tick, firing.length > 1)
      this.#cursor = tick
    }
    this.#cursor = due.at(-1) ?? this.#cursor
  }

  /** Deals with one tick; rejects if that is not possible now. One of several is waited for, so that the next does not overlap it. */
  async #fire(tick: number, isOneOfSeveral: boolean): Promise<void> {
    const time = new Date(tick).toISOString()
    const id = this.#idOf(time)
    if (this.#options.queue !== undefined) {
      if (await this.#record.isTaken(tick)) return
      const at = new Date().toISOString()
      const refusal = await this.#enqueue(this.#options.queue, id, time)
      await this.#record.claim(tick, { tick: time, at, outcome: refusal?.code ?? 'queued', message: refusal?.message })
      return
    }
    for (;;) {
      const kind = await this.#record.claim(tick, { tick: time, at: new Date().toISOString(), outcome: 'running' }, this.#leaseOf(id))
      if (kind === 'taken') return
      if (kind === 'ours') break
      if (!isOneOfSeveral) return this.#skip(tick, time)
      await pause(BUSY_MS, this.#stopping.signal)
      if (this.#stopping.signal.aborted) return
    }
    const call = this.#call(id, time)
    if (isOneOfSeveral) await call
  }

  async #skip(tick: number, time: string): Promise<void> {
    const kind = await this.#record.claim(tick, { tick: time, at: new Date().toISOString(), outcome: 'skipped' })
    if (kind === 'ours') this.#host.log.warn({ tick: time }, 'a tick is skipped, the call before still runs')
  }

  async #runNow(): Promise<{ id: string }> {
    const id = this.#idOf(`now-${randomBytes(6).toString('base64url')}`)
    const last: LastRun = { at: new Date().toISOString(), outcome: 'queued' }
    if (this.#options.queue !== undefined) {
      const refusal = await this.#enqueue(this.#options.queue, id)
      if (refusal) throw refusal
      await this.#record.change((current) => ({ ...current, last }))
      return { id }
    }
    const lease = this.#leaseOf(id)
    await this.#record.change((current) => {
      if (lease && isBusy(current, Date.now())) throw new CageError('CONFLICT', `the call of ${this.#host.name} before still runs`)
      return { ...current, lease: lease ?? current.lease, last: { ...last, outcome: 'running' } }
    })
    void this.#call(id)
    return { id }
  }

  #idOf(what: string): string {
    return `schedule:${this.#host.cage}.${this.#host.name}:${what}`
  }

  #leaseOf(id: string): Lease | undefined {
    return this.#options.overlap === true ? undefined : { id, until: Date.now() + this.#timeoutMs() + LEASE_MS }
  }

  #timeoutMs(): number {
    return this.#options.timeoutMs ?? this.#host.timeoutMs
  }

  /** Rejects if it may succeed later; resolves with the refusal of what never will. */
  async #enqueue(queue: string, id: string, tick?: string): Promise<CageError | undefined> {
    const { call, args, expiresMs } = this.#options
    try {
      await this.#host.enqueue(queue, call, args, { id, expiresMs, ...aboutCall(id, tick) })
      this.#host.log.debug({ tick, id, queue }, 'tick is queued')
      return undefined
    } catch (error) {
      const refusal = toCageError(error)
      if (refusal.retryable) throw refusal
      this.#host.log.error({ tick, queue, err: error }, 'a tick cannot be queued')
      return refusal
    }
  }

  /** Makes the call, and notes what came of it. It never rejects, and `stop` waits for it. */
  #call(id: string, tick?: string): Promise<void> {
    const running = this.#callAndNote(id, tick)
    this.#running.add(running)
    void running.then(() => this.#running.delete(running))
    return running
  }

  async #callAndNote(id: string, tick?: string): Promise<void> {
    const { call, args } = this.#options
    const at = new Date().toISOString()
    const startedAt = performance.now()
    let last: LastRun
    try {
      await this.#host.call(call, args, { timeoutMs: this.#timeoutMs(), ...aboutCall(id, tick) })
      last = { tick, at, outcome: 'ok' }
    } catch (error) {
      const { code, message } = toCageError(error)
      last = { tick, at, outcome: code, message }
      this.#host.log.warn({ tick, err: error }, 'a scheduled call has failed')
    }
    const ms = Math.round(performance.now() - startedAt)
    await this.#record
      .change((current) => ended(current, id, { ...last, ms }))
      .catch((error: unknown) => this.#host.log.warn({ tick, err: error }, 'the end of a scheduled call could not be noted')) // its lease ends by itself
  }

  async #info(): Promise<object> {
    const { cage, name } = this.#host
    const { call, queue } = this.#options
    const record = await this.#record.get()
    const now = Date.now()
    const next = this.#table.next(now)
    return {
      ...{ cage, name, timing: this.#timing, call, queue, last: record?.last },
      next: next === undefined ? undefined : new Date(next).toISOString(),
      running: this.#running.size > 0 || (record !== undefined && isBusy(record, now)),
    }
  }
}

/** What a scheduled call knows of itself. */
function aboutCall(requestId: string, tick: string | undefined): Pick<InterfaceCallOptions, 'requestId' | 'protocol' | 'parameters'> {
  return { requestId, protocol: 'schedule', parameters: tick === undefined ? {} : { tick } }
}

function timingText({ cron, everyMs, at, timezone }: ScheduleOptions): string {
  if (everyMs !== undefined) return `every ${everyMs} ms`
  return cron === undefined ? `at ${at}, ${timezone}` : `cron ${cron}, ${timezone}`
}
