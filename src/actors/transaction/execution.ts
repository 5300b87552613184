/**
 * Execution: one transaction from its first connection to its settlement.
 * T1. Intent before effect: what outlives this process is begun, prepared or committed only once the journal has the plan.
 * T2. The decision is a record; with one-phase participants it is their commit, whose identity stands in the journal before.
 * T3. Until the decision, the deadline, a caller that goes and a refusal roll back; after it, it is carried out whatever happens.
 * T4. Nobody waits for the record of the end: without it what was decided is carried out again, to the same effect.
 */
import type { Scope } from '../../adapters/adapter.ts'
import type { Lease } from '../../adapters/pool/contract.ts'
import { CageError, toCageError } from '../../errors.ts'
import { PENDING } from '../../pending.ts'
import { whenEnded } from '../../scope.ts'
import { boundary } from './boundary.ts'
import { Collection } from './collection.ts'
import type { TransactionOptions } from './contract.ts'
import { type NewEvent, needsJournal, type TxOutcome, type TxView } from './events.ts'
import type { Pools } from './finisher.ts'
import type { Participant, Place } from './participant.ts'
import { reportOf } from './report.ts'
import { Settlement, type SettlementHost } from './settlement.ts'

/** What an execution needs of its coordinator. */
export interface ExecutionHost extends SettlementHost {
  readonly pools: Pools
  /** It is over: what is known of it goes into the history. */
  ended(view: TxView): void
}

const RETRACT_MS = 5_000

export class Execution {
  readonly view: TxView
  readonly #host: ExecutionHost
  readonly #participants: readonly Participant[]
  readonly #options: TransactionOptions
  readonly #collection: Collection
  #beginning: Promise<void> | undefined
  #accepted: unknown
  /** A decision has been sent: whether it is stored is for the journal to say. */
  #isSaid = false

  constructor(host: ExecutionHost, view: TxView, participants: readonly Participant[], options: TransactionOptions) {
    this.#host = host
    this.view = view
    this.#participants = participants
    this.#options = options
    this.#collection = new Collection(view, participants, options.accept)
  }

  /** Settles when the scope ends at the latest. `settled` is called when nothing is left to be done, which may be later. */
  run(scope: Scope, settled: () => void): Promise<unknown> {
    const { view } = this
    return new Promise((resolve, reject) => {
      const fail = (error: unknown): void => {
        off()
        reject(reportOf(toCageError(error), view, this.#collection.results, this.#collection.culprit))
      }
      const off = whenEnded(scope, `transaction ${view.id}`, (why) => {
        this.#collection.refuse(why) // T3
        fail(why)
      })
      const succeed = (): void => {
        off()
        resolve(this.#accepted)
      }
      this.#whole(succeed, fail).then(settled, settled)
    })
  }

  /** What comes after the answer is for the journal and the other copies. */
  async #whole(succeed: () => void, fail: (error: unknown) => void): Promise<void> {
    const { view } = this
    try {
      await this.#decided()
      if (this.#options.syncCommit === false) succeed()
      await this.#settle((outcome) => {
        if (outcome !== 'incident') return succeed()
        fail(new CageError('INCIDENT', `transaction ${view.id} is committed but for what people must decide`, { retryable: false }))
      })
    } catch (error) {
      fail(error)
    }
  }

  /** Resolves once it is decided to commit, rejects when it is rolled back. */
  async #decided(): Promise<void> {
    try {
      await this.#lease()
      this.#accepted = await this.#collection.run((index, scope) => this.#placeOf(index, scope))
      await this.#conclude()
    } catch (error) {
      await this.#collection.end()
      await this.#settle()
      if (this.view.ended !== 'committed') throw error // else the answer to the commit was lost, and it had come to pass
    }
  }

  /** All connections of a pool at once, and the pools in one order, so that no two transactions wait for each other. */
  async #lease(): Promise<void> {
    const wanted = new Map<string, Participant[]>()
    for (const participant of this.#participants) {
      const { resource } = participant
      if (resource === undefined) continue
      const others = wanted.get(resource)
      if (others) others.push(participant)
      else wanted.set(resource, [participant])
    }
    const inOrder = wanted.size > 1 ? [...wanted].sort(([a], [b]) => (a < b ? -1 : 1)) : wanted
    for (const [name, participants] of inOrder) {
      const pool = this.#host.pools(name)
      if (!pool) throw new CageError('INVALID_ARGUMENT', `there is no resource ${name}`)
      let leases: Lease[]
      try {
        leases = await pool.acquire(this.#collection.scope, participants.length)
      } catch (error) {
        this.#collection.culprit = this.#participants.findIndex((participant) => participant.resource === name)
        throw error
      }
      for (const [at, lease] of leases.entries()) participants[at]?.take?.(lease)
    }
    this.view.journaled = needsJournal(this.view.plan.participants)
    if (this.view.journaled && !this.#host.finisher.knowsPrefix) await this.#host.finisher.prefix()
    if (this.view.journaled && this.#has('prepared', 'compensable')) this.#begun().catch(() => undefined) // awaited where it matters
  }

  /** T1 */
  #begun(): Promise<void> {
    if (!this.view.journaled) return Promise.resolve()
    this.#beginning ??= this.#begin()
    return this.#beginning
  }

  /** The same for a participant, which does not wait for a bus that is away once it has been given up. */
  #begunOr(scope: Scope): Promise<void> {
    return new Promise((resolve, reject) => {
      const off = whenEnded(scope, `transaction ${this.view.id}`, reject)
      this.#begun()
        .then(() => resolve(), reject)
        .finally(off)
    })
  }

  async #begin(): Promise<void> {
    boundary('begin', this.view.id)
    await this.#append({ type: 'begin' })
    boundary('begun', this.view.id)
  }

  #placeOf(index: number, scope: Scope): Place {
    const branch = this.view.journaled ? this.#host.finisher.branchOf(this.view, index) : this.view.id // never prepared
    return { transaction: this.view.id, index, branch, begun: () => this.#begunOr(scope) }
  }

  /** Prepares, commits what is the decision by its commit (T2), and records the decision. */
  async #conclude(): Promise<void> {
    const { view } = this
    const { results } = this.#collection
    const commit = this.#participants
      .map((_, index) => index)
      .filter((index) => results[index] !== PENDING && !(results[index] instanceof CageError))
    const { deadline } = view.plan
    const scope = { deadline, signal: this.#host.signal }
    // without a journal there is one that lasts, and its commit is all there is
    const onePhase = commit.filter((index) => this.#participants[index]?.commit && this.#isOnePhase(index))
    await this.#beginning
    const failures: unknown[] = []
    await Promise.all(commit.map((index) => this.#prepare(index, scope, failures)))
    if (failures.length > 0) throw failures[0]
    if (Date.now() >= deadline) throw new CageError('DEADLINE_EXCEEDED', `transaction ${view.id} came too late to be decided`)
    if (onePhase.length > 0) {
      boundary('committing', view.id)
      const identities = await Promise.all(
        onePhase.map(async (index) => [index, await this.#participants[index]?.identity?.(scope)] as const),
      )
      await this.#append({ type: 'committing', commit, identities })
      boundary('identified', view.id)
      for (const index of onePhase) await this.#commitLive(index, scope)
    }
    boundary('decide', view.id)
    await this.#append({ type: 'decide', commit, committed: onePhase })
    boundary('decided', view.id)
  }

  #isOnePhase(index: number): boolean {
    const participant = this.#classOf(index)
    return participant === 'one-phase' || (participant === 'prepared' && !this.view.journaled)
  }

  /** Never rejects. */
  async #prepare(index: number, scope: Scope, failures: unknown[]): Promise<void> {
    if (!this.view.journaled && this.#classOf(index) === 'prepared') return // its commit is one step, and all there is
    boundary('prepare', this.view.id, index)
    try {
      await this.#participants[index]?.prepare?.(scope)
      boundary('prepared', this.view.id, index)
    } catch (error) {
      this.#collection.culprit ??= index
      failures.push(error)
    }
  }

  /**
   * A commit that is refused while its connection holds has not happened, nor one whose connection was lost before; what has become of one that
   * got lost, settlement finds out.
   */
  async #commitLive(index: number, scope: Scope): Promise<void> {
    boundary('commit', this.view.id, index)
    const participant = this.#participants[index]
    const wasLost = participant?.isLost ?? false
    try {
      await participant?.commit?.(scope)
    } catch (error) {
      if (wasLost || !participant?.isLost) this.view.outcomes[index] = 'rolled back'
      this.#collection.culprit ??= index
      throw error
    }
    this.view.outcomes[index] = 'committed'
    boundary('committed', this.view.id, index)
  }

  /** `carriedOut`: all is done but to say so. */
  async #settle(carriedOut?: (outcome: TxOutcome) => void): Promise<void> {
    const { view } = this
    if (view.ended !== undefined) return carriedOut?.(view.ended) // in the course of finding out what its commit has come to
    const settlement = new Settlement(this.#host, view, this.#participants)
    try {
      const outcome = await settlement.carryOut()
      carriedOut?.(outcome) // T4
      await settlement.end(outcome)
    } catch (error) {
      await this.#retract()
      throw error
    } finally {
      for (const participant of this.#participants) participant.release?.()
      this.#host.ended(view)
    }
  }

  /** Another has taken over: what we have left in the state after that nobody finds. Whoever took over can only have rolled back (T2). */
  async #retract(): Promise<void> {
    if (this.#isSaid) return
    const scope = { deadline: Date.now() + RETRACT_MS, signal: new AbortController().signal }
    await this.#host.finisher.rollbackStates(this.view, scope).catch(() => undefined) // best effort
  }

  #append(event: NewEvent): Promise<void> {
    this.#isSaid ||= event.type === 'committing' || event.type === 'decide'
    return this.#host.append(this.view, event)
  }

  #classOf(index: number): string | undefined {
    return this.#participants[index]?.record.participant
  }

  #has(...classes: string[]): boolean {
    return this.#participants.some(({ record }) => classes.includes(record.participant))
  }
}
