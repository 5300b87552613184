/**
 * Errors of HTTP and of connections as ours. Pure. Faults are in faults.ts.
 * E1. What is ours and not our caller's (credentials, a wrong path) may be retried: a queued call waits until it is right.
 * E2. Neither what was sent nor what was answered is told.
 */
import { CageError, type Code } from '../../errors.ts'
import { lostBecause } from '../client/lost.ts'

/** Status → code; others are UNAVAILABLE. */
const STATUSES: ReadonlyMap<number, Code> = new Map<number, Code>([
  [401, 'UNAUTHENTICATED'],
  [403, 'FORBIDDEN'],
  [407, 'UNAUTHENTICATED'],
  [408, 'DEADLINE_EXCEEDED'],
  [413, 'PAYLOAD_TOO_LARGE'],
  [429, 'OVERLOADED'],
  [503, 'OVERLOADED'],
  [504, 'DEADLINE_EXCEEDED'],
])

/** Answers to a HEAD that say that nobody is there for us; any other one is an answer. */
const REFUSALS: ReadonlySet<number> = new Set([401, 407, 502, 503, 504])

/** The error of an answer that is none of XML-RPC, whose status is always 200. */
export function fromStatus(status: number, resource: string): CageError {
  const code = STATUSES.get(status) ?? 'UNAVAILABLE'
  return new CageError(code, `${resource}: the server answered with status ${status}`, {
    details: { status },
    retryable: code !== 'PAYLOAD_TOO_LARGE', // E1
  })
}

/** What the answer to a HEAD says against using the connection. */
export function refusalOf(status: number, resource: string): CageError | undefined {
  if (!REFUSALS.has(status)) return undefined
  const { code, message } = fromStatus(status, resource)
  return new CageError(code === 'UNAUTHENTICATED' ? code : 'UNAVAILABLE', message, { details: { status }, retryable: true })
}

/** The error of a connection that could not be had, or was lost. */
export function fromConnection(error: unknown, resource: string): CageError {
  if (codeOf(error) === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
    return new CageError('PAYLOAD_TOO_LARGE', `${resource}: the answer is larger than maxResponseBytes`, { cause: error })
  }
  return new CageError('UNAVAILABLE', `${resource}: ${lostBecause(error)}`, { cause: error })
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
}
