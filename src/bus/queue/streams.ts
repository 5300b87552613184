/**
 * Streams and consumers of the queues: what they are called, and how they are made.
 * W1. A queue's stream is a work queue: a message is there until it is done, and each belongs to exactly one consumer.
 * W2. The consumer of (queue, cage, priority) is shared by all copies of the cage and named after it. If a number holds for all copies
 *     together (`totalConcurrency`) there is one for both priorities, because the server counts what is under way by the consumer. In a
 *     sequenced queue it belongs to one copy, under a name of that copy's own: a work queue refuses a second consumer of the same calls, so
 *     whoever has it leads, on one server and on a cluster.
 * W3. A server that was killed may have messages that were given out, are waited for no more, and will never be given out again (2.9.10: up to a
 *     thousand). Most are settled, and acknowledged as such (leftovers.ts). Where nothing else is left, the consumer is deleted; those who
 *     use it make it anew, and run what neither settlements nor ledger know as done. Its floor tells nothing: with messages that are given out
 *     again it passes others that are still waited for (server/consumer.go, processAckMsg).
 * W4. Such a server may also wait for ever for the acknowledgement of messages that it has not any more: they count as under way, until
 *     somebody acknowledges them. When it wants to give one of them out again it gives out nothing, until it is asked anew.
 */
import type { ConsumerInfo } from 'nats'
import { isCode, type JetStream, LOOK_MS, NS, type Wanted } from '../jetstream.ts'
import { filterOf, type Share, STREAMS, streamOf } from './message.ts'

/** Without a sign of life for so long a call is given to another copy; `Keeper` gives one every second. */
export const ACK_WAIT_MS: number = 5_000

/** Within it the server itself drops a repeated publication. */
const DUPLICATE_WINDOW_MS = 120_000

/** How long dead letters are kept. */
const DEAD_LETTERS_MS = 30 * 86_400_000

/**
 * What was settled is remembered for so long, in so many messages of each cage's share of a queue: a server that is killed forgets what it has
 * deleted in its last 2 s (2.9.10: server/filestore.go, wiThresh), and one that is killed again has not written it down meanwhile.
 */
const SETTLED_MS = 86_400_000
const SETTLED_MESSAGES = 8_192

/** Every share that a consumer can have. */
export const SHARES: readonly Share[] = ['normal', 'high', 'all']

/** Settings of all streams that an engineer may choose. */
export interface StreamSettings {
  /** Copies of each stream in a cluster of NATS servers: 1, 3 or 5. */
  replicas?: number | undefined
}

export class Streams {
  readonly js: JetStream
  readonly #replicas: { num_replicas?: number }
  /** Consumer → the first message that seems stranded (W3). */
  readonly #stranded = new Map<string, number>()

  constructor(js: JetStream, { replicas }: StreamSettings) {
    this.js = js
    this.#replicas = replicas === undefined ? {} : { num_replicas: replicas }
  }

  /** The stream of a queue (W1). */
  async queue(name: string, maxBytes?: number): Promise<void> {
    const limit = maxBytes === undefined ? {} : { max_bytes: maxBytes }
    await this.#workQueue(streamOf(name), `queue.${name}.>`, limit)
  }

  /** What all queues share: delayed and dead calls, the ledger, what is said of queues and what was settled. Known ids are kept for `dedupMs` at least. */
  async shared(dedupMs: number): Promise<void> {
    const kept = (await this.js.streamInfo(STREAMS.calls))?.config.max_age ?? 0
    await Promise.all([
      this.#workQueue(STREAMS.delayed, 'delayed.>', {}),
      this.#limits(STREAMS.dead, 'dead.>', { max_age: DEAD_LETTERS_MS * NS, duplicate_window: DUPLICATE_WINDOW_MS * NS }),
      this.#limits(STREAMS.calls, 'call.>', { max_age: Math.max(kept, dedupMs * NS), max_msgs_per_subject: 1 }),
      this.#limits(STREAMS.queues, 'queues.>', { max_msgs_per_subject: 1 }),
      this.settled(),
    ])
  }

  /** What the copies have settled of late (settlements.ts). */
  settled(): Promise<void> {
    return this.#limits(STREAMS.settled, 'settled.>', { max_age: SETTLED_MS * NS, max_msgs_per_subject: SETTLED_MESSAGES })
  }

  /** The consumer that all copies of a cage share (W2). */
  async sharedConsumer(queue: string, cage: string, share: Share, maxAckPending: number): Promise<string> {
    const name = sharedName(cage, share)
    const config = { ...consumer(name, filterOf(queue, cage, share)), ack_wait: ACK_WAIT_MS * NS, max_ack_pending: maxAckPending }
    await this.js.ensureConsumer(streamOf(queue), config)
    return name
  }

  /** Brings what a killed server has mixed up into order (W3, W4). */
  async sweep(stream: string): Promise<void> {
    for (const info of await this.#consumers(stream)) {
      await this.#restart(info)
      await this.#forgetMissing(info)
    }
  }

  /** W3. Seen at two looks, it is no acknowledgement under way. */
  async #restart({ stream_name: stream, name, config, num_ack_pending, num_pending, delivered }: ConsumerInfo): Promise<void> {
    const place = `${stream} ${name}`
    const seen = this.#stranded.get(place)
    this.#stranded.delete(place)
    if (num_ack_pending > 0 || num_pending > 0 || !config.filter_subject) return
    const first = await this.js.get(stream, { seq: 1, next_by_subj: config.filter_subject })
    if (!first || first.seq > delivered.stream_seq) return
    if (seen === first.seq) await this.js.api(`CONSUMER.DELETE.${stream}.${name}`)
    else this.#stranded.set(place, first.seq)
  }

  /**
   * W4. Acknowledges what is missing around the floor and up to the last message that was given out. What is there is left alone, be it whose it
   * may: a work queue deletes what any of its consumers acknowledges.
   */
  async #forgetMissing({ stream_name: stream, name, ack_floor, num_ack_pending, delivered }: ConsumerInfo): Promise<void> {
    if (num_ack_pending === 0) return
    let seq = Math.max(1, ack_floor.stream_seq + 1 - MOST_PHANTOMS) // the floor may have passed some (W3)
    for (let looks = 0; looks < MOST_LOOKS && seq <= delivered.stream_seq; looks++) {
      const next = await this.js.get(stream, { seq, next_by_subj: '>' })
      const end = Math.min(next?.seq ?? Number.POSITIVE_INFINITY, delivered.stream_seq + 1, seq + MOST_PHANTOMS)
      for (; seq < end; seq++) this.js.postAck(stream, name, seq)
      if (seq === next?.seq) seq++
    }
  }

  /** The consumer of one copy; false if another one has it (W2). Its calls are held for as long as it lives. */
  async ownConsumer(queue: string, cage: string, name: string, maxAckPending: number): Promise<boolean> {
    const config = { ...consumer(name, filterOf(queue, cage, 'all')), ack_wait: FOR_EVER_MS * NS, max_ack_pending: maxAckPending }
    try {
      await this.js.ensureConsumer(streamOf(queue), config)
      return true
    } catch (error) {
      if (isCode(error, 'CONFLICT')) return false
      throw error
    }
  }

  /** The consumer of the delayed calls: the server hands each out when its delay is over. */
  async delayedConsumer(): Promise<string> {
    const config = { ...consumer('mover', 'delayed.>'), ack_wait: 3_000 * NS, max_ack_pending: -1 }
    await this.js.ensureConsumer(STREAMS.delayed, config)
    return config.durable_name
  }

  /** All consumers of a queue. */
  consumers(queue: string): Promise<ConsumerInfo[]> {
    return this.#consumers(streamOf(queue))
  }

  async #consumers(stream: string): Promise<ConsumerInfo[]> {
    const found: ConsumerInfo[] = []
    for (;;) {
      const question = { offset: found.length }
      const page = await this.js.api<ConsumerPage>(`CONSUMER.LIST.${stream}`, question, Date.now() + LOOK_MS)
      found.push(...(page.consumers ?? []))
      if (found.length >= page.total || !page.consumers?.length) return found
    }
  }

  /** The names of all queues. */
  async queues(): Promise<string[]> {
    const found: string[] = []
    for (let offset = 0; ; ) {
      const page = await this.js.api<{ total: number; streams: string[] | null }>('STREAM.NAMES', { offset, subject: 'queue.>' })
      const names = page.streams ?? []
      found.push(...names.filter((name) => name.startsWith(streamOf(''))).map((name) => name.slice(streamOf('').length)))
      offset += names.length
      if (offset >= page.total || names.length === 0) return found.sort()
    }
  }

  async deleteConsumer(queue: string, name: string): Promise<void> {
    await this.js.api(`CONSUMER.DELETE.${streamOf(queue)}.${name}`).catch((error: unknown) => {
      if (!isCode(error, 'NOT_FOUND')) throw error
    })
  }

  async #workQueue(name: string, subject: string, limit: Wanted): Promise<void> {
    const config = { name, subjects: [subject], retention: 'workqueue', discard: 'new', duplicate_window: DUPLICATE_WINDOW_MS * NS }
    await this.js.ensureStream({ ...config, ...limit, ...this.#replicas })
  }

  async #limits(name: string, subject: string, config: Wanted): Promise<void> {
    await this.js.ensureStream({ name, subjects: [subject], ...config, ...this.#replicas })
  }
}

/** What a consumer is called that all copies of a cage share; a copy's own has the copy's id in its name. */
export function sharedName(cage: string, share: Share): string {
  return `${cage}${{ normal: '', high: '_high', all: '~all' }[share]}`
}

/** Whether a consumer is one that all copies of its cage share. */
export function isShared(name: string, cage: string): boolean {
  return SHARES.some((share) => sharedName(cage, share) === name)
}

/** Settings of a queue's consumer that are not as `Streams` makes them, with what they are. Pure. */
export function driftOf(queue: string, { name, config }: Pick<ConsumerInfo, 'name' | 'config'>): string[] {
  const [, , cage = ''] = config.filter_subject?.split('.') ?? []
  const share = SHARES.find((one) => sharedName(cage, one) === name)
  const wanted =
    share === undefined
      ? { ...consumer(name, filterOf(queue, cage, 'all')), ack_wait: FOR_EVER_MS * NS }
      : { ...consumer(name, filterOf(queue, cage, share)), ack_wait: ACK_WAIT_MS * NS }
  const actual = config as unknown as Wanted // by the API's names
  return Object.entries(wanted)
    .filter(([setting, value]) => actual[setting] !== value)
    .map(([setting]) => `${setting} ${String(actual[setting])}`)
}

/** So many missing messages are acknowledged at once, and so many that are there are passed over (W4). */
const MOST_PHANTOMS = 1_000
const MOST_LOOKS = 200

interface ConsumerPage {
  total: number
  consumers: ConsumerInfo[] | null
}

const FOR_EVER_MS = 30 * 86_400_000

function consumer(name: string, filter: string): Wanted & { durable_name: string } {
  return { durable_name: name, filter_subject: filter, ack_policy: 'explicit', max_deliver: -1 }
}
