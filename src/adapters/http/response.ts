/**
 * Responses: a result → status, headers and body.
 * P1. A method's value: text is text/plain, bytes are application/octet-stream, null and undefined are 204, the rest is JSON.
 * P2. A handler says more, but the connection's own headers stay the server's.
 */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { gzip } from 'node:zlib'
import type { FastifyReply } from 'fastify'
import { CageError } from '../../errors.ts'
import { toJson } from '../../json.ts'
import type { Log } from '../../log.ts'
import { type Failure, failureOf, refusalOf } from './failure.ts'
import type { HttpResponse } from './types.ts'

/** A body with its type. */
interface Payload {
  type: string
  data: string | Buffer
}

/** Headers of the connection, not of the answer (RFC 9110, 7.6.1), and the length, which follows from the body. */
const OF_THE_CONNECTION = new Set(['connection', 'content-length', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'])
const KNOWN_FIELDS = new Set(['status', 'headers', 'body'])
const COMPRESSIBLE = /^(text\/|image\/svg)|[/+](json|xml|javascript)\b/
const SMALLEST_COMPRESSED = 1_024
const TAKES_GZIP = /(^|,)\s*(gzip|\*)\s*(;\s*q=(1|0\.\d*[1-9])\d*)?\s*(,|$)/ // RFC 9110, 12.5.3

/** Answers with a method's value (P1). */
export function sendValue(reply: FastifyReply, value: unknown, compress: boolean): void {
  const payload = payloadOf(value)
  if (payload === undefined) reply.code(204).send()
  else sendPayload(reply.header('content-type', payload.type), payload.data, compress)
}

/** Answers with what a handler returned (P2); throws a TypeError, before anything is sent, if it is no HttpResponse. */
export function sendResponse(reply: FastifyReply, result: unknown, compress: boolean): void {
  const { status = 200, headers = {}, body } = checked(result)
  const payload = payloadOf(body)
  if (payload) reply.header('content-type', payload.type)
  for (const [name, value] of Object.entries(headers)) {
    if (!OF_THE_CONNECTION.has(name.toLowerCase())) reply.header(name, value)
  }
  reply.code(status)
  if (payload) sendPayload(reply, payload.data, compress)
  else reply.send()
}

/** Answers with a failure, as JSON; what nobody foresaw is logged. `statuses`: those of a module's own codes. */
export function sendFailure(reply: FastifyReply, thrown: unknown, statuses: Readonly<Record<string, number>>, log: Log): void {
  if (reply.raw.destroyed) return // the client has gone away
  const { status, headers, body } = tellFailure(thrown, statuses, log)
  reply.code(status).headers(headers).header('content-type', 'application/json; charset=utf-8')
  reply.send(toJson(body))
}

/** What is said of a failure; what nobody foresaw is logged. */
export function tellFailure(thrown: unknown, statuses: Readonly<Record<string, number>>, log: Log): Failure {
  const error = thrown instanceof CageError ? thrown : refusalOf(thrown)
  if (error !== thrown && error.code === 'INTERNAL') log.error({ err: thrown }, 'a request cannot be answered')
  return failureOf(error, statuses)
}

function payloadOf(value: unknown): Payload | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'string') return { type: 'text/plain; charset=utf-8', data: value }
  if (value instanceof Uint8Array) {
    return { type: 'application/octet-stream', data: Buffer.from(value.buffer, value.byteOffset, value.length) }
  }
  return { type: 'application/json; charset=utf-8', data: toJson(value) }
}

function checked(result: unknown): HttpResponse {
  if (typeof result !== 'object' || result === null)
    throw new TypeError('the handler answered no object, { status, headers, body } is needed')
  const unknown = Object.keys(result).find((key) => !KNOWN_FIELDS.has(key))
  if (unknown !== undefined) throw new TypeError(`the handler's answer has an unknown field ${unknown} (known: status, headers, body)`)
  const { status, headers } = result as HttpResponse // its fields are looked at one by one
  if (status !== undefined && !(Number.isInteger(status) && status >= 200 && status <= 599)) {
    throw new TypeError(`the handler's status ${status} is none from 200 to 599`)
  }
  for (const [name, value] of Object.entries(headers ?? {})) {
    validateHeaderName(name)
    for (const one of [value].flat()) {
      if (typeof one !== 'string') throw new TypeError(`the handler's header ${name} is no text`)
      validateHeaderValue(name, one)
    }
  }
  return result
}

function sendPayload(reply: FastifyReply, data: string | Buffer, compress: boolean): void {
  if (!compress || !isCompressible(reply, data)) return void reply.send(data)
  const vary = reply.getHeader('vary')
  reply.header('vary', vary === undefined ? 'Accept-Encoding' : `${vary}, Accept-Encoding`)
  if (!TAKES_GZIP.test(String(reply.request.headers['accept-encoding'] ?? ''))) return void reply.send(data)
  gzip(data, (error, compressed) => {
    if (error) reply.send(data)
    else reply.header('content-encoding', 'gzip').send(compressed)
  })
}

function isCompressible(reply: FastifyReply, data: string | Buffer): boolean {
  if (data.length < SMALLEST_COMPRESSED || reply.hasHeader('content-encoding')) return false
  return COMPRESSIBLE.test(String(reply.getHeader('content-type')))
}
