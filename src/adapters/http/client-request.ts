/**
 * Requests: what a caller gave → method, target, headers and body. Pure.
 * Q1. The target stays below the resource's URL, whatever the path holds.
 * Q2. Headers of the connection itself are ours; the caller's come over the resource's.
 */
import { Readable } from 'node:stream'
import { CageError } from '../../errors.ts'
import { toJson } from '../../json.ts'
import { didYouMean } from '../../names.ts'
import type { HttpCall } from './client-api.ts'
import type { HttpClientOptions } from './client-options.ts'

/** A request as it is sent. */
export interface OutgoingRequest {
  readonly method: string
  readonly url: URL
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array | Readable | undefined
  /** What the caller's own body threw while it was sent: nothing, or one. */
  readonly thrown?: readonly unknown[] | undefined
}

/** The caller's words, checked. */
export type CheckedCall = HttpCall & { method: string }

const FIELDS = ['method', 'path', 'query', 'headers', 'body', 'idempotencyKey', 'anyStatus', 'as']
const FORMS = ['json', 'text', 'bytes']
/** RFC 9110, 7.6.1, 7.2 and 8.6. */
const OURS = ['connection', 'content-length', 'expect', 'host', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']
const TOKEN = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/ // RFC 9110, 5.6.2

/** INVALID_ARGUMENT. */
export function checkedCall(given: unknown): CheckedCall {
  if (typeof given !== 'object' || given === null) throw mistake('a request is an object with a path')
  for (const key of Object.keys(given)) {
    if (!FIELDS.includes(key)) throw mistake(`a request has no ${key}${didYouMean(key, FIELDS)}`)
  }
  const { method = 'GET', path, query, headers, idempotencyKey, anyStatus, as } = given as HttpCall // each is checked next
  if (typeof method !== 'string' || !TOKEN.test(method) || method.toUpperCase() === 'CONNECT')
    throw mistake('the method of a request is none')
  if (typeof path !== 'string' || !path.startsWith('/')) throw mistake('the path of a request begins with /')
  if (path.includes('#')) throw mistake('the path of a request has a fragment')
  for (const [name, value] of Object.entries({ query, headers })) {
    if (value !== undefined && (typeof value !== 'object' || value === null)) throw mistake(`the ${name} of a request are no object`)
  }
  if (idempotencyKey !== undefined && (typeof idempotencyKey !== 'string' || idempotencyKey === ''))
    throw mistake('the idempotencyKey is no text')
  if (anyStatus !== undefined && typeof anyStatus !== 'boolean') throw mistake('anyStatus is neither true nor false')
  if (as !== undefined && !FORMS.includes(as)) throw mistake(`as is none of ${FORMS.join(', ')}`)
  return { ...(given as HttpCall), method: method.toUpperCase() }
}

/** `key` makes an idempotency key where one is needed. INVALID_ARGUMENT, PAYLOAD_TOO_LARGE. */
export function outgoing(call: CheckedCall, options: HttpClientOptions, key: () => string, traceparent?: string): OutgoingRequest {
  const { method } = call
  const { body, type, thrown } = payloadOf(call.body)
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body instanceof Uint8Array ? body.length : 0
  if (length > options.maxRequestBytes)
    throw new CageError('PAYLOAD_TOO_LARGE', `the body has ${length} bytes, more than ${options.maxRequestBytes}`)
  const wanted = call.idempotencyKey ?? (options.idempotencyKeys && (method === 'POST' || method === 'PATCH') ? key() : undefined)
  const headers = {
    'accept-encoding': 'gzip, deflate, br',
    ...(traceparent === undefined ? {} : { traceparent }),
    ...(type === undefined ? {} : { 'content-type': type }),
    ...lowerCased(options.headers),
    ...lowerCased(call.headers ?? {}),
    ...(wanted === undefined ? {} : { 'idempotency-key': wanted }),
  }
  return { method, url: targetOf(options.url, call), headers, body, thrown }
}

/** Q1. */
function targetOf(base: string, { path, query = {} }: HttpCall): URL {
  const root = new URL(base)
  const below = root.pathname.replace(/\/$/, '')
  const url = new URL(`${root.origin}${below}${path}`)
  if (!url.pathname.startsWith(`${below}/`)) throw mistake('the path of a request leads out of the resource')
  for (const [name, value] of Object.entries(query)) {
    for (const one of [value].flat()) if (one !== undefined) url.searchParams.append(name, String(one))
  }
  return url
}

/** Q2. */
function lowerCased(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  const checked: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase()
    if (!TOKEN.test(name) || typeof value !== 'string') throw mistake(`the header ${JSON.stringify(name)} is no text`)
    if (OURS.includes(lower)) throw mistake(`the header ${lower} is the connection's`)
    checked[lower] = value
  }
  return checked
}

function payloadOf(value: unknown): { body: OutgoingRequest['body']; type?: string; thrown?: unknown[] } {
  if (value === undefined) return { body: undefined }
  if (typeof value === 'string') return { body: value, type: 'text/plain; charset=utf-8' }
  if (value instanceof Uint8Array) return { body: value, type: 'application/octet-stream' }
  if (value instanceof URLSearchParams) return { body: String(value), type: 'application/x-www-form-urlencoded' }
  if (typeof value === 'object' && value !== null && Symbol.asyncIterator in value) {
    const thrown: unknown[] = []
    const pieces = watched(value as AsyncIterable<Uint8Array>, (error) => thrown.push(error))
    return { body: Readable.from(pieces, { objectMode: false }), type: 'application/octet-stream', thrown }
  }
  if (typeof value === 'function' || typeof value === 'symbol') throw mistake('the body of a request is no value')
  return { body: toJson(value), type: 'application/json' }
}

/** `source`, and `onThrow` hears of what it throws by itself, not of what ends it from outside. */
function watched<T>(source: AsyncIterable<T>, onThrow: (error: unknown) => void): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]: () => {
      const pieces = source[Symbol.asyncIterator]()
      return {
        next: async () => {
          try {
            return await pieces.next()
          } catch (error) {
            onThrow(error)
            throw error
          }
        },
        return: async () => (await pieces.return?.()) ?? { done: true, value: undefined },
      }
    },
  }
}

function mistake(message: string): CageError {
  return new CageError('INVALID_ARGUMENT', message)
}
