/**
 * The context of one call: what a method can reach, and the calls that it makes.
 * X1. A call made through a context never outlives the context's deadline, and is cancelled with it.
 * X2. Making a context costs next to nothing: signal, log and proxies are made when they are first used.
 * It is more than 300 lines because everything that hangs on `ctx` is here, each by a few lines.
 */
import { randomUUID } from 'node:crypto'
import type { Scope } from '../adapters/adapter.ts'
import type { Bus, Call, Outcome, RequestInfo } from '../bus/bus.ts'
import { CageError } from '../errors.ts'
import { DEADLINE, isFiner, isLogLevel, LOG_LEVELS } from '../levels.ts'
import type { Log } from '../log.ts'
import { OpenScope, shortened } from '../scope.ts'
import { type Admin, adminOf } from './admin.ts'
import type {
  CageResources,
  Cages,
  Calls,
  Context,
  Notify,
  QueuedCages,
  QueuedCalls,
  QueueOptions,
  Queues,
  RequestView,
  ResourceCallOptions,
  State,
  UntypedModule,
  UntypedResource,
  WithOptions,
} from './contract.ts'
import type { CallerFlows } from './flows.ts'
import { notifyOf } from './notify.ts'
import { type CallFunction, cageProxy, cagesProxy, moduleProxy, proxyOf } from './proxies.ts'
import type { Resources } from './resources.ts'
import type { Saga, Sagas } from './saga/contract.ts'
import { sagaOf } from './saga/ids.ts'
import { nextKey } from './saga/keys.ts'
import { SagaRun } from './saga/run.ts'
import { sagasOf } from './saga/signals.ts'
import { ModuleState } from './state.ts'
import type { Asker, Trail } from './trail.ts'
import type { Transaction, TransactionOptions } from './transaction/contract.ts'
import type { Coordinator } from './transaction/coordinator.ts'
import { newTransaction } from './transaction/transaction.ts'

/** What all contexts of a module share. */
export interface ContextSource {
  readonly bus: Bus
  readonly node: string
  readonly cage: string
  readonly module: string
  readonly log: Log
  readonly resources: Resources
  /** The cage's values, as they are now. */
  readonly values: Readonly<Record<string, unknown>>
  readonly coordinator: Coordinator
  /** Counts what the module calls. */
  readonly flows: CallerFlows
  readonly trail: Trail
}

/** The call that a context is of, and the version of the module that runs it. */
export interface Running {
  readonly call: Pick<Call, 'args'>
  readonly version: { readonly hash: string } | undefined
}

export class CallContext implements Context {
  readonly deadline: number
  readonly #source: ContextSource
  readonly #method: string
  readonly #request: RequestInfo
  readonly #running: Running | undefined
  #ended: CageError | undefined
  #calls: Calls | undefined
  #log: Log | undefined
  #state: State | undefined
  #scope: OpenScope | undefined
  #saga: SagaRun | undefined
  #stops: (() => void)[] | undefined
  #closed = false
  #hasCalled = false

  constructor(source: ContextSource, method: string, request: RequestInfo, deadline: number, running?: Running) {
    this.#source = source
    this.#method = method
    this.#request = request
    this.deadline = deadline
    this.#running = running
  }

  get self(): Context['self'] {
    const { node, cage, module } = this.#source
    return { node, cage, module, method: this.#method }
  }

  get remainingMs(): number {
    return Math.max(0, this.deadline - Date.now())
  }

  get signal(): AbortSignal {
    return this.scope.signal
  }

  get request(): RequestView {
    const { id, traceparent, parameters = {}, queued, key } = this.#request
    const { interface: name, protocol } = parameters
    return {
      id,
      traceparent,
      parameters,
      interface: typeof name === 'string' ? name : undefined,
      protocol: typeof protocol === 'string' ? protocol : 'nats',
      queue: queued?.queue,
      callId: queued?.id,
      attempt: queued?.attempt ?? 1,
      key,
    }
  }

  get config(): Readonly<Record<string, unknown>> {
    return this.#source.values
  }

  get log(): Log {
    this.#log ??= this.#makeLog()
    return this.#log
  }

  get notify(): Notify {
    const { bus, node, cage, module } = this.#source
    if (this.#ended) throw this.#ended
    return notifyOf(bus, { node, cage, module, request: this.#request.id, deadline: this.deadline })
  }

  get cages(): Cages {
    return this.#own.cages
  }

  get cage(): Context['cage'] {
    return cageProxy(this.#source.cage, this.#caller({}))
  }

  module(cage: string, module: string): UntypedModule {
    return this.#own.module(cage, module)
  }

  with(options: WithOptions): Calls {
    const call = this.#caller(options)
    // the types are those of the generated index; at run time any name can be asked for
    return { cages: cagesProxy(call) as unknown as Cages, module: (cage, module) => moduleProxy(cage, module, call) }
  }

  queue(name: string, options: QueueOptions = {}): QueuedCalls {
    const call = this.#enqueuer(name, options)
    return {
      cages: cagesProxy(call) as unknown as QueuedCages, // as for `with`
      module: (cage, module) => moduleProxy(cage, module, call) as ReturnType<QueuedCalls['module']>, // each of its calls resolves to an id
    }
  }

  get queues(): Queues {
    return this.#source.bus.queues
  }

  get saga(): Saga {
    this.#saga ??= this.#newSaga()
    return this.#saga
  }

  get sagas(): Sagas {
    return sagasOf(this.#source.bus, () => this.deadline)
  }

  get state(): State {
    this.#state ??= this.#makeState()
    return this.#state
  }

  get resources(): Context['resources'] {
    return proxyOf((name) => this.resource(name))
  }

  resource<R extends keyof CageResources>(name: R, options?: ResourceCallOptions): CageResources[R]
  resource(name: string, options?: ResourceCallOptions): UntypedResource
  resource(name: string, { timeoutMs, cache }: ResourceCallOptions = {}): UntypedResource {
    const { resources, flows, trail } = this.#source
    return proxyOf((method) => async (...args: unknown[]) => {
      if (this.#ended) throw this.#ended
      const scope = timeoutMs === undefined ? this.scope : shortened(this.scope, Date.now() + timeoutMs)
      const call = { name, kind: resources.kindOf(name), method, args }
      const answer = trail.resource(this.#asker, call, scope, (within) => resources.call(name, method, args, within, cache))
      return await flows.follow(`resource ${name}`, answer)
    })
  }

  transaction(options: TransactionOptions = {}): Transaction {
    if (this.#ended) throw this.#ended
    this.#hasCalled = true
    const { bus, cage, module, coordinator, resources, trail } = this.#source
    const { queued: _, ...request } = this.#request
    const by = `${module}.${this.#method}`
    const idOf = (name: string | undefined): string => this.#idOf(name) ?? this.#keyOfStep() ?? randomUUID()
    return newTransaction({ bus, cage, module, coordinator, resources, trail, by, request, owner: this, scope: this.scope, idOf }, options)
  }

  get admin(): Admin {
    return adminOf(this.#source.bus)
  }

  snooze(ms: number): never {
    throw new CageError('SNOOZED', `put off for ${ms} ms`, { retryAfterMs: ms })
  }

  /** What resources work within. */
  get scope(): Scope {
    if (!this.#scope) {
      this.#scope = new OpenScope(this.deadline)
      if (this.#ended) this.#scope.end(this.#ended)
    }
    return this.#scope
  }

  /** The deadline has passed or the caller has gone: the signal fires and outstanding calls are cancelled. */
  end(error: CageError): void {
    if (this.#ended) return
    this.#ended = error
    this.#scope?.end(error)
    if (this.#hasCalled) this.#source.bus.cancel(this)
  }

  /** What the context was for is over: what it has begun and not ended, ends. */
  close(): void {
    this.#closed = true
    for (const stop of this.#stops?.splice(0) ?? []) stop()
  }

  #makeLog(): Log {
    const { log } = this.#source
    const { id, log: level } = this.#request
    const fields = { method: this.#method, request: id }
    const own = level !== undefined && isFiner(level, log.level) ? log.child(fields, { level }) : log.child(fields)
    return Object.assign(own, { [DEADLINE]: this.deadline })
  }

  /** The call works for a saga. */
  get isSaga(): boolean {
    return this.#saga !== undefined
  }

  /** See `SagaRun.begin`. */
  async beginSaga(): Promise<void> {
    this.#saga ??= this.#newSaga()
    await this.#saga.begin()
  }

  /** See `SagaRun.conclude`. */
  async concludeSaga(outcome: Outcome): Promise<Outcome> {
    return this.#saga ? await this.#saga.conclude(outcome) : outcome
  }

  #newSaga(): SagaRun {
    const { bus, cage, module } = this.#source
    const { queued, key: _key, ...request } = this.#request
    if (!queued || !this.#running)
      throw new CageError(
        'INVALID_ARGUMENT',
        `${cage}.${module}.${this.#method} has no saga: only queued calls have, ctx.queue(...) makes one`,
      )
    const { call, version } = this.#running
    const { signal, log, deadline } = this
    const beginning = { module, method: this.#method, version: version?.hash ?? '', args: call.args, queue: queued.queue, request }
    return new SagaRun({ bus, cage, queued, call: beginning, deadline, signal, log })
  }

  #makeState(): State {
    const { bus, cage, module } = this.#source
    return new ModuleState(bus.state(cage, module), {
      deadline: this.deadline,
      log: () => this.log,
      check: () => {
        if (this.#ended) throw this.#ended
      },
      until: (stop) => {
        if (this.#closed) return stop()
        this.#stops ??= []
        this.#stops.push(stop)
      },
    })
  }

  get #own(): Calls {
    this.#calls ??= this.with({})
    return this.#calls
  }

  /** An id inside a queued call is a name within it: the step runs once, however often the call does. */
  #idOf(name: string | undefined): string | undefined {
    const { queued } = this.#request
    return name === undefined || queued === undefined ? name : `${sagaOf(queued.id)}/${name}`
  }

  #enqueuer(queue: string, { id, ...options }: QueueOptions): CallFunction {
    const name = this.#idOf(id)
    return (cage, module, method, args) => {
      if (this.#ended) return Promise.reject(this.#ended)
      const { bus, flows, trail } = this.#source
      const how = { ...options, id: name ?? this.#keyOfStep(), request: this.#request, deadline: this.deadline }
      const call = { target: `${cage}.${module}.${method}`, args, queue }
      return flows.follow(
        `queue ${queue}`,
        trail.enqueue(this.#asker, call, () => bus.enqueue(queue, cage, module, method, args, how)),
      )
    }
  }

  get #asker(): Asker {
    return { by: `${this.#source.module}.${this.#method}`, request: this.#request }
  }

  /** The key of a call that a step of the saga makes. */
  #keyOfStep(): string | undefined {
    return this.#saga === undefined ? undefined : nextKey()
  }

  #caller({ timeoutMs, parameters, log }: WithOptions): CallFunction {
    if (log !== undefined && !isLogLevel(log))
      throw new CageError('INVALID_ARGUMENT', `log must be ${LOG_LEVELS.join(', ')}, not ${JSON.stringify(log)}`)
    const laid = parameters ? { ...this.#request, parameters: { ...this.#request.parameters, ...parameters } } : this.#request
    const request = log === undefined ? laid : { ...laid, log }
    return (cage, module, method, args) => {
      if (this.#ended) return Promise.reject(this.#ended)
      this.#hasCalled = true
      const deadline = timeoutMs === undefined ? this.deadline : Math.min(this.deadline, Date.now() + timeoutMs)
      const { bus, flows: counter } = this.#source
      return bus.call(cage, module, method, args, { deadline, request, owner: this, key: this.#keyOfStep(), counter })
    }
  }
}
