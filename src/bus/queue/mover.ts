/**
 * Mover: brings delayed calls into their queues when they are due. Every copy of every cage has one, and they share the work.
 * M1. The server itself keeps the time: a call that is not yet due is handed back with the delay that is left.
 * M2. A call is published before it is taken out here, under a message id of its own: what dies in between repeats it, and repeats are dropped.
 * M3. Its record is left alone: whoever runs the call may have written it already.
 */
import type { Msg } from 'nats'
import type { Log } from '../../log.ts'
import type { Notifications } from '../bus.ts'
import { deliveryOf, isCode, type JetStream, NS } from '../jetstream.ts'
import { bury, buryBytes } from './dead.ts'
import type { QueueDeps } from './deps.ts'
import type { Ledger } from './ledger.ts'
import { decodeAnyCall, encodeCall, idOf, messageId, type QueuedCall, STREAMS, subjectOf } from './message.ts'
import { Puller } from './puller.ts'
import type { Streams } from './streams.ts'
import { isStale } from './verdict.ts'

/** Calls that are moved at once. */
const CAPACITY = 256

/** The longest that the server is asked to wait at once; the call's record is written anew each time, lest it be forgotten. */
const LONGEST_MS = 86_400_000

const WRITE_MS = 10_000
const AGAIN_MS = 1_000

type MoverDeps = Pick<QueueDeps, 'js' | 'streams' | 'ledger' | 'connection' | 'outbox' | 'log' | 'tell'>

export class Mover {
  readonly #js: JetStream
  readonly #streams: Streams
  readonly #ledger: Ledger
  readonly #log: Log
  readonly #tell: Notifications['tell']
  readonly #puller: Puller

  /** `onReconnect` hears that the bus is back. */
  constructor({ js, streams, ledger, connection, outbox, log, tell }: MoverDeps, onReconnect: () => void) {
    this.#tell = tell
    this.#js = js
    this.#streams = streams
    this.#ledger = ledger
    this.#log = log
    this.#puller = new Puller({
      connection,
      outbox,
      stream: STREAMS.delayed,
      consumer: () => streams.delayedConsumer(),
      capacity: () => CAPACITY,
      receive: (msg) => void this.#receive(msg).finally(() => this.#puller.release()),
      onReconnect,
      log,
    })
  }

  async start(): Promise<void> {
    await this.#puller.start()
  }

  async stop(): Promise<void> {
    await this.#puller.stop()
  }

  async #receive(msg: Msg): Promise<void> {
    try {
      await this.#move(msg)
    } catch (error) {
      this.#log.warn({ err: error, subject: msg.subject }, 'a delayed call could not be moved, trying again')
      this.#handBack(msg, AGAIN_MS)
    }
  }

  async #move(msg: Msg): Promise<void> {
    const delivery = deliveryOf(msg)
    const header = (name: string): string | undefined => msg.headers?.get(name) || undefined
    const done = (): Promise<void> => this.#js.ack(msg.reply ?? '', delivery, Date.now() + WRITE_MS)
    let call: QueuedCall
    try {
      call = decodeAnyCall({ subject: msg.subject, data: msg.data, time: delivery.time, header })
    } catch (error) {
      if (!isCode(error, 'INVALID_ARGUMENT')) throw error
      const queue = msg.subject.split('.')[1] ?? ''
      await buryBytes(this.#js, msg.subject, msg.data, idOf(queue, delivery.seq, true), error, this.#tell)
      return done()
    }
    const id = call.id ?? idOf(call.queue, delivery.seq, true)
    const record = await this.#ledger.getHeld(id)
    if (record && isStale(call, delivery.seq, record)) return done() // cancelled, or went on (M2)
    const leftMs = (call.dueAt ?? 0) - Date.now()
    if (leftMs > 0) {
      if (record && leftMs > LONGEST_MS) await this.#ledger.put(record)
      return this.#handBack(msg, Math.min(leftMs, LONGEST_MS))
    }
    const next = { ...call, id, moves: call.moves + 1, dueAt: undefined, enqueuedAt: call.enqueuedAt ?? delivery.time }
    const publish = (): ReturnType<JetStream['publish']> =>
      this.#js.publish(subjectOf('queue', next), encodeCall(next), { msgId: messageId(id, next.moves), deadline: Date.now() + WRITE_MS })
    try {
      await publish().catch(async (error: unknown) => {
        if (!isCode(error, 'UNAVAILABLE')) throw error
        await this.#streams.queue(call.queue) // a first call of this queue, and a delayed one
        return publish()
      })
    } catch (error) {
      if (!isCode(error, 'PAYLOAD_TOO_LARGE')) throw error
      await bury(this.#js, call, id, error, this.#tell) // with what it gains by the move it is too large for the bus
      if (record) await this.#ledger.put({ ...record, state: 'dead', changedAt: Date.now(), error: error.toJSON() })
    }
    return done()
  }

  #handBack(msg: Msg, delayMs: number): void {
    this.#js.post(msg.reply ?? '', `-NAK {"delay":${Math.ceil(delayMs) * NS}}`) // M1
  }
}
