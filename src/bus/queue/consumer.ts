/**
 * Consumer: runs the calls that a cage has in a queue, shared with all other copies of the cage.
 * N1. Each copy takes as many calls as it has free slots; urgent calls have slots of their own, and never wait behind others. Where a number
 *     holds for all copies together it holds for both priorities: then urgent calls wait their turn.
 * N2. A call that is delivered again while this copy still holds it is not run again.
 * N3. stop() takes nothing more and lets what runs end.
 */
import type { Msg, Subscription } from 'nats'
import type { CallHandler } from '../bus.ts'
import { deliveryOf } from '../jetstream.ts'
import { cancelSubject } from '../subjects.ts'
import type { Consumer, ConsumerStats, QueuePolicy } from './contract.ts'
import type { QueueDeps } from './deps.ts'
import { Executor } from './executor.ts'
import { acknowledgeLeftovers } from './leftovers.ts'
import { type Share, streamOf } from './message.ts'
import { Puller } from './puller.ts'
import { Settled } from './settled.ts'
import { Settlements } from './settlements.ts'
import { sharedName } from './streams.ts'

const APART: readonly Share[] = ['normal', 'high']
const TOGETHER: readonly Share[] = ['all']

/** Without a limit over all copies, so many may be under way in all of them. */
const MANY = 65_536

/** A server that confirms nothing gets nothing more to confirm. */
const UNSETTLED = 1_000

export class SharedConsumer implements Consumer {
  readonly #deps: QueueDeps
  readonly #queue: string
  readonly #cage: string
  readonly #policy: () => QueuePolicy
  readonly #settled: Settled
  readonly #executor: Executor
  readonly #shares: readonly Share[]
  readonly #pullers: Puller[]
  /** By sequence. */
  readonly #holds = new Map<number, Promise<unknown>>()
  #subscription: Subscription | undefined
  #unlisten: (() => void) | undefined
  #endAnswer: (() => void) | undefined

  constructor(deps: QueueDeps, queue: string, cage: string, policy: () => QueuePolicy, handler: CallHandler) {
    const { js, ledger, held, solo, log, tell } = deps
    this.#deps = deps
    this.#queue = queue
    this.#cage = cage
    this.#policy = policy
    this.#settled = new Settled(new Settlements(deps, queue, cage))
    this.#executor = new Executor({
      js,
      ledger,
      held,
      solo,
      settled: this.#settled,
      handler,
      policy,
      log,
      tell,
      sequenced: false,
      inPlace: () => false,
    })
    this.#shares = policy().totalConcurrency === undefined ? APART : TOGETHER
    this.#pullers = this.#shares.map((share) => this.#puller(share))
  }

  async start(): Promise<void> {
    const { nc, streams, control, leadership } = this.#deps
    await streams.queue(this.#queue, this.#policy().maxBytes)
    // copies that go by a configuration without the number must not take this consumer for one of a leader that is gone
    if (this.#shares === TOGETHER) this.#endAnswer = leadership.answer(sharedName(this.#cage, 'all'), () => ({}))
    void this.#settled.reading() // calls wait for it by themselves
    try {
      await Promise.all(this.#pullers.map((puller) => puller.start()))
    } catch (error) {
      await this.stop()
      throw error
    }
    this.#acknowledgeLeftovers()
    this.#subscription = followOrders(nc, this.#cage, { cancel: (id) => this.#executor.cancel(id) })
    this.#unlisten = control.onChange(() => this.#reconsider())
  }

  /** The queue was paused, or goes on. */
  #reconsider(): void {
    for (const puller of this.#pullers) puller.reconsider()
  }

  stats(): ConsumerStats {
    const { connection, control } = this.#deps
    const paused = control.of(this.#queue).mode === 'paused'
    const consuming = this.#subscription !== undefined && connection.connected && !paused
    return { ...this.#executor.counts, consuming, paused, running: this.#executor.running }
  }

  async stop(): Promise<void> {
    this.#unlisten?.()
    await Promise.all(this.#pullers.map((puller) => puller.stop()))
    await Promise.all(this.#holds.values())
    const subscription = this.#subscription
    this.#subscription = undefined
    await subscription?.drain()
    this.#endAnswer?.()
  }

  #puller(share: Share): Puller {
    const { connection, outbox, control, held, log } = this.#deps
    const puller: Puller = new Puller({
      connection,
      outbox,
      stream: streamOf(this.#queue),
      consumer: () => this.#claim(share),
      capacity: () =>
        control.of(this.#queue).mode === 'paused' || this.#holds.size > UNSETTLED ? 0 : Math.min(this.#policy().concurrency, held.free),
      receive: (msg) => this.#receive(puller, msg),
      onReconnect: () => share !== 'high' && this.#acknowledgeLeftovers(),
      log,
    })
    return puller
  }

  /** A queue that was configured otherwise until now has consumers that are in the way. */
  async #claim(share: Share): Promise<string> {
    const { leadership, streams } = this.#deps
    await leadership.clearForShared(this.#queue, this.#cage, share)
    return streams.sharedConsumer(this.#queue, this.#cage, share, this.#policy().totalConcurrency ?? MANY)
  }

  /** What a killed server has mixed up. */
  #acknowledgeLeftovers(): void {
    const { js, log } = this.#deps
    const queue = this.#queue
    const consumers = this.#shares.map((share) => sharedName(this.#cage, share))
    acknowledgeLeftovers(js, this.#settled, { stream: streamOf(queue), consumers }).then(
      (messages) => messages > 0 && log.info({ queue, messages }, 'settled calls that the server had kept are acknowledged again'),
      (error: unknown) => log.debug({ queue, err: error }, 'settled calls that the server may have kept cannot be looked for'),
    )
  }

  #receive(puller: Puller, msg: Msg): void {
    const delivery = deliveryOf(msg)
    const { seq } = delivery
    if (this.#holds.has(seq)) return puller.release() // N2
    let released = false
    const release = (): void => {
      if (!released) puller.release()
      released = true
    }
    const done = this.#executor.execute(msg, delivery, release).then(() => {
      this.#holds.delete(seq)
      release()
    })
    this.#holds.set(seq, done)
  }
}

/** What is said to all copies of a cage about its queued calls. */
export interface Orders {
  /** The call is cancelled (`ctx.queues.cancel`). */
  cancel(id: string): void
  /** The queue's waiting calls are deleted. */
  purge?(queue: string): void
  /** The call need not wait any longer. */
  hasten?(id: string): void
}

/** Hears what is said: `call <id>`, `purge <queue>` and `hasten <id>`. */
export function followOrders(nc: QueueDeps['nc'], cage: string, orders: Orders): Subscription {
  return nc.subscribe(cancelSubject(cage), {
    callback: (error, msg) => {
      const [, word, name = ''] = error ? [] : (/^(call|purge|hasten) (.+)$/.exec(msg.string()) ?? [])
      if (word === 'call') orders.cancel(name)
      if (word === 'purge') orders.purge?.(name)
      if (word === 'hasten') orders.hasten?.(name)
    },
  })
}
