/**
 * Executor: one queued message on its way: read → admitted → run → settled. What it is to become is verdict.ts's to say.
 * X1. Whatever the verdict, its effect is written before the message is acknowledged, and the acknowledgement is confirmed (double ack): a crash
 *     in between repeats, it never loses.
 * X2. A message that cannot be moved on (stream full, too large) is handed back to the server with a delay instead: it stays where it is.
 *     A sequenced one stays here: its consumer never gives it out again.
 * X3. Nothing throws out of here.
 * X4. A message that was settled is not run again, only acknowledged again (settled.ts). It is noted as settled before it is acknowledged.
 * X5. The ordinary call goes through here with as few promises as there are events: it is most of what there is.
 * It is just over 300 lines, because the order in which the steps are written down is what makes it right.
 */
import type { Msg } from 'nats'
import { Bag } from '../../bag.ts'
import { type CageError, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { CallHandler, Notifications, Outcome } from '../bus.ts'
import { type Delivery, type JetStream, NS } from '../jetstream.ts'
import type { CallState, ConsumerStats, QueuePolicy } from './contract.ts'
import { bury, buryBytes } from './dead.ts'
import type { HeldTable } from './held.ts'
import type { CallRecord, Ledger } from './ledger.ts'
import { encodeCall, idOf, messageId, subjectOf } from './message.ts'
import type { Settled } from './settled.ts'
import type { Solo } from './solo.ts'
import { arrivedCall, countFailure, recordOf, type Taken, take } from './taken.ts'
import { admit, backOffMs, type Verdict, verdict } from './verdict.ts'

export interface ExecutorOptions {
  js: JetStream
  ledger: Ledger
  held: HeldTable
  solo: Solo
  settled: Settled
  handler: CallHandler
  policy: () => QueuePolicy
  log: Log
  tell: Notifications['tell']
  /** One copy hands out all calls, with a record of each: a new consumer, after its end, knows nothing of deliveries before. */
  sequenced: boolean
  /** A failed call stays where it is and is run again there: its order matters. */
  inPlace: () => boolean
}

/** How long a move to another stream is tried, ms, before the message is handed back (X2). */
const MOVE_MS = 10_000
const ACK_MS = 30_000
const AGAIN_MS = 1_000 // a sequenced message that could not be settled

export class Executor {
  readonly #options: ExecutorOptions
  readonly counts: Pick<ConsumerStats, 'done' | 'retried' | 'dead'> = { done: 0, retried: 0, dead: 0 }
  /** What runs now. */
  readonly #running = new Bag<Taken>()

  constructor(options: ExecutorOptions) {
    this.#options = options
  }

  /**
   * Runs a message to its end. `onRan` is called as soon as it needs its slot no more: settling is the server's work, not ours. Resolves with
   * the time (epoch ms) at which it is to be run again here, if it is.
   */
  execute(msg: Msg, delivery: Delivery, onRan: () => void): Promise<number | undefined> {
    const { settled } = this.#options
    const reading = settled.reading()
    if (reading !== undefined) return reading.then(() => this.execute(msg, delivery, onRan))
    if (settled.has(delivery)) return this.#guard(undefined, msg, delivery, () => this.#ack({ msg, delivery }))
    let taken: Taken
    try {
      taken = take(msg, delivery, this.#options.policy(), onRan)
    } catch (error) {
      return this.#buryUnread(msg, delivery, toCageError(error))
    }
    const { call, id } = taken
    const { held, js, sequenced } = this.#options
    const ackSubject = msg.reply ?? ''
    if (held.free === 0) {
      if (!sequenced) js.post(ackSubject, `-NAK {"delay":${AGAIN_MS * NS}}`) // X2
      return Promise.resolve(this.#unsettled())
    }
    const name = call.id === undefined ? id : encodeURIComponent(id)
    taken.row = held.add({ ackSubject, target: `${call.cage}.${call.module}.${call.method}`, id: name })
    const ordinary = call.id === undefined && delivery.count === 1 && !sequenced && taken.expiresAt > Date.now()
    if (ordinary && this.#options.solo.enter(call.module)) return this.#ordinary(taken)
    return this.#guard(taken, msg, delivery, () => this.#process(taken))
  }

  /** How many calls run now. */
  get running(): number {
    return this.#running.size
  }

  /** Fires the signal of a running call. */
  cancel(id: string): void {
    const taken = this.#running.find((running) => running.id === id)
    if (!taken?.running) return
    taken.cancelled = true
    this.#options.handler.cancel(taken.running)
  }

  /** X5: a call without an id, at its first delivery. Nothing is known of it, and nothing is to be written down. */
  #ordinary(taken: Taken): Promise<number | undefined> {
    const { msg, delivery, call } = taken
    const { js, solo, held, settled } = this.#options
    return new Promise((resolve) => {
      this.#handle(taken, (outcome) => {
        solo.leave(call.module)
        if (outcome.ok) {
          this.counts.done++
          const acknowledged = (): void => {
            held.remove(taken.row)
            resolve(undefined)
          }
          settled.add(delivery)
          js.ackOnce(msg.reply ?? '').then(acknowledged, () => resolve(this.#guard(taken, msg, delivery, () => this.#ack(taken))))
        } else resolve(this.#guard(taken, msg, delivery, () => this.#conclude(taken, this.#decide(taken, outcome))))
      })
    })
  }

  /** Whatever goes wrong ends here (X3); the message is held no more. */
  async #guard(
    taken: Taken | undefined,
    msg: Msg,
    delivery: Delivery,
    work: () => Promise<number | undefined>,
  ): Promise<number | undefined> {
    try {
      return await work()
    } catch (error) {
      this.#options.log.error(
        { err: error, subject: msg.subject, seq: delivery.seq },
        'a queued call could not be settled, it is given out again',
      )
      return this.#unsettled()
    } finally {
      if (taken) this.#options.held.remove(taken.row)
    }
  }

  async #process(taken: Taken): Promise<number | undefined> {
    const { call, delivery, id, expiresAt } = taken
    const recorded = call.id !== undefined || delivery.count > 1 || this.#options.sequenced
    if (recorded) taken.record = await this.#options.ledger.getHeld(id)
    const { record } = taken
    taken.crashes = record?.crashes ?? 0
    const admission = admit(call, delivery.seq, expiresAt, record, Date.now())
    if (admission.kind === 'drop') return this.#settle(taken)
    if (admission.kind === 'dead') return this.#conclude(taken, { kind: 'dead', error: admission.error })
    const end = await this.#options.solo.run(call.module, admission.kind === 'alone', async () =>
      recorded && !(await this.#begin(taken)) ? undefined : this.#judge(taken),
    )
    return end ? this.#conclude(taken, end) : this.#settle(taken)
  }

  /** Writes down that the call runs, when its turn has come and no sooner; false if it has gone on elsewhere. */
  async #begin(taken: Taken): Promise<boolean> {
    const { call, delivery, expiresAt, record } = taken
    if (record?.state === 'delayed') Object.assign(call, { attempts: record.attempts, failures: record.failures ?? [] })
    const again = record?.state === 'running' // its run was begun and has not ended
    const next = recordOf(taken, 'running', { reruns: (record?.reruns ?? 0) + (again ? 1 : 0) })
    if (record) await this.#options.ledger.put(next)
    else {
      const other = await this.#options.ledger.create(next)
      if (other && admit(call, delivery.seq, expiresAt, other, Date.now()).kind === 'drop') return false
    }
    taken.record = next
    return true
  }

  async #judge(taken: Taken): Promise<Verdict> {
    return this.#decide(taken, await new Promise<Outcome>((resolve) => this.#handle(taken, resolve)))
  }

  #decide(taken: Taken, outcome: Outcome): Verdict {
    const { call, crashes, expiresAt, cancelled } = taken
    if (cancelled && !outcome.ok) return { kind: 'cancelled' }
    return verdict(outcome, call, crashes, expiresAt, this.#options.policy(), Date.now(), Math.random())
  }

  #handle(taken: Taken, settle: (outcome: Outcome) => void): void {
    const { handler, held, policy } = this.#options
    const arrived = arrivedCall(taken, policy(), Date.now())
    taken.running = arrived
    this.#running.add(taken)
    held.begin(taken.row)
    handler.handle(arrived, (outcome) => {
      this.#running.delete(taken)
      taken.onRan()
      settle(outcome)
    })
  }

  /** X1. */
  async #conclude(taken: Taken, end: Verdict): Promise<number | undefined> {
    const { call, id, record } = taken
    const { js, log } = this.#options
    const about = { queue: call.queue, call: id, module: call.module, method: call.method }
    if (end.kind === 'done') {
      this.counts.done++
      if (record) await this.#note(taken, 'done', { result: end.result })
      return this.#settle(taken)
    }
    if (end.kind === 'left') {
      log.warn(about, 'a run was replaced by another one of its call, which is left to that')
      return this.#unsettled()
    }
    if (end.kind === 'cancelled') {
      await this.#note(taken, 'cancelled', {})
      log.info(about, 'queued call was cancelled')
      return this.#settle(taken)
    }
    const crashed = end.error.code === 'CRASHED'
    const counts = end.kind === 'dead' ? !crashed : end.counts
    if (counts) countFailure(call, end.error, Date.now())
    if (crashed) taken.crashes++
    const { code, message } = end.error
    if (end.kind === 'dead') {
      log.error({ ...about, attempts: call.attempts, code, reason: message }, 'queued call is dead')
      try {
        await bury(js, { ...call, enqueuedAt: call.enqueuedAt ?? taken.delivery.time }, id, end.error, this.#options.tell)
      } catch (cause) {
        log.warn({ err: cause, ...about }, 'a dead call cannot be buried, it waits in its queue')
        return this.#setAside(taken, backOffMs(Math.max(1, call.attempts), this.#options.policy(), Math.random()), end.error)
      }
      this.counts.dead++
      await this.#note(taken, 'dead', { error: end.error.toJSON() })
      return this.#settle(taken)
    }
    this.counts.retried++
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
      return await this.#settle(taken)
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

  /** Writes what has become of the call. A ledger that cannot be written to is told, and stops nothing. */
  async #note(taken: Taken, state: CallState, more: Partial<CallRecord>): Promise<void> {
    try {
      await this.#options.ledger.put(recordOf(taken, state, more))
    } catch (error) {
      this.#options.log.error({ err: error, call: taken.id, state }, 'the record of a queued call cannot be written')
    }
  }

  /** X4. */
  #settle(taken: Taken): Promise<undefined> {
    this.#options.settled.add(taken.delivery)
    return this.#ack(taken)
  }

  async #ack({ msg, delivery }: Pick<Taken, 'msg' | 'delivery'>): Promise<undefined> {
    await this.#options.js.ack(msg.reply ?? '', delivery, Date.now() + ACK_MS)
    return undefined
  }

  async #buryUnread(msg: Msg, delivery: Delivery, error: CageError): Promise<number | undefined> {
    const { js, log } = this.#options
    try {
      const queue = msg.subject.split('.')[1] ?? ''
      log.error({ subject: msg.subject, seq: delivery.seq, reason: error.message }, 'queued message is no call, it is dead')
      await buryBytes(js, msg.subject, msg.data, idOf(queue, delivery.seq, false), error, this.#options.tell)
      this.counts.dead++
      return await this.#ack({ msg, delivery })
    } catch (cause) {
      log.error({ err: toCageError(cause), seq: delivery.seq }, 'a bad message could not be buried, it is given out again')
      return this.#unsettled()
    }
  }
}
