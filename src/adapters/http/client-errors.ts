/**
 * An HTTP server's refusals, and lost connections, as our errors. Pure.
 * E1. What the server says in the body stays behind: who wants it asks for `anyStatus`. `details` are { status }.
 * E2. With a status from 500 on, or none, nobody knows whether it was done.
 */
import { CageError, type ErrorOptions, type KnownCode } from '../../errors.ts'
import { lostBecause } from '../client/lost.ts'

/** RFC 9110, 15.5 and 15.6; 423, 424: RFC 4918; 428, 429: RFC 6585. What is not here is INVALID_ARGUMENT below 500, else UNAVAILABLE. */
const STATUSES: Readonly<Record<number, KnownCode>> = {
  401: 'UNAUTHENTICATED',
  402: 'FORBIDDEN',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  407: 'UNAUTHENTICATED',
  408: 'UNAVAILABLE',
  409: 'CONFLICT',
  410: 'NOT_FOUND',
  412: 'CONFLICT',
  413: 'PAYLOAD_TOO_LARGE',
  423: 'CONFLICT',
  425: 'UNAVAILABLE',
  428: 'CONFLICT',
  429: 'OVERLOADED',
  451: 'FORBIDDEN',
  501: 'INVALID_ARGUMENT',
  504: 'DEADLINE_EXCEEDED',
  505: 'INVALID_ARGUMENT',
}

/** The error of a status from 300 on; `retryAfterMs` is what the server asks for. */
export function fromStatus(status: number, resource: string, retryAfterMs: number | undefined): CageError {
  const code = STATUSES[status] ?? (status < 500 ? 'INVALID_ARGUMENT' : 'UNAVAILABLE')
  const options: ErrorOptions = { details: { status } }
  if (retryAfterMs !== undefined) options.retryAfterMs = retryAfterMs
  if (code === 'UNAUTHENTICATED') options.retryable = true // ours, not our caller's: a queued call waits until the credentials are right
  const what = status < 400 ? 'redirects to where we do not follow' : 'answers with'
  return new CageError(code, `${resource}: the server ${what} ${status}`, options)
}

/** What undici and Node say of a request. */
export function fromUndici(error: unknown, resource: string): CageError {
  if (error instanceof CageError) return error
  const { code = '', message = '' } = error instanceof Error ? (error as NodeJS.ErrnoException) : {}
  const cause = { cause: error }
  if (code === 'UND_ERR_INVALID_ARG' || code === 'UND_ERR_NOT_SUPPORTED')
    return new CageError('INVALID_ARGUMENT', `${resource}: ${message}`, cause)
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return new CageError('PAYLOAD_TOO_LARGE', `${resource}: the answer's headers are too large`, cause)
  if (code.startsWith('HPE_')) return new CageError('UNAVAILABLE', `${resource}: the answer is not HTTP/1.1 (${code})`, cause)
  if (/^(Z_|ERR_.*BROTLI|ERR__ERROR_FORMAT)/.test(code))
    return new CageError('UNAVAILABLE', `${resource}: the answer is badly compressed`, cause)
  return new CageError('UNAVAILABLE', `${resource}: ${lostBecause(error)}`, cause)
}
