/**
 * HTTP as a resource: requests to one origin, each connection of the pool one socket. On undici.
 *
 *   resources: { rates: { kind: 'http', url: 'https://rates.example/v1', headers: { authorization: env('RATES_TOKEN') } } },
 *   const { body } = await ctx.resources.rates.get('/rates/EUR', { query: { at: '2026-11-24' } })
 *
 * K1. A request that is late, or that nobody wants any more, loses its socket: HTTP/1.1 has no other word for it. The next one makes another.
 * K2. What is repeated, and where a redirect leads, client-policy.ts says; all of it is within the one deadline.
 * K3. No cookie is kept, no answer is cached, nothing is pipelined.
 * RFC 9110 (semantics), RFC 9112 (HTTP/1.1), draft-ietf-httpapi-idempotency-key-header.
 */
import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { Client, type Dispatcher } from 'undici'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { backOffMs, pause } from '../../pause.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import { bodyOf, bytesOf, headOf, piecesOf } from './client-answer.ts'
import type { HttpAnswer, HttpStreamedAnswer } from './client-api.ts'
import { fromStatus, fromUndici } from './client-errors.ts'
import type { HttpClientOptions } from './client-options.ts'
import { isRepeatable, LONGEST_PAUSE_MS, redirected, retryAfterMs } from './client-policy.ts'
import { type CheckedCall, checkedCall, type OutgoingRequest, outgoing } from './client-request.ts'
import { dial, proxyHeaders } from './dial.ts'

const METHODS = ['request', 'get', 'head', 'delete', 'post', 'put', 'patch', 'stream'] as const
const BACK_OFF = { firstMs: 100, maxMs: 2_000 }
/** The pool decides how long a connection may rest. */
const REST_MS = 600_000

export async function open(options: HttpClientOptions, { name }: ResourceHost): Promise<Resource> {
  return { connect: (scope) => HttpConnection.open(options, name, scope) }
}

class HttpConnection implements ResourceConnection {
  readonly participant = 'irreversible'
  readonly #options: HttpClientOptions
  readonly #name: string
  readonly #client: Client
  /** Made before it was needed. */
  #socket: Socket | undefined
  /** Of the call that runs: a socket that it needs is made within it. */
  #scope: Scope
  /** Why no socket could be had: nothing was sent then. */
  #refusal: unknown
  /** Whether this attempt has had a response, be it a redirect: the request was sent then, whatever becomes of the ones that follow. */
  #answered = false
  #broken = false

  private constructor(options: HttpClientOptions, name: string, socket: Socket, scope: Scope) {
    this.#options = options
    this.#name = name
    this.#socket = socket
    this.#scope = scope
    socket.once('error', () => {}) // it is closed then, and another one made
    this.#client = new Client(new URL(options.url).origin, {
      connect: (_, done) => {
        this.#dialled().then(
          (made) => done(null, made),
          (error: CageError) => {
            this.#refusal = error
            done(error, null)
          },
        )
      },
      ...{ headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: REST_MS, keepAliveMaxTimeout: REST_MS },
      maxHeaderSize: options.maxHeaderBytes,
    })
  }

  /** UNAVAILABLE. */
  static async open(options: HttpClientOptions, name: string, scope: Scope): Promise<HttpConnection> {
    const socket = await dial(options, name, scope).catch((error: CageError) => {
      throw error.code === 'DEADLINE_EXCEEDED' ? new CageError('UNAVAILABLE', `${name}: the server does not answer`) : error
    })
    return new HttpConnection(options, name, socket, scope)
  }

  get broken(): boolean {
    return this.#broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    switch (method) {
      case 'request':
        return await this.#answer(checkedCall(args[0]), scope)
      case 'get':
      case 'head':
      case 'delete':
        return await this.#answer(checkedCall({ ...optionsOf(args[1]), method, path: args[0] }), scope)
      case 'post':
      case 'put':
      case 'patch':
        return await this.#answer(checkedCall({ ...optionsOf(args[2]), method, path: args[0], body: args[1] }), scope)
      case 'stream':
        return await this.#stream(checkedCall(args[0]), args[1], scope)
    }
    throw new CageError('INVALID_ARGUMENT', `${this.#name} has no method ${method}${didYouMean(method, METHODS)}`)
  }

  async close(): Promise<void> {
    this.#socket?.destroy()
    await this.#client.destroy()
  }

  #answer(call: CheckedCall, scope: Scope): Promise<HttpAnswer> {
    return this.#exchange(call, scope, true, async (response) => {
      const head = headOf(response)
      const body = await bytesOf(response, call.method, this.#options.maxResponseBytes, this.#name)
      return { ...head, body: bodyOf(body, head.headers, call.as, this.#name) }
    })
  }

  async #stream(call: CheckedCall, work: unknown, scope: Scope): Promise<unknown> {
    if (typeof work !== 'function') throw new CageError('INVALID_ARGUMENT', 'stream takes a function of the answer')
    return await this.#exchange(call, scope, false, async (response) => {
      const answer: HttpStreamedAnswer = { ...headOf(response), body: piecesOf(response, call.method, this.#name) }
      try {
        return await work(answer)
      } finally {
        response.body.on('error', () => {}).destroy() // what was not read is not wanted
      }
    })
  }

  /** K1, K2. `use` gets the answer; if that is `repeatable`, an answer that is cut off is asked for again. */
  async #exchange<T>(
    call: CheckedCall,
    scope: Scope,
    repeatable: boolean,
    use: (response: Dispatcher.ResponseData) => Promise<T>,
  ): Promise<T> {
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended
    const request = outgoing(call, this.#options, randomUUID, scope.traceparent)
    const ending = new AbortController()
    const off = whenEnded(scope, this.#name, (why) => ending.abort(why))
    this.#scope = scope
    try {
      for (let attempt = 1; ; attempt++) {
        const mayRepeat = (wasSent: boolean): boolean => attempt <= this.#options.maxRetries && isRepeatable(request, wasSent)
        let delayMs = backOffMs(attempt, BACK_OFF, Math.random())
        let used = false
        try {
          const response = await this.#follow(request, ending.signal)
          const { statusCode: status, headers } = response
          const askedMs = retryAfterMs(headers['retry-after'], Date.now())
          if (status !== 503 || askedMs === undefined || askedMs > LONGEST_PAUSE_MS || !mayRepeat(true)) {
            if (isFailure(status, headers.location) && call.anyStatus !== true) {
              await response.body.dump()
              throw fromStatus(status, this.#name, askedMs)
            }
            used = true
            return await use(response)
          }
          await response.body.dump()
          delayMs = askedMs
        } catch (error) {
          if (ending.signal.aborted) throw ending.signal.reason
          if (used && !repeatable) throw error // the caller's work has failed, or was told
          if (request.thrown?.length) throw request.thrown[0] // by the caller's own body: nothing was lost
          const refused = error === this.#refusal
          const wasSent = this.#answered || !refused
          const lost = refused || isLoss(error)
          if (lost) this.#broken = true // R2
          if (!lost || !mayRepeat(wasSent)) throw fromUndici(error, this.#name)
        }
        if (Date.now() + delayMs >= scope.deadline)
          throw new CageError('UNAVAILABLE', `${this.#name}: it could be repeated after the deadline only`)
        await pause(delayMs, ending.signal)
        if (ending.signal.aborted) throw ending.signal.reason
      }
    } finally {
      off()
    }
  }

  /** The answer at the end of all redirects. */
  async #follow(request: OutgoingRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    this.#answered = false
    let response = await this.#send(request, signal)
    this.#answered = true
    let current = request
    for (let n = 0; n < this.#options.maxRedirects; n++) {
      const next = redirected(current, response.statusCode, response.headers.location)
      if (next === undefined) break
      await response.body.dump()
      current = next
      response = await this.#send(current, signal)
    }
    return response
  }

  async #send({ method, url, headers, body }: OutgoingRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { proxy } = this.#options
    const asksProxy = proxy !== undefined && url.protocol === 'http:'
    const response = await this.#client.request({
      method: method as Dispatcher.HttpMethod, // any token will do
      path: asksProxy ? url.href : `${url.pathname}${url.search}`,
      headers: asksProxy ? { ...headers, ...proxyHeaders(new URL(proxy)) } : headers,
      body: body ?? null,
      signal,
    })
    this.#broken = false
    return response
  }

  async #dialled(): Promise<Socket> {
    const made = this.#socket
    this.#socket = undefined
    if (made && !made.destroyed && made.readable) return made
    return await dial(this.#options, this.#name, this.#scope)
  }
}

function optionsOf(given: unknown): object {
  if (given === undefined) return {}
  if (typeof given !== 'object' || given === null) throw new CageError('INVALID_ARGUMENT', 'the options of a request are no object')
  return given
}

function isFailure(status: number, location: unknown): boolean {
  return status >= 400 || (status >= 300 && status !== 304 && location !== undefined)
}

/** The connection is gone, by the server or on the way. */
function isLoss(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof CageError) return false
  const { code = '' } = error as NodeJS.ErrnoException
  return code === '' || /^(UND_ERR_SOCKET|UND_ERR_RES_CONTENT_LENGTH_MISMATCH|E[A-Z]+|ERR_SSL_.*)$/.test(code)
}
