/**
 * Queue: a cage's share of one durable queue as a supervised child, and the way of its calls to their modules.
 * Q1. A call goes to its module's mailbox in this worker; to a module in a worker of its own it goes over the bus.
 * Q2. A module or method that is not there may come with the next save or deploy: the call is tried again until it expires.
 * Q3. A call whose module's own worker died under it has crashed, not failed.
 */
import type { Bus, Call, CallHandler, Outcome } from '../bus/bus.ts'
import type { Consumer, QueuePolicy } from '../bus/queue/contract.ts'
import type { QueueStatus } from '../bus/survey/contract.ts'
import { CageError, toCageError } from '../errors.ts'
import type { Flows } from './flows.ts'
import type { ModuleActor } from './module.ts'
import type { Child } from './supervisor.ts'

export class QueueActor implements Child {
  readonly id: string
  readonly restart = 'permanent'
  /** A consumer does not die: it goes on for as long as it is not stopped. */
  readonly done: Promise<void>
  readonly #consume: () => Promise<Consumer>
  #starting: Promise<Consumer> | undefined
  #consumer: Consumer | undefined
  #end = (): void => {}

  constructor(queue: string, bus: Bus, cage: string, policy: () => QueuePolicy, handler: CallHandler) {
    this.id = `queue ${queue}`
    this.#consume = () => bus.consume(queue, cage, policy, handler)
    this.done = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  async start(): Promise<void> {
    this.#starting = this.#consume()
    this.#consumer = await this.#starting
  }

  /** This copy's share. */
  status(): QueueStatus {
    const none = { consuming: false, paused: false, running: 0, done: 0, retried: 0, dead: 0 }
    return { queue: this.id.slice('queue '.length), ...(this.#consumer?.stats() ?? none) }
  }

  async stop(): Promise<void> {
    const consumer = await this.#starting?.catch(() => undefined) // a start that failed has left nothing to stop
    await consumer?.stop()
    this.#end()
  }
}

/** Hands queued calls to the modules of a cage. */
export class QueueDispatch implements CallHandler {
  readonly #bus: Bus
  readonly #cage: string
  readonly #modules: ReadonlyMap<string, ModuleActor>
  readonly #isElsewhere: (module: string) => boolean
  readonly #flows: Flows
  readonly #forwarded = new Map<Call, AbortController>()

  constructor(bus: Bus, cage: string, modules: ReadonlyMap<string, ModuleActor>, isElsewhere: (module: string) => boolean, flows: Flows) {
    this.#flows = flows
    this.#bus = bus
    this.#cage = cage
    this.#modules = modules
    this.#isElsewhere = isElsewhere
  }

  handle(call: Call, settle: (outcome: Outcome) => void): void {
    const begun = performance.now()
    this.#dispatch(call, (outcome) => {
      const caller = this.#flows.of(`queue ${call.request.queued?.queue}`)
      const code = outcome.ok ? undefined : outcome.error.code
      caller.count(`${this.#cage}.${call.module}`, performance.now() - begun, code, this.#modules.has(call.module))
      settle(outcome)
    })
  }

  #dispatch(call: Call, settle: (outcome: Outcome) => void): void {
    if (this.#isElsewhere(call.module)) return void this.#forward(call).then(settle)
    const module = this.#modules.get(call.module)
    if (module?.version?.methods.has(call.method)) return module.handle(call, settle)
    const what = module
      ? `module ${this.#cage}.${call.module} has no method ${call.method}`
      : `cage ${this.#cage} has no module ${call.module}`
    settle({ ok: false, error: new CageError('NOT_FOUND', what, { retryable: true }) }) // Q2
  }

  cancel(call: Call): void {
    this.#modules.get(call.module)?.cancel(call)
    this.#forwarded.get(call)?.abort(new CageError('CANCELLED', 'the call was cancelled'))
  }

  /** A module's own worker has died (Q3). */
  died(module: string): void {
    for (const [call, controller] of this.#forwarded) {
      if (call.module === module) controller.abort(new CageError('CRASHED', `the worker of module ${this.#cage}.${module} has ended`))
    }
  }

  async #forward(call: Call): Promise<Outcome> {
    const controller = new AbortController()
    this.#forwarded.set(call, controller)
    const { module, method, args, deadline, request } = call
    try {
      return {
        ok: true,
        result: await this.#bus.call(this.#cage, module, method, args, {
          deadline,
          request,
          queued: request.queued,
          signal: controller.signal,
        }),
      }
    } catch (error) {
      return { ok: false, error: toCageError(controller.signal.aborted ? controller.signal.reason : error) }
    } finally {
      this.#forwarded.delete(call)
    }
  }
}
