/**
 * The contract between the runtime and a protocol. An adapter knows this file and its driver, neither bus nor actors.
 * A1. `listen` resolves once the world can reach the interface. If it cannot (port taken, server down) it rejects and leaves
 *     nothing behind: the cage goes on and tries again with back-off.
 * A2. `host.call` never leaves the adapter waiting past `timeoutMs`: it resolves, or rejects with a CageError, which becomes
 *     whatever the protocol has for it.
 * A3. `stop` takes no new work, lets what runs end, and resolves; it is idempotent.
 * A4. `done` rejects if the interface dies by itself, and resolves after `stop`.
 * A5. An outside caller that goes away cancels its calls: `host.cancel`.
 * test/adapters/conformance.ts holds every adapter to it.
 */
import type { ZodType } from 'zod'
import type { Log } from '../log.ts'

/** What the runtime gives an interface. */
export interface InterfaceHost {
  readonly cage: string
  /** The interface's name in the configuration, e.g. `web`. */
  readonly name: string
  readonly log: Log
  /** The cage's default deadline, ms. */
  readonly timeoutMs: number
  /** A directory of its own for files made at run time (certificates). The copies of a cage on a machine share it. */
  readonly dataDir: string
  /** Calls `module.method` of this cage, or `cage.module.method`, over the bus. */
  call(target: string, args: unknown[], options?: InterfaceCallOptions): Promise<unknown>
  /** Puts such a call into a durable queue; resolves with its id once the server has it. */
  enqueue(queue: string, target: string, args: unknown[], options: InterfaceQueueOptions): Promise<string>
  /** Durable values of the interface, shared by the cage's copies. */
  readonly memory: InterfaceMemory
  /** Lets engineers ask a schedule (docs/adapters/schedule.md); what they ask comes to one copy of the cage. Resolves with what ends that. */
  expose(schedule: ExposedSchedule): Promise<() => Promise<void>>
  /** Cancels the calls of an owner: they reject with CANCELLED, and their callees' signals fire. */
  cancel(owner: object): void
  /** An id for a request that comes without one. */
  newRequestId(): string
}

/** How one call of an interface is made. */
export interface InterfaceCallOptions {
  /** Default: the cage's. */
  timeoutMs?: number | undefined
  /** Whom the call is made for, e.g. the outside request: `cancel` ends all calls of one owner. */
  owner?: object | undefined
  /** Becomes `ctx.request.id`. Default: a new one. */
  requestId?: string | undefined
  /** W3C trace context of the outside request. */
  traceparent?: string | undefined
  /** Becomes `ctx.request.protocol`, e.g. `http`. */
  protocol?: string | undefined
  /** Small values that become `ctx.request.parameters`. */
  parameters?: Readonly<Record<string, unknown>> | undefined
}

/** How one call of an interface is enqueued. */
export interface InterfaceQueueOptions extends Pick<InterfaceCallOptions, 'requestId' | 'protocol' | 'parameters'> {
  /** A second call with it is not run. */
  id: string
  /** Dead after so long. Default: as the queue says. */
  expiresMs?: number | undefined
}

/** What an interface remembers. It rejects with UNAVAILABLE, or DEADLINE_EXCEEDED: nobody knows whether it was written. */
export interface InterfaceMemory {
  get(key: string): Promise<unknown>
  /** Compare-and-set: `change` may be asked several times. What it throws is thrown, and nothing is written. */
  update(key: string, change: (current: unknown) => unknown): Promise<unknown>
}

/** What engineers ask a schedule. */
export interface ExposedSchedule {
  /** When and what it runs, as JSON (docs/adapters/schedule.md). */
  info(): Promise<object>
  /** Has it run now; resolves with the id of the call or request that it has begun. */
  run(): Promise<{ id: string }>
}

/** A running interface. */
export interface Listener {
  /** Where it can be reached, for the log: `http://127.0.0.1:8080`. */
  readonly address: string
  stop(): Promise<void>
  readonly done: Promise<void>
}

/** One protocol. */
export interface Adapter<Options = unknown> {
  /** The word in the configuration's `kind`. */
  readonly kind: string
  /** Schema of the options, defaults included. */
  readonly options: ZodType<Options>
  /** The world calls us. */
  listen?(options: Options, host: InterfaceHost): Promise<Listener>
}
