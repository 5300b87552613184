/**
 * Finisher: ends a participant from its record alone, whoever began it. Everything here may be done again and again to the same effect.
 */
import type { Decision, Scope } from '../../adapters/adapter.ts'
import type { Pool } from '../../adapters/pool/contract.ts'
import type { Bus } from '../../bus/bus.ts'
import { CageError } from '../../errors.ts'
import { KEYS_KEPT_MS } from '../once.ts'
import type { ParticipantOutcome } from './contract.ts'
import type { CallRecord, ParticipantRecord, TxView } from './events.ts'
import { enqueue, keyOf } from './participant.ts'

/** Sure of what is to be remembered for KEYS_KEPT_MS. */
const DAY_MS = 86_400_000

/** The pools of the cage's resources, as they are now. */
export type Pools = (name: string) => Pool | undefined

export class Finisher {
  readonly #bus: Bus
  readonly #cage: string
  readonly #pools: Pools
  #prefix: string | undefined

  constructor(bus: Bus, cage: string, pools: Pools) {
    this.#bus = bus
    this.#cage = cage
    this.#pools = pools
  }

  /** What the branches of this cage's transactions begin with: two installations that share a database must not take each other's for left over. */
  async prefix(): Promise<string> {
    this.#prefix ??= `menagerie/${await this.#bus.journals.identity()}/${this.#cage}/`
    return this.#prefix
  }

  get knowsPrefix(): boolean {
    return this.#prefix !== undefined
  }

  /** A participant's name at its resource. `prefix` must have been asked for before. */
  branchOf(view: Pick<TxView, 'id'>, index: number): string {
    if (this.#prefix === undefined) throw new CageError('INTERNAL', 'the names of branches are not known yet')
    return `${this.#prefix}${view.id}/${index}`
  }

  /** Carries out the commit that has been decided. */
  async commit(view: TxView, index: number, scope: Scope): Promise<void> {
    const record = participantOf(view, index)
    switch (record.kind) {
      case 'resource':
        if (record.participant === 'prepared') await this.#finish(view, index, record.resource, 'commit', scope)
        else if (record.participant === 'deferred' && record.call) await this.#call(record.resource, record.call, scope)
        return
      case 'state':
        return await this.#finishState(view, index, record, 'commit', scope)
      case 'queue':
        return void (await enqueue(this.#bus, record, view.plan.request, scope.deadline))
      case 'module':
      case 'callable':
        return // done when it was executed, or by the one-phase commit that was the decision
    }
  }

  /** Undoes what may have been done. */
  async rollback(view: TxView, index: number, scope: Scope): Promise<ParticipantOutcome> {
    const record = participantOf(view, index)
    const { participant, undo } = record
    const toBeUndone = isToBeUndone(view, index)
    if (participant === 'prepared' && !(toBeUndone && undo)) {
      if (record.kind === 'state') await this.#finishState(view, index, record, 'rollback', scope)
      if (record.kind === 'resource') await this.#finish(view, index, record.resource, 'rollback', scope)
      return 'rolled back'
    }
    if (!toBeUndone) return participant === 'irreversible' ? (view.outcomes[index] ?? 'not begun') : 'rolled back'
    if (!undo) throw new CageError('INVALID_ARGUMENT', `${record.name} has nothing that undoes it`)
    if (record.kind === 'resource') await this.#call(record.resource, undo, scope)
    else if (record.kind === 'module') await this.#undo(view, index, record.cage, record.module, undo, scope)
    return 'undone'
  }

  /** Takes back all intents of a transaction in the state. */
  async rollbackStates(view: TxView, scope: Scope): Promise<void> {
    const indexes = view.plan.participants.flatMap(({ kind }, index) => (kind === 'state' ? [index] : []))
    await Promise.all(indexes.map((index) => this.rollback(view, index, scope)))
  }

  /** What became of a one-phase commit whose answer nobody has. It is final: what is still open is ended as rolled back. */
  async outcome(view: TxView, index: number, scope: Scope): Promise<'committed' | 'rolled back' | 'unknown'> {
    const record = participantOf(view, index)
    if (record.kind !== 'resource') return 'unknown'
    const identity = view.committing?.identities.get(index)
    if (identity === undefined) return 'unknown'
    return await this.#pool(record.resource).use(
      scope,
      async ({ connection, scope: within }) => (await connection.outcome?.(identity, within)) ?? 'unknown',
    )
  }

  /** Calls once more what a one-phase participant was called with. */
  async repeat(view: TxView, index: number, scope: Scope): Promise<void> {
    const record = participantOf(view, index)
    if (record.kind !== 'resource' || !record.call) throw new CageError('INVALID_ARGUMENT', `${record.name} cannot be called again`)
    await this.#call(record.resource, record.call, scope)
  }

  async #finish(view: TxView, index: number, resource: string, decision: Decision, scope: Scope): Promise<void> {
    const branch = this.branchOf(view, index)
    await this.#pool(resource).use(scope, async ({ connection, scope: within }) => await connection.finish?.(branch, decision, within))
  }

  async #finishState(
    view: TxView,
    index: number,
    record: { module: string; key: string },
    decision: Decision,
    { deadline }: Scope,
  ): Promise<void> {
    await this.#bus.state(this.#cage, record.module).finish(record.key, this.branchOf(view, index), decision, deadline)
  }

  async #call(resource: string, { method, args }: CallRecord, scope: Scope): Promise<void> {
    await this.#pool(resource).use(scope, async ({ connection, scope: within }) => await connection.call(method, args, within))
  }

  async #undo(view: TxView, index: number, cage: string, module: string, undo: CallRecord, { deadline, signal }: Scope): Promise<void> {
    const { request } = view.plan
    if (Date.now() - view.plan.deadline > KEYS_KEPT_MS - DAY_MS)
      throw new CageError('CONFLICT', `${cage}.${module} no longer knows whether it ran: undo it by hand, then say done`)
    const key = keyOf(view.id, index, 'undo')
    const cancels = keyOf(view.id, index, 'do')
    await this.#bus.call(cage, module, undo.method, [...undo.args], { deadline, signal, request, key, cancels })
  }

  #pool(resource: string): Pool {
    const pool = this.#pools(resource)
    if (!pool) throw new CageError('NOT_FOUND', `cage ${this.#cage} has no resource ${resource} any more`)
    return pool
  }
}

/** Whether a participant has committed: known from the journal, or because undoing it has failed. */
export function wasDone(view: TxView, index: number): boolean {
  const outcome = view.outcomes[index]
  return outcome === 'committed' || (outcome === 'failed' && participantOf(view, index).participant !== 'irreversible') // that one has refused
}

/** Whether a participant is rolled back by what undoes it. */
export function isToBeUndone(view: TxView, index: number): boolean {
  return participantOf(view, index).participant === 'compensable' || wasDone(view, index)
}

export function participantOf(view: TxView, index: number): ParticipantRecord {
  const record = view.plan.participants[index]
  if (!record) throw new CageError('INTERNAL', `transaction ${view.id} has no participant ${index}`)
  return record
}
