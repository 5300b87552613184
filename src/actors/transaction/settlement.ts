/**
 * Settlement: brings a transaction to its end from wherever it stands. The coordinator that ran it and the one that finds what is left of it do
 * the same; the first one tries what it has open before it goes by the records.
 * S1. Without a decision, and without a one-phase commit that may have happened, it is rolled back.
 * S2. Commits that have been decided are repeated until they succeed. Queued calls are enqueued last: those who run them see the rest.
 * S3. What cannot be undone, and what nobody can tell, becomes an incident; the rest of the transaction is settled all the same.
 */
import type { Scope } from '../../adapters/adapter.ts'
import { CageError, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { pause } from '../../pause.ts'
import { boundary } from './boundary.ts'
import type { ParticipantOutcome } from './contract.ts'
import type { NewEvent, TxOutcome, TxView } from './events.ts'
import { type Finisher, isToBeUndone, participantOf, wasDone } from './finisher.ts'
import type { Problem } from './incidents.ts'
import type { Participant } from './participant.ts'

/** What it needs of its coordinator. */
export interface SettlementHost {
  readonly finisher: Finisher
  /** Fires when the coordinator goes: what is left is another's. */
  readonly signal: AbortSignal
  readonly log: Log
  /** How long an undo that fails is repeated before people are asked, ms. */
  patienceMs(): number
  /** Writes an event down, and into the view. `soon`: with the next one, if there is one soon. */
  append(view: TxView, event: NewEvent, soon?: boolean): Promise<void>
  raise(view: TxView, index: number, problem: Problem, error: CageError): Promise<void>
}

/** One attempt at a participant may take so long, ms. */
const ATTEMPT_MS = 10_000
const FIRST_DELAY_MS = 50
const LONGEST_DELAY_MS = 2_000

export class Settlement {
  readonly #host: SettlementHost
  readonly #view: TxView
  readonly #live: readonly Participant[]
  readonly #raised = new Set<number>()

  constructor(host: SettlementHost, view: TxView, live: readonly Participant[] = []) {
    this.#host = host
    this.#view = view
    this.#live = live
  }

  /** Positions of participants that have become incidents. */
  get raised(): ReadonlySet<number> {
    return this.#raised
  }

  /** Carries it out and says so. Rejects if the coordinator goes before. */
  async run(): Promise<TxOutcome> {
    const outcome = await this.carryOut()
    await this.end(outcome)
    return outcome
  }

  /** Resolves when nothing is left to do, but what has become an incident, and to say so. */
  async carryOut(): Promise<TxOutcome> {
    const view = this.#view
    this.#checkAlive()
    if (view.decision === undefined && view.committing && !(await this.#askOnePhase())) return 'incident'
    const commit = view.decision ?? []
    const rollback: number[] = []
    for (let index = 0; index < view.plan.participants.length; index++) if (!commit.includes(index)) rollback.push(index)
    if (rollback.length === 0) await this.#commitAll(commit)
    else await Promise.all([this.#commitAll(commit), this.#rollbackAll(rollback)])
    return this.#raised.size > 0 ? 'incident' : commit.length > 0 ? 'committed' : 'rolled back'
  }

  /** Says what it has come to. A commit that is not said to be over is only carried out again: S2. */
  async end(outcome: TxOutcome): Promise<void> {
    boundary('end', this.#view.id)
    await this.#host.append(this.#view, { type: 'end', outcome }, outcome === 'committed')
    boundary('ended', this.#view.id)
  }

  /** The one-phase commits that may have happened decide (events.ts, E2). False: nobody can tell, people are asked. */
  async #askOnePhase(): Promise<boolean> {
    const view = this.#view
    const { commit, identities } = view.committing ?? { commit: [], identities: new Map<number, unknown>() }
    for (const index of identities.keys()) {
      if (view.outcomes[index] === 'committed' || view.outcomes[index] === 'rolled back') continue
      this.#live[index]?.release?.()
      const outcome = await this.#persist(index, (scope) => this.#host.finisher.outcome(view, index, scope)).catch(() => 'unknown' as const)
      this.#checkAlive()
      if (outcome === 'unknown') {
        await this.#raise(
          index,
          'outcome unknown',
          new CageError('UNAVAILABLE', `nobody can tell whether ${participantOf(view, index).name} has committed`),
        )
        return false
      }
      view.outcomes[index] = outcome
    }
    const done = [...identities.keys()].filter((index) => view.outcomes[index] === 'committed')
    const forward = done.length === identities.size || (done.length > 0 && !done.every((index) => participantOf(view, index).undo))
    await this.#host.append(view, { type: 'decide', commit: forward ? [...commit] : [], committed: done })
    return true
  }

  /** S2 */
  async #commitAll(indexes: readonly number[]): Promise<void> {
    const deferred = indexes.filter((index) => participantOf(this.#view, index).participant === 'deferred')
    const others = deferred.length === 0 ? indexes : indexes.filter((index) => !deferred.includes(index))
    await Promise.all(others.map((index) => this.#commit(index)))
    if (deferred.length > 0) await Promise.all(deferred.map((index) => this.#commit(index)))
  }

  async #commit(index: number): Promise<void> {
    const view = this.#view
    const { participant, name } = participantOf(view, index)
    const live = this.#live[index]
    if (view.outcomes[index] === 'committed') return live?.release?.()
    if (participant === 'one-phase') {
      // others have committed, it has not, and they cannot be undone
      return await this.#raise(index, 'commit failed', new CageError('UNAVAILABLE', `${name} did not commit, others had`))
    }
    const [before, after] = participant === 'deferred' ? (['enqueue', 'enqueued'] as const) : (['finish', 'finished'] as const)
    boundary(before, view.id, index)
    try {
      this.#checkAlive()
      try {
        await (live?.commit ? live.commit(this.#attempt()) : this.#commitRecorded(index, this.#attempt()))
      } catch (error) {
        await this.#persist(index, (scope) => this.#commitRecorded(index, scope), Number.POSITIVE_INFINITY, error)
      }
      live?.release?.()
      view.outcomes[index] = participant === 'irreversible' ? 'executed' : 'committed'
    } catch (error) {
      this.#checkAlive()
      await this.#raise(index, 'commit failed', toCageError(error)) // a queued call that no queue takes
    }
    boundary(after, view.id, index)
  }

  #commitRecorded(index: number, scope: Scope): Promise<void> {
    this.#live[index]?.release?.() // its connection may be the one that is needed
    return this.#host.finisher.commit(this.#view, index, scope)
  }

  /** In reverse order, what is compensated one after the other; the others at once. */
  async #rollbackAll(indexes: readonly number[]): Promise<void> {
    const compensated = indexes.filter((index) => isToBeUndone(this.#view, index))
    const others = indexes.filter((index) => !compensated.includes(index))
    const inOrder = async (): Promise<void> => {
      for (const index of compensated.reverse()) await this.#rollback(index)
    }
    await Promise.all([inOrder(), ...others.map((index) => this.#rollback(index))])
  }

  async #rollback(index: number): Promise<void> {
    const view = this.#view
    const live = this.#live[index]
    const wasNotDone = view.outcomes[index] === 'rolled back' && participantOf(view, index).participant === 'compensable'
    if (live && (view.outcomes[index] === 'not begun' || wasNotDone)) return live.release?.() // nothing is to be undone
    let isOver: boolean
    try {
      isOver = live?.rollback !== undefined && !wasDone(view, index) && (await this.#rollbackLive(live))
    } catch (error) {
      return await this.#raise(index, 'undo failed', toCageError(error))
    }
    live?.release?.()
    if (isOver) {
      view.outcomes[index] = 'rolled back'
      return
    }
    const compensates = isToBeUndone(this.#view, index)
    if (compensates) boundary('undo', view.id, index)
    const until = compensates ? Date.now() + this.#host.patienceMs() : Number.POSITIVE_INFINITY
    try {
      const outcome = await this.#persist(index, (scope) => this.#host.finisher.rollback(view, index, scope), until)
      view.outcomes[index] = outcome
      if (compensates) await this.#host.append(view, { type: 'participant', index, outcome })
    } catch (error) {
      this.#checkAlive()
      await this.#raise(index, 'undo failed', toCageError(error))
    }
    if (compensates) boundary('undone', view.id, index)
  }

  /** Rejects only if there is nobody else to do it. */
  async #rollbackLive(live: Participant): Promise<boolean> {
    try {
      return (await live.rollback?.(this.#attempt())) ?? false
    } catch (error) {
      if (live.record.kind === 'callable') throw error
      this.#host.log.debug({ participant: live.record.name, err: error }, 'rollback of the connection failed, by its name then')
      return false
    }
  }

  /**
   * Repeats until it succeeds, or until `until` (epoch ms). An error that no repetition mends ends it too: at once where there is a limit or
   * nothing is held, else once it has been the same for as long as people would wait. `failed`: of a first attempt that has been made.
   */
  async #persist<T>(index: number, work: (scope: Scope) => Promise<T>, until = Number.POSITIVE_INFINITY, failed?: unknown): Promise<T> {
    const { signal, log } = this.#host
    let hopelessSince: number | undefined
    for (let attempt = 1; ; attempt++) {
      this.#checkAlive()
      try {
        if (attempt === 1 && failed !== undefined) throw failed
        return await work(this.#attempt(until))
      } catch (error) {
        this.#checkAlive()
        const failure = toCageError(error)
        hopelessSince = failure.retryable ? undefined : (hopelessSince ?? Date.now())
        const limited = until !== Number.POSITIVE_INFINITY || participantOf(this.#view, index).participant === 'deferred'
        const isHopeless = hopelessSince !== undefined && (limited || Date.now() - hopelessSince >= this.#host.patienceMs())
        if (isHopeless || Date.now() >= until) throw failure
        const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1))
        const level = attempt % 10 === 5 ? 'warn' : 'debug'
        log[level](
          { transaction: this.#view.id, participant: participantOf(this.#view, index).name, attempt, delayMs, err: failure },
          'a participant cannot be finished yet',
        )
        await pause(delayMs, signal)
      }
    }
  }

  #attempt(until = Number.POSITIVE_INFINITY): Scope {
    return { deadline: Math.min(until, Date.now() + ATTEMPT_MS), signal: this.#host.signal }
  }

  async #raise(index: number, problem: Problem, error: CageError): Promise<void> {
    this.#raised.add(index)
    const outcome: ParticipantOutcome = problem === 'outcome unknown' ? 'unknown' : 'failed'
    await this.#host.append(this.#view, { type: 'participant', index, outcome, error: error.toJSON() })
    await this.#persist(index, async () => await this.#host.raise(this.#view, index, problem, error))
  }

  #checkAlive(): void {
    if (this.#host.signal.aborted) throw new CageError('UNAVAILABLE', `transaction ${this.#view.id} is left to another coordinator`)
  }
}
