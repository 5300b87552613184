/**
 * Collection: runs the participants of a transaction until their results are accepted or refused.
 * C1. Irreversible participants begin when all others have ended well, or, if the caller accepts, have ended.
 * C2. Those that have not ended by the decision are given up: their signal fires, they are waited for, and whatever they come to is no result.
 */
import type { Scope } from '../../adapters/adapter.ts'
import { CageError, toCageError, UNCERTAIN } from '../../errors.ts'
import { PENDING } from '../../pending.ts'
import { OpenScope } from '../../scope.ts'
import { boundary } from './boundary.ts'
import type { TransactionOptions } from './contract.ts'
import type { TxView } from './events.ts'
import type { Participant, Place } from './participant.ts'

export class Collection {
  /** In the order named: a result, the error of one that has failed, or PENDING. */
  readonly results: unknown[]
  /** Who failed first, if anybody did. */
  culprit: number | undefined
  /** For the work of the participants. */
  readonly scope: OpenScope
  readonly #view: TxView
  readonly #participants: readonly Participant[]
  readonly #accept: TransactionOptions['accept']
  readonly #running: Promise<void>[] = []
  #pending = 0
  #isOver = false
  #decide: { resolve(value: unknown): void; reject(error: CageError): void } | undefined

  constructor(view: TxView, participants: readonly Participant[], accept: TransactionOptions['accept']) {
    this.#view = view
    this.#participants = participants
    this.#accept = accept
    this.results = participants.map(() => PENDING)
    this.scope = new OpenScope(view.plan.deadline)
  }

  /** Resolves with what is made of the results. */
  async run(placeOf: (index: number, scope: Scope) => Place): Promise<unknown> {
    const accepted = new Promise<unknown>((resolve, reject) => {
      this.#decide = { resolve, reject }
    })
    const refusal = this.scope.ended()
    if (refusal) this.#decide?.reject(refusal)
    const start = (index: number): void => this.#start(index, placeOf(index, this.scope))
    const first: number[] = []
    const last: number[] = []
    for (const [index, { record }] of this.#participants.entries()) (record.participant === 'irreversible' ? last : first).push(index)
    for (const index of first) start(index)
    if (last.length > 0)
      void Promise.all(this.#running).then(() => {
        const failed = first.some((index) => this.results[index] instanceof CageError)
        if (this.#accept || !failed) for (const index of last) start(index) // C1
      })
    if (this.#participants.length === 0) this.#evaluate()
    try {
      return await accepted
    } finally {
      await this.end()
    }
  }

  /** Rolls back, if there is no decision yet. */
  refuse(error: CageError): void {
    if (this.#isOver) return
    this.scope.end(error)
    this.#decide?.reject(error)
  }

  /** C2. */
  async end(): Promise<void> {
    this.#isOver = true
    if (this.#pending === 0) return
    this.scope.end(new CageError('CANCELLED', 'the transaction was decided without it'))
    await Promise.all(this.#running)
  }

  #start(index: number, place: Place): void {
    const participant = this.#participants[index]
    if (!participant || this.scope.ended() || this.#isOver) return
    this.#pending++
    this.#view.outcomes[index] = 'pending'
    boundary('execute', this.#view.id, index)
    const run = participant.execute(place, this.scope).then(
      (result) => {
        this.#pending--
        this.#view.outcomes[index] = 'executed'
        if (!this.#isOver) this.results[index] = result // C2
        boundary('executed', this.#view.id, index)
        this.#evaluate()
      },
      (error: unknown) => {
        this.#pending--
        const failure = toCageError(error)
        const { kind, participant: given } = participant.record
        const certain = !UNCERTAIN.has(failure.code)
        if (given === 'irreversible') this.#view.outcomes[index] = certain ? 'failed' : 'unknown'
        else if (kind === 'module' && certain) this.#view.outcomes[index] = 'rolled back' // it has answered, or nobody was there: nothing is to be undone
        if (!this.#isOver) this.results[index] = failure
        if (!this.#isOver) this.culprit ??= index
        this.#evaluate()
      },
    )
    this.#running.push(run)
  }

  #evaluate(): void {
    if (this.#isOver || this.scope.ended()) return
    const { results } = this
    try {
      const value = checked((this.#accept ?? allOrNone)(results))
      if (value !== undefined) {
        this.#isOver = true // what ends from now on is rolled back
        return this.#decide?.resolve(value)
      }
      if (!results.includes(PENDING)) throw new CageError('CONFLICT', 'the results have not been accepted')
    } catch (error) {
      this.refuse(toCageError(error))
    }
  }
}

/** A promise would commit before it has decided, and `false` would commit what was meant to wait. */
function checked(value: unknown): unknown {
  if (typeof value === 'boolean' || typeof (value as { then?: unknown } | undefined | null)?.then === 'function')
    throw new CageError('INVALID_ARGUMENT', 'accept must return undefined to wait or what execute resolves to, not a promise or a boolean')
  return value
}

function allOrNone(results: readonly unknown[]): unknown {
  const failure = results.find((result) => result instanceof CageError)
  if (failure) throw failure
  return results.includes(PENDING) ? undefined : [...results]
}
