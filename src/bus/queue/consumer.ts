/**
 * Consumer: runs the calls that a cage has in a queue, shared with all other copies of the cage.
 * N1. Each copy takes as many calls as it has free slots; urgent calls have slots of their own, and never wait behind others.
 * N2. A call that is delivered again while this copy still holds it is not run again.
 * N3. stop() takes nothing more and lets what runs end.
 */
import type { Msg, Subscription } from 'nats'
import type { CallHandler } from '../bus.ts'
import { deliveryOf } from '../jetstream.ts'
import { cancelSubject } from '../subjects.ts'
import type { Consumer, Priority, QueuePolicy } from './contract.ts'
import type { QueueDeps } from './deps.ts'
import { Executor } from './executor.ts'
import { filterOf, streamOf } from './message.ts'
import { Puller } from './puller.ts'

const PRIORITIES: readonly Priority[] = ['normal', 'high']

/** Without a limit over all copies, so many may be under way in all of them. */
const MANY = 65_536

/** A server that confirms nothing gets nothing more to confirm. */
const UNSETTLED = 1_000

export class SharedConsumer implements Consumer {
  readonly #deps: QueueDeps
  readonly #queue: string
  readonly #cage: string
  readonly #policy: () => QueuePolicy
  readonly #executor: Executor
  readonly #pullers: Puller[]
  /** By sequence. */
  readonly #holds = new Map<number, Promise<unknown>>()
  #subscription: Subscription | undefined
  #unlisten: (() => void) | undefined

  constructor(deps: QueueDeps, queue: string, cage: string, policy: () => QueuePolicy, handler: CallHandler) {
    const { js, ledger, held, solo, log } = deps
    this.#deps = deps
    this.#queue = queue
    this.#cage = cage
    this.#policy = policy
    this.#executor = new Executor({ js, ledger, held, solo, handler, policy, log, sequenced: false, inPlace: () => false })
    this.#pullers = PRIORITIES.map((priority) => this.#puller(priority))
  }

  async start(): Promise<void> {
    const { nc, streams, control } = this.#deps
    await streams.queue(this.#queue, this.#policy().maxBytes)
    await Promise.all(this.#pullers.map((puller) => puller.start()))
    this.#subscription = followOrders(nc, this.#cage, { cancel: (id) => this.#executor.cancel(id) })
    this.#unlisten = control.onChange(() => this.#reconsider())
  }

  /** The queue was paused, or goes on. */
  #reconsider(): void {
    for (const puller of this.#pullers) puller.reconsider()
  }

  async stop(): Promise<void> {
    this.#unlisten?.()
    await Promise.all(this.#pullers.map((puller) => puller.stop()))
    await Promise.all(this.#holds.values())
    const subscription = this.#subscription
    this.#subscription = undefined
    await subscription?.drain()
  }

  #puller(priority: Priority): Puller {
    const { connection, outbox, streams, control, held, log } = this.#deps
    const puller: Puller = new Puller({
      connection,
      outbox,
      stream: streamOf(this.#queue),
      consumer: () => this.#claim(streams, priority),
      capacity: () =>
        control.of(this.#queue).mode === 'paused' || this.#holds.size > UNSETTLED ? 0 : Math.min(this.#policy().concurrency, held.free),
      receive: (msg) => this.#receive(puller, msg),
      log,
    })
    return puller
  }

  /** A queue that was sequenced until now has a consumer of a copy that leads no more. */
  async #claim(streams: QueueDeps['streams'], priority: Priority): Promise<string> {
    await this.#deps.leadership.clear(this.#queue, '', [filterOf(this.#queue, this.#cage, 'all')])
    return streams.sharedConsumer(this.#queue, this.#cage, priority, this.#policy().totalConcurrency ?? MANY)
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
