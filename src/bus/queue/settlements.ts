/**
 * Settlements: what the copies of a cage have settled in a queue, in the stream SETTLED, for whoever runs it after them (settled.ts). The server
 * has what is published in its file at once, unlike the state of a consumer.
 * J1. One message tells of everything that was settled in a turn of the event loop, or while as many as `MOST_UNDER_WAY` were under way: its
 *     cost falls with the load. Nobody waits for it.
 * J2. It guards against one moment, the common death of server and copy: what cannot be written is dropped, and what cannot be read is done
 *     without. Calls are run at least once anyway.
 */
import { createInbox, type NatsConnection } from 'nats'
import type { Log } from '../../log.ts'
import { pause } from '../../pause.ts'
import type { Connection } from '../connection.ts'
import { ackPlaceOf, isCode, type JetStream, LOOK_MS, NS } from '../jetstream.ts'
import { decodeBody, encodeResult } from '../wire.ts'
import { STREAMS } from './message.ts'
import type { Streams } from './streams.ts'

export interface SettlementsDeps {
  nc: NatsConnection
  connection: Connection
  js: JetStream
  streams: Streams
  log: Log
}

type Remember = (seq: number, time: number) => void

const WRITE_MS = 2_000
const MOST_UNDER_WAY = 4

/** How long the calls of a queue may wait until they are read, ms: a bit less than until they are given to another copy. */
const READ_MS = 4_000
const AGAIN_MS = 100

export class Settlements {
  readonly #deps: SettlementsDeps
  readonly #subject: string
  /** Sequences, each with the time (epoch ms) when it was stored. */
  #noted: number[] = []
  #scheduled = false
  #underWay = 0
  /** At which number of reconnects it was read. */
  #readAt = -1
  #reading: Promise<void> | undefined

  constructor(deps: SettlementsDeps, queue: string, cage: string) {
    this.#deps = deps
    this.#subject = `settled.${queue}.${cage}`
  }

  /** A message is settled, and is about to be acknowledged. */
  note(seq: number, time: number): void {
    this.#noted.push(seq, time)
    this.#schedule()
  }

  /** Tells `remember` everything that is written, once in each connection's life; undefined if that was done. */
  reading(remember: Remember): Promise<void> | undefined {
    const { reconnects } = this.#deps.connection
    if (reconnects === this.#readAt) return this.#reading
    this.#readAt = reconnects
    const reading: Promise<void> = this.#readAll(remember).finally(() => {
      if (this.#reading === reading) this.#reading = undefined
    })
    this.#reading = reading
    return reading
  }

  /** J1. */
  #schedule(): void {
    if (this.#scheduled || this.#noted.length === 0 || this.#underWay === MOST_UNDER_WAY) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      void this.#write()
    })
  }

  async #write(): Promise<void> {
    const { js, log } = this.#deps
    const data = encodeResult(this.#noted, 'msgpack')
    this.#noted = []
    this.#underWay++
    try {
      await js.publish(this.#subject, data, { deadline: Date.now() + WRITE_MS })
    } catch (error) {
      log.debug({ err: error, subject: this.#subject }, 'what was settled cannot be written down') // J2
    }
    this.#underWay--
    this.#schedule()
  }

  async #readAll(remember: Remember): Promise<void> {
    const { streams, log } = this.#deps
    for (const deadline = Date.now() + READ_MS; ; await pause(AGAIN_MS)) {
      try {
        return await this.#read(remember, Math.min(deadline, Date.now() + LOOK_MS))
      } catch (error) {
        if (isCode(error, 'NOT_FOUND')) await streams.settled().catch(() => {}) // the next try tells
        if (Date.now() + AGAIN_MS < deadline) continue
        return log.warn({ err: error, subject: this.#subject }, 'what others have settled cannot be read, calls may run again') // J2
      }
    }
  }

  /** Has the server send everything that there is: the last one is told by that none is pending. */
  async #read(remember: Remember, deadline: number): Promise<void> {
    const { nc, js } = this.#deps
    const inbox = createInbox()
    let [end, fail] = [() => {}, (_error: Error) => {}]
    const ended = new Promise<void>((resolve, reject) => {
      end = resolve
      fail = reject
    })
    ended.catch(() => {}) // it may be that nobody waits for it any more
    const subscription = nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (error) return fail(error)
        const told = decodeBody(msg.data)
        if (Array.isArray(told)) for (let i = 0; i < told.length; i += 2) remember(Number(told[i]), Number(told[i + 1]))
        if (ackPlaceOf(msg.reply ?? '').pending === 0) end()
      },
    })
    const timer = setTimeout(() => fail(new Error('the settlements did not end in time')), deadline - Date.now())
    try {
      const config = { deliver_subject: inbox, deliver_policy: 'all', ack_policy: 'none', filter_subject: this.#subject, mem_storage: true }
      const ephemeral = { ...config, inactive_threshold: READ_MS * NS, num_replicas: 1 } // it goes with its subscription
      const question = { stream_name: STREAMS.settled, config: ephemeral }
      const { num_pending } = await js.api<{ num_pending: number }>(`CONSUMER.CREATE.${STREAMS.settled}`, question, deadline)
      if (num_pending > 0) await ended
    } finally {
      clearTimeout(timer)
      subscription.unsubscribe()
    }
  }
}
