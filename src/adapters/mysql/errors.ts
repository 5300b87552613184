/**
 * MySQL's and MariaDB's errors as ours: number, else SQLSTATE → code. Pure. MySQL 8.4 Error Reference; MariaDB Error Codes.
 * E1. The server's text repeats values and SQL, so it is told only where it names things (NAMING). `details` are { errno, sqlState, constraint }.
 */
import { CageError, type ErrorOptions, type KnownCode } from '../../errors.ts'
import { lostBecause } from '../client/lost.ts'

/** What the driver's errors have. */
export interface DriverError extends Error {
  errno?: number | undefined
  code?: string | undefined
  sqlState?: string | undefined
  fatal?: boolean | undefined
}

/** Transactions that fail with one of these have been rolled back by the server, or can only be. */
const ENDS_TRANSACTION = new Set([1180, 1205, 1213, 1402, 1613, 1614])
/** What the server says instead of committing: ER_ERROR_DURING_COMMIT, deadlock, XA_RBROLLBACK, XA_RBTIMEOUT, XA_RBDEADLOCK. */
const REFUSES_COMMIT = new Set([1180, 1213, 1402, 1613, 1614])
/** Unknown columns, tables and routines; columns without a value. */
const NAMING = new Set([1048, 1054, 1146, 1305, 1364])

const NUMBERS: Readonly<Record<number, KnownCode>> = {
  1020: 'CONFLICT', // ER_CHECKREAD: changed since it was read
  1040: 'OVERLOADED', // too many connections
  1044: 'FORBIDDEN',
  1045: 'UNAUTHENTICATED',
  1049: 'UNAVAILABLE', // the database may be created yet
  1053: 'UNAVAILABLE', // shutdown in progress
  1142: 'FORBIDDEN',
  1143: 'FORBIDDEN',
  1203: 'OVERLOADED',
  1205: 'CONFLICT', // lock wait timeout
  1213: 'CONFLICT', // deadlock
  1226: 'OVERLOADED',
  1227: 'FORBIDDEN',
  1290: 'UNAVAILABLE', // the server is read-only
  1317: 'CANCELLED', // KILL QUERY, by somebody else
  1370: 'FORBIDDEN',
  1524: 'UNAUTHENTICATED', // plugin not loaded
  1698: 'UNAUTHENTICATED',
  1836: 'UNAVAILABLE',
  1862: 'UNAUTHENTICATED', // password expired
  1927: 'UNAVAILABLE', // connection was killed
  1969: 'DEADLINE_EXCEEDED', // max_statement_time
  3024: 'DEADLINE_EXCEEDED', // max_execution_time
  3572: 'CONFLICT', // NOWAIT
  4025: 'CONFLICT', // CHECK, MariaDB
  3819: 'CONFLICT', // CHECK, MySQL
}

const CLASSES: Readonly<Record<string, KnownCode>> = {
  '08': 'UNAVAILABLE',
  '0A': 'INVALID_ARGUMENT',
  '21': 'INVALID_ARGUMENT',
  '22': 'INVALID_ARGUMENT',
  '23': 'CONFLICT',
  '25': 'INVALID_ARGUMENT',
  '28': 'UNAUTHENTICATED',
  '40': 'CONFLICT',
  '42': 'INVALID_ARGUMENT',
  '45': 'INVALID_ARGUMENT', // SIGNAL
  XA: 'CONFLICT',
}

/** Values that do not fit, whose SQLSTATE is HY000: conversions, truncation, missing defaults, system variables. */
const VALUES = new Set([1193, 1231, 1265, 1292, 1364, 1366, 1411, 4078])

export function endsSession(error: DriverError): boolean {
  return error.fatal === true || error.errno === undefined || error.sqlState === undefined
}

export function endsTransaction(error: unknown): boolean {
  return ENDS_TRANSACTION.has(errnoOf(error) ?? 0)
}

/** The transaction is not committed, for certain. */
export function refusesCommit(error: unknown): boolean {
  return REFUSES_COMMIT.has(errnoOf(error) ?? 0)
}

/** The server's number of an error of ours. */
export function errnoOf(error: unknown): number | undefined {
  return error instanceof CageError ? (error.details as { errno?: number } | undefined)?.errno : undefined
}

/** The error of a statement, or of a session that has ended. */
export function fromMysql(error: unknown, resource: string): CageError {
  if (error instanceof CageError) return error
  const { errno, code: name, sqlState, message = '' } = error instanceof Error ? (error as DriverError) : {}
  if (errno === undefined || sqlState === undefined) {
    const why = handshakeFailed(name, message) ?? lostBecause(error)
    return new CageError('UNAVAILABLE', `${resource}: ${why}`, { cause: error })
  }
  const code = NUMBERS[errno] ?? (VALUES.has(errno) ? 'INVALID_ARGUMENT' : CLASSES[sqlState.slice(0, 2)]) ?? 'INTERNAL'
  const constraint = /(?:for key|constraint(?: failed:)?) ['`]?([\w.$]+)/i.exec(message)?.[1]
  const options: ErrorOptions = { details: { errno, sqlState, ...(constraint === undefined ? {} : { constraint }) } }
  // the password is ours, not our caller's; and what collided may be tried again
  if (code === 'UNAUTHENTICATED' || ENDS_TRANSACTION.has(errno) || errno === 1020 || errno === 3572) options.retryable = true
  const told = NAMING.has(errno) ? message : `${name?.startsWith('ER_') ? name : 'error'} (${errno})`
  return new CageError(code, `${resource}: ${told}`, options)
}

/** The driver overwrites the code of a TLS error; its text says the same, and holds nothing of ours. */
function handshakeFailed(code: string | undefined, message: string): string | undefined {
  if (code === 'HANDSHAKE_NO_SSL_SUPPORT') return 'the server does not encrypt, and tls is not false'
  if (code !== 'HANDSHAKE_SSL_ERROR') return undefined
  return /certificate/i.test(message) ? `the server's certificate is not trusted (${message})` : `TLS cannot be agreed upon (${message})`
}
