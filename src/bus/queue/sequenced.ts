/**
 * Sequenced consumer: one copy of the cage hands out all calls of a queue, because their order or their number over all copies matters.
 * The other copies stand by (leadership.ts).
 * Z1. It takes calls ahead, up to `WINDOW`: a lane that waits keeps no other one waiting.
 * Z2. What it has taken stays its own until it ends or leads no more: order outlives failures, and a new leader begins with the oldest.
 * Z3. After a reconnect nobody knows what was given out and never came: all that does not run is forgotten, and taken anew from the oldest on.
 */
import type { Msg, Subscription } from 'nats'
import { LONGEST_TIMER_MS } from '../../pause.ts'
import type { CallHandler } from '../bus.ts'
import { deliveryOf, isCode } from '../jetstream.ts'
import { followOrders } from './consumer.ts'
import type { Consumer, ConsumerStats, QueuePolicy } from './contract.ts'
import type { QueueDeps } from './deps.ts'
import { Executor } from './executor.ts'
import { Lanes, type Waiting } from './lanes.ts'
import { decodeCall, idOf, type QueuedCall, streamOf } from './message.ts'
import { Puller } from './puller.ts'
import { Settled } from './settled.ts'

/** Calls that are taken ahead (Z1), and what they may take together. */
const WINDOW = 10_000
const WINDOW_BYTES = 64 * 2 ** 20

const STAND_BY_MS = 1_000

/** No number of reconnects: the consumer is to be made anew. */
const NEVER = -1

interface Item extends Waiting {
  id: string
  msg: Msg
  seq: number
  running: boolean
}

export class SequencedConsumer implements Consumer {
  readonly #deps: QueueDeps
  readonly #queue: string
  readonly #cage: string
  readonly #policy: () => QueuePolicy
  readonly #executor: Executor
  readonly #name: string
  readonly #running = new Set<Promise<void>>()
  /** By sequence: what waits here or runs. */
  readonly #taken = new Map<number, Item>()
  #reconnects = 0
  #lanes: Lanes<Item>
  #bytes = 0
  #puller: Puller | undefined
  #endLead: (() => void) | undefined
  #subscription: Subscription | undefined
  #unlisten: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined
  #standby: NodeJS.Timeout | undefined
  #changing: Promise<void> = Promise.resolve()
  #stopping = false

  constructor(deps: QueueDeps, queue: string, cage: string, policy: () => QueuePolicy, handler: CallHandler) {
    const { js, ledger, held, solo, log, tell } = deps
    this.#deps = deps
    this.#queue = queue
    this.#cage = cage
    this.#policy = policy
    this.#name = `${cage}-${deps.id}`
    this.#lanes = new Lanes(rules(policy()))
    this.#executor = new Executor({
      js,
      ledger,
      held,
      solo,
      settled: new Settled(),
      handler,
      policy,
      log,
      tell,
      sequenced: true,
      inPlace: () => policy().ordered !== undefined,
    })
  }

  async start(): Promise<void> {
    const { nc, streams, control } = this.#deps
    await streams.queue(this.#queue, this.#policy().maxBytes)
    this.#subscription = followOrders(nc, this.#cage, {
      cancel: (id) => this.#cancel(id),
      purge: (queue) => this.#purge(queue),
      hasten: (id) => this.#hasten(id),
    })
    this.#unlisten = control.onChange(() => this.#reconsider())
    await this.#tryToLead()
  }

  /** The queue was paused, or goes on. */
  #reconsider(): void {
    this.#lanes.setRules(rules(this.#policy()))
    this.#puller?.reconsider()
    this.#pump()
  }

  stats(): ConsumerStats {
    const { connection, control } = this.#deps
    const paused = control.of(this.#queue).mode === 'paused'
    const consuming = !this.#stopping && connection.connected && !paused
    return { ...this.#executor.counts, consuming, paused, running: this.#executor.running }
  }

  /** What runs ends; what was only taken goes to the next leader. */
  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#standby)
    this.#unlisten?.()
    await this.#changing
    const led = this.#puller !== undefined
    await this.#standDown()
    const subscription = this.#subscription
    this.#subscription = undefined
    await subscription?.drain()
    if (led) await this.#deps.streams.deleteConsumer(this.#queue, this.#name).catch(() => {}) // the next one finds that nobody answers
  }

  async #tryToLead(): Promise<void> {
    const { leadership, log } = this.#deps
    if (await leadership.claim(this.#queue, this.#cage, this.#name, WINDOW)) {
      if (!this.#stopping) await this.#lead()
      return
    }
    log.debug({ queue: this.#queue }, 'another copy hands out the calls of the queue')
    this.#standByAgain()
  }

  #standByAgain(): void {
    if (this.#stopping) return
    this.#standby = setTimeout(() => {
      this.#changing = this.#tryToLead().catch((error: unknown) => {
        this.#deps.log.debug({ err: error, queue: this.#queue }, 'the queue cannot be looked at, trying again')
        this.#standByAgain()
      })
    }, STAND_BY_MS)
  }

  async #lead(): Promise<void> {
    const { connection, outbox, control, leadership, log } = this.#deps
    this.#lanes = new Lanes(rules(this.#policy()))
    this.#bytes = 0
    this.#taken.clear()
    this.#reconnects = connection.reconnects
    const puller: Puller = new Puller({
      connection,
      outbox,
      stream: streamOf(this.#queue),
      consumer: () => this.#keep(),
      capacity: () => (control.of(this.#queue).mode === 'paused' || this.#bytes > WINDOW_BYTES ? 0 : WINDOW),
      receive: (msg) => this.#receive(puller, msg),
      anew: true,
      log,
    })
    this.#puller = puller
    this.#endLead = leadership.answer(this.#name, () => ({ lanes: this.#lanes.info(Date.now(), 100), running: this.#running.size }))
    await puller.start()
    log.info({ queue: this.#queue }, 'this copy hands out the calls of the queue')
  }

  /** Still leading? The consumer that is there, or made again, is ours. */
  async #keep(): Promise<string> {
    const { reconnects } = this.#deps.connection
    if (reconnects !== this.#reconnects) {
      await this.#deps.streams.deleteConsumer(this.#queue, this.#name)
      for (let left = this.#lanes.clear(); left > 0; left--) this.#puller?.release()
      const running = [...this.#taken.values()].filter((item) => item.running)
      this.#taken.clear()
      for (const item of running) this.#taken.set(item.seq, item)
      this.#bytes = running.reduce((sum, { msg }) => sum + msg.data.length, 0)
      this.#reconnects = reconnects
    }
    if (await this.#deps.streams.ownConsumer(this.#queue, this.#cage, this.#name, WINDOW)) return this.#name
    this.#deps.log.warn({ queue: this.#queue }, 'another copy has taken the queue over')
    this.#changing = this.#standDown().then(() => this.#standByAgain())
    return this.#name
  }

  #cancel(id: string): void {
    this.#executor.cancel(id)
    this.#hasten(id)
  }

  /** Nothing keeps the call, or what is left of it, from its turn. */
  #hasten(id: string): void {
    for (const item of this.#taken.values()) if (item.id === id && !item.running) this.#lanes.release(item.lane)
    this.#pump()
  }

  /** What was taken ahead may be gone from the stream: a new consumer gives out what is left. */
  #purge(queue: string): void {
    if (queue !== this.#queue || !this.#puller) return
    this.#reconnects = NEVER
    this.#puller.renew()
  }

  async #standDown(): Promise<void> {
    const puller = this.#puller
    this.#puller = undefined
    this.#endLead?.()
    clearTimeout(this.#timer)
    await puller?.stop()
    await Promise.all(this.#running)
  }

  #receive(puller: Puller, msg: Msg): void {
    const { seq } = deliveryOf(msg)
    if (this.#deps.connection.reconnects !== this.#reconnects) return puller.release() // Z3
    if (this.#taken.has(seq)) return puller.release()
    const item = { ...placeOf(msg, seq, this.#policy()), msg, seq, running: false }
    this.#bytes += msg.data.length
    this.#taken.set(seq, item)
    this.#lanes.add(item)
    this.#pump()
  }

  #pump(): void {
    clearTimeout(this.#timer)
    if (!this.#puller || this.#deps.control.of(this.#queue).mode === 'paused') return
    const now = Date.now()
    const { concurrency, totalConcurrency = concurrency } = this.#policy()
    while (this.#running.size < Math.min(concurrency, totalConcurrency)) {
      const item = this.#lanes.take(now)
      if (!item) break
      const done: Promise<void> = this.#run(item, this.#puller, this.#lanes).finally(() => {
        this.#running.delete(done)
        this.#pump()
      })
      this.#running.add(done)
    }
    const nextAt = this.#lanes.nextAt(now)
    if (nextAt !== undefined) this.#timer = setTimeout(() => this.#pump(), Math.min(nextAt - now, LONGEST_TIMER_MS))
  }

  async #run(item: Item, puller: Puller, lanes: Lanes<Item>): Promise<void> {
    item.running = true
    const againAt = await this.#executor.execute(item.msg, deliveryOf(item.msg), () => {})
    item.running = false
    lanes.ended(item, againAt)
    if (againAt !== undefined || lanes !== this.#lanes) return
    this.#taken.delete(item.seq)
    this.#bytes -= item.msg.data.length
    puller.release()
  }
}

/** Which call it is, where it waits, and what its limit goes by. */
function placeOf(msg: Msg, seq: number, { ordered, limits }: QueuePolicy): Waiting & { id: string } {
  const [, queue = '', , module, method] = msg.subject.split('.')
  const { key, id = idOf(queue, seq, false) } = namesOf(msg)
  const own = `${msg.reply}` // a call without a key waits for no other
  const limit = limits?.key === 'method' ? `${module}.${method}` : limits?.key === 'key' ? (key ?? own) : ''
  const lane = ordered === 'cage' ? '' : ordered === 'key' ? (key ?? own) : limit
  return { id, lane, limit }
}

function namesOf(msg: Msg): Partial<Pick<QueuedCall, 'id' | 'key'>> {
  try {
    const header = (name: string): string | undefined => msg.headers?.get(name) || undefined
    return decodeCall({ subject: msg.subject, data: msg.data, time: 0, header })
  } catch (error) {
    if (isCode(error, 'INVALID_ARGUMENT')) return {} // the executor buries it
    throw error
  }
}

function rules({ ordered, limits }: QueuePolicy): ConstructorParameters<typeof Lanes>[0] {
  const { key: _, ...rest } = limits ?? {}
  return { ordered: ordered !== undefined, limits: rest }
}
