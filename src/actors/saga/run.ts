/**
 * Run: one delivery of a saga's call. The code is run from its beginning; what is recorded is not done again.
 * R1. Intent before effect: a step's action begins once its intent is stored, and with it all that was appended before.
 * R2. The n-th operation of the code must be the n-th of the journal, else SAGA_MISMATCH: nothing is done, and nothing undone.
 * R3. Once the saga is compensated nothing new is begun: the code is run only for what it would undo (compensation.ts).
 * R4. What interrupts a run (a sleep, another run, a mismatch) ends it, whatever the code makes of the error.
 * It is more than 300 lines because what the code asks for and what its end means are decided by the same few fields.
 */
import type { Bus, Outcome, QueuedInfo } from '../../bus/bus.ts'
import { CageError, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { pause } from '../../pause.ts'
import { boundary } from './boundary.ts'
import { compensate, type Undo } from './compensation.ts'
import type { Saga, StepScope } from './contract.ts'
import { checkStep, incidentOpen, mismatch, putOff, REPLAYED, replayed, superseded, unrecorded } from './errors.ts'
import { type Beginning, bodyOf, isFinal, isOpen, type NewEvent, type Operation, timedOut } from './events.ts'
import { isUndo, keyOf, sagaOf } from './ids.ts'
import { refused, SagaJournal } from './journal.ts'
import { isInStep, withKey } from './keys.ts'
import type { SagaRecord } from './record.ts'
import { checkSignal, signalled } from './signals.ts'

/** What a run needs of the call that it is. */
export interface SagaScope {
  readonly bus: Bus
  readonly cage: string
  readonly queued: QueuedInfo
  readonly call: Beginning
  /** Epoch ms. */
  readonly deadline: number
  /** Fires when the call has ended without us. */
  readonly signal: AbortSignal
  readonly log: Log
}

/** A sleep that takes no longer is slept here. */
const IN_PLACE_MS = 1_000

/** The longest that a waiting call is put off at once: a signal brings it forward, unless its sender dies over that. */
const LONGEST_WAIT_MS = 300_000

export class SagaRun implements Saga {
  readonly id: string
  readonly #scope: SagaScope
  readonly #startedAt = Date.now()
  readonly #names = new Set<string>()
  /** What undoes each operation, as the code says. */
  readonly #undos: (Undo | undefined)[] = []
  readonly #running = new Set<Promise<unknown>>()
  #calls = 0
  #opening: Promise<SagaJournal> | undefined
  #beginning: Promise<void> | undefined
  #interruption: CageError | undefined
  /** How the saga had ended before. */
  #past: SagaRecord | undefined

  constructor(scope: SagaScope) {
    this.#scope = scope
    this.id = sagaOf(scope.queued.id)
  }

  step<T>(name: string, action: (scope: StepScope) => T | Promise<T>, compensation?: (result: T, scope: StepScope) => unknown): Promise<T> {
    const step = this.#step(name, { action, compensation: compensation as Undo['compensation'] }) as Promise<T> // what its own action resolves with
    this.#running.add(step)
    const ended = (): void => void this.#running.delete(step)
    step.then(ended, ended)
    return step
  }

  async all<T extends readonly unknown[]>(steps: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
    const settled = await Promise.allSettled(steps)
    const failure = settled.find(({ status }) => status === 'rejected')
    if (failure?.status === 'rejected') throw failure.reason
    return settled.map((one) => (one.status === 'fulfilled' ? one.value : undefined)) as { -readonly [K in keyof T]: Awaited<T[K]> } // in their order
  }

  async sleep(ms: number): Promise<void> {
    if (!(ms >= 0 && ms < Number.POSITIVE_INFINITY)) throw new CageError('INVALID_ARGUMENT', `a saga sleeps from 0 ms on, not ${ms}`)
    const n = this.#next()
    const journal = await this.#open()
    const until = Date.now() + ms
    const { operation } = await this.#come(journal, n, 'sleep', 'sleep', { type: 'sleep', n, until })
    if (journal.view.failure) return
    const leftMs = operation.until - Date.now()
    if (leftMs > IN_PLACE_MS || leftMs > (this.#scope.deadline - Date.now()) / 2) throw this.#putOff(leftMs, 'it sleeps')
    if (leftMs > 0) await pause(leftMs, this.#scope.signal)
  }

  async waitFor<T>(signal: string, timeoutMs: number): Promise<T> {
    checkSignal(signal)
    if (!(timeoutMs >= 0 && timeoutMs < Number.POSITIVE_INFINITY))
      throw new CageError('INVALID_ARGUMENT', `a saga waits from 0 ms on, not ${timeoutMs}`)
    const n = this.#next()
    const journal = await this.#open()
    const { operation } = await this.#come(journal, n, 'wait', signal, { type: 'wait', n, signal, until: Date.now() + timeoutMs })
    if (operation.state === 'done') return operation.result as T // whoever sent it knows
    if (operation.state === 'failed') throw timedOut(signal)
    if (journal.view.failure) throw this.#interrupt(replayed())
    const found = await signalled(this.#scope.bus, this.id, signal, this.#scope.deadline)
    if (found) {
      await journal.append({ type: 'signalled', n, value: found.value })
      return found.value as T
    }
    const leftMs = operation.until - Date.now()
    if (leftMs > 0) throw this.#putOff(Math.min(leftMs, LONGEST_WAIT_MS), `it waits for the signal ${signal}`)
    await journal.append({ type: 'timed out', n })
    throw timedOut(signal)
  }

  /** What the call's outcome is, now that the code has come to its end with this one. */
  async conclude(outcome: Outcome): Promise<Outcome> {
    try {
      while (this.#running.size > 0) await Promise.allSettled(this.#running)
      const journal = this.#opening && (await this.#opening.catch(() => undefined)) // the code was told
      return journal ? await this.#conclude(journal, outcome) : outcome
    } catch (error) {
      return { ok: false, error: toCageError(error) }
    }
  }

  /** For a call that is there to compensate: its code must not run as anything else. */
  async begin(): Promise<void> {
    await this.#open()
  }

  /** The number of the next operation (E1 of events.ts). */
  #next(): number {
    if (this.#interruption) throw this.#interruption // R4
    if (this.#scope.signal.aborted) throw this.#scope.signal.reason
    if (isInStep()) throw new CageError('INVALID_ARGUMENT', 'a step is one action: it has no steps, sleeps or waits of its own')
    return this.#calls++
  }

  #open(): Promise<SagaJournal> {
    this.#opening ??= this.#takeOver()
    return this.#opening.then((journal) => {
      if (this.#interruption && this.#past) throw this.#interruption
      return journal
    })
  }

  async #takeOver(): Promise<SagaJournal> {
    const { bus, cage, queued } = this.#scope
    const journal = await SagaJournal.takeOver(bus, cage, this.id)
    const { view } = journal
    const past = view.begun && !view.ended ? undefined : await journal.ended()
    if (past) {
      await journal.finish()
      this.#past = past
      this.#interrupt(new CageError('CONFLICT', `the saga has ended: it is ${past.outcome}`))
    } else if (view.begun === undefined && isUndo(queued.id)) {
      await journal.remove()
      throw new CageError('NOT_FOUND', `there is no saga ${this.id} to compensate`)
    } else if (view.incident) {
      this.#interrupt(incidentOpen(this.id))
    }
    return journal
  }

  /** The operation that the journal has there, or a new one (R2, R3). */
  async #come(
    journal: SagaJournal,
    n: number,
    kind: Operation['kind'],
    name: string,
    event: NewEvent,
  ): Promise<{ operation: Operation; isNew: boolean }> {
    if (this.#interruption?.code === 'INCIDENT') throw this.#interruption
    const { view } = journal
    const known = view.operations[n]
    if (known && (known.kind !== kind || known.name !== name)) throw this.#interrupt(this.#mismatch(journal, n, `${kind} ${name}`))
    if (known) return { operation: known, isNew: false }
    if (view.failure) throw this.#interrupt(replayed())
    if (!view.begun || this.#beginning !== undefined) {
      this.#beginning ??= this.#begin(journal)
      await this.#beginning // in the order of the calls
    }
    await journal.append(event)
    const operation = view.operations[n]
    if (!operation) throw new CageError('INTERNAL', `operation ${n} of saga ${this.id} was not begun`)
    return { operation, isNew: true }
  }

  async #begin(journal: SagaJournal): Promise<void> {
    boundary('begin', this.id)
    try {
      await refused(journal.append({ type: 'begin', ...this.#scope.call }))
    } catch (error) {
      journal.view.begun = undefined
      throw error
    }
  }

  async #step(name: string, code: Undo): Promise<unknown> {
    const n = this.#next()
    checkStep(name, this.#names)
    for (const each of [code.action, code.compensation])
      if (each !== undefined && typeof each !== 'function')
        throw new CageError('INVALID_ARGUMENT', `step ${name}: action and compensation are functions`)
    if (!code.action) throw new CageError('INVALID_ARGUMENT', `step ${name} has no action`)
    this.#undos[n] = code
    const journal = await this.#open()
    const { operation } = await this.#come(journal, n, 'step', name, { type: 'intent', n, step: name }) // R1
    if (operation.state === 'done') return operation.result
    const { failure } = journal.view
    if (operation.state === 'failed' && operation.error && (failure || isFinal(operation))) throw CageError.from(operation.error)
    if (failure) throw this.#interrupt(replayed())
    boundary('intended', this.id, name)
    let result: unknown
    try {
      const key = keyOf(this.id, name, 'do')
      result = await withKey(key, () => code.action({ key }))
    } catch (error) {
      const failed = toCageError(error)
      if (!this.#scope.signal.aborted && failed.code !== 'SNOOZED')
        journal.append({ type: 'failed', n, error: bodyOf(failed) }).catch(() => {}) // the next event tells
      throw error
    }
    boundary('acted', this.id, name)
    const stored = journal.append({ type: 'done', n, result })
    stored.then(
      () => boundary('recorded', this.id, name),
      () => {}, // the next event tells
    )
    await refused(stored).catch((error: unknown) => {
      throw unrecorded(`the result of step ${name}`, error)
    })
    return result
  }

  async #conclude(journal: SagaJournal, outcome: Outcome): Promise<Outcome> {
    try {
      return await this.#end(journal, outcome)
    } catch (error) {
      if (!journal.fenced) throw error
      return { ok: false, error: superseded(this.id, error) }
    } finally {
      journal.close()
    }
  }

  async #end(journal: SagaJournal, outcome: Outcome): Promise<Outcome> {
    const { view } = journal
    if (this.#past) return this.#outcomeOf(this.#past)
    if (this.#interruption && this.#interruption.code !== REPLAYED) {
      await journal.stored()
      return { ok: false, error: this.#interruption }
    }
    if (!view.begun) {
      await journal.remove()
      return outcome
    }
    if (view.operations.length > this.#calls && (outcome.ok || view.failure)) {
      const why = outcome.ok || this.#interruption ? '' : `: ${outcome.error.message}`
      throw this.#mismatch(journal, this.#calls, `its end${why}`)
    }
    if (view.failure) return await this.#compensate(journal)
    if (outcome.ok) return await this.#succeed(journal, outcome.result)
    return await this.#fail(journal, outcome.error)
  }

  async #succeed(journal: SagaJournal, result: unknown): Promise<Outcome> {
    boundary('end', this.id)
    try {
      await journal.append({ type: 'end', outcome: 'done', result })
    } catch (error) {
      if (journal.fenced) throw error
      return await this.#fail(journal, unrecorded('the result of the saga', error))
    }
    boundary('ended', this.id)
    await journal.finish()
    return { ok: true, result }
  }

  async #fail(journal: SagaJournal, error: CageError): Promise<Outcome> {
    await journal.stored()
    const { queued } = this.#scope
    const again = error.retryable || error.code === 'CANCELLED'
    if (this.#scope.signal.aborted || error.code === 'SNOOZED' || (again && !queued.last)) return { ok: false, error }
    boundary('fail', this.id)
    await journal.append({ type: 'compensating', error: bodyOf(error) })
    boundary('failed', this.id)
    const later = journal.view.operations.some((operation, n) => isOpen(operation) && this.#undos[n]?.compensation) // with all the time of a new delivery
    return later ? { ok: false, error: putOff(0, 'it is compensated') } : await this.#compensate(journal)
  }

  async #compensate(journal: SagaJournal): Promise<Outcome> {
    const { bus, cage, deadline, log } = this.#scope
    const halfTime = this.#startedAt + (deadline - this.#startedAt) / 2
    const stop = await compensate({ bus, cage, saga: this.id, journal, undos: this.#undos, halfTime, log })
    if (stop) return { ok: false, error: stop }
    const record = await journal.ended()
    await journal.finish()
    return record ? this.#outcomeOf(record) : { ok: true, result: undefined }
  }

  /** What a saga that has ended answers its call with. */
  #outcomeOf({ outcome, result, error }: SagaRecord): Outcome {
    if (outcome === 'done') return { ok: true, result }
    if (isUndo(this.#scope.queued.id)) return { ok: true, result: outcome }
    const { code, message, details } = CageError.from(error)
    return { ok: false, error: new CageError(code, message, { details: { saga: this.id, outcome, details }, retryable: false }) }
  }

  #interrupt(error: CageError): CageError {
    this.#interruption ??= error
    return this.#interruption
  }

  #putOff(ms: number, why: string): CageError {
    return this.#interrupt(putOff(ms, why))
  }

  #mismatch({ view }: SagaJournal, n: number, asked: string): CageError {
    const { version } = this.#scope.call
    this.#scope.log.warn({ saga: this.id, began: view.begun?.version, version }, 'a saga waits for code that matches')
    return mismatch(this.id, view, n, version, asked)
  }
}
