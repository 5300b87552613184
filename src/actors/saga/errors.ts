/** What a run of a saga ends with, and the mistakes in its code. Pure. */
import { CageError, toCageError } from '../../errors.ts'
import type { SagaView } from './events.ts'

/** How soon code that does not match is tried again: another may have been deployed. */
const MISMATCH_AGAIN_MS = 10_000

export const REPLAYED = 'REPLAYED'

/** The code has come to where a saga that is compensated must not go on. */
export function replayed(): CageError {
  return new CageError(REPLAYED, 'the saga is compensated, nothing new is begun')
}

/** The queue runs the call again after so long, and this was no attempt. */
export function putOff(ms: number, why: string): CageError {
  return new CageError('SNOOZED', `the saga goes on in ${ms} ms: ${why}`, { retryAfterMs: ms })
}

export function incidentOpen(saga: string): CageError {
  return new CageError('INCIDENT', `the saga needs people: menagerie saga show ${saga}`, { retryable: false })
}

/** The queue leaves the call to the other run (verdict.ts). */
export function superseded(saga: string, cause: unknown): CageError {
  return new CageError('SUPERSEDED', `another run of saga ${saga} goes on with it`, { cause })
}

/** The code comes to something else than the journal has as number `n`. */
export function mismatch(saga: string, { begun, operations }: SagaView, n: number, version: string, asked: string): CageError {
  const known = operations[n]
  const message =
    `the code does not match saga ${saga}: version ${begun?.version} began it and came to ` +
    `${known ? `${known.kind} ${known.name}` : 'its end'} as number ${n + 1}, version ${version} comes to ${asked}`
  return new CageError('SAGA_MISMATCH', message, { retryable: true, retryAfterMs: MISMATCH_AGAIN_MS })
}

export function unrecorded(what: string, cause: unknown): CageError {
  const { code, message } = toCageError(cause)
  if (code === 'CANCELLED' || code === 'FENCED') return toCageError(cause)
  return new CageError('INVALID_ARGUMENT', `${what} cannot be recorded: ${message}`, { cause })
}

/** Throws INVALID_ARGUMENT for a name that cannot be one, and takes it. */
export function checkStep(name: string, names: Set<string>): void {
  if (typeof name !== 'string' || !/^[^/\p{Cc}\p{Cs}]+$/u.test(name) || Buffer.byteLength(name) > 64)
    throw new CageError('INVALID_ARGUMENT', `a step's name is text of 1 to 64 bytes without a slash, not ${JSON.stringify(name)}`)
  if (names.has(name)) throw new CageError('INVALID_ARGUMENT', `the saga has two steps ${name}: names are unique, they are keys`)
  names.add(name)
}
