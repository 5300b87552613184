/** Sagas as modules write them. Types only; users import them from 'menagerie'. */

/** What a step's action and its compensation are given. */
export interface StepScope {
  /** `<saga>/<step>/do`, or `.../undo`: the same in every run of the step. For systems of others that take an idempotency key. */
  readonly key: string
}

/**
 * A queued method that journals what it does: after a crash it is run again, and what is recorded is not done again. So it must come to the same
 * steps in the same order each time: what it decides by, it learns in steps.
 */
export interface Saga {
  /** The queued call's. */
  readonly id: string
  /**
   * Does something once: its result is recorded, and reused by every later run. An action that did not come to its end is run again, with the same
   * key; calls of modules within it carry that key, and are run once. An action that throws says that it was not done; it throws
   * DEADLINE_EXCEEDED if it cannot know. The name is unique within the saga.
   * If the saga fails in the end, `compensation` is given the result and undoes it, last step first.
   */
  step<T>(name: string, action: (scope: StepScope) => T | Promise<T>, compensation?: (result: T, scope: StepScope) => unknown): Promise<T>
  /** Waits until all have settled, then resolves with their results, or throws the first failure in their order. */
  all<T extends readonly unknown[]>(steps: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }>
  /** Goes on after so long, counted from the first time: restarts do not lengthen it, and nothing runs meanwhile. */
  sleep(ms: number): Promise<void>
  /** Resolves with the value of a signal, sent before or after; throws SIGNAL_TIMEOUT if it has not come after so long. */
  waitFor<T = unknown>(signal: string, timeoutMs: number): Promise<T>
}

/** Sagas by their ids. */
export interface Sagas {
  /**
   * Sends a signal to a saga, which need not wait for it yet. The first of a name counts: false if there was one. Rejects with NOT_FOUND if there is
   * no such call, CONFLICT if it has ended.
   */
  signal(saga: string, name: string, value?: unknown): Promise<boolean>
}
