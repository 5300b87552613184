/**
 * Control: what an engineer has said of a queue, for all cages: paused, or being drained. One message per queue in the stream QUEUES.
 * C1. Everyone hears of a change at once, because a publication to a stream is a message like any other; who was away reads it again.
 */
import type { NatsConnection, Subscription } from 'nats'
import type { JetStream } from '../jetstream.ts'
import { decodeBody, encodeResult } from '../wire.ts'
import type { QueueOrder } from './contract.ts'
import { STREAMS } from './message.ts'

const OPEN: QueueOrder = { mode: 'open', at: 0 }
const WRITE_MS = 10_000

export class Control {
  readonly #js: JetStream
  readonly #nc: NatsConnection
  readonly #orders = new Map<string, QueueOrder>()
  readonly #listeners = new Set<(queue: string) => void>()
  #subscription: Subscription | undefined
  #reading: Promise<void> | undefined

  constructor(js: JetStream, nc: NatsConnection) {
    this.#js = js
    this.#nc = nc
  }

  /** What is known of a queue now. */
  of(queue: string): QueueOrder {
    return this.#orders.get(queue) ?? OPEN
  }

  /** Resolves when everything said before is known (C1). */
  follow(): Promise<void> {
    this.#reading ??= this.#subscribe()
    return this.#reading
  }

  /** Reads everything again: after an outage. */
  async refresh(): Promise<void> {
    const info = await this.#js.streamInfo(STREAMS.queues, 'queues.>')
    for (const subject of Object.keys(info?.state.subjects ?? {})) {
      const message = await this.#js.get(STREAMS.queues, { last_by_subj: subject })
      if (message) this.#heard(subject, message.data)
    }
  }

  async set(queue: string, order: QueueOrder): Promise<void> {
    await this.#js.publish(`queues.${queue}`, encodeResult(order, 'json'), { deadline: Date.now() + WRITE_MS })
    this.#orders.set(queue, order)
  }

  /** Has `listener` called whenever something is said; returns what ends that. */
  onChange(listener: (queue: string) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async #subscribe(): Promise<void> {
    this.#subscription ??= this.#nc.subscribe('queues.*', {
      callback: (error, msg) => {
        if (!error) this.#heard(msg.subject, msg.data)
      },
    })
    try {
      await this.refresh()
    } catch (error) {
      this.#reading = undefined
      throw error
    }
  }

  #heard(subject: string, data: Uint8Array): void {
    const queue = subject.slice('queues.'.length)
    const order = decodeBody(data) as Partial<QueueOrder> | undefined
    if (order?.mode !== 'open' && order?.mode !== 'paused' && order?.mode !== 'draining') return // not ours
    this.#orders.set(queue, { mode: order.mode, at: Number(order.at), reason: order.reason })
    for (const listener of this.#listeners) listener(queue)
  }
}
