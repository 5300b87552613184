/**
 * Interface: an inbound adapter as a supervised child. A failing start is the supervisor's to repeat.
 * I1. One that is told to stop while it starts is stopped as soon as it has started.
 */
import type { InterfaceHost, Listener } from '../adapters/adapter.ts'
import type { Bus, CallOptions } from '../bus/bus.ts'
import type { Log } from '../log.ts'
import type { Child } from './supervisor.ts'

export class InterfaceActor implements Child {
  readonly id: string
  readonly restart = 'permanent'
  readonly #listen: () => Promise<Listener>
  readonly #log: Log
  #starting: Promise<Listener> | undefined
  #listener: Listener | undefined

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
    this.#listener = await this.#starting
    this.#log.info({ interface: this.id, address: this.#listener.address }, 'interface listens')
  }

  async stop(): Promise<void> {
    const listener = await this.#starting?.catch(() => undefined) // a start that failed has left nothing to stop
    await listener?.stop()
  }
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
  /** The methods of a module that is here. Default: none is. */
  readonly methodsOf?: (module: string) => readonly string[] | undefined
}

/** The host of an interface: its calls go over the bus. */
export function interfaceHost({ bus, cage, name, log, dataDir, timeoutMs, newRequestId, methodsOf }: InterfaceSource): InterfaceHost {
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
      const request = { id: requestId, traceparent, parameters: { ...parameters, interface: name, protocol } }
      const options: CallOptions = { deadline: Date.now() + limitMs, request }
      if (owner) options.owner = owner
      return bus.call(callee, module, method, args, options)
    },
    enqueue(queue, target, args, { id, expiresMs, requestId = newRequestId(), protocol = 'unknown', parameters }) {
      const [callee, module, method] = targets.get(target) ?? parsed(target)
      const request = { id: requestId, parameters: { ...parameters, interface: name, protocol } }
      return bus.enqueue(queue, callee, module, method, args, { id, expiresMs, request, deadline: Date.now() + OWN_MS })
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
