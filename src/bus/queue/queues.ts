/**
 * Queues: everything durable about calls, for one connection. It introduces the parts to each other; nothing is made before it is needed.
 */
import type { NatsConnection } from 'nats'
import type { Log } from '../../log.ts'
import type { CallHandler, Notifications } from '../bus.ts'
import type { Caller } from '../caller.ts'
import type { Connection } from '../connection.ts'
import { JetStream } from '../jetstream.ts'
import type { Outbox } from '../outbox.ts'
import type { Turns } from '../turns.ts'
import { Admin } from './admin.ts'
import { AgeWatch, type Consumed } from './ages.ts'
import { SharedConsumer } from './consumer.ts'
import type { Consumer, EnqueueOptions, QueuePolicy } from './contract.ts'
import { Control } from './control.ts'
import type { QueueDeps } from './deps.ts'
import { HeldTable, sharedHeld } from './held.ts'
import { Janitor } from './janitor.ts'
import { Keeper } from './keeper.ts'
import { Leadership } from './leadership.ts'
import { Ledger } from './ledger.ts'
import { Mover } from './mover.ts'
import { Producer } from './producer.ts'
import { SequencedConsumer } from './sequenced.ts'
import { Solo } from './solo.ts'
import { type StreamSettings, Streams } from './streams.ts'

export interface QueuesOptions extends StreamSettings {
  /** Memory shared with a thread whose `Keeper` keeps held calls alive; without it, this thread does. */
  held?: SharedArrayBuffer | undefined
}

/** What the queues of a connection are made of. */
export interface QueuesSource {
  readonly id: string
  readonly nc: NatsConnection
  readonly connection: Connection
  readonly outbox: Outbox
  readonly caller: Caller
  readonly log: Log
  readonly tell: Notifications['tell']
  readonly turns: Turns
}

/** Default expiry of the calls of a queue that nobody here knows. */
const UNKNOWN_QUEUE_EXPIRES_MS = 7 * 86_400_000

export class Queues {
  readonly admin: Admin
  readonly #deps: QueueDeps
  readonly #producer: Producer
  readonly #mover: Mover
  readonly #janitor: Janitor
  readonly #ages: AgeWatch
  readonly #consumed = new Map<string, Consumed>()
  readonly #policies = new Map<string, () => QueuePolicy>()
  readonly #keeper: Keeper | undefined
  #background: Promise<void> | undefined
  #nonces = 0

  constructor(source: QueuesSource, options: QueuesOptions) {
    const { id, nc, connection, outbox, caller, log, tell, turns } = source
    const js = new JetStream(caller)
    const streams = new Streams(js, options)
    const ledger = new Ledger(js)
    const control = new Control(js, nc)
    const leadership = new Leadership(nc, caller, streams)
    const table = options.held ?? sharedHeld()
    if (!options.held) this.#keeper = new Keeper(js, new Set([table]), log)
    this.#deps = {
      nc,
      connection,
      outbox,
      js,
      streams,
      ledger,
      control,
      leadership,
      held: new HeldTable(table),
      solo: new Solo(),
      log,
      tell,
      id,
    }
    this.#producer = new Producer(js, streams, ledger, control, () => `${id}.${++this.#nonces}`)
    this.#mover = new Mover(this.#deps, () => this.#afterOutage())
    this.#ages = new AgeWatch({ js, control, log, tell, turns }, () => this.#consumed.values())
    this.#janitor = new Janitor(js, streams, log, tell, (queue) => this.#policies.get(queue)?.().expiresMs ?? UNKNOWN_QUEUE_EXPIRES_MS)
    this.admin = new Admin(js, streams, ledger, control, leadership)
  }

  /** See `Bus.enqueue`. */
  enqueue(queue: string, cage: string, module: string, method: string, args: unknown[], options: EnqueueOptions): Promise<string> {
    return this.#producer.enqueue(queue, cage, module, method, args, options)
  }

  /** See `Bus.consume`. */
  async consume(queue: string, cage: string, policy: () => QueuePolicy, handler: CallHandler): Promise<Consumer> {
    await this.#deps.streams.shared(policy().dedupMs)
    await this.#deps.control.follow()
    const consumer = new (isSequenced(policy()) ? SequencedConsumer : SharedConsumer)(this.#deps, queue, cage, policy, handler)
    await consumer.start()
    this.#policies.set(queue, policy)
    this.#consumed.set(`${queue} ${cage}`, { queue, cage, policy })
    this.#background ??= this.#startBackground()
    await this.#background
    return consumer
  }

  /** Ends what runs besides the consumers, which their owners stop. */
  async close(): Promise<void> {
    this.#janitor.stop()
    this.#ages.stop()
    this.#keeper?.close()
    if (this.#background !== undefined) await this.#mover.stop()
  }

  #afterOutage(): void {
    this.#janitor.hurry()
    this.#deps.control
      .refresh()
      .catch((error: unknown) => this.#deps.log.debug({ err: error }, 'what was said of the queues cannot be read'))
  }

  async #startBackground(): Promise<void> {
    try {
      await this.#mover.start()
      this.#janitor.start()
      this.#ages.start()
    } catch (error) {
      this.#background = undefined
      throw error
    }
  }
}

/** Whether one copy hands out all calls of the queue, because their order or number over all copies matters. */
function isSequenced(policy: QueuePolicy): boolean {
  return policy.ordered !== undefined || policy.limits !== undefined
}
