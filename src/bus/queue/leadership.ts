/**
 * Leadership: which copy of a cage hands out the calls of a sequenced queue. Whoever has the consumer leads (streams.ts, W2); no clock decides.
 * S1. A leader answers on `$LEAD.<consumer>`. One that is gone is known at once (no responders), one that hangs after `PATIENCE` silent questions.
 * S2. Taking over deletes the old consumer: what the old leader still acknowledges or asks for is refused, and all its calls are given out again.
 */
import type { NatsConnection } from 'nats'
import { pause } from '../../pause.ts'
import type { Caller } from '../caller.ts'
import { isCode } from '../jetstream.ts'
import { filterOf, type Share } from './message.ts'
import { SHARES, type Streams, sharedName } from './streams.ts'

const ASK_MS = 1_000
const SECOND_LOOK_MS = 250
const PATIENCE = 5

export class Leadership {
  readonly #nc: NatsConnection
  readonly #caller: Caller
  readonly #streams: Streams
  readonly #silences = new Map<string, number>()

  constructor(nc: NatsConnection, caller: Caller, streams: Streams) {
    this.#nc = nc
    this.#caller = caller
    this.#streams = streams
  }

  /** Answers for a consumer while it leads; returns what ends that. */
  answer(consumer: string, describe: () => object): () => void {
    const subscription = this.#nc.subscribe(leadSubject(consumer), {
      callback: (error, msg) => {
        if (!error) msg.respond(JSON.stringify(describe()))
      },
    })
    return () => subscription.unsubscribe()
  }

  /** What a leader says of itself; undefined if it says nothing. */
  async ask(consumer: string): Promise<object | undefined> {
    try {
      const msg = await this.#caller.request(leadSubject(consumer), new Uint8Array(0), Date.now() + ASK_MS)
      return JSON.parse(msg.string()) as object
    } catch (error) {
      if (isCode(error, 'DEADLINE_EXCEEDED') || isCode(error, 'UNAVAILABLE')) return undefined
      throw error
    }
  }

  /** Makes way for a consumer that all copies share. Whether the way is free the server says when it is made. */
  async clearForShared(queue: string, cage: string, share: Share): Promise<void> {
    await this.#clear(queue, cage, sharedName(cage, share), share === 'all' ? SHARES : ['all'])
  }

  /** Tries to have the consumer `name`; true if this copy leads now. */
  async claim(queue: string, cage: string, name: string, maxAckPending: number): Promise<boolean> {
    if (await this.#streams.ownConsumer(queue, cage, name, maxAckPending)) return true
    return (await this.#clear(queue, cage, name, SHARES)) && this.#streams.ownConsumer(queue, cage, name, maxAckPending)
  }

  /** Deletes the other consumers that have such calls and whose leaders are gone (S2); true if none is left. */
  async #clear(queue: string, cage: string, name: string, shares: readonly Share[]): Promise<boolean> {
    const filters = shares.map((share) => filterOf(queue, cage, share))
    const rivals = (await this.#streams.consumers(queue)).filter(
      (other) => other.name !== name && filters.includes(other.config.filter_subject ?? ''),
    )
    const gone = await Promise.all(rivals.map((rival) => this.#isGone(rival.name)))
    await Promise.all(rivals.filter((_, i) => gone[i]).map((rival) => this.#streams.deleteConsumer(queue, rival.name)))
    return gone.every((is) => is)
  }

  async #isGone(consumer: string): Promise<boolean> {
    for (let looks = 0; looks < 2; looks++) {
      try {
        await this.#caller.request(leadSubject(consumer), new Uint8Array(0), Date.now() + ASK_MS)
        this.#silences.delete(consumer)
        return false
      } catch (error) {
        if (isCode(error, 'DEADLINE_EXCEEDED')) {
          const silences = (this.#silences.get(consumer) ?? 0) + 1
          this.#silences.set(consumer, silences)
          return silences >= PATIENCE
        }
        if (!isCode(error, 'UNAVAILABLE') || !this.#caller.connected) throw error
        await pause(SECOND_LOOK_MS) // it may be connecting anew
      }
    }
    return true
  }
}

function leadSubject(consumer: string): string {
  return `$LEAD.${consumer}`
}
