/**
 * Compensation: undoes what a saga has done, last step first, one after the other.
 * C1. Each step that was undone is an event: after a crash it goes on with the next one.
 * C2. A step of which nobody knows whether it was done is done again, with its key, to learn its result; one that refuses for good was not done.
 * C3. What fails is tried again, later and later, as often as `ATTEMPTS`; what cannot be undone is an incident, and people decide.
 */
import type { Bus } from '../../bus/bus.ts'
import { CageError, type ErrorBody, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { alert } from '../notify.ts'
import { boundary } from './boundary.ts'
import type { StepScope } from './contract.ts'
import { bodyOf, isOpen, type Operation } from './events.ts'
import { keyOf } from './ids.ts'
import type { SagaJournal } from './journal.ts'
import { withKey } from './keys.ts'

/** What a step's code says. */
export interface Undo {
  action(scope: StepScope): unknown
  compensation: ((result: unknown, scope: StepScope) => unknown) | undefined
}

export interface Compensation {
  bus: Bus
  cage: string
  saga: string
  journal: SagaJournal
  /** By the number of the operation. */
  undos: readonly (Undo | undefined)[]
  /** Epoch ms: later than this no further step is begun, the next delivery has all its time. */
  halfTime: number
  log: Log
}

/** Tries of one compensation. */
export const ATTEMPTS = 8

const FIRST_DELAY_MS = 500
const LONGEST_DELAY_MS = 60_000

/** Compensates, and writes the saga's end; resolves with the error that the call ends with if it does not come so far. */
export async function compensate(work: Compensation): Promise<CageError | undefined> {
  const { saga, journal, halfTime } = work
  const { view } = journal
  for (let n = view.operations.length - 1; n >= 0; n--) {
    const operation = view.operations[n]
    if (!operation || !isOpen(operation)) continue
    if (Date.now() > halfTime) return new CageError('SNOOZED', `saga ${saga} is compensated further`, { retryAfterMs: 0 })
    const stop = await undo(work, n, operation)
    if (stop) return stop
  }
  boundary('end', saga)
  await journal.append({ type: 'end', outcome: 'compensated', ...(view.failure && { error: view.failure }) })
  boundary('ended', saga)
  return undefined
}

async function undo(work: Compensation, n: number, operation: Operation): Promise<CageError | undefined> {
  const { saga, journal, undos } = work
  const { name, state } = operation
  const { action, compensation } = undos[n] ?? {}
  if (!compensation || !action) return undefined // nothing of it is to be undone
  boundary('undo', saga, name)
  try {
    const { result } = operation
    const found = state === 'done' ? { result } : await learn(keyOf(saga, name, 'do'), action)
    if ('refusal' in found) {
      await journal.append({ type: 'failed', n, error: found.refusal })
      return undefined
    }
    const key = keyOf(saga, name, 'undo')
    await withKey(key, () => compensation(found.result, { key }))
  } catch (error) {
    if (journal.fenced) throw error
    return await again(work, n, toCageError(error))
  }
  boundary('undid', saga, name)
  await journal.append({ type: 'undone', n })
  boundary('undone', saga, name)
  return undefined
}

/** C2. Throws if it still cannot be known. */
async function learn(key: string, action: Undo['action']): Promise<{ result: unknown } | { refusal: ErrorBody }> {
  try {
    return { result: await withKey(key, () => action({ key })) }
  } catch (error) {
    const failure = toCageError(error)
    if (failure.retryable || failure.code === 'CANCELLED') throw failure
    return { refusal: bodyOf(failure) }
  }
}

/** C3. */
async function again({ bus, cage, saga, journal, log }: Compensation, n: number, error: CageError): Promise<CageError> {
  const operation = journal.view.operations[n]
  const failures = (operation?.failures ?? 0) + 1
  await journal.append({ type: 'undo failed', n, error: bodyOf(error) })
  if (failures < ATTEMPTS && (error.retryable || error.code === 'CANCELLED')) {
    const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1))
    return new CageError('SNOOZED', `step ${operation?.name} cannot be undone yet: ${error.message}`, { retryAfterMs: delayMs })
  }
  await journal.append({ type: 'incident', n, error: bodyOf(error) })
  alert(bus, cage, log, { saga, step: operation?.name, err: error }, 'incident: a step of a saga cannot be undone, people must decide')
  return new CageError('INCIDENT', `step ${operation?.name} of saga ${saga} cannot be undone: ${error.message}`, { retryable: false })
}
