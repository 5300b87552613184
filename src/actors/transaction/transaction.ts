/**
 * Transaction: what `ctx.transaction()` gives: participants are named on it, then executed together.
 * N1. One participant alone is called without anything around it: it costs what the plain call does.
 */
import type { Scope } from '../../adapters/adapter.ts'
import { CageError } from '../../errors.ts'
import { didYouMean, isMethodName, isName } from '../../names.ts'
import { shortened } from '../../scope.ts'
import { isNoName, proxyOf } from '../proxies.ts'
import type { Resources } from '../resources.ts'
import type { Trail } from '../trail.ts'
import type {
  Callable,
  Named,
  Participating,
  ParticipatingQueue,
  ResourceTransactionOptions,
  Transaction,
  TransactionBase,
  TransactionOptions,
} from './contract.ts'
import type { Coordinator } from './coordinator.ts'
import { CallableParticipant, ModuleParticipant, type Participant, QueueParticipant, StateParticipant, type World } from './participant.ts'
import { ResourceParticipant, type Watched } from './resource.ts'

/** What a transaction needs of the context that makes it. */
export interface TransactionScope extends World {
  readonly module: string
  /** `module.method` */
  readonly by: string
  readonly scope: Scope
  readonly resources: Resources
  readonly coordinator: Coordinator
  readonly trail: Trail
}

/** A new transaction. */
export function newTransaction(world: TransactionScope, options: TransactionOptions): Transaction {
  if (Object.keys(options).length > 0) checkOptions(options)
  return new Proxy<object>(new NewTransaction(world, options), BY_NAME) as Transaction // any name can be asked for
}

/** What is no part of a transaction is the name of a resource. */
const BY_NAME: ProxyHandler<NewTransaction> = {
  get(transaction, name) {
    if (typeof name === 'symbol' || name in transaction) {
      const part: unknown = Reflect.get(transaction, name)
      return typeof part === 'function' ? part.bind(transaction) : part
    }
    return isNoName(name) ? undefined : transaction.resource(name)
  },
}

class NewTransaction implements TransactionBase {
  readonly #world: TransactionScope
  readonly #options: TransactionOptions
  readonly #participants: Participant[] = []
  #written: [resource: string, keys: readonly string[]][] | undefined
  #isExecuted = false

  constructor(world: TransactionScope, options: TransactionOptions) {
    this.#world = world
    this.#options = options
  }

  get cages(): TransactionBase['cages'] {
    return proxyOf((cage) => proxyOf((module) => this.module(cage, module)))
  }

  module(cage: string, module: string): Participating {
    return methods((method, args) => this.#add(new ModuleParticipant(this.#world, cage, module, method, args)))
  }

  get state(): TransactionBase['state'] {
    return {
      set: (key, value) => this.#addState(key, () => value),
      delete: (key) => this.#addState(key, () => undefined),
      update: (key, change) => this.#addState(key, change as (current: unknown) => unknown), // the module wrote it and knows
    }
  }

  queue(name: string, { id, ...options }: Parameters<TransactionBase['queue']>[1] = {}): ParticipatingQueue {
    const world = this.#world
    if (typeof name !== 'string' || !isName(name)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(name)} is no name of a queue`)
    const target = (cage: string, module: string): Participating =>
      methods((method, args) => this.#add(new QueueParticipant(world, name, world.idOf(id), options, [cage, module, method], args)))
    return {
      cages: proxyOf((cage) => proxyOf((module) => target(cage, module))) as ParticipatingQueue['cages'], // any name can be asked for
      module: target,
    }
  }

  callable(hooks: Callable): Named {
    if (typeof hooks?.execute !== 'function') throw new CageError('INVALID_ARGUMENT', 'a callable needs a function execute')
    checkKeys('callable', hooks, HOOKS)
    return this.#add(new CallableParticipant(hooks))
  }

  resource(name: string, { writeKeys, ...options }: ResourceTransactionOptions = {}): Participating {
    const { resources, trail, by, request } = this.#world
    resources.pool(name) // or says what was meant
    if (writeKeys) {
      this.#written ??= []
      this.#written.push([name, writeKeys])
    }
    return methods((method, args) => {
      const call = { name, kind: resources.kindOf(name), method, args }
      const watched: Watched = (within, work) => trail.resource({ by, request }, call, within, work)
      return this.#add(new ResourceParticipant(resources, name, { method, args }, options, watched))
    })
  }

  async execute<R>(): Promise<R> {
    if (this.#isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: make another')
    this.#isExecuted = true
    if (!this.#written) return (await this.#run()) as R // the caller knows what it has named
    try {
      return (await this.#run()) as R
    } finally {
      for (const [name, keys] of this.#written) void this.#world.resources.cache(name)?.then((cache) => cache.invalidate(keys)) // a failed one may have written
    }
  }

  #run(): Promise<unknown> | unknown[] {
    const { accept, timeoutMs } = this.#options
    const { by, request, coordinator, scope: given } = this.#world
    const scope = timeoutMs === undefined ? given : shortened(given, Date.now() + timeoutMs)
    const [first] = this.#participants
    if (!first && !accept) return []
    if (first && this.#participants.length === 1 && !accept && first.isPlain !== false) return first.alone(scope).then(only) // N1
    return coordinator.execute(this.#participants, { by, request }, scope, this.#options)
  }

  #add(participant: Participant): Named {
    if (this.#isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: make another')
    this.#participants.push(participant)
    return { undo: (method, ...args) => this.#undo(participant, method, args) }
  }

  #undo(participant: Participant, method: string, args: unknown[]): void {
    const { record } = participant
    if (this.#isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: name its undo before')
    if (record.kind !== 'module' && record.kind !== 'resource')
      throw new CageError('INVALID_ARGUMENT', `${record.name} is rolled back by itself, it has no undo`)
    if (typeof method !== 'string' || !isMethodName(method))
      throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(method)} is no method`)
    const given = args.length > 0 ? args : participant.args
    if (participant instanceof ModuleParticipant) participant.undoneBy(method, given)
    else record.undo = { method, args: given }
  }

  #addState(key: string, change: (current: unknown) => unknown): Named {
    if (typeof key !== 'string' || key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES)
      throw new CageError('INVALID_ARGUMENT', `a key is text of 1 to ${MAX_KEY_BYTES} bytes, not ${String(key).slice(0, 80)}`)
    if (typeof change !== 'function') throw new CageError('INVALID_ARGUMENT', 'xa.state.update needs a function')
    return this.#add(new StateParticipant(this.#world, this.#world.module, key, change))
  }
}

function only(result: unknown): unknown[] {
  return [result]
}

/** Their names are used once or twice: none is kept. */
function methods(add: (method: string, args: unknown[]) => Named): Participating {
  return new Proxy(add as unknown as Participating, METHODS)
}

const METHODS: ProxyHandler<Participating> = {
  get: (add, method) => {
    if (isNoName(method)) return undefined
    return (...args: unknown[]) => (add as unknown as (method: string, args: unknown[]) => Named)(method, args)
  },
}

/** As ctx.state says. */
const MAX_KEY_BYTES = 256
const OPTIONS = ['accept', 'timeoutMs', 'syncCommit']
const HOOKS = ['name', 'begin', 'execute', 'prepare', 'commit', 'rollback']

function checkOptions(options: TransactionOptions): void {
  checkKeys('ctx.transaction', options, OPTIONS)
  const { accept, timeoutMs, syncCommit } = options
  if (accept !== undefined && typeof accept !== 'function') throw new CageError('INVALID_ARGUMENT', 'accept must be a function')
  if (timeoutMs !== undefined && !(timeoutMs > 0 && timeoutMs < Number.POSITIVE_INFINITY))
    throw new CageError('INVALID_ARGUMENT', `timeoutMs must be a positive number, not ${timeoutMs}`)
  if (syncCommit !== undefined && typeof syncCommit !== 'boolean')
    throw new CageError('INVALID_ARGUMENT', 'syncCommit must be true or false')
}

function checkKeys(what: string, given: object, known: readonly string[]): void {
  if (typeof given !== 'object' || given === null) throw new CageError('INVALID_ARGUMENT', `${what} takes an object, not ${typeof given}`)
  const unknown = Object.keys(given).find((key) => !known.includes(key))
  if (unknown !== undefined) throw new CageError('INVALID_ARGUMENT', `${what}: unknown ${unknown}${didYouMean(unknown, known)}`)
}
