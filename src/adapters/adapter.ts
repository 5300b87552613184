/**
 * The contract between the runtime and a protocol. An adapter knows this file and its driver, neither bus nor actors.
 * A1. `listen` resolves once the world can reach the interface. If it cannot (port taken, server down) it rejects and leaves
 *     nothing behind: the cage goes on and tries again with back-off.
 * A2. `host.call` never leaves the adapter waiting past `timeoutMs`: it resolves, or rejects with a CageError, which becomes
 *     whatever the protocol has for it.
 * A3. `stop` takes no new work, lets what runs end, and resolves; it is idempotent.
 * A4. `done` rejects if the interface dies by itself, and resolves after `stop`.
 * A5. An outside caller that goes away cancels its calls: `host.cancel`.
 * src/testing holds every adapter to it: what `menagerie/testing` gives those who write their own.
 */
import type { ZodType } from 'zod'
import type { CageError } from '../errors.ts'
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
  /** The methods of a module of this cage, as it is now; undefined if it is not here: a worker of its own has it, or nobody. */
  methodsOf(module: string): readonly string[] | undefined
  /** Durable values of the interface, shared by the cage's copies. */
  readonly memory: InterfaceMemory
  /** What cages and the runtime want people to know (docs/adapters/notifications.md). */
  readonly notifications: HostNotifications
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
  /** W3C trace context of the outside request, if it brings a good one (src/traceparent.ts). */
  traceparent?: string | undefined
  /** Becomes `ctx.request.protocol`, e.g. `http`. */
  protocol?: string | undefined
  /** Small values that become `ctx.request.parameters`. */
  parameters?: Readonly<Record<string, unknown>> | undefined
}

/** How one call of an interface is enqueued. */
export interface InterfaceQueueOptions extends Pick<InterfaceCallOptions, 'requestId' | 'traceparent' | 'protocol' | 'parameters'> {
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

/** How much people should mind. alert: somebody must act now. */
export type NotificationLevel = 'info' | 'warn' | 'error' | 'alert'

/** What people should know, as it is kept and delivered. */
export interface KeptNotification {
  level: NotificationLevel
  cage: string
  module?: string | undefined
  node?: string | undefined
  /** Of the request that it is about. */
  request?: string | undefined
  /** Epoch ms. */
  at: number
  message: string
  /** What the runtime itself tells has one: docs/monitoring.md. */
  kind?: string | undefined
  /** It stands for so many of the same, of which it is the latest. */
  repeated?: number | undefined
  details?: unknown
  /** Its number among all that are kept. */
  seq: number
}

/** The notifications that are kept, 10,000 of all cages. They reject with UNAVAILABLE. */
export interface HostNotifications {
  /** The number of the latest one; 0: there is none. */
  last(): Promise<number>
  /** Undefined: it is not kept any more. */
  get(seq: number): Promise<KeptNotification | undefined>
  /** Those of a level and above that came after a number, oldest first. */
  list(after: number, level: NotificationLevel): AsyncIterable<KeptNotification>
  /** Calls `listener`, which never throws, when one of a level or above is sent: a moment before it is kept. Resolves with what ends that. */
  follow(level: NotificationLevel, listener: () => void): Promise<() => void>
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

/**
 * What a resource can promise a transaction.
 * prepared: once prepared, its commit cannot fail, and it outlives our death. one-phase: it commits or not, in one step that may fail.
 * compensable: done at once; undone by another call. deferred: done after the decision. irreversible: done at once, for good.
 */
export type ParticipantClass = 'prepared' | 'one-phase' | 'compensable' | 'deferred' | 'irreversible'

/** Limits of one piece of work at a resource. */
export interface Scope {
  /** Epoch ms. The work is stopped at the other end too, where the protocol can. */
  readonly deadline: number
  /** Fires when nobody wants the result any more. */
  readonly signal: AbortSignal
  /** The same, cheaper, where whoever makes the scope offers it: a signal costs as much as a tenth of a database's call (src/scope.ts uses it). */
  readonly watch?: ScopeWatch | undefined
  /** W3C trace context of the work: a protocol that has a place for it (a header) passes it on, unless the caller has put one there himself. */
  readonly traceparent?: string | undefined
}

export interface ScopeWatch {
  /** Why the signal has fired, if it has. */
  ended(): CageError | undefined
  /** Calls the listener once when the signal fires; returns what calls that off. */
  onEnd(listener: (why: CageError) => void): () => void
}

/** What the runtime gives a resource. */
export interface ResourceHost {
  readonly cage: string
  /** The resource's name in the configuration, e.g. `ledger`. */
  readonly name: string
  readonly log: Log
  /** No work takes longer, ms, if the configuration says so: for limits at the other end that outlive us. */
  readonly maxCallMs?: number | undefined
}

/** How a transaction begins at a connection. */
export interface Branch {
  /** Unique for ever; at most 150 bytes of letters, digits, `_`, `-`, `/` and `.`. */
  readonly id: string
  /** The caller's, e.g. `{ isolation: 'serializable', readOnly: true }`; the adapter checks them (INVALID_ARGUMENT). */
  readonly options: Readonly<Record<string, unknown>>
}

export type Decision = 'commit' | 'rollback'

/** Something outside that we call, as it is configured: it makes connections. */
export interface Resource {
  /** Makes one connection, for one piece of work at a time. Leaves nothing behind if it rejects (UNAVAILABLE, UNAUTHENTICATED ...). */
  connect(scope: Scope): Promise<ResourceConnection>
  /** Nothing is connected any more, and nothing will be. */
  close?(): Promise<void>
}

/**
 * One connection of a resource; a stateless protocol's is a plain object.
 * R1. Without `begin`, a call is atomic by itself. After it, calls belong to the branch until commit or rollback, which end it in any case.
 * R2. Whatever rejects does so with a CageError; a connection that cannot be used again says so by `broken` before it rejects.
 * R3. Nothing outlives its scope: the server's work is cancelled with it.
 */
export interface ResourceConnection {
  readonly participant: ParticipantClass
  readonly broken: boolean
  call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown>
  begin?(branch: Branch, scope: Scope): Promise<void>
  /** one-phase: by what its outcome can be found if the answer to the commit is lost; small and plain. After the last call of the branch. */
  identity?(scope: Scope): Promise<unknown>
  /** prepared: from here on only `finish` or commit and rollback of this connection end the branch. */
  prepare?(scope: Scope): Promise<void>
  commit?(scope: Scope): Promise<void>
  rollback?(scope: Scope): Promise<void>
  /** Ends a prepared branch of another connection, be it dead or not; a branch that is not there has been ended before. */
  finish?(branch: string, decision: Decision, scope: Scope): Promise<void>
  /**
   * What became of a one-phase branch of another connection. One that is still open is ended, as rolled back, so that the answer is final.
   * Rejects if it cannot be told now; `unknown`: it never will be.
   */
  outcome?(identity: unknown, scope: Scope): Promise<'committed' | 'rolled back' | 'unknown'>
  /** Prepared branches whose ids begin so, for the janitor. */
  leftovers?(prefix: string, scope: Scope): Promise<{ branch: string; ageMs: number }[]>
  /** Is it still there? For connections that have been idle. */
  check?(scope: Scope): Promise<void>
  close(): Promise<void>
}

/** What a worker knows of an adapter: its options have been checked. */
export type Driver = Pick<Adapter, 'listen' | 'open'>

/** What a worker knows of all adapters, by kind. */
export type Drivers = Pick<ReadonlyMap<string, Driver>, 'get'>

/** One protocol: interface, resource, or both. */
export interface Adapter<Options = unknown, ResourceOptions = Options> {
  /** The word in the configuration's `kind`. */
  readonly kind: string
  /** Schema of an interface's options, defaults included. */
  readonly options?: ZodType<Options> | undefined
  /** The world calls us. */
  listen?(options: Options, host: InterfaceHost): Promise<Listener>
  /** Schema of a resource's options; `pool` and `cache` are the runtime's and not among them. */
  readonly resourceOptions?: ZodType<ResourceOptions> | undefined
  /** We call the world. Nothing is connected yet. */
  open?(options: ResourceOptions, host: ResourceHost): Promise<Resource>
}
