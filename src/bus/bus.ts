/**
 * The bus as actors see it. Types only: who implements it is nats.ts's business.
 * One call is one value: `Call` comes in, `Outcome` goes out, and neither knows a socket.
 * It is a little long, because everything that a bus offers is in one place.
 */
import type { CageError } from '../errors.ts'
import type { LogLevel } from '../levels.ts'
import type { Discovered, Inspection } from './inspect/contract.ts'
import type { Journals } from './journal/contract.ts'
import type { Consumer, Culprit, EnqueueOptions, QueueAdmin, QueuePolicy } from './queue/contract.ts'
import type { Survey } from './survey/contract.ts'

/** What belongs to the request that a call is part of, and travels along with every call made for it. */
export interface RequestInfo {
  /** The same in every cage that works for the request. */
  id: string
  /** W3C trace context. */
  traceparent?: string | undefined
  /** The user's own, small: they travel along. `interface` and `protocol` tell how the request came in. */
  parameters?: Readonly<Record<string, unknown>> | undefined
  /** Its methods log at least at this level, whatever their nodes' level is. */
  log?: LogLevel | undefined
  /** Of a queued call; it does not travel along, but to the worker that its module has of its own. */
  queued?: QueuedInfo | undefined
  /** Of a call with a key; it does not travel along. */
  key?: string | undefined
}

/** Where a queued call comes from. */
export interface QueuedInfo {
  readonly queue: string
  readonly id: string
  /** From 1. */
  readonly attempt: number
  /** There is no further one if this one fails. */
  readonly last: boolean
}

/** A call that has arrived. */
export interface Call {
  readonly module: string
  readonly method: string
  args: unknown[]
  /** Epoch ms by this node's clock; Infinity if the caller named none. */
  deadline: number
  /** Limit of this call, ms, in place of its module's own. */
  readonly timeoutMs?: number
  request: RequestInfo
  /** Nobody waits for the answer. */
  readonly oneWay: boolean
  /** See CallOptions. */
  readonly key?: string | undefined
  readonly cancels?: string | undefined
}

/** How a call ended. */
export type Outcome = { ok: true; result: unknown } | { ok: false; error: CageError }

/** What a served module does with its calls. It calls `settle` exactly once for each, and never throws. */
export interface CallHandler {
  handle(call: Call, settle: (outcome: Outcome) => void): void
  /** The caller of this call has gone away. */
  cancel(call: Call): void
}

/** How a call is made. */
export interface CallOptions {
  /** Epoch ms: the promise is settled by then. */
  deadline: number
  request: RequestInfo
  /** Calls of one owner are cancelled together (`Bus.cancel`). */
  owner?: object
  signal?: AbortSignal
  /** Text of 1 to 256 bytes. All calls of a cage with one key are run once: the others are answered with the result of that. */
  key?: string | undefined
  /** The call is a queued one, handed on to the worker of its module. */
  queued?: QueuedInfo | undefined
  /** The key of a call that this one, which has a key of its own, undoes: it is not run if that never was, and that is never run after it. */
  cancels?: string | undefined
  /** Told once how the call ended. */
  counter?: CallCounter
}

/** Counts calls where they are made. It costs less than a promise for each. */
export interface CallCounter {
  /** `code` tells in which error; undefined: in none. */
  called(cage: string, module: string, ms: number, code: string | undefined): void
}

/** An endpoint as discovery shows it (ADR-32), with its counters. */
export interface Endpoint {
  module: string
  method: string
  metadata: Record<string, string>
  requests: number
  errors: number
  lastError: string
  /** Total, nanoseconds. */
  processingTimeNs: number
}

/** What discovery tells about a cage's copy; `endpoints` is read at each question. */
export interface ServiceInfo {
  name: string
  version: string
  description: string
  metadata: Record<string, string>
  endpoints(): Iterable<Endpoint>
}

/** Something subscribed. */
export interface Subscription {
  /** Takes no new messages; resolves when those already here have been handed over. */
  drain(): Promise<void>
}

export interface BusStats {
  /** Replies that came after their deadline, or that nobody asked for. */
  lateReplies: number
  reconnects: number
  inFlight: number
}

/** Makes the next value of the current one; undefined is none. It may be asked several times, so it must do nothing but decide. */
export type StateChange = (current: unknown) => unknown

/** How a value is written. */
export interface StateWrite {
  /** Epoch ms. */
  deadline: number
  /** The value is absent after so long; undefined: it stays. */
  ttlMs?: number | undefined
}

/** How a change is prepared. */
export interface StateIntent extends StateWrite {
  /** Whose change it is: one participant of one transaction. */
  branch: string
}

/** Durable values of one module, shared by the copies of its cage. A key is text of 1 to 256 bytes. Deadlines are epoch ms. */
export interface StateStore {
  get(key: string, deadline: number): Promise<unknown>
  /**
   * Replaces a value by what `change` makes of it, on what is there at that moment; resolves with the new one. Rejects with what `change`
   * throws, CONFLICT (others were faster until the deadline), DEADLINE_EXCEEDED (nobody knows whether it was written), UNAVAILABLE, PAYLOAD_TOO_LARGE.
   */
  update(key: string, change: StateChange, options: StateWrite): Promise<unknown>
  /**
   * Makes a change that counts only once it is committed, on any connection: until then everybody reads the old value, and other writers wait, at
   * last for CONFLICT. The same branch sees its own change, and makes the next one of it. Resolves with the new value. The old value and the new one
   * have to fit into one message together. Rejects as `update` does.
   */
  prepare(key: string, change: StateChange, options: StateIntent): Promise<unknown>
  /**
   * Ends the change that a branch has prepared; changes nothing if there is none, or none any more. After a rollback nothing that the branch had under
   * way is stored. Resolves with the value that counts now.
   */
  finish(key: string, branch: string, end: 'commit' | 'rollback', deadline: number): Promise<unknown>
  keys(deadline: number): Promise<string[]>
  /** Tells `listener`, which never throws, every value and then every change; undefined: deleted or expired. Resolves with what ends that, once everything was told. */
  watch(listener: (key: string, value: unknown) => void, deadline: number): Promise<() => void>
}

/** A schedule as engineers see it. Times are ISO 8601. */
export interface ScheduleInfo {
  cage: string
  name: string
  /** `cron 0 3 * * *, Europe/Berlin`, `every 60000 ms`, `at 2026-01-01T00:00:00Z, UTC`. */
  timing: string
  call: string
  queue?: string
  /** Undefined: never again. */
  next?: string
  /** `tick`: undefined if an engineer had it run. `outcome`: running, ok, queued, skipped (the call before still ran), or an error's code. */
  last?: { tick?: string; at: string; outcome: string; message?: string; ms?: number }
  /** A direct call runs. */
  running: boolean
}

/** The schedules of all cages. Rejects with UNAVAILABLE for one that no copy has. */
export interface Schedules {
  list(): Promise<ScheduleInfo[]>
  info(cage: string, name: string): Promise<ScheduleInfo>
  /** Has it run now; resolves with the id of the call or request that was begun. CONFLICT: the call before still runs. */
  run(cage: string, name: string): Promise<{ id: string }>
  /** Answers for a schedule, as one of the cage's copies. */
  serve(cage: string, name: string, schedule: { info(): Promise<object>; run(): Promise<object> }): Promise<Subscription>
}

/** How much people should mind. alert: somebody must act now. */
export type NotificationLevel = 'info' | 'warn' | 'error' | 'alert'

/** What people should know. */
export interface Notification {
  level: NotificationLevel
  cage: string
  module?: string | undefined
  node?: string | undefined
  /** Of the request that it is about. */
  request?: string | undefined
  /** Epoch ms. */
  at: number
  message: string
  /** What the runtime itself tells has one, by which rules select: `call.dead` and so on (docs/monitoring.md). */
  kind?: string | undefined
  /** It stands for so many of the same, of which it is the latest. */
  repeated?: number | undefined
  /** Anything that JSON can hold. */
  details?: unknown
}

/** A notification as it is kept. */
export interface Kept extends Notification {
  seq: number
}

export interface NotificationFilter {
  /** Epoch ms. */
  since?: number | undefined
  /** This level, and those above. */
  level?: NotificationLevel | undefined
  cage?: string | undefined
  /** Kept after the one with this `seq`. */
  after?: number | undefined
}

/** What people should know: the last 10,000, of all cages. Made when the first one is sent. */
export interface Notifications {
  /**
   * Sends what the runtime has to tell, and forgets: what could not be kept is logged. More of the same level, cage, module and kind within a
   * minute are counted and told together. `about`: what it is about where these do not say so, a resource or a queue.
   */
  tell(notification: Notification, about?: string): void
  /** Resolves once the server has it. Rejects with UNAVAILABLE, DEADLINE_EXCEEDED (nobody knows), INVALID_ARGUMENT, PAYLOAD_TOO_LARGE. */
  send(notification: Notification, deadline: number): Promise<void>
  /** Oldest first: what there is now. */
  list(filter: NotificationFilter): AsyncIterable<Kept>
  /** Tells `listener`, which never throws, what is sent from now on. Resolves with what ends that. */
  follow(filter: Omit<NotificationFilter, 'since' | 'after'>, listener: (sent: Notification) => void): Promise<() => void>
  /** Undefined: it is not kept any more, or never was. */
  get(seq: number): Promise<Kept | undefined>
  /** The `seq` of the latest one; 0: there is none. */
  last(): Promise<number>
}

/** A connection to the bus. */
export interface Bus {
  /** This connection's id: the ADR-32 instance id. */
  readonly id: string
  readonly connected: boolean
  /** Host and port of the server that it is connected to, or was. */
  readonly server: string
  /** Calls and waits. Rejects with a CageError: UNAVAILABLE at once with no responder or no bus, DEADLINE_EXCEEDED at the deadline. */
  call(cage: string, module: string, method: string, args: unknown[], options: CallOptions): Promise<unknown>
  /** One-way, at most once. Throws UNAVAILABLE while the bus is away. */
  post(cage: string, module: string, method: string, args: unknown[], options: CallOptions): void
  /** Cancels the outstanding calls of an owner; their callees' signals fire. */
  cancel(owner: object): void
  /** Serves all methods of a module as a member of the cage's queue group. */
  serve(cage: string, module: string, handler: CallHandler): Promise<Subscription>
  /**
   * Puts a call into a durable queue; resolves with its id once the server has it. Rejects with OVERLOADED (the queue is full), UNAVAILABLE
   * (not stored), DEADLINE_EXCEEDED (nobody knows: repeat it with the same id), CONFLICT, INVALID_ARGUMENT, PAYLOAD_TOO_LARGE.
   */
  enqueue(queue: string, cage: string, module: string, method: string, args: unknown[], options: EnqueueOptions): Promise<string>
  /** Throws INVALID_ARGUMENT for a call that `enqueue` would refuse. */
  checkEnqueue(queue: string, cage: string, module: string, method: string, options: Omit<EnqueueOptions, 'request' | 'deadline'>): void
  /** Runs the calls that a cage has in a queue, as one of its copies, until the consumer is stopped. The policy is read at each use. */
  consume(queue: string, cage: string, policy: () => QueuePolicy, handler: CallHandler): Promise<Consumer>
  /** Queues and dead letters as engineers see them. */
  readonly queues: QueueAdmin
  /** The durable values of a module of a cage. Nothing is made before it is needed. `maxAgeMs`: the server deletes each so long after its last change. */
  state(cage: string, module: string, maxAgeMs?: number): StateStore
  readonly schedules: Schedules
  /** Journals of coordinators and sagas. */
  readonly journals: Journals
  readonly notifications: Notifications
  /** What all cages do. */
  readonly survey: Survey
  /** Every copy of every cage, or of one, with its methods, as discovery tells; `withinMs`: at most so long, default 1,000. */
  discover(options?: { cage?: string | undefined; withinMs?: number | undefined; quietMs?: number | undefined }): Promise<Discovered[]>
  /** What the server is like, and what it stores for us. */
  inspect(): Promise<Inspection>
  /** Answers discovery for the cage, and takes cancellations. */
  announce(service: ServiceInfo): Promise<Subscription>
  /**
   * Whether the connection with this id answers. If it is closed: false at once; if it is stopped or cut off: false after `withinMs`. Rejects with
   * UNAVAILABLE if our own connection was away meanwhile.
   */
  isAlive(id: string, withinMs: number): Promise<boolean>
  stats(): BusStats
  /** To the server and back, ms; undefined: not within `withinMs`, or it is away. */
  roundTrip(withinMs: number): Promise<number | undefined>
  /** Sends what is to be sent and closes. */
  close(): Promise<void>
  /** Resolves after `close`, rejects if the connection ends for good by itself. */
  readonly done: Promise<void>
}

/** Keeps the queued calls alive that workers hold, from a thread that runs no user code. */
export interface CallKeeper {
  /** Memory for what one worker holds, watched from now on. */
  table(): SharedArrayBuffer
  /** The table's worker has ended: its calls are given out again, those of the culprit with a note. */
  handBack(table: SharedArrayBuffer, culprit: Culprit): Promise<void>
  /** See `Notifications.tell`; connects if need be. */
  tell(notification: Notification, about?: string): void
  /** Connects; until then nothing is kept alive. */
  connect(): void
  close(): Promise<void>
}
