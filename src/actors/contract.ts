/**
 * Everything that a module may name: the context of a call, and calls typed from the modules themselves.
 * Types only; users import them from 'menagerie'.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { CacheCall } from '../adapters/pool/contract.ts'
import type { CallStatus } from '../bus/queue/contract.ts'
import type { LogLevel } from '../levels.ts'
import type { Log } from '../log.ts'
import type { Admin } from './admin.ts'
import type { Saga, Sagas } from './saga/contract.ts'
import type { Transaction, TransactionOptions } from './transaction/contract.ts'

/** cage → module → `typeof import(...)`: filled by the generated `cages/index.ts`. */
// biome-ignore lint/suspicious/noEmptyInterface: users' generated index merges into it
export interface CageModules {}

/** resource → its type, e.g. `PostgresResource`: filled by your own `declare module 'menagerie' { interface CageResources { ... } }`. */
// biome-ignore lint/suspicious/noEmptyInterface: users' declarations merge into it
export interface CageResources {}

/** A resource that CageResources does not know, called without types. */
export type UntypedResource = Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>

/** How the calls of `ctx.resource(name, ...)` differ. */
export interface ResourceCallOptions {
  /** At most this long, within what is left of the deadline. */
  timeoutMs?: number | undefined
  /** Of a resource with a `cache`: the calls are reads that may be kept, or, with `writeKeys`, writes. False: neither. */
  cache?: CacheCall | false | undefined
}

/** Exports that the runtime calls itself, or reads, and never serves. */
type Reserved = 'start' | 'stop' | 'options' | 'schemas' | 'compensations'
type Method = (ctx: Context, ...args: never[]) => unknown
type MethodName<M> = { [K in keyof M]: K extends Reserved | `_${string}` ? never : M[K] extends Method ? K : never }[keyof M]
type Args<F> = F extends (ctx: Context, ...args: infer A) => unknown ? Sent<A> : never
type Result<F> = F extends (...args: never[]) => infer R ? Sent<Awaited<R>> : never

/** T as it crosses the bus: plain data passes; functions and symbols become never, so that passing one does not compile. */
// biome-ignore lint/suspicious/noConfusingVoidType: a method's result may be void
export type Sent<T> = T extends null | undefined | boolean | number | string | bigint | Date | Uint8Array | void
  ? T
  : T extends Map<infer K, infer V>
    ? Map<Sent<K>, Sent<V>>
    : T extends Set<infer V>
      ? Set<Sent<V>>
      : T extends symbol | ((...args: never[]) => unknown)
        ? never
        : unknown extends T
          ? T
          : { [K in keyof T]: Sent<T[K]> }

/** A module as its callers see it: `ctx` stripped, results promised. */
export type Called<M> = { readonly [K in MethodName<M>]: (...args: Args<M[K]>) => Promise<Result<M[K]>> }

/** Every cage and module of the index. */
export type Cages = { readonly [C in keyof CageModules]: { readonly [M in keyof CageModules[C]]: Called<CageModules[C][M]> } }

/** A cage or module that the index does not know, called without types. */
export type UntypedModule = Readonly<Record<string, (...args: unknown[]) => Promise<unknown>>>

/** Every cage and module of the index, as a queue takes their calls: each resolves to the queued call's id. */
export type QueuedCages = {
  readonly [C in keyof CageModules]: { readonly [M in keyof CageModules[C]]: Queued<CageModules[C][M]> }
}
type Queued<M> = { readonly [K in MethodName<M>]: (...args: Args<M[K]>) => Promise<string> }

/** How a call is enqueued. */
export interface QueueOptions {
  /**
   * Of your choice, to name the call again: a second call with it is not run for as long as the queue remembers (3 days after its success). Inside
   * a queued call it is a name within that call.
   */
  id?: string
  /** Not before so long. */
  delayMs?: number
  /** Dead after so long. Default: as the queue says. */
  expiresMs?: number
  /** Urgent calls have slots of their own. */
  priority?: 'high' | 'normal'
  /** What the order and the limits of the queue go by. */
  key?: string
}

/** What queued calls are made with: durable, run at least once, and once for each id. */
export interface QueuedCalls {
  readonly cages: QueuedCages
  /** A module by name, untyped. */
  module(cage: string, module: string): Readonly<Record<string, (...args: unknown[]) => Promise<string>>>
}

/** Queued calls by their ids. */
export interface Queues {
  /** Where a call stands and what came of it; undefined if nothing is known: it never was, or was given no id and is done. */
  status(id: string): Promise<CallStatus | undefined>
  /** Keeps a call from running, or fires the signal of one that runs. False if there was nothing left to cancel. */
  cancel(id: string): Promise<boolean>
}

/** How a value is kept. */
export interface StateOptions {
  /** The value is absent after so long. Default: it stays. */
  ttlMs?: number
}

/**
 * Durable values of one module, private to it and shared by all copies of its cage. A key is text of 1 to 256 bytes, a value anything that can
 * be sent, up to the bus's limit (1 MB by default; PAYLOAD_TOO_LARGE). DEADLINE_EXCEEDED of a write: nobody knows whether it was written.
 */
export interface State {
  get<T = unknown>(key: string): Promise<T | undefined>
  set(key: string, value: unknown, options?: StateOptions): Promise<void>
  /** Only if the key is absent; else CONFLICT. */
  create(key: string, value: unknown, options?: StateOptions): Promise<void>
  /**
   * Replaces a value by what `change` makes of it (undefined deletes), and resolves with it. If another writer is faster, `change` is asked again
   * with the new value, so it must do nothing but decide; at the deadline CONFLICT.
   */
  update<T = unknown>(
    key: string,
    change: (current: T | undefined) => T | undefined | Promise<T | undefined>,
    options?: StateOptions,
  ): Promise<T | undefined>
  delete(key: string): Promise<void>
  /** Sorted. */
  keys(): Promise<string[]>
  /**
   * Tells every value, then every change (undefined: deleted or expired); resolves, with what ends it, once the listener knows all there is.
   * Ends with the call, or, begun in `start`, when the module's version stops.
   */
  watch(listener: (key: string, value: unknown) => void): Promise<() => void>
}

/** The request that a call is part of. The same in every cage that works for it. */
export interface RequestView {
  readonly id: string
  /** The interface that the request came in by, if one of ours did. */
  readonly interface: string | undefined
  /** `http`, `https`, `schedule` ... or `nats` for a client of the bus. */
  readonly protocol: string
  /** W3C trace context. */
  readonly traceparent: string | undefined
  /** Of a queued call: its queue, its id, and which attempt this is, from 1. */
  readonly queue: string | undefined
  readonly callId: string | undefined
  readonly attempt: number
  /** What the call is run once for (`Idempotency-Key`), if its caller gave it a key: pass it on to whom you ask to do the same. */
  readonly key: string | undefined
  /** Small values of your own that travel along (`ctx.with({ parameters })`). */
  readonly parameters: Readonly<Record<string, unknown>>
}

/** How the calls of `ctx.with(...)` differ. */
export interface WithOptions {
  /** At most this long, within what is left of the deadline. */
  timeoutMs?: number
  /** Laid over the request's parameters. */
  parameters?: Record<string, unknown>
  /** `ctx.log` of everything that is done for these calls, queued or not, tells this much at least. INVALID_ARGUMENT if it is no level. */
  log?: LogLevel
}

/** What calls are made with. */
export interface Calls {
  /** Any cage: `ctx.cages.billing.invoice.issue(order)`. */
  readonly cages: Cages
  /** A module by name, untyped: for names known only at run time. */
  module(cage: string, module: string): UntypedModule
}

/** How a module tells people: the last 10,000 notifications of all cages are kept. `details` is anything that JSON can hold. */
export interface Notify {
  info(message: string, details?: unknown): Promise<void>
  warn(message: string, details?: unknown): Promise<void>
  error(message: string, details?: unknown): Promise<void>
  /** Somebody must act now. */
  alert(message: string, details?: unknown): Promise<void>
}

/** Everything that a method can reach. */
export interface Context extends Calls {
  /** Names of where this runs. */
  readonly self: { readonly node: string; readonly cage: string; readonly module: string; readonly method: string }
  /** Modules of this cage, without types of the index: `ctx.cages.<cage>` has them. */
  readonly cage: Readonly<Record<string, UntypedModule>>
  /** Epoch ms. */
  readonly deadline: number
  readonly remainingMs: number
  /** Fires at the deadline (reason DEADLINE_EXCEEDED) and when the caller goes away (CANCELLED). */
  readonly signal: AbortSignal
  readonly request: RequestView
  /** The cage's `values` from its configuration; read at each use, so it is never old. */
  readonly config: Readonly<Record<string, unknown>>
  readonly log: Log
  /** Tells people: kept for them, and shown by `menagerie notify`. Each resolves once it is stored. */
  readonly notify: Notify
  with(options: WithOptions): Calls
  /** Durable calls: `await ctx.queue('retry', { id }).cages.mail.sender.send(letter)` resolves to the call's id once the server has it. */
  queue(name: string, options?: QueueOptions): QueuedCalls
  readonly queues: Queues
  /** Of a queued call: its steps, journaled. INVALID_ARGUMENT in any other. */
  readonly saga: Saga
  readonly sagas: Sagas
  readonly state: State
  /** The cage's resources, each call on a connection of its own: `await ctx.resources.ledger.execute('select 1')`. */
  readonly resources: { readonly [R in keyof CageResources]: CageResources[R] }
  /** A resource with other limits, or one whose name is known only at run time. */
  resource<R extends keyof CageResources>(name: R, options?: ResourceCallOptions): CageResources[R]
  resource(name: string, options?: ResourceCallOptions): UntypedResource
  /** Several resources and calls together, then all committed or all undone: name the participants on it, then `execute()`. */
  transaction(options?: TransactionOptions): Transaction
  /** All cages as engineers see them, and what they do about them: for tools, such as the monitor cage. */
  readonly admin: Admin
  /** Puts a queued call off: it is run again after so long, and this was no attempt. Throws SNOOZED. */
  snooze(ms: number): never
}

/** A module's `options` export. The cage's configuration (`modules.<name>`) is laid over it. */
export interface ModuleOptions {
  /** Calls at once. Default 64; 1 makes a strict actor. */
  concurrency?: number | undefined
  /** Calls that may wait. Default 1000. */
  maxQueued?: number | undefined
  /** Limit of one call, ms. Default: the cage's. */
  timeoutMs?: number | undefined
  /** A worker thread of its own. */
  isolate?: boolean | undefined
}

/** A module's `schemas` export: per method, a Standard Schema of its list of arguments (`z.tuple([...])`). */
export type ModuleSchemas = Readonly<Record<string, StandardSchemaV1<unknown, readonly unknown[]>>>

/** A module's `compensations` export: method → what undoes it in a transaction, a method that takes the same arguments. */
export type ModuleCompensations = Readonly<Record<string, string>>
