/**
 * Executor: one queued message on its way: read → admitted → run → settled. What it is to become is verdict.ts's to say.
 * X1. Whatever the verdict, its effect is written before the message is acknowledged, and the acknowledgement is confirmed (double ack): a crash
 *     in between repeats, it never loses.
 * X2. A message that cannot be moved on (stream full, too large) is handed back to the server with a delay instead: it stays where it is.
 *     A sequenced one stays here: its consumer never gives it out again.
 * X3. Nothing throws out of here.
 * X4. A message that this copy has settled is not run again, only acknowledged again (settled.ts).
 */
import type { Msg } from 'nats'
import { type CageError, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { Call, CallHandler, Outcome, RequestInfo } from '../bus.ts'
import { type Delivery, isCode, type JetStream, NS } from '../jetstream.ts'
import type { CallState, Failure, QueuePolicy } from './contract.ts'
import { bury, buryBytes } from './dead.ts'
import type { HeldTable } from './held.ts'
import type { CallRecord, Ledger } from './ledger.ts'
import { decodeCall, encodeCall, idOf, MAX_FAILURES, messageId, type QueuedCall, subjectOf } from './message.ts'
import { Settled } from './settled.ts'
import type { Solo } from './solo.ts'
import { admit, backOffMs, expiryOf, type Verdict, verdict } from './verdict.ts'

export interface ExecutorOptions {
  js: JetStream
  ledger: Ledger
  held: HeldTable
  solo: Solo
  handler: CallHandler
  policy: () => QueuePolicy
  log: Log
  /** One copy hands out all calls, with a record of each: a new consumer, after its end, knows nothing of deliveries before. */
  sequenced: boolean
  /** A failed call stays where it is and is run again there: its order matters. */
  inPlace: () => boolean
}

/** How long a move to another stream is tried, ms, before the message is handed back (X2). */
const MOVE_MS = 10_000
const ACK_MS = 30_000
const AGAIN_MS = 1_000 // a sequenced message that could not be settled

/** A message that was read. */
interface Taken {
  msg: Msg
  delivery: Delivery
  call: QueuedCall
  id: string
  expiresAt: number
  record: CallRecord | undefined
  crashes: number
  /** In the table of held messages. */
  row: number
  onRan: () => void
}

export class Executor {
  readonly #options: ExecutorOptions
  readonly #running = new Map<string, Call>()
  /** Ids of running calls that were cancelled by theirs (`ctx.queues.cancel`). */
  readonly #cancelled = new Set<string>()
  readonly #settled = new Settled()

  constructor(options: ExecutorOptions) {
    this.#options = options
  }

  /**
   * Runs a message to its end. `onRan` is called as soon as it needs its slot no more: settling is the server's work, not ours. Resolves with
   * the time (epoch ms) at which it is to be run again here, if it is.
   */
  async execute(msg: Msg, delivery: Delivery, onRan: () => void): Promise<number | undefined> {
    const { held, log } = this.#options
    let row: number | undefined
    try {
      if (this.#settled.has(delivery)) return await this.#ack({ msg, delivery })
      const taken = this.#read(msg, delivery, onRan)
      row = taken.row = held.add({
        ackSubject: msg.reply ?? '',
        method: `${taken.call.module}.${taken.call.method}`,
        id: taken.call.id === undefined ? taken.id : encodeURIComponent(taken.id),
      })
      return await this.#process(taken)
    } catch (error) {
      if (isCode(error, 'INVALID_ARGUMENT') && row === undefined) return await this.#buryUnread(msg, delivery, error)
      log.error({ err: error, subject: msg.subject, seq: delivery.seq }, 'a queued call could not be settled, it is given out again')
      return this.#unsettled()
    } finally {
      if (row !== undefined) held.remove(row)
    }
  }

  /** Fires the signal of a running call. */
  cancel(id: string): void {
    const call = this.#running.get(id)
    if (!call) return
    this.#cancelled.add(id)
    this.#options.handler.cancel(call)
  }

  #read(msg: Msg, delivery: Delivery, onRan: () => void): Taken {
    const header = (name: string): string | undefined => msg.headers?.get(name) || undefined
    const call = decodeCall({ subject: msg.subject, data: msg.data, time: delivery.time, header })
    const id = call.id ?? idOf(call.queue, delivery.seq, false)
    return {
      msg,
      delivery,
      call,
      id,
      expiresAt: expiryOf(call, delivery.time, this.#options.policy()),
      record: undefined,
      crashes: 0,
      row: -1,
      onRan,
    }
  }

  async #process(taken: Taken): Promise<number | undefined> {
    const { call, delivery, id, expiresAt } = taken
    const recorded = call.id !== undefined || delivery.count > 1 || this.#options.sequenced
    if (recorded) taken.record = await this.#options.ledger.getHeld(id)
    const { record } = taken
    taken.crashes = record?.crashes ?? 0
    const admission = admit(call, delivery.seq, expiresAt, record, Date.now())
    if (admission.kind === 'drop') return this.#ack(taken)
    if (admission.kind === 'dead') return this.#conclude(taken, { kind: 'dead', error: admission.error })
    const end = await this.#options.solo.run(call.module, admission.kind === 'alone', async () =>
      recorded && !(await this.#begin(taken)) ? undefined : this.#judge(taken),
    )
    return end ? this.#conclude(taken, end) : this.#ack(taken)
  }

  /** Writes down that the call runs, when its turn has come and no sooner; false if it has gone on elsewhere. */
  async #begin(taken: Taken): Promise<boolean> {
    const { call, delivery, expiresAt, record } = taken
    if (record?.state === 'delayed') Object.assign(call, { attempts: record.attempts, failures: record.failures ?? [] })
    const again = record?.state === 'running' // its run was begun and has not ended
    const next = this.#record(taken, 'running', { reruns: (record?.reruns ?? 0) + (again ? 1 : 0) })
    if (record) await this.#options.ledger.put(next)
    else {
      const other = await this.#options.ledger.create(next)
      if (other && admit(call, delivery.seq, expiresAt, other, Date.now()).kind === 'drop') return false
    }
    taken.record = next
    return true
  }

  async #judge(taken: Taken): Promise<Verdict> {
    const outcome = await this.#run(taken)
    if (this.#cancelled.delete(taken.id) && !outcome.ok) return { kind: 'cancelled' }
    const { call, crashes, expiresAt } = taken
    return verdict(outcome, call, crashes, expiresAt, this.#options.policy(), Date.now(), Math.random())
  }

  #run({ call, id, expiresAt, row, onRan }: Taken): Promise<Outcome> {
    const { timeoutMs } = this.#options.policy()
    const deadline = Math.min(expiresAt, Date.now() + timeoutMs)
    const { queue, module, method, args } = call
    const { id: requestId, traceparent, parameters } = call.request
    const request: RequestInfo = { id: requestId, traceparent, parameters, queued: { queue, id, attempt: call.attempts + 1 } }
    const arrived: Call = { module, method, args, deadline, timeoutMs, request, oneWay: false }
    this.#running.set(id, arrived)
    this.#options.held.begin(row)
    return new Promise((resolve) => {
      this.#options.handler.handle(arrived, (outcome) => {
        this.#running.delete(id)
        onRan()
        resolve(outcome)
      })
    })
  }

  /** X1. */
  async #conclude(taken: Taken, end: Verdict): Promise<number | undefined> {
    const { call, id, record } = taken
    const { js, log } = this.#options
    const about = { queue: call.queue, call: id, module: call.module, method: call.method }
    if (end.kind === 'done') {
      if (record) await this.#note(taken, 'done', { result: end.result })
      return this.#ack(taken)
    }
    if (end.kind === 'cancelled') {
      await this.#note(taken, 'cancelled', {})
      log.info(about, 'queued call was cancelled')
      return this.#ack(taken)
    }
    const crashed = end.error.code === 'CRASHED'
    const counts = end.kind === 'dead' ? !crashed : end.counts
    this.#count(call, end.error, counts)
    if (crashed) taken.crashes++
    const { code, message } = end.error
    if (end.kind === 'dead') {
      log.error({ ...about, attempts: call.attempts, code, reason: message }, 'queued call is dead')
      try {
        await bury(js, { ...call, enqueuedAt: call.enqueuedAt ?? taken.delivery.time }, id, end.error)
      } catch (cause) {
        log.warn({ err: cause, ...about }, 'a dead call cannot be buried, it waits in its queue')
        return this.#setAside(taken, backOffMs(Math.max(1, call.attempts), this.#options.policy(), Math.random()), end.error)
      }
      await this.#note(taken, 'dead', { error: end.error.toJSON() })
      return this.#ack(taken)
    }
    log[counts ? 'warn' : 'debug'](
      { ...about, attempt: call.attempts, delayMs: end.delayMs, code, reason: message },
      'queued call failed, will be tried again',
    )
    return this.#again(taken, end)
  }

  async #again(taken: Taken, { delayMs, error }: Verdict & { kind: 'again' }): Promise<number | undefined> {
    const { call, id, delivery } = taken
    const dueAt = Date.now() + delayMs
    if (this.#options.inPlace()) {
      await this.#note(taken, 'delayed', { dueAt, error: error.toJSON() })
      return dueAt
    }
    const next = { ...call, id, moves: call.moves + 1, dueAt, enqueuedAt: call.enqueuedAt ?? delivery.time }
    try {
      const { seq } = await this.#options.js.publish(subjectOf('delayed', next), encodeCall(next), {
        msgId: messageId(id, next.moves),
        deadline: Date.now() + MOVE_MS,
        patient: true,
      })
      await this.#note(taken, 'delayed', { dueAt, error: error.toJSON(), moves: next.moves, seq })
      return await this.#ack(taken)
    } catch (cause) {
      this.#options.log.warn({ err: cause, queue: call.queue, call: id }, 'a failed call cannot be put aside, it waits in its queue')
      return this.#setAside(taken, delayMs, error)
    }
  }

  /** X2. */
  async #setAside(taken: Taken, delayMs: number, error: CageError): Promise<number | undefined> {
    const dueAt = Date.now() + delayMs
    await this.#note(taken, 'delayed', { dueAt, error: error.toJSON() })
    if (this.#options.sequenced) return dueAt
    this.#options.js.post(taken.msg.reply ?? '', `-NAK {"delay":${delayMs * NS}}`)
    return undefined
  }

  #unsettled(): number | undefined {
    return this.#options.sequenced ? Date.now() + AGAIN_MS : undefined
  }

  #count(call: QueuedCall, error: CageError, counts: boolean): void {
    if (!counts) return
    call.attempts++
    const failure: Failure = { at: Date.now(), attempt: call.attempts, code: error.code, message: error.message.slice(0, 500) }
    call.failures = [...call.failures, failure].slice(-MAX_FAILURES)
  }

  /** Writes what has become of the call. A ledger that cannot be written to is told, and stops nothing. */
  async #note(taken: Taken, state: CallState, more: Partial<CallRecord>): Promise<void> {
    try {
      await this.#options.ledger.put(this.#record(taken, state, more))
    } catch (error) {
      this.#options.log.error({ err: error, call: taken.id, state }, 'the record of a queued call cannot be written')
    }
  }

  #record({ call, id, delivery, expiresAt, record, crashes }: Taken, state: CallState, more: Partial<CallRecord>): CallRecord {
    const { queue, cage, module, method, attempts, moves, failures } = call
    return {
      id,
      queue,
      target: `${cage}.${module}.${method}`,
      state,
      seq: delivery.seq,
      moves,
      attempts,
      crashes,
      reruns: record?.reruns ?? 0,
      enqueuedAt: call.enqueuedAt ?? delivery.time,
      changedAt: Date.now(),
      expiresAt,
      failures,
      ...more,
    }
  }

  async #ack({ msg, delivery }: Pick<Taken, 'msg' | 'delivery'>): Promise<undefined> {
    await this.#options.js.ack(msg.reply ?? '', delivery, Date.now() + ACK_MS)
    this.#settled.add(delivery)
    return undefined
  }

  async #buryUnread(msg: Msg, delivery: Delivery, error: CageError): Promise<number | undefined> {
    const { js, log } = this.#options
    try {
      const queue = msg.subject.split('.')[1] ?? ''
      log.error({ subject: msg.subject, seq: delivery.seq, reason: error.message }, 'queued message is no call, it is dead')
      await buryBytes(js, msg.subject, msg.data, idOf(queue, delivery.seq, false), error)
      return await this.#ack({ msg, delivery })
    } catch (cause) {
      log.error({ err: toCageError(cause), seq: delivery.seq }, 'a bad message could not be buried, it is given out again')
      return this.#unsettled()
    }
  }
}
