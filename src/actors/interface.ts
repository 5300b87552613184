/**
 * Interface: an inbound adapter as a supervised child. A failing start is the supervisor's to repeat.
 * I1. One that is told to stop while it starts is stopped as soon as it has started.
 */
import type { InterfaceHost, Listener } from '../adapters/adapter.ts'
import type { Bus, CallOptions } from '../bus/bus.ts'
import type { InterfaceStatus } from '../bus/survey/contract.ts'
import type { Log } from '../log.ts'
import type { CallerFlows } from './flows.ts'
import type { Child } from './supervisor.ts'
import type { Trail } from './trail.ts'

export class InterfaceActor implements Child {
  readonly id: string
  readonly restart = 'permanent'
  readonly #listen: () => Promise<Listener>
  readonly #log: Log
  #starting: Promise<Listener> | undefined
  #listener: Listener | undefined
  #since: number | undefined
  #error: string | undefined

  constructor(id: string, listen: () => Promise<Listener>, log: Log) {
    this.id = id
    this.#listen = listen
    this.#log = log
  }

  get done(): Promise<void> {
    return this.#listener?.done ?? Promise.resolve()
  }

  async start(): Promise<void> {
    this.#listener = undefined
    this.#starting = this.#listen()
    try {
      this.#listener = await this.#starting
    } catch (error) {
      this.#error = messageOf(error)
      throw error
    }
    this.#since = Date.now()
    this.#error = undefined
    const { done } = this.#listener
    const gone = (error?: unknown): void => {
      if (this.#listener?.done !== done) return
      this.#since = undefined
      if (error !== undefined) this.#error = messageOf(error)
    }
    done.then(() => gone(), gone)
    this.#log.info({ interface: this.id, address: this.#listener.address }, 'interface listens')
  }

  /** Where it listens, or why it does not. */
  status(): Pick<InterfaceStatus, 'interface' | 'address' | 'since' | 'error'> {
    const listens = this.#since !== undefined
    return {
      interface: this.id.slice('interface '.length),
      address: listens ? this.#listener?.address : undefined,
      since: this.#since,
      error: this.#error,
    }
  }

  async stop(): Promise<void> {
    const listener = await this.#starting?.catch(() => undefined) // a start that failed has left nothing to stop
    await listener?.stop()
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** What an interface does for itself may take so long, ms. */
const OWN_MS = 10_000

/** What an interface's host is made of. */
export interface InterfaceSource {
  readonly bus: Bus
  readonly cage: string
  /** The interface's name. */
  readonly name: string
  readonly log: Log
  readonly dataDir: string
  /** The cage's default deadline, ms; read at each use. */
  readonly timeoutMs: () => number
  readonly newRequestId: () => string
  readonly trail: Trail
  /** The methods of a module that is here. Default: none is. */
  readonly methodsOf?: (module: string) => readonly string[] | undefined
  /** Counts what it calls. Default: nobody does. */
  readonly flows?: CallerFlows | undefined
}

/** The host of an interface: its calls go over the bus. */
export function interfaceHost({
  bus,
  cage,
  name,
  log,
  dataDir,
  timeoutMs,
  newRequestId,
  trail,
  methodsOf,
  flows,
}: InterfaceSource): InterfaceHost {
  const targets = new Map<string, [cage: string, module: string, method: string]>()
  const parsed = (target: string): [string, string, string] => {
    const [method = '', module = '', owner = cage] = target.split('.').reverse()
    const path: [string, string, string] = [owner, module, method]
    targets.set(target, path)
    return path
  }
  const memory = bus.state(cage, `_${name}`) // no module has such a name
  return {
    cage,
    name,
    log,
    dataDir,
    newRequestId,
    methodsOf: (module) => methodsOf?.(module),
    get timeoutMs() {
      return timeoutMs()
    },
    call(
      target,
      args,
      { timeoutMs: limitMs = timeoutMs(), owner, requestId = newRequestId(), traceparent, protocol = 'unknown', parameters } = {},
    ) {
      const [callee, module, method] = targets.get(target) ?? parsed(target)
      const came = { id: requestId, traceparent, parameters: { ...parameters, interface: name, protocol } }
      return trail.request({ by: name, request: came }, { target: `${callee}.${module}.${method}`, args }, (request) => {
        const options: CallOptions = { deadline: Date.now() + limitMs, request }
        if (owner) options.owner = owner
        if (flows) options.counter = flows
        return bus.call(callee, module, method, args, options)
      })
    },
    enqueue(queue, target, args, { id, expiresMs, requestId = newRequestId(), traceparent, protocol = 'unknown', parameters }) {
      const [callee, module, method] = targets.get(target) ?? parsed(target)
      const came = { id: requestId, traceparent, parameters: { ...parameters, interface: name, protocol } }
      const call = { target: `${callee}.${module}.${method}`, args, queue }
      const enqueued = trail.request({ by: name, request: came }, call, (request) =>
        bus.enqueue(queue, callee, module, method, args, { id, expiresMs, request, deadline: Date.now() + OWN_MS }),
      )
      return flows ? flows.follow(`queue ${queue}`, enqueued) : enqueued
    },
    memory: {
      get: (key) => memory.get(key, Date.now() + OWN_MS),
      update: (key, change) => memory.update(key, change, { deadline: Date.now() + OWN_MS }),
    },
    notifications: {
      last: () => bus.notifications.last(),
      get: (seq) => bus.notifications.get(seq),
      list: (after, level) => bus.notifications.list({ after, level }),
      follow: (level, listener) => bus.notifications.follow({ level }, () => listener()),
    },
    async expose(schedule) {
      const subscription = await bus.schedules.serve(cage, name, schedule)
      return () => subscription.drain()
    },
    cancel: (owner) => bus.cancel(owner),
  }
}
