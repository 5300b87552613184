/**
 * State: `ctx.state`, a module's durable values as one call sees them.
 * S1. What is asked of it ends at the context's deadline. Once the context has ended nothing more is begun.
 * S2. A watch ends with the call that began it; one that `start` began ends when that version of the module has stopped.
 */
import type { StateStore } from '../bus/bus.ts'
import { CageError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { State, StateOptions } from './contract.ts'

/** What it needs of its context. */
export interface StateScope {
  readonly deadline: number
  log(): Log
  /** Throws once the context has ended. */
  check(): void
  /** Has `stop` called when the context's work is done (S2). */
  until(stop: () => void): void
}

export class ModuleState implements State {
  readonly #store: StateStore
  readonly #scope: StateScope

  constructor(store: StateStore, scope: StateScope) {
    this.#store = store
    this.#scope = scope
  }

  async get<T>(key: string): Promise<T | undefined> {
    this.#scope.check()
    return (await this.#store.get(key, this.#scope.deadline)) as T | undefined // the module wrote it and knows
  }

  async set(key: string, value: unknown, options?: StateOptions): Promise<void> {
    this.#checkValue(key, value)
    await this.#change(key, () => value, options)
  }

  async create(key: string, value: unknown, options?: StateOptions): Promise<void> {
    this.#checkValue(key, value)
    const change = (current: unknown): unknown => {
      if (current === undefined) return value
      throw new CageError('CONFLICT', `the key ${JSON.stringify(key)} is there already`)
    }
    await this.#change(key, change, options)
  }

  async update<T>(
    key: string,
    change: (current: T | undefined) => T | undefined | Promise<T | undefined>,
    options?: StateOptions,
  ): Promise<T | undefined> {
    return (await this.#change(key, change as (current: unknown) => unknown, options)) as T | undefined // as for get
  }

  async delete(key: string): Promise<void> {
    await this.#change(key, () => undefined)
  }

  async keys(): Promise<string[]> {
    this.#scope.check()
    return await this.#store.keys(this.#scope.deadline)
  }

  async watch(listener: (key: string, value: unknown) => void): Promise<() => void> {
    const { deadline, log } = this.#scope
    this.#scope.check()
    const tell = (key: string, value: unknown): void => {
      try {
        listener(key, value)
      } catch (error) {
        log().error({ stateKey: key, err: error }, 'the listener of a watch has thrown')
      }
    }
    const stop = await this.#store.watch(tell, deadline)
    this.#scope.until(stop)
    return stop
  }

  async #change(key: string, change: (current: unknown) => unknown, { ttlMs }: StateOptions = {}): Promise<unknown> {
    const { deadline } = this.#scope
    this.#scope.check()
    return await this.#store.update(key, change, { deadline, ttlMs })
  }

  #checkValue(key: string, value: unknown): void {
    if (value === undefined) throw new CageError('INVALID_ARGUMENT', `the key ${JSON.stringify(key)} cannot hold undefined, delete it`)
  }
}
