/**
 * Transaction: what `ctx.transaction()` gives: participants are named on it, then executed together.
 * N1. One participant alone is called without anything around it: it costs what the plain call does.
 */
import type { Scope } from '../../adapters/adapter.ts'
import { CageError } from '../../errors.ts'
import { didYouMean, isMethodName, isName } from '../../names.ts'
import { shortened } from '../../scope.ts'
import { proxyOf } from '../proxies.ts'
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
  checkOptions(options)
  const { resources, coordinator, module: own, by, request, trail } = world
  const participants: Participant[] = []
  const written: [resource: string, keys: readonly string[]][] = []
  let isExecuted = false

  function add(participant: Participant): Named {
    if (isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: make another')
    participants.push(participant)
    return {
      undo(method, ...args) {
        const { record } = participant
        if (isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: name its undo before')
        if (record.kind !== 'module' && record.kind !== 'resource')
          throw new CageError('INVALID_ARGUMENT', `${record.name} is rolled back by itself, it has no undo`)
        if (typeof method !== 'string' || !isMethodName(method))
          throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(method)} is no method`)
        const given = args.length > 0 ? args : participant.args
        if (participant instanceof ModuleParticipant) participant.undoneBy(method, given)
        else record.undo = { method, args: given }
      },
    }
  }

  const modules = (cage: string, module: string): Participating =>
    methods((method, args) => add(new ModuleParticipant(world, cage, module, method, args)))

  function resource(name: string, { writeKeys, ...resourceOptions }: ResourceTransactionOptions = {}): Participating {
    resources.pool(name) // or says what was meant
    if (writeKeys) written.push([name, writeKeys])
    return methods((method, args) => {
      const alone = (within: Scope): Promise<unknown> => resources.call(name, method, args, within)
      const watched: Watched = (within, work) =>
        trail.resource({ by, request }, { name, kind: resources.kindOf(name), method, args }, within, work)
      return add(new ResourceParticipant(name, { method, args }, resourceOptions, alone, watched))
    })
  }

  function addState(key: string, change: (current: unknown) => unknown): Named {
    if (typeof key !== 'string' || key === '' || Buffer.byteLength(key) > MAX_KEY_BYTES)
      throw new CageError('INVALID_ARGUMENT', `a key is text of 1 to ${MAX_KEY_BYTES} bytes, not ${String(key).slice(0, 80)}`)
    if (typeof change !== 'function') throw new CageError('INVALID_ARGUMENT', 'xa.state.update needs a function')
    return add(new StateParticipant(world, own, key, change))
  }

  const base: TransactionBase = {
    cages: proxyOf((cage) => proxyOf((module) => modules(cage, module))),
    module: modules,
    state: {
      set: (key, value) => addState(key, () => value),
      delete: (key) => addState(key, () => undefined),
      update: (key, change) => addState(key, change as (current: unknown) => unknown), // the module wrote it and knows
    },
    queue(name, { id, ...queueOptions } = {}) {
      if (typeof name !== 'string' || !isName(name))
        throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(name)} is no name of a queue`)
      const target = (cage: string, module: string): Participating =>
        methods((method, args) => add(new QueueParticipant(world, name, world.idOf(id), queueOptions, [cage, module, method], args)))
      return {
        cages: proxyOf((cage) => proxyOf((module) => target(cage, module))) as ParticipatingQueue['cages'], // any name can be asked for
        module: target,
      }
    },
    callable(hooks: Callable) {
      if (typeof hooks?.execute !== 'function') throw new CageError('INVALID_ARGUMENT', 'a callable needs a function execute')
      checkKeys('callable', hooks, HOOKS)
      return add(new CallableParticipant(hooks))
    },
    resource,
    async execute<R>() {
      if (isExecuted) throw new CageError('CONFLICT', 'the transaction has been executed: make another')
      isExecuted = true
      try {
        return (await run()) as R // the caller knows what it has named
      } finally {
        for (const [name, keys] of written) void resources.cache(name)?.then((cache) => cache.invalidate(keys)) // a failed one may have written
      }
    },
  }

  async function run(): Promise<unknown> {
    const { accept, timeoutMs } = options
    const scope = timeoutMs === undefined ? world.scope : shortened(world.scope, Date.now() + timeoutMs)
    const [first, ...others] = participants
    if (!first && !accept) return []
    if (first && others.length === 0 && !accept && first.isPlain !== false) return [await first.alone(scope)] // N1
    return await coordinator.execute(participants, { by, request }, scope, options)
  }
  const byName = proxyOf<Record<string, Participating>>((name) => resource(name))
  return new Proxy(base as Transaction, {
    get: (target, name) => (typeof name === 'string' && !(name in target) ? byName[name] : Reflect.get(target, name)),
  })
}

function methods(add: (method: string, args: unknown[]) => Named): Participating {
  return proxyOf(
    (method) =>
      (...args: unknown[]) =>
        add(method, args),
  )
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
