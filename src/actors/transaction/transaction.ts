/**
 * Transaction: what `ctx.transaction()` gives: participants are named on it, then executed together.
 * N1. One participant alone is called without anything around it: it costs what the plain call does.
 */
import { randomUUID } from 'node:crypto'
import type { Scope } from '../../adapters/adapter.ts'
import { CageError } from '../../errors.ts'
import { didYouMean, isMethodName, isName } from '../../names.ts'
import { proxyOf } from '../proxies.ts'
import type { Callable, Named, Participating, ParticipatingQueue, Transaction, TransactionBase, TransactionOptions } from './contract.ts'
import type { CallRecord } from './events.ts'
import {
  CallableParticipant,
  ModuleParticipant,
  type Participant,
  QueueParticipant,
  ResourceParticipant,
  StateParticipant,
  type World,
} from './participant.ts'

/** What a transaction needs of the context that makes it. */
export interface TransactionScope extends World {
  readonly module: string
  /** Names of the cage's resources. */
  resources(): Iterable<string>
  /** A resource called by itself, as `ctx.resources` does. */
  callResource(resource: string, call: CallRecord, scope: Scope): Promise<unknown>
  /** Epoch ms. */
  readonly deadline: number
  readonly signal: AbortSignal
  /** Runs several participants together. */
  execute(participants: readonly Participant[], deadline: number, options: TransactionOptions): Promise<unknown>
}

/** A new transaction. */
export function newTransaction(scope: TransactionScope, options: TransactionOptions): Transaction {
  const participants: Participant[] = []
  let isExecuted = false

  function add(participant: Participant): Named {
    if (isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: make another')
    participants.push(participant)
    return {
      undo(method, ...args) {
        const { record } = participant
        if (record.kind !== 'module' && record.kind !== 'resource')
          throw new CageError('INVALID_ARGUMENT', `${record.name} is rolled back by itself, it has no undo`)
        if (!isMethodName(method)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(method)} is no method`)
        record.undo = { method, args: args.length > 0 ? args : participant.args }
        if (record.participant === 'irreversible') record.participant = 'compensable'
      },
    }
  }

  const modules = (cage: string, module: string): Participating =>
    methods((method, args) => add(new ModuleParticipant(scope, cage, module, method, args)))

  function resource(name: string, resourceOptions: Readonly<Record<string, unknown>> = {}): Participating {
    const known = [...scope.resources()]
    if (!known.includes(name))
      throw new CageError('INVALID_ARGUMENT', `cage ${scope.cage} has no resource ${name}${didYouMean(name, known)}`)
    const alone = (within: Scope, call: CallRecord): Promise<unknown> => scope.callResource(name, call, within)
    return methods((method, args) => add(new ResourceParticipant(name, { method, args }, resourceOptions, alone)))
  }

  const base: TransactionBase = {
    cages: proxyOf((cage) => proxyOf((module) => modules(cage, module))),
    module: modules,
    state: {
      set: (key, value) => add(new StateParticipant(scope, scope.module, key, () => value)),
      delete: (key) => add(new StateParticipant(scope, scope.module, key, () => undefined)),
      update: (key, change) => add(new StateParticipant(scope, scope.module, key, change as (current: unknown) => unknown)), // the module wrote it and knows
    },
    queue(name, { id = randomUUID(), ...queueOptions } = {}) {
      if (!isName(name)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(name)} is no name of a queue`)
      const target = (cage: string, module: string): Participating =>
        methods((method, args) => add(new QueueParticipant(scope, name, id, queueOptions, [cage, module, method], args)))
      return {
        cages: proxyOf((cage) => proxyOf((module) => target(cage, module))) as ParticipatingQueue['cages'], // any name can be asked for
        module: target,
      }
    },
    callable: (hooks: Callable) => add(new CallableParticipant(hooks)),
    resource,
    async execute<R>() {
      if (isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: make another')
      isExecuted = true
      const { accept, timeoutMs } = options
      const deadline = timeoutMs === undefined ? scope.deadline : Math.min(scope.deadline, Date.now() + timeoutMs)
      const [first, ...others] = participants
      if (first && others.length === 0 && !accept && first.isPlain !== false)
        return [await first.alone({ deadline, signal: scope.signal })] as R // N1
      if (!first && !accept) return [] as R
      return (await scope.execute(participants, deadline, options)) as R // the caller knows what it has named
    },
  }
  const resources = proxyOf<Record<string, Participating>>((name) => resource(name))
  return new Proxy(base as Transaction, {
    get: (target, name) => (typeof name === 'string' && !(name in target) ? resources[name] : Reflect.get(target, name)),
  })
}

function methods(add: (method: string, args: unknown[]) => Named): Participating {
  return proxyOf(
    (method) =>
      (...args: unknown[]) =>
        add(method, args),
  )
}
