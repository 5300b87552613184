/** Transactions as modules write them. Types only; users import them from 'menagerie'. */
import type { CageModules, CageResources, Called, QueuedCalls, QueueOptions } from '../contract.ts'

/** How a transaction is run. */
export interface TransactionOptions {
  /** At most this long, within what is left of the deadline. */
  timeoutMs?: number
  /**
   * Decides, after each result, from all results in the order named: undefined to wait for more, any other value to commit (`execute` resolves to
   * it), or throws to roll back. What is not there yet is `PENDING`, a failure is its CageError. Participants that have not ended, or have failed,
   * by the decision are rolled back alone. Default: the first failure rolls back, all results commit.
   */
  accept?: (results: readonly unknown[]) => unknown
  /** False: resolves once the decision is durable, not when every participant has carried it out. Default true. */
  syncCommit?: boolean
}

/** A participant that has been named. */
export interface Named {
  /**
   * What undoes it, a method of the same module or resource. Without arguments: those that it was called with. A module may say so itself, for all
   * its callers: `export const compensations = { reserve: 'cancel' }`.
   */
  undo(method: string, ...args: unknown[]): void
}

/** A resource, or a module, whose calls are participants. */
export type Participating = Readonly<Record<string, (...args: unknown[]) => Named>>

type ParticipatingMethods<M> = {
  readonly [K in keyof Called<M>]: Called<M>[K] extends (...args: infer A) => unknown ? (...args: A) => Named : never
}

/** Every cage and module of the index, as participants. */
export type ParticipatingCages = {
  readonly [C in keyof CageModules]: { readonly [M in keyof CageModules[C]]: ParticipatingMethods<CageModules[C][M]> }
}

/** Queued calls that are enqueued only if the whole commits. Each result is the call's id. */
export interface ParticipatingQueue {
  readonly cages: {
    readonly [C in keyof QueuedCalls['cages']]: Readonly<Record<string, Participating>>
  }
  module(cage: string, module: string): Participating
}

/** A participant of your own. It lives in this process only: what a crash leaves of it is an incident. */
export interface Callable {
  name?: string
  begin?(scope: { signal: AbortSignal; deadline: number }): Promise<void> | void
  execute(scope: { signal: AbortSignal; deadline: number }): Promise<unknown> | unknown
  /** May still refuse. */
  prepare?(): Promise<void> | void
  commit?(): Promise<void> | void
  rollback?(): Promise<void> | void
}

/** How a resource takes part, e.g. `{ isolation: 'serializable', readOnly: true }`; its adapter knows what else. */
export interface ResourceTransactionOptions {
  /** What is written, for its read cache: what was read under one of these keys is forgotten. */
  writeKeys?: readonly string[]
  readonly [option: string]: unknown
}

/** What can be named besides the cage's resources. */
export interface TransactionBase {
  readonly cages: ParticipatingCages
  module(cage: string, module: string): Participating
  /** The module's own durable values: written only if the whole commits; others' writes wait meanwhile. */
  readonly state: {
    set(key: string, value: unknown): Named
    delete(key: string): Named
    /** As `ctx.state.update`; its result is the new value. */
    update<T = unknown>(key: string, change: (current: T | undefined) => T | undefined): Named
  }
  queue(name: string, options?: Omit<QueueOptions, 'id'> & { id?: string }): ParticipatingQueue
  callable(hooks: Callable): Named
  resource(name: string, options?: ResourceTransactionOptions): Participating
  /**
   * Runs all participants, then commits all or undoes all. Resolves with their results in the order named, or with what `accept` made of them.
   * Rejects with the first failure's code; `details.transaction` tells the participant, each one's outcome, and whether everything was undone.
   */
  execute<R = unknown[]>(): Promise<R>
}

/** Several resources and calls executed together, then all committed or all undone. Every resource of the cage is a property of it. */
export type Transaction = TransactionBase & {
  readonly [R in keyof CageResources]: {
    readonly [K in keyof CageResources[R]]: CageResources[R][K] extends (...args: infer A) => unknown ? (...args: A) => Named : never
  }
}

/** What came of one participant. */
export type ParticipantOutcome =
  | 'not begun'
  | 'committed'
  | 'rolled back'
  | 'undone'
  /** Done, and has nothing that undoes it. */
  | 'executed'
  /** The coordinator is still at it. */
  | 'pending'
  | 'failed'
  /** An incident: people must decide. */
  | 'unknown'

/** What an error of a transaction tells, in `details.transaction`. */
export interface TransactionReport {
  id: string
  /** Who failed: its position, from 0, and its name; undefined if nobody did. */
  participant: { index: number; name: string } | undefined
  /** Everything was undone: it may be tried again. */
  recoverable: boolean
  outcomes: { name: string; outcome: ParticipantOutcome; error?: { code: string; message: string } }[]
}
