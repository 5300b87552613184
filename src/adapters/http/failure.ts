/**
 * Failures: an error → status, headers and body. Pure.
 * F1. What the runtime itself has to say with a status of 500 and more names no cage, module or cause; codes of a module's own are meant for the caller.
 */
import { CageError, type ErrorBody } from '../../errors.ts'

/** What is answered for an error. */
export interface Failure {
  status: number
  headers: Record<string, string>
  body: ErrorBody
}

/** Codes that HTTP has besides the runtime's. */
const HTTP_CODES: Readonly<Record<string, number>> = {
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  UNSUPPORTED_MEDIA_TYPE: 415,
  REQUEST_HEADERS_TOO_LARGE: 431,
}

/** What a client is told instead of a message that may name internals (F1). */
const PUBLIC_MESSAGES: Readonly<Record<string, string>> = {
  INTERNAL: 'internal error',
  OVERLOADED: 'there is too much to do, try again later',
  UNAVAILABLE: 'the service is not available, try again later',
  DEADLINE_EXCEEDED: 'there was no answer in time',
}

const RETRY_AFTER_S = 1

/** `statuses`: those of a module's own codes, from the configuration. */
export function failureOf(error: CageError, statuses: Readonly<Record<string, number>>): Failure {
  const message = ownValue(PUBLIC_MESSAGES, error.code)
  const status = ownValue(statuses, error.code) ?? ownValue(HTTP_CODES, error.code) ?? error.status
  return {
    status,
    headers: status === 503 ? { 'retry-after': String(RETRY_AFTER_S) } : {},
    body: message === undefined ? error.toJSON() : { code: error.code, message },
  }
}

/** What Fastify refuses, by its status; anything else is INTERNAL. */
export function refusalOf(error: unknown): CageError {
  const { statusCode, message = '' } = error instanceof Error ? (error as Error & { statusCode?: number }) : {} // Fastify's errors have it
  if (statusCode === 413) return new CageError('PAYLOAD_TOO_LARGE', 'the body is too large')
  if (statusCode === 415) return new CageError('UNSUPPORTED_MEDIA_TYPE', 'the content type is no media type')
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return new CageError('INVALID_ARGUMENT', message, { cause: error })
  return new CageError('INTERNAL', 'internal error', { cause: error })
}

/** What Node's parser refuses, before there is a request. */
export function parserRefusalOf({ code }: NodeJS.ErrnoException): CageError {
  if (code === 'HPE_HEADER_OVERFLOW') return new CageError('REQUEST_HEADERS_TOO_LARGE', 'the request line and headers are too large')
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new CageError('REQUEST_TIMEOUT', 'the request came too slowly')
  return new CageError('INVALID_ARGUMENT', 'this is not HTTP/1.1')
}

function ownValue<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined
}
