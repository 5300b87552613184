/**
 * Participant: one member of a transaction while the coordinator that runs it lives. How each kind does what its class promises stands here;
 * how it is finished from the journal alone stands in finisher.ts.
 * P1. What outlives this process (a call that is compensated, a state's intent) is begun only once the journal has the plan.
 */

import type { Scope } from '../../adapters/adapter.ts'
import type { Lease } from '../../adapters/pool/contract.ts'
import type { Bus, RequestInfo, StateChange } from '../../bus/bus.ts'
import { whenEnded } from '../../scope.ts'
import type { Callable } from './contract.ts'
import type { ParticipantRecord, QueueRecord } from './events.ts'

/** What participants reach the world with. */
export interface World {
  readonly bus: Bus
  readonly cage: string
  readonly request: RequestInfo
  /** The id of a queued call that is named so, or not at all. */
  idOf(name: string | undefined): string
  /** Calls made for a request that is given up are cancelled together. */
  readonly owner: object
}

/** Where a participant stands within its transaction. */
export interface Place {
  /** The transaction's id. */
  readonly transaction: string
  readonly index: number
  /** Unique for ever, and known to the resource. */
  readonly branch: string
  /** Resolves once the plan is in the journal (P1); at once where there is none. */
  readonly begun: () => Promise<void>
}

export interface Participant {
  readonly record: ParticipantRecord
  /** What it was named with. */
  readonly args: readonly unknown[]
  /** Which pool's connection it needs. */
  readonly resource?: string
  /** Gets its connection. */
  take?(lease: Lease): void
  /** False: alone too it needs a transaction around it. */
  readonly isPlain?: boolean
  /** Without a transaction around it. */
  alone(scope: Scope): Promise<unknown>
  execute(place: Place, scope: Scope): Promise<unknown>
  /** What it was told last may have been done or not: nobody has answered. */
  readonly isLost?: boolean
  /** prepared */
  prepare?(scope: Scope): Promise<void> | undefined
  /** one-phase */
  identity?(scope: Scope): Promise<unknown>
  /** prepared and one-phase; undefined: finisher.ts does it. */
  commit?(scope: Scope): Promise<void>
  /** Only what the connection itself undoes. True: nothing is left to be undone. */
  rollback?(scope: Scope): Promise<boolean>
  /** Gives back what it has taken. */
  release?(): void
}

/** The key of a participant's call, for those that run it once. */
export function keyOf(transaction: string, index: number, what: 'do' | 'undo'): string {
  return `${transaction}/${index}/${what}`
}

/** A call to a method of a cage. With something that undoes it it is compensable. */
export class ModuleParticipant implements Participant {
  readonly record: Extract<ParticipantRecord, { kind: 'module' }>
  readonly args: unknown[]
  readonly #world: World

  constructor(world: World, cage: string, module: string, method: string, args: unknown[]) {
    this.#world = world
    this.args = args
    this.record = { kind: 'module', name: `${cage}.${module}.${method}`, participant: 'irreversible', cage, module, method }
  }

  undoneBy(method: string, args: readonly unknown[] = this.args): void {
    this.record.undo = { method, args }
    this.record.participant = 'compensable'
  }

  async alone({ deadline, signal }: Scope): Promise<unknown> {
    const { bus, request, owner } = this.#world
    const { cage, module, method } = this.record
    return await bus.call(cage, module, method, this.args, { deadline, signal, request, owner })
  }

  async execute({ transaction, index, begun }: Place, { deadline, signal }: Scope): Promise<unknown> {
    const { bus, request, owner } = this.#world
    const { cage, module, method, participant } = this.record
    if (participant !== 'compensable') return await this.alone({ deadline, signal })
    await begun()
    const key = keyOf(transaction, index, 'do')
    return await bus.call(cage, module, method, this.args, { deadline, signal, request, owner, key })
  }
}

/** A change of the module's state: an intent that others wait for, then the value. */
export class StateParticipant implements Participant {
  readonly record: Extract<ParticipantRecord, { kind: 'state' }>
  readonly args: readonly unknown[] = []
  readonly #world: World
  readonly #change: StateChange

  constructor(world: World, module: string, key: string, change: StateChange) {
    this.#world = world
    this.#change = change
    this.record = { kind: 'state', name: `state ${key}`, participant: 'prepared', module, key }
  }

  async alone({ deadline }: Scope): Promise<unknown> {
    const { bus, cage } = this.#world
    return await bus.state(cage, this.record.module).update(this.record.key, this.#change, { deadline })
  }

  async execute({ branch, begun }: Place, { deadline }: Scope): Promise<unknown> {
    await begun()
    const { bus, cage } = this.#world
    return await bus.state(cage, this.record.module).prepare(this.record.key, this.#change, { branch, deadline })
  }
}

/** A call that is enqueued if the whole commits. */
export class QueueParticipant implements Participant {
  readonly record: Extract<ParticipantRecord, { kind: 'queue' }>
  readonly args: readonly unknown[] = []
  readonly #world: World

  constructor(
    world: World,
    queue: string,
    id: string,
    options: QueueRecord,
    [cage, module, method]: readonly [string, string, string],
    args: unknown[],
  ) {
    this.#world = world
    const name = `queue ${queue}: ${cage}.${module}.${method}`
    this.record = { kind: 'queue', name, participant: 'deferred', queue, id, cage, module, call: { method, args }, options }
  }

  async alone({ deadline }: Scope): Promise<unknown> {
    return await enqueue(this.#world.bus, this.record, this.#world.request, deadline)
  }

  /** What is wrong with it is told before the decision. */
  async execute(): Promise<unknown> {
    const { queue, cage, module, call, id, options } = this.record
    this.#world.bus.checkEnqueue(queue, cage, module, call.method, { ...options, id })
    return this.record.id
  }
}

/** Puts a recorded call into its queue; a second time it is not run. */
export async function enqueue(
  bus: Bus,
  { queue, id, cage, module, call, options }: Extract<ParticipantRecord, { kind: 'queue' }>,
  request: RequestInfo,
  deadline: number,
): Promise<string> {
  return await bus.enqueue(queue, cage, module, call.method, [...call.args], { ...options, id, request, deadline })
}

/** A callable by itself has so long to roll back, ms. */
const ROLLBACK_MS = 10_000

/** Hooks of the user's own. */
export class CallableParticipant implements Participant {
  readonly record: ParticipantRecord
  readonly args: readonly unknown[] = []
  readonly #hooks: Callable
  #begun = false
  #isLost = false

  constructor(hooks: Callable) {
    this.#hooks = hooks
    this.record = { kind: 'callable', name: hooks.name ?? 'callable', participant: 'one-phase' }
  }

  async alone(scope: Scope): Promise<unknown> {
    try {
      const result = await this.#run(scope)
      await this.prepare(scope)
      await this.commit(scope)
      return result
    } catch (error) {
      await this.rollback({ deadline: Date.now() + ROLLBACK_MS, signal: new AbortController().signal })
      throw error
    }
  }

  async execute(_place: Place, scope: Scope): Promise<unknown> {
    return await this.#run(scope)
  }

  get isLost(): boolean {
    return this.#isLost
  }

  async prepare(scope: Scope): Promise<void> {
    await this.#within(scope, this.#hooks.prepare?.())
  }

  /** One that does not end may come to pass or not. */
  async commit(scope: Scope): Promise<void> {
    const hook = Promise.resolve(this.#hooks.commit?.())
    let isSettled = false
    const settled = (): void => {
      isSettled = true
    }
    hook.then(settled, settled)
    await this.#within(scope, hook).catch((error: unknown) => {
      this.#isLost = !isSettled
      throw error
    })
    this.#begun = false
  }

  async rollback(scope: Scope): Promise<boolean> {
    const begun = this.#begun
    this.#begun = false
    if (begun) await this.#within(scope, this.#hooks.rollback?.())
    return true
  }

  async #run(scope: Scope): Promise<unknown> {
    this.#begun = true
    await this.#within(scope, this.#hooks.begin?.(scope))
    return await this.#within(scope, this.#hooks.execute(scope))
  }

  /** A hook that never ends must not keep the others. */
  #within<T>(scope: Scope, hook: Promise<T> | T): Promise<T> {
    return new Promise((resolve, reject) => {
      const off = whenEnded(scope, this.record.name, reject)
      Promise.resolve(hook).then(resolve, reject).finally(off)
    })
  }
}
