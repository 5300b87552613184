/**
 * Redis's errors as ours: the first word of a reply → code. Pure.
 * E1. Words of the caller's command, which some replies repeat, are not told. `details` are { reply }, the first word.
 */
import { ErrorReply } from '@redis/client'
import { CageError, type ErrorOptions, type KnownCode } from '../../errors.ts'
import { lostBecause } from '../client/lost.ts'

/** What is not here is INVALID_ARGUMENT: ERR, WRONGTYPE, EXECABORT, NOSCRIPT, and what scripts make up. */
const REPLIES: Readonly<Record<string, KnownCode>> = {
  NOAUTH: 'UNAUTHENTICATED',
  WRONGPASS: 'UNAUTHENTICATED',
  NOPERM: 'FORBIDDEN',
  BUSYGROUP: 'CONFLICT',
  BUSYKEY: 'CONFLICT',
  NOGROUP: 'NOT_FOUND',
  OOM: 'OVERLOADED',
  BUSY: 'UNAVAILABLE',
  LOADING: 'UNAVAILABLE',
  MASTERDOWN: 'UNAVAILABLE',
  READONLY: 'UNAVAILABLE',
  MISCONF: 'UNAVAILABLE',
  NOREPLICAS: 'UNAVAILABLE',
  CLUSTERDOWN: 'UNAVAILABLE',
  TRYAGAIN: 'UNAVAILABLE',
  MOVED: 'UNAVAILABLE',
  ASK: 'UNAVAILABLE',
}

/** The error of a command, or of a connection that is lost. */
export function fromRedis(error: unknown, resource: string): CageError {
  if (error instanceof CageError) return error
  if (!(error instanceof ErrorReply)) return new CageError('UNAVAILABLE', `${resource}: ${lostBecause(error)}`, { cause: error })
  const reply = firstWord(error.message)
  const code = /max number of clients/.test(error.message) ? 'OVERLOADED' : (REPLIES[reply] ?? 'INVALID_ARGUMENT')
  const options: ErrorOptions = { details: { reply } }
  if (code === 'UNAUTHENTICATED') options.retryable = true // ours, not our caller's: a queued call waits until the password is right
  return new CageError(code, `${resource}: ${told(error.message)}`, options)
}

/** The first word of an error reply; of anything else nothing. */
export function replyOf(error: unknown): string | undefined {
  return error instanceof ErrorReply ? firstWord(error.message) : undefined
}

function firstWord(message: string): string {
  return /^[A-Z]+/.exec(message)?.[0] ?? 'ERR'
}

/** E1. */
function told(message: string): string {
  return message
    .replace(/[,.]? with args beginning with[\s\S]*/, '')
    .replace(/'[^']*'/g, (word) => (/^'[\w|-]{1,30}'$/.test(word) ? word : "'...'"))
}
