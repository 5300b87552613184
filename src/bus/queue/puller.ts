/**
 * Puller: takes messages from a consumer, exactly as many as there are free slots.
 * P1. What is asked for and what is held never exceed the capacity: nothing waits here while another copy is free.
 * P2. A question lives for `PULL_MS`; one that is not answered by then is asked anew: whatever was the matter (409, 503, restart, new leader)
 *     work goes on within 2 s. Where that is in doubt, the consumer is looked for first: nobody answers for one that is not there.
 *     A server that was killed gives out nothing at all to a question for which it finds a message missing (streams.ts, W4), one after the other:
 *     after the start, and after each reconnect, questions are short for a while.
 * P3. stop() takes nothing more: what arrives meanwhile is handed back at once.
 */
import { createInbox, type Msg, type NatsConnection, type Subscription } from 'nats'
import type { Log } from '../../log.ts'
import type { Connection } from '../connection.ts'
import { NS } from '../jetstream.ts'
import type { Outbox } from '../outbox.ts'

export interface PullerOptions {
  connection: Connection
  outbox: Outbox
  stream: string
  /** Makes sure that the consumer is there; returns its name. */
  consumer: () => Promise<string>
  /** How many messages may be held now; 0 while the queue is paused. */
  capacity: () => number
  receive: (msg: Msg) => void
  /** Nothing is asked for while the consumer is looked for: what it gave out before a reconnect may have been lost, and comes anew. */
  anew?: boolean
  onReconnect?: () => void
  log: Log
}

/** How long the server may wait for messages before it answers that there are none, ms. */
const PULL_MS = 1_500
const SHORT_PULL_MS = 250

/** What is missing is given out when its acknowledgement is overdue (streams.ts, ACK_WAIT_MS), and stands in the way until then. */
const SHORT_FOR_MS = 15_000
const GRACE_MS = 400
const TICK_MS = 250
const NAK = Buffer.from('-NAK')

/** After a reconnect the copies first settle what they hold, lest it is given to another one. */
const SETTLE_FIRST_MS = 500

interface Pull {
  reply: string
  left: number
  until: number
}

export class Puller {
  readonly #options: PullerOptions
  readonly #nc: NatsConnection
  #inbox = ''
  readonly #pulls: Pull[] = []
  #subscription: Subscription | undefined
  #timer: NodeJS.Timeout | undefined
  #consumer = ''
  #held = 0
  #asked = 0
  #number = 0
  #reconnects = 0
  #notBefore = 0
  #shortUntil = 0
  #pumping = false
  #ensuring = false
  #unsure = false
  #stopping = false

  constructor(options: PullerOptions) {
    this.#options = options
    this.#nc = options.connection.nc
  }

  get held(): number {
    return this.#held
  }

  /** Begins to pull. Rejects if the consumer cannot be made. */
  async start(): Promise<void> {
    this.#consumer = await this.#options.consumer()
    this.#reconnects = this.#options.connection.reconnects
    this.#shortUntil = Date.now() + SHORT_FOR_MS
    this.#subscribe()
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
    this.pump()
  }

  /** A message is held no more. All that are released in one turn of the event loop are asked for at once. */
  release(): void {
    this.#held--
    if (this.#pumping) return
    this.#pumping = true
    setImmediate(() => {
      this.#pumping = false
      this.pump()
    })
  }

  /** Asks for what is missing: a quarter of the capacity at least, lest every freed slot costs a question of its own. */
  pump(): void {
    const { connection, capacity, outbox, stream } = this.#options
    // a cluster that elects a leader answers nobody who looks for a consumer, while the consumer itself may be well
    const barred = this.#options.anew && (this.#ensuring || this.#unsure)
    if (this.#stopping || barred || !connection.connected || Date.now() < this.#notBefore) return
    const room = capacity()
    const batch = room - this.#held - this.#asked
    if (batch <= 0 || (this.#asked > 0 && batch < room / 4)) return
    const expiresMs = Date.now() < this.#shortUntil ? SHORT_PULL_MS : PULL_MS
    const pull = { reply: `${this.#inbox}.${++this.#number}`, left: batch, until: Date.now() + expiresMs + GRACE_MS }
    this.#pulls.push(pull)
    this.#asked += batch
    const question = Buffer.from(JSON.stringify({ batch, expires: expiresMs * NS }))
    outbox.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${this.#consumer}`, question, pull.reply)
  }

  /** The capacity has changed: asks for more, or takes back what was asked, since the server forgets questions of an inbox that is gone. */
  reconsider(): void {
    if (this.#stopping || this.#options.capacity() >= this.#held + this.#asked) return this.pump()
    const old = this.#subscription
    this.#forget(() => true)
    this.#subscribe()
    if (old && !this.#nc.isClosed()) void old.drain().catch(() => {}) // the connection has ended, and the subscription with it
    this.pump()
  }

  /** Has the consumer made sure of again. */
  renew(): void {
    void this.#ensure()
  }

  /** P3. Resolves when nothing more can arrive. */
  async stop(): Promise<void> {
    if (this.#stopping) return
    this.#stopping = true
    clearInterval(this.#timer)
    if (!this.#nc.isClosed()) await this.#subscription?.drain()
  }

  #subscribe(): void {
    const inbox = createInbox()
    this.#inbox = inbox
    this.#subscription = this.#nc.subscribe(`${inbox}.*`, {
      callback: (error, msg) => {
        if (!error) this.#receive(msg, inbox === this.#inbox)
      },
    })
  }

  #receive(msg: Msg, wanted: boolean): void {
    if (!msg.reply) return this.#status(msg)
    if (this.#stopping || !wanted) return void this.#options.outbox.publish(msg.reply, NAK)
    const [pull] = this.#pulls // the server serves them in their order
    if (pull) {
      this.#asked--
      if (--pull.left === 0) this.#pulls.shift()
    }
    this.#held++
    this.#options.receive(msg)
  }

  /** A question has ended: 404 and 408 because there is nothing, others because something is the matter (NATS ADR-9, ADR-13). */
  #status(msg: Msg): void {
    const code = msg.headers?.code ?? 0
    if (code === 100) return // a heartbeat
    this.#forget((pull) => pull.reply === msg.subject)
    if (code === 404 || code === 408) return this.pump()
    this.#options.log.debug({ code, reason: msg.headers?.description }, 'the consumer of the queue does not answer, trying again')
    void this.#ensure()
  }

  /** P2. */
  #tick(): void {
    const { connection } = this.#options
    const now = Date.now()
    if (connection.reconnects !== this.#reconnects) {
      this.#reconnects = connection.reconnects
      this.#notBefore = now + SETTLE_FIRST_MS
      this.#shortUntil = now + SHORT_FOR_MS
      this.#forget(() => true)
      this.#unsure = true // a server that is killed may forget its newest consumers
      this.#options.onReconnect?.()
    }
    if (this.#forget((pull) => pull.until < now)) this.#unsure = true // a consumer that is there says when a question ends
    if (this.#unsure && connection.connected) void this.#ensure()
    this.pump()
  }

  /** False if there was none. */
  #forget(test: (pull: Pull) => boolean): boolean {
    const before = this.#pulls.length
    for (let i = this.#pulls.length - 1; i >= 0; i--) {
      const pull = this.#pulls[i]
      if (!pull || !test(pull)) continue
      this.#asked -= pull.left
      this.#pulls.splice(i, 1)
    }
    return this.#pulls.length < before
  }

  async #ensure(): Promise<void> {
    if (this.#ensuring) return
    this.#ensuring = true
    try {
      this.#consumer = await this.#options.consumer()
      this.#unsure = false
    } catch (error) {
      this.#unsure = true
      this.#options.log.debug({ err: error }, 'the consumer of the queue cannot be had, trying again')
    }
    this.#notBefore = Date.now() + TICK_MS // the tick asks again
    this.#ensuring = false
  }
}
