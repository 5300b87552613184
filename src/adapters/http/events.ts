/**
 * Events: a response that does not end, server-sent events (HTML Standard, 9.2), fed by a method that is asked again and again for what is new:
 *
 *   export async function next(ctx: Context, request: HttpRequest, lastEventId?: string): Promise<HttpEvent[] | undefined>
 *
 * E1. There is never more than one call for a stream, and none while the client has not taken what it was sent.
 * E2. Nothing new (undefined, an empty list, DEADLINE_EXCEEDED) is a comment, so that nobody in between takes the connection for dead.
 * E3. Until the first answer a failure is a status. Later it is an event `error`, and the end.
 * E4. When the interface stops, the stream ends well: the client connects again, to another copy.
 */
import { once } from 'node:events'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CageError } from '../../errors.ts'
import { toJson } from '../../json.ts'
import { pause } from '../../pause.ts'
import type { InterfaceHost } from '../adapter.ts'
import type { Failure } from './failure.ts'
import { callOptions } from './request.ts'
import type { HttpEvent, HttpRequest } from './types.ts'

export interface EventStream {
  target: string
  request: FastifyRequest
  reply: FastifyReply
  /** What the method is told of the request. */
  whole: HttpRequest
  host: InterfaceHost
  /** Of one call. */
  timeoutMs: number
  /** The interface stops (E4). */
  stopping: AbortSignal
  /** Answers with a failure. */
  fail(error: unknown): void
  /** What the client is told of a failure; it logs what nobody foresaw. */
  told(error: unknown): Failure
}

/** A method that has nothing new at once is not asked more often, ms. */
const PACE_MS = 1_000

const HEADERS = { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no' }
const COMMENT = ':\n\n'
const FIELDS = new Set(['id', 'event', 'data'])

/** Answers a request with events until the client, the interface or an error ends it. */
export async function streamEvents(stream: EventStream): Promise<void> {
  const { target, request, reply, whole, host, timeoutMs, stopping, fail, told } = stream
  if (request.method === 'HEAD') return void reply.headers(HEADERS).send()
  const gone = new AbortController()
  const stop = (): void => {
    host.cancel(request.raw)
    gone.abort()
  }
  reply.raw.once('close', () => gone.abort())
  stopping.addEventListener('abort', stop)
  let isRefused = false
  const ended = (): boolean => gone.signal.aborted || stopping.aborted
  try {
    const options = { ...callOptions(request, timeoutMs, host), timeoutMs }
    let last = lastEventIdOf(request)
    reply.header('request-id', options.requestId)
    while (!ended()) {
      const askedAt = performance.now()
      const events = await ask(() => host.call(target, [whole, last], options))
      last = events.findLast(({ id }) => id !== undefined)?.id ?? last
      await write(reply, events.map(encoded).join('') || COMMENT, gone.signal)
      if (events.length === 0) await pause(Math.max(0, askedAt + PACE_MS - performance.now()), gone.signal)
    }
  } catch (error) {
    if (ended()) return // its call was cancelled
    isRefused = !reply.raw.headersSent
    if (isRefused) return fail(error) // E3
    await write(reply, encoded({ event: 'error', data: told(error).body }), gone.signal)
  } finally {
    stopping.removeEventListener('abort', stop)
    if (!isRefused) {
      begin(reply) // E4
      reply.raw.end()
    }
  }
}

/** E2. */
async function ask(call: () => Promise<unknown>): Promise<HttpEvent[]> {
  try {
    const answer = (await call()) ?? []
    return [answer].flat().map(checked)
  } catch (error) {
    if (error instanceof CageError && error.code === 'DEADLINE_EXCEEDED') return []
    throw error
  }
}

function begin(reply: FastifyReply): void {
  if (reply.raw.headersSent || reply.raw.destroyed) return
  reply.hijack()
  reply.raw.writeHead(200, { ...reply.getHeaders(), ...HEADERS } as Record<string, string>) // the ones that we have set
}

/** E1. Resolves when the client has room for more, or has gone. */
async function write(reply: FastifyReply, text: string, gone: AbortSignal): Promise<void> {
  begin(reply)
  if (reply.raw.destroyed || reply.raw.write(text)) return
  await once(reply.raw, 'drain', { signal: gone }).catch(() => {}) // it has gone
}

/** Throws a TypeError for what is no event. */
function checked(event: unknown): HttpEvent {
  if (typeof event !== 'object' || event === null) throw new TypeError('an event is an object, { id, event, data }')
  const unknown = Object.keys(event).find((key) => !FIELDS.has(key))
  if (unknown !== undefined) throw new TypeError(`the event has an unknown field ${unknown} (known: id, event, data)`)
  for (const key of ['id', 'event'] as const) {
    const value = (event as HttpEvent)[key]
    if (value !== undefined && (typeof value !== 'string' || /[\r\n\0]/.test(value)))
      throw new TypeError(`the event's ${key} is no line of text`)
  }
  return event
}

/** An event as it is sent. Pure. */
export function encoded({ id, event, data }: HttpEvent): string {
  const lines: string[] = []
  if (id !== undefined) lines.push(`id: ${id}`)
  if (event !== undefined) lines.push(`event: ${event}`)
  if (data !== undefined)
    for (const line of (typeof data === 'string' ? data : toJson(data)).split(/\r\n|\r|\n/)) lines.push(`data: ${line}`)
  return `${lines.join('\n')}\n\n`
}

/** Browsers send it as UTF-8, Node reads headers as Latin-1. */
function lastEventIdOf({ headers }: FastifyRequest): string | undefined {
  const id = headers['last-event-id']
  return typeof id === 'string' && id !== '' ? Buffer.from(id, 'latin1').toString() : undefined
}
