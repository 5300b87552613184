/**
 * Messages: what a handler and a caller see of them, to frames and back. Pure.
 * M1. Text is UTF-8. What says no `content-type` is text if it came without a `content-length`: so ActiveMQ tells TextMessage from BytesMessage.
 * M2. Headers that are the protocol's own are never the caller's to give.
 */
import { CageError } from '../../errors.ts'
import { toJson } from '../../json.ts'
import { didYouMean } from '../../names.ts'
import type { JmsMessage, SendOptions } from './api.ts'
import type { Dialect } from './dialect.ts'
import type { Frame, Headers } from './frame.ts'

/** What is written as SEND. */
export interface Outgoing {
  headers: Headers
  body: Buffer
}

/** Of the error in a failure's answer; a name that JMS allows for a property. */
export const ERROR_PROPERTY = 'menagerie_error'

const PROTOCOL: ReadonlySet<string> = new Set([
  ...['destination', 'receipt', 'transaction', 'content-length', 'reply-to', 'correlation-id', 'persistent', 'priority'],
  ...['expires', 'expiration', 'amq-msg-type', 'message-id', 'subscription', 'ack'],
])
const OPTIONS: readonly (keyof SendOptions)[] = ['headers', 'persistent', 'ttlMs', 'priority', 'correlationId', 'replyTo']

/** A message as a handler gets it. */
export function toMessage({ headers, body }: Frame): JmsMessage {
  const { destination = '', 'message-id': id = '', 'correlation-id': correlationId, 'reply-to': replyTo } = headers
  return {
    ...{ id, destination, body: isText(headers) ? body.toString('utf8') : body },
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(replyTo === undefined ? {} : { replyTo }),
    redelivered: headers.redelivered === 'true',
    headers: { ...headers },
  }
}

/** M1. */
function isText(headers: Readonly<Headers>): boolean {
  const type = headers['content-type']
  if (type !== undefined) return /^text\/|[/+](json|xml)\b/i.test(type)
  return headers['content-length'] === undefined || headers['amq-msg-type'] === 'text'
}

/** What a caller gave, checked. INVALID_ARGUMENT. */
export function toSend(destination: unknown, body: unknown, given: unknown, dialect: Dialect, persistent: boolean, now: number): Outgoing {
  if (typeof destination !== 'string' || destination === '') throw invalid('a destination is needed, e.g. /queue/orders')
  const options = toOptions(given)
  const message = encoded(body, dialect)
  const headers: Headers = { destination, persistent: String(options.persistent ?? persistent), ...message.headers }
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name] = headerValue(name, value)
  if (options.priority !== undefined) headers.priority = String(options.priority)
  if (options.correlationId !== undefined) headers['correlation-id'] = options.correlationId
  if (options.replyTo !== undefined) headers['reply-to'] = options.replyTo
  if (options.ttlMs !== undefined) Object.assign(headers, dialect.expiry(options.ttlMs, now))
  for (const [name, value] of Object.entries(headers))
    if (/\0/.test(name + value)) throw invalid(`header ${JSON.stringify(name)} holds a NUL`)
  return { headers, body: message.body }
}

/** A message's options, checked. INVALID_ARGUMENT. */
export function toOptions(given: unknown): SendOptions {
  if (given === undefined) return {}
  if (typeof given !== 'object' || given === null) throw invalid('the options of a message are no object')
  for (const key of Object.keys(given))
    if (!OPTIONS.some((name) => name === key)) throw invalid(`a message has no option ${key}${didYouMean(key, OPTIONS)}`)
  const { headers, persistent, ttlMs, priority, correlationId, replyTo } = given as Record<keyof SendOptions, unknown> // checked next
  if (headers !== undefined && (typeof headers !== 'object' || headers === null)) throw invalid('headers are no object')
  if (persistent !== undefined && typeof persistent !== 'boolean') throw invalid('persistent is neither true nor false')
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && Number(ttlMs) > 0)) throw invalid('ttlMs is no positive whole number')
  if (priority !== undefined && !(Number.isInteger(priority) && Number(priority) >= 0 && Number(priority) <= 9))
    throw invalid('priority is none of 0 to 9')
  for (const [name, value] of Object.entries({ correlationId, replyTo }))
    if (value !== undefined && (typeof value !== 'string' || value === '')) throw invalid(`${name} is no text`)
  return given
}

/** The answer to a message: a handler's result. */
export function toReply(result: unknown, dialect: Dialect): Outgoing {
  if (typeof result === 'string' || result instanceof Uint8Array) return encoded(result, dialect)
  return encoded(result === undefined ? '' : toJson(result), dialect)
}

/** The answer to a message whose call has failed. INTERNAL says nothing of what went wrong. */
export function toErrorReply(error: CageError, dialect: Dialect): Outgoing {
  const told = error.code === 'INTERNAL' ? { code: error.code, message: 'internal error' } : error.toJSON()
  const { headers, body } = encoded(JSON.stringify(told), dialect)
  return { headers: { ...headers, [ERROR_PROPERTY]: error.code }, body }
}

function encoded(body: unknown, dialect: Dialect): Outgoing {
  if (typeof body === 'string') {
    const hasNul = body.includes('\0')
    const bytes = Buffer.from(body)
    const headers = dialect.kind('text', hasNul)
    return { headers: hasNul ? { ...headers, 'content-length': String(bytes.length) } : headers, body: bytes }
  }
  if (!(body instanceof Uint8Array)) throw invalid('a body is text or bytes')
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return { headers: { ...dialect.kind('bytes', false), 'content-length': String(bytes.length) }, body: bytes }
}

/** M2. */
function headerValue(name: string, value: unknown): string {
  if (PROTOCOL.has(name)) throw invalid(`header ${name} is not yours to give: some have options (${OPTIONS.join(', ')})`)
  if (typeof value === 'string') return value
  if (typeof value === 'boolean' || (typeof value === 'number' && Number.isFinite(value)) || typeof value === 'bigint') return String(value)
  throw invalid(`header ${name} is neither text, number, true nor false`)
}

function invalid(message: string): CageError {
  return new CageError('INVALID_ARGUMENT', message)
}
