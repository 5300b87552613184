/**
 * MongoDB's errors as ours. Pure.
 * E1. Values are not told: what the server says of them (a duplicate key, a document that does not fit) stays behind.
 * E2. `details` are { mongoCode, codeName, labels }, with a duplicate key { index, fields }, and of a bulk what was done and which of them failed.
 * MongoDB Manual, "Error Codes"; Driver Specifications: Retryable Writes, Transactions ("Error Labels").
 */
import {
  BSON,
  MongoBulkWriteError,
  MongoError,
  MongoInvalidArgumentError,
  MongoNetworkError,
  MongoOperationTimeoutError,
  MongoServerError,
  MongoServerSelectionError,
  MongoWriteConcernError,
} from 'mongodb'
import { CageError, type Code, type ErrorOptions, toCageError } from '../../errors.ts'

export const TRANSACTION_COMMITTED = 256
export const NO_SUCH_TRANSACTION = 251
export const UNKNOWN_COMMIT = 'UnknownTransactionCommitResult'

const DUPLICATE_KEY = 11_000
const MAX_TIME = 50

/** Whether the connection cannot be used again. */
export function losesConnection(error: unknown): boolean {
  return error instanceof MongoNetworkError || error instanceof MongoServerSelectionError || (isMongo(error) && CLOSED.test(error.name))
}

/** ... or what came over it was no answer. */
const CLOSED = /^Mongo(Parse|TopologyClosed|ClientClosed|NotConnected|PoolClosed|PoolCleared|ServerClosed)\w*Error$/

/** The error of a call, or of a connection that could not be had. */
export function fromMongo(error: unknown, resource: string): CageError {
  if (error instanceof CageError) return error
  if (error instanceof MongoBulkWriteError) return fromServer(error, resource, bulkDetails(error))
  if (error instanceof MongoServerError) return fromServer(error, resource, {})
  if (error instanceof MongoOperationTimeoutError) return new CageError('DEADLINE_EXCEEDED', `${resource}: the deadline has passed`)
  if (losesConnection(error)) return new CageError('UNAVAILABLE', `${resource}: ${lostBecause(error)}`, { cause: error })
  if (isTooLarge(error)) return new CageError('PAYLOAD_TOO_LARGE', `${resource}: a document is larger than MongoDB takes`)
  if (error instanceof MongoInvalidArgumentError || BSON.BSONError.isBSONError(error)) return invalid(error as Error, resource)
  if (isMongo(error) && /^Mongo(API|Compatibility|Transaction)Error$/.test(error.name)) return invalid(error, resource)
  const isOfSystem = error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string' // a name that is not known, a file
  return isOfSystem ? new CageError('UNAVAILABLE', `${resource}: ${lostBecause(error)}`, { cause: error }) : toCageError(error)
}

/** Whether the commit may be asked for again, and has an answer then. */
export function isUnknownCommit(error: unknown): boolean {
  return isMongo(error) && error.hasErrorLabel(UNKNOWN_COMMIT)
}

/** The server's number of it, if it comes from there. */
export function mongoCodeOf(error: unknown): number | undefined {
  return error instanceof MongoServerError && typeof error.code === 'number' ? error.code : undefined
}

function fromServer(error: MongoServerError, resource: string, more: object): CageError {
  const { mongoCode, codeName, message } = toldBy(error)
  const labels = error.errorLabels
  const details = { mongoCode, ...(codeName && { codeName }), ...(labels.length > 0 && { labels }), ...more, ...duplicateDetails(error) }
  const { code, retryable, isTold } = classify(mongoCode, message, labels)
  const options: ErrorOptions = { details, ...(retryable !== undefined && { retryable }) }
  const name = codeName ?? `error ${mongoCode}`
  const text = mongoCode === DUPLICATE_KEY ? 'a document with this key is there' : isTold ? message : `the server refuses it (${name})`
  return new CageError(code, `${resource}: ${text}`, options)
}

interface Told {
  mongoCode: number
  codeName: string | undefined
  message: string
}

/** Of a write concern that failed, the reason stands inside. */
function toldBy(error: MongoServerError): Told {
  const { code, codeName, errmsg } = (
    error instanceof MongoWriteConcernError ? (error.result?.writeConcernError ?? error) : error
  ) as Partial<MongoServerError>
  return {
    mongoCode: typeof code === 'number' ? code : 0,
    codeName: typeof codeName === 'string' ? codeName : undefined,
    message: typeof errmsg === 'string' ? errmsg : error.message,
  }
}

function duplicateDetails(error: MongoServerError): object {
  if (error.code !== DUPLICATE_KEY) return {}
  const index = / index: (\S+)/.exec(error.message)?.[1]
  const pattern: unknown = error.keyPattern ?? (error as { writeErrors?: { err?: { errmsg?: string } }[] }).writeErrors?.[0]?.err
  const fields = typeof pattern === 'object' && pattern !== null && !('errmsg' in pattern) ? Object.keys(pattern) : undefined
  return { ...(index !== undefined && { index }), ...(fields && { fields }) }
}

function bulkDetails({ result, writeErrors }: MongoBulkWriteError): object {
  const { insertedCount, matchedCount, modifiedCount, deletedCount, upsertedCount } = result
  const failed = [writeErrors].flat().map(({ index, code }) => ({ index, mongoCode: code }))
  return { done: { insertedCount, matchedCount, modifiedCount, deletedCount, upsertedCount }, failed }
}

interface Class {
  code: Code
  retryable?: boolean
  /** Its message speaks of what was asked, not of values. */
  isTold?: boolean
}

function classify(mongoCode: number, message: string, labels: readonly string[]): Class {
  if (mongoCode === 13 && /requires authentication/.test(message)) return REFUSED
  const known = CLASSES.get(mongoCode)
  if (known && known.code !== 'INVALID_ARGUMENT') return known
  if (labels.includes('TransientTransactionError')) return { code: 'CONFLICT', retryable: true }
  if (labels.includes('RetryableWriteError')) return { code: 'UNAVAILABLE' }
  if (known) return known
  return mongoCode > LOCATIONS ? ASKED_WRONGLY : { code: 'INTERNAL' }
}

/** Codes from here on are places in the server's source at which it found something wrong with a request. */
const LOCATIONS = 15_000
const REFUSED: Class = { code: 'UNAUTHENTICATED', retryable: true } // ours, not our caller's: a queued call waits until the password is right
const ASKED_WRONGLY: Class = { code: 'INVALID_ARGUMENT' }
const SAID_WRONGLY: Class = { code: 'INVALID_ARGUMENT', isTold: true }
const TRY_AGAIN: Class = { code: 'CONFLICT', retryable: true }
const LATE: Class = { code: 'DEADLINE_EXCEEDED' }
const AWAY: Class = { code: 'UNAVAILABLE' }

const CLASSES: ReadonlyMap<number, Class> = new Map<number, Class>([
  [DUPLICATE_KEY, { code: 'CONFLICT' }],
  ...each([24, 112, 225, 244, NO_SUCH_TRANSACTION], TRY_AGAIN), // LockTimeout, WriteConflict, TransactionTooOld, TransactionAborted
  ...each([48, 85, 86, 117, 275], { code: 'CONFLICT' }), // NamespaceExists, index options and key specs, ConflictingOperationInProgress
  ...each([MAX_TIME, 89, 202, 262, 290, 64], LATE), // ... NetworkTimeout, time limits, WriteConcernTimeout: done, and perhaps not to stay
  ...each([8, 11, 18, 31, 334, 8_000], REFUSED), // AuthenticationFailed, UserNotFound, MechanismUnavailable ...
  [13, { code: 'FORBIDDEN' }], // Unauthorized
  [11_601, { code: 'CANCELLED' }], // Interrupted: somebody has ended it
  ...each([10_334, 17_419, 17_420, 17_280], { code: 'PAYLOAD_TOO_LARGE' }),
  ...each([39, 146, 14_031, 462], { code: 'OVERLOADED' }), // memory, disk, rate
  ...each([6, 7, 43, 91, 100, 133, 134, 189, 9_001, 10_058, 10_107, 11_600, 11_602, 13_388, 13_435, 13_436], AWAY), // stepped down, shutting down
  ...each([2, 9, 26, 27, 28, 40, 52, 53, 54, 56, 57, 59, 66, 67, 68, 72, 73, 115, 167, 168, 224, 263, 20, 40_324, 40_573], SAID_WRONGLY),
  ...each([14, 16, 22, 121, 292], ASKED_WRONGLY), // TypeMismatch, InvalidLength, InvalidBSON, DocumentValidationFailure, memory of a query
])

function each(codes: readonly number[], known: Class): [number, Class][] {
  return codes.map((code) => [code, known])
}

function invalid({ message }: Error, resource: string): CageError {
  return new CageError('INVALID_ARGUMENT', `${resource}: ${message.charAt(0).toLowerCase()}${message.slice(1)}`)
}

/** What Node and the driver say of a connection that could not be had, or was lost. */
function lostBecause(error: unknown): string {
  const codes: string[] = []
  for (let at: unknown = error, depth = 0; at instanceof Error && depth < 8; depth++) {
    const { code, reason, cause } = at as Error & { code?: unknown; reason?: unknown; cause?: unknown }
    if (typeof code === 'string') codes.push(code)
    at = cause ?? firstError(reason) ?? (at instanceof AggregateError ? at.errors[0] : undefined)
  }
  const untrusted = codes.find((code) => code.startsWith('ERR_TLS') || /^(?!.*ALERT).*(CERT|SIGNATURE)/.test(code)) // an alert is the server's
  if (untrusted !== undefined) return `the server's certificate is not trusted (${untrusted})`
  const code = codes.find((known) => known.startsWith('E'))
  return code === undefined ? 'the connection was lost' : `the connection was lost (${code})`
}

/** Of a selection that failed: what the first server that has an error says. */
function firstError(reason: unknown): unknown {
  const { servers } = (reason ?? {}) as { servers?: ReadonlyMap<string, { error?: unknown }> }
  return servers instanceof Map ? [...servers.values()].find(({ error }) => error)?.error : undefined
}

/** The driver says so of a bulk; else its buffer, which is as large as a document may be, is too small. */
function isTooLarge(error: unknown): boolean {
  if (error instanceof MongoInvalidArgumentError) return /larger than the maximum size/.test(error.message)
  return error instanceof RangeError && (error as NodeJS.ErrnoException).code === 'ERR_OUT_OF_RANGE'
}

function isMongo(error: unknown): error is MongoError {
  return error instanceof MongoError
}
