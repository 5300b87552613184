/**
 * PostgreSQL's errors as ours: SQLSTATE → code (PostgreSQL 18, appendix A). Pure.
 * E1. Neither values nor SQL are told: what the server says of them (its `detail`, messages of class 22) stays behind.
 * E2. `details` are { sqlState, constraint, table, column }, as far as the server names them.
 */
import pg from 'pg'
import { CageError, type Code, type ErrorOptions } from '../../errors.ts'

/** Whether the session has ended with the error. */
export function endsSession(error: unknown): boolean {
  return !(error instanceof pg.DatabaseError) || error.severity === 'FATAL' || error.severity === 'PANIC'
}

/** The error of a statement or of a session that has ended. */
export function fromPostgres(error: unknown, resource: string): CageError {
  if (error instanceof CageError) return error
  if (!(error instanceof pg.DatabaseError)) {
    return new CageError('UNAVAILABLE', `${resource}: ${lostBecause(error)}`, { cause: error })
  }
  const { code: sqlState = '', constraint, table, column } = error
  const details = Object.fromEntries(Object.entries({ sqlState, constraint, table, column }).filter(([, value]) => value !== undefined))
  const { code, retryable } = classify(sqlState, error.message)
  const options: ErrorOptions = { details }
  if (retryable !== undefined) options.retryable = retryable
  return new CageError(code, `${resource}: ${told(sqlState, error.message)}`, options)
}

/** E1. */
function told(sqlState: string, message: string): string {
  if (sqlState.startsWith('22')) return `a value is not what it should be (${sqlState})`
  return CLASSES[sqlState.slice(0, 2)] ? message : `the server failed (${sqlState})`
}

interface Class {
  code: Code
  retryable?: boolean
}

function classify(sqlState: string, message: string): Class {
  switch (sqlState) {
    case '40001': // serialization_failure
    case '40P01': // deadlock_detected
    case '55P03': // lock_not_available
      return { code: 'CONFLICT', retryable: true }
    case '57014': // query_canceled: by a statement_timeout, or by somebody. The text is all that tells, in English only
      return { code: message.includes('user request') ? 'CANCELLED' : 'DEADLINE_EXCEEDED' }
    case '08P01': // protocol_violation: so many parameters are not asked for
      return { code: 'INVALID_ARGUMENT' }
    case '25P03': // idle_in_transaction_session_timeout
    case '25P04': // transaction_timeout
      return { code: 'DEADLINE_EXCEEDED' }
    case '42501': // insufficient_privilege
      return { code: 'FORBIDDEN' }
    case '57P04': // database_dropped
      return { code: 'UNAVAILABLE' }
  }
  return CLASSES[sqlState.slice(0, 2)] ?? { code: 'INTERNAL' }
}

const CLASSES: Readonly<Record<string, Class>> = {
  '08': { code: 'UNAVAILABLE' }, // connection
  '0A': { code: 'INVALID_ARGUMENT' }, // feature not supported
  '21': { code: 'INVALID_ARGUMENT' }, // cardinality
  '22': { code: 'INVALID_ARGUMENT' }, // data
  '23': { code: 'CONFLICT' }, // integrity
  '25': { code: 'INVALID_ARGUMENT' }, // invalid transaction state, e.g. a write in a read-only one
  '26': { code: 'INVALID_ARGUMENT' }, // statement name
  '28': { code: 'UNAUTHENTICATED', retryable: true }, // ours, not our caller's: a queued call waits until the password is right
  '34': { code: 'INVALID_ARGUMENT' }, // cursor name
  '3D': { code: 'UNAVAILABLE' }, // database name: it may be created yet
  '3F': { code: 'INVALID_ARGUMENT' }, // schema name
  '40': { code: 'CONFLICT', retryable: true }, // transaction rollback
  '42': { code: 'INVALID_ARGUMENT' }, // syntax, names
  '53': { code: 'OVERLOADED' }, // insufficient resources
  '54': { code: 'INVALID_ARGUMENT' }, // limit exceeded
  '55': { code: 'CONFLICT' }, // not in prerequisite state
  '57': { code: 'UNAVAILABLE' }, // operator intervention: shut down, crashed, starting
  '58': { code: 'UNAVAILABLE' }, // system error
  P0: { code: 'INVALID_ARGUMENT' }, // raised by a function
}

/** What Node and the driver say of a connection that could not be had, or was lost. */
function lostBecause(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return lostBecause(error.errors[0]) // one for each address of a name
  if (!(error instanceof Error)) return 'the connection was lost'
  const { code } = error as NodeJS.ErrnoException
  if (code?.startsWith('ERR_TLS') || /CERT|SIGNATURE/.test(code ?? '')) return `the server's certificate is not trusted (${code})`
  if (/SSL connection/.test(error.message)) return 'the server does not encrypt, and tls is not false'
  return code === undefined ? 'the connection was lost' : `the connection was lost (${code})`
}
