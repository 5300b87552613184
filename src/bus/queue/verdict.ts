/**
 * Verdict: what becomes of a queued call, before it runs (`admit`) and after (`verdict`). Pure, and the only place that decides it.
 * V1. An attempt is a run that ended in an error. A crash is a run that ended with its worker. A snooze is neither.
 * V2. A call that has crashed its worker twice is not run a third time; one whose process ended in each of `MAX_RERUNS` runs is not run again.
 *     The end of a worker that somebody else is to blame for does not count. What may be to blame runs alone next time (solo.ts).
 * V3. What is left of a call that has gone on elsewhere (moved, done, cancelled) is dropped.
 * V4. A run that another run of the same call has replaced settles nothing: the other one does.
 */
import { CageError } from '../../errors.ts'
import type { Outcome } from '../bus.ts'
import type { QueuePolicy } from './contract.ts'
import { ANY_SEQ, type CallRecord } from './ledger.ts'
import type { QueuedCall } from './message.ts'

export type Verdict =
  | { kind: 'done'; result: unknown }
  | { kind: 'again'; delayMs: number; error: CageError; counts: boolean }
  | { kind: 'dead'; error: CageError }
  | { kind: 'cancelled' }
  | { kind: 'left' }

export type Admission = { kind: 'run' } | { kind: 'alone' } | { kind: 'drop' } | { kind: 'dead'; error: CageError }

/** Crashes of its worker after which a call is not run any more. */
export const MAX_CRASHES = 2

/** Runs after redeliveries that nobody is to blame for: the end of a whole node may be the call's doing, or an engineer's. */
export const MAX_RERUNS = 4

/** Whether a message may run now. `record` is what the ledger has of the call. */
export function admit(call: QueuedCall, seq: number, expiresAt: number, record: CallRecord | undefined, now: number): Admission {
  if (record) {
    if (isStale(call, seq, record)) return { kind: 'drop' }
    if (record.crashes >= MAX_CRASHES) return crashed(`its worker died in each of its last ${record.crashes} runs`)
    if (record.reruns >= MAX_RERUNS) return crashed(`its process ended in each of its last ${record.reruns} runs`)
  }
  if (expiresAt <= now)
    return { kind: 'dead', error: new CageError('DEADLINE_EXCEEDED', 'the call expired before it could succeed', { retryable: false }) }
  const suspect = record && (record.crashes > 0 || (record.reruns > 0 && record.state === 'running'))
  return suspect ? { kind: 'alone' } : { kind: 'run' }
}

/** Whether a message is only what is left of a call that has ended, or has gone on as another message (V3). */
export function isStale(call: QueuedCall, seq: number, { state, moves, seq: current }: CallRecord): boolean {
  if (state === 'done' || state === 'dead' || state === 'cancelled' || moves > call.moves) return true
  return moves === call.moves && current !== seq && current !== ANY_SEQ
}

/** Outcomes that are no failed attempts: the method put itself off, was not begun, is the wrong one, or its worker ended (V1). */
const NO_ATTEMPT: ReadonlySet<string> = new Set(['SNOOZED', 'OVERLOADED', 'CRASHED', 'SAGA_MISMATCH'])

/** What follows from the outcome of a run. `crashes` counts those before it; `random` is from 0 to 1. */
export function verdict(
  outcome: Outcome,
  call: QueuedCall,
  crashes: number,
  expiresAt: number,
  policy: QueuePolicy,
  now: number,
  random: number,
): Verdict {
  if (outcome.ok) return { kind: 'done', result: outcome.result }
  const { error } = outcome
  if (error.code === 'SUPERSEDED') return { kind: 'left' } // V4
  const counts = !NO_ATTEMPT.has(error.code)
  const attempts = call.attempts + (counts ? 1 : 0)
  if (error.code === 'CRASHED' && crashes + 1 >= MAX_CRASHES) return { kind: 'dead', error }
  if (!error.retryable && error.code !== 'CANCELLED') return { kind: 'dead', error } // a call of its own was cancelled: it may succeed yet
  if (counts && policy.maxAttempts !== undefined && attempts >= policy.maxAttempts) return { kind: 'dead', error }
  const delayMs = error.retryAfterMs ?? backOffMs(Math.max(1, attempts), policy, random)
  if (now + delayMs >= expiresAt) return { kind: 'dead', error }
  return { kind: 'again', delayMs, error, counts }
}

/** The delay before the next attempt, ms, when `attempts` have failed. */
export function backOffMs(attempts: number, { backoff }: Pick<QueuePolicy, 'backoff'>, random: number): number {
  const { firstMs, maxMs, factor, jitter } = backoff
  return Math.round(Math.min(maxMs, firstMs * factor ** (attempts - 1)) * (1 - jitter + jitter * random))
}

/** When a call expires, epoch ms. */
export function expiryOf(call: QueuedCall, storedAt: number, policy: Pick<QueuePolicy, 'expiresMs'>): number {
  return (call.enqueuedAt ?? storedAt) + (call.expiresMs ?? policy.expiresMs)
}

function crashed(message: string): Admission {
  return { kind: 'dead', error: new CageError('CRASHED', message, { retryable: false }) }
}
