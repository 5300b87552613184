/**
 * A queued call ↔ a message in a stream. Pure.
 * Q1. A plain call of ours carries nothing but its envelope; what differs from the ordinary travels in the envelope's last field.
 * Q2. A foreign client's message is JSON or MessagePack with headers: `Nats-Msg-Id` is the call's id.
 * Q3. Each republication (a retry, a snooze, the end of a delay) has a higher `moves`, so that what is left of an older one is known as such.
 */
import { CageError } from '../../errors.ts'
import { isLogLevel } from '../../levels.ts'
import { isName } from '../../names.ts'
import type { RequestInfo } from '../bus.ts'
import { isCallSubject } from '../subjects.ts'
import { decodeQuestion, encodeEnvelope } from '../wire.ts'
import type { Failure, Priority } from './contract.ts'

/** A queued call as it lies in a stream. */
export interface QueuedCall {
  queue: string
  cage: string
  module: string
  method: string
  priority: Priority
  args: unknown[]
  request: RequestInfo
  /** Given by its caller, or taken from its first message; undefined while it is only its place in the stream. */
  id: string | undefined
  /** Failed so far. */
  attempts: number
  moves: number
  /** Epoch ms; undefined: when its message was stored. */
  enqueuedAt: number | undefined
  /** From `enqueuedAt` on; undefined: as the queue says. */
  expiresMs: number | undefined
  /** Epoch ms: not before. */
  dueAt: number | undefined
  key: string | undefined
  /** The latest failures, oldest first. */
  failures: Failure[]
}

/** How many failures a call remembers. */
export const MAX_FAILURES = 10

/** As a token of a subject: one call's row of the table of held calls has room for it (held.ts). */
const LONGEST_ID = 250

/** Names of the streams. */
export const STREAMS = { delayed: 'DELAYED_CALLS', dead: 'DEAD_CALLS', calls: 'CALLS', queues: 'QUEUES', settled: 'SETTLED' } as const

/** The stream of a queue. */
export function streamOf(queue: string): string {
  return `QUEUE_${queue}`
}

/** Where a call is published: `queue.`, `delayed.` or `dead.<queue>.<cage>.<module>.<method>`, with `.high` if it is urgent. */
export function subjectOf(
  place: 'queue' | 'delayed' | 'dead',
  call: Pick<QueuedCall, 'queue' | 'cage' | 'module' | 'method' | 'priority'>,
): string {
  return `${place}.${call.queue}.${call.cage}.${call.module}.${call.method}${call.priority === 'high' && place !== 'dead' ? '.high' : ''}`
}

/** Whether a subject is one that `subjectOf` makes: anybody can publish to others. */
export function isQueueSubject(subject: string): boolean {
  const [, queue = '', cage = '', module = '', method = '', suffix, ...more] = subject.split('.')
  return isName(queue) && isCallSubject(`${cage}.${module}.${method}`) && (suffix === undefined || suffix === 'high') && more.length === 0
}

/** Which calls a consumer has: those of one priority, or all. */
export type Share = Priority | 'all'

/** The calls of a priority that a cage has in a queue, or all of them. */
export function filterOf(queue: string, cage: string, priority: Share): string {
  const suffix = { normal: '*.*', high: '*.*.high', all: '>' } as const
  return `queue.${queue}.${cage}.${suffix[priority]}`
}

/** The id of a call that was given none: its queue and its place there. */
export function idOf(queue: string, seq: number, delayed: boolean): string {
  return `${queue}${delayed ? '@' : ':'}${seq}`
}

/** The place that such an id names. */
export function placeOf(id: string): { queue: string; seq: number; delayed: boolean } | undefined {
  const [, queue, mark, seq] = /^([A-Za-z][\w-]{0,31})([:@])(\d+)$/.exec(id) ?? []
  return queue === undefined ? undefined : { queue, seq: Number(seq), delayed: mark === '@' }
}

/** An id as one token of a subject, and as a message id. */
export function tokenOf(id: string): string {
  return encodeURIComponent(id).replace(/[.*]/g, (char) => (char === '.' ? '%2E' : '%2A'))
}

/** Throws INVALID_ARGUMENT for an id that cannot be one. */
export function checkId(id: string): void {
  if (typeof id !== 'string' || id === '' || /\p{Surrogate}/u.test(id) || tokenOf(id).length > LONGEST_ID)
    throw new CageError('INVALID_ARGUMENT', `an id is text of 1 to ${LONGEST_ID} bytes, not ${JSON.stringify(id).slice(0, 80)}`)
  if (placeOf(id)) throw new CageError('INVALID_ARGUMENT', `the id ${id} looks like one that a queue gives, choose another`)
}

/** The message id of a publication (Q3). */
export function messageId(id: string, moves: number): string {
  return moves === 0 ? tokenOf(id) : `${tokenOf(id)}~${moves}`
}

export function encodeCall(call: QueuedCall): Uint8Array {
  const { id, attempts, moves, enqueuedAt, expiresMs, dueAt, key, failures } = call
  const extras: Extras = {}
  if (id !== undefined) extras.id = id
  if (attempts > 0) extras.attempts = attempts
  if (moves > 0) extras.moves = moves
  if (enqueuedAt !== undefined) extras.at = enqueuedAt
  if (expiresMs !== undefined) extras.expiresMs = expiresMs
  if (dueAt !== undefined) extras.dueAt = dueAt
  if (key !== undefined) extras.key = key
  if (failures.length > 0) extras.failures = failures
  const plain = Object.keys(extras).length === 0
  return plain ? encodeEnvelope(call.args, 0, call.request) : encodeEnvelope(call.args, 0, call.request, extras)
}

/** What a message is read from; its headers are read only if it is no envelope of ours. */
export interface MessageParts {
  subject: string
  data: Uint8Array
  /** Epoch ms: when it was stored. */
  time: number
  header(name: string): string | undefined
}

/** Reads a message; throws INVALID_ARGUMENT. (No spread of objects here: it was measured at a fifth of a consumer's time.) */
export function decodeCall({ subject, data, time, header }: MessageParts): QueuedCall {
  const [, queue = '', cage = '', module = '', method = '', suffix] = subject.split('.')
  const { format, args, request = NO_REQUEST, queued } = decodeQuestion(data)
  const priority: Priority = suffix === 'high' ? 'high' : 'normal'
  if (format === 'envelope') {
    const extras = (typeof queued === 'object' && queued !== null ? queued : NO_EXTRAS) as Extras // only our own nodes write envelopes
    const { id, attempts = 0, moves = 0, at: enqueuedAt, expiresMs, dueAt, key, failures = [] } = extras
    return { queue, cage, module, method, priority, args, request, id, attempts, moves, enqueuedAt, expiresMs, dueAt, key, failures }
  }
  const delayMs = numberIn(header, 'Delay-Ms')
  const log = header('Log-Level')
  return {
    queue,
    cage,
    module,
    method,
    priority,
    args,
    request: { id: header('Request-Id') ?? '', traceparent: header('traceparent'), ...(isLogLevel(log) ? { log } : {}) },
    id: header('Nats-Msg-Id'),
    attempts: 0,
    moves: 0,
    enqueuedAt: undefined,
    expiresMs: numberIn(header, 'Expires-Ms'),
    dueAt: delayMs === undefined ? undefined : time + delayMs,
    key: header('Key'),
    failures: [],
  }
}

/** The same for messages of any subject, not only of those that cages ask for. */
export function decodeAnyCall(parts: MessageParts): QueuedCall {
  if (!isQueueSubject(parts.subject)) throw new CageError('INVALID_ARGUMENT', `${parts.subject} names no call`)
  return decodeCall(parts)
}

const NO_REQUEST: RequestInfo = { id: '' }
const NO_EXTRAS: Extras = {}

interface Extras {
  id?: string
  attempts?: number
  moves?: number
  at?: number
  expiresMs?: number
  dueAt?: number
  key?: string
  failures?: Failure[]
}

function numberIn(header: MessageParts['header'], name: string): number | undefined {
  const text = header(name)
  if (text === undefined) return undefined
  const number = Number(text)
  if (!(number >= 0))
    throw new CageError('INVALID_ARGUMENT', `the header ${name} must be a number of milliseconds, not ${text.slice(0, 40)}`)
  return number
}
