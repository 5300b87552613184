/**
 * Connection: one at a time to a server of XML-RPC. HTTP's own may be closed by the server after an answer, and is made again for the next call.
 * C1. A call that has been sent is never sent again: what was lost on its way rejects, and nobody knows whether it was done.
 * C2. A call that is late, or that nobody wants any more, closes HTTP's connection, by which a server that looks notices. If the server then
 *     does not answer a HEAD either, this connection is broken.
 */
import type { Client, Dispatcher } from 'undici'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { ResourceConnection, Scope } from '../adapter.ts'
import { fromConnection, fromStatus, refusalOf } from './errors.ts'
import { errorOf } from './faults.ts'
import { type Codec, faultOf, type MethodCall } from './messages.ts'
import type { XmlrpcOptions } from './options.ts'

/** A server that does not answer a HEAD within so long is taken for silent, ms. */
const PROBE_MS = 500
const NEVER = new AbortController().signal
const METHODS = ['call', 'multicall']

interface Received {
  status: number
  contentType: string | undefined
  bytes: Uint8Array
}

export class XmlrpcConnection implements ResourceConnection {
  readonly participant = 'irreversible'
  readonly #client: Client
  readonly #options: XmlrpcOptions
  readonly #codec: Codec
  readonly #name: string
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>
  #broken = false

  constructor(client: Client, options: XmlrpcOptions, codec: Codec, name: string) {
    const { url, user, password = '', headers } = options
    const { pathname, search } = new URL(url)
    const authorization = user === undefined ? {} : { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
    this.#client = client
    this.#options = options
    this.#codec = codec
    this.#name = name
    this.#path = pathname + search
    this.#headers = { 'user-agent': 'menagerie', ...headers, ...authorization }
  }

  get broken(): boolean {
    return this.#broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    if (method === 'multicall') return await this.#multicall(args, scope)
    if (method === 'call') return await this.#call(callOf(args), scope)
    throw new CageError(
      'INVALID_ARGUMENT',
      `${this.#name} has no method ${method}${didYouMean(method, METHODS)}: call('${method}') calls the server's`,
    )
  }

  /** Whether the server answers, whatever it does; its refusal of our credentials is told. */
  async check(scope: Scope): Promise<void> {
    try {
      const { status } = await this.#exchange({ method: 'HEAD', path: this.#path, headers: this.#headers, reset: false }, scope) // undici closes after a HEAD
      const refusal = refusalOf(status, this.#name)
      if (refusal) throw refusal
    } catch (error) {
      await this.#break()
      const silent = error instanceof CageError && error.code === 'DEADLINE_EXCEEDED'
      throw silent ? new CageError('UNAVAILABLE', `${this.#name}: the server does not answer`, { cause: error }) : error
    }
  }

  async close(): Promise<void> {
    await this.#break()
  }

  async #call(call: MethodCall, scope: Scope): Promise<unknown> {
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended
    const body = this.#codec.encodeCall(call)
    const context = scope.traceparent === undefined ? {} : { traceparent: scope.traceparent }
    const headers = { ...context, ...this.#headers, 'content-type': 'text/xml; charset=utf-8', accept: 'text/xml' }
    const { status, contentType, bytes } = await this.#send({ method: 'POST', path: this.#path, headers, body }, scope)
    if (status !== 200) throw fromStatus(status, this.#name)
    const answer = this.#read(() => this.#codec.answer(bytes, contentType))
    if ('fault' in answer) throw errorOf(answer.fault, this.#options.faults, this.#name)
    return answer.result
  }

  async #multicall([calls]: readonly unknown[], scope: Scope): Promise<PromiseSettledResult<unknown>[]> {
    if (!Array.isArray(calls))
      throw new CageError('INVALID_ARGUMENT', 'multicall needs a list of lists, each of a method and its parameters')
    const params = calls.map(callOf).map(({ name, params }) => ({ methodName: name, params }))
    const outcomes = await this.#call({ name: 'system.multicall', params: [params] }, scope)
    if (!Array.isArray(outcomes) || outcomes.length !== calls.length) throw this.#unreadable()
    return outcomes.map((outcome: unknown) => {
      if (Array.isArray(outcome) && outcome.length === 1) return { status: 'fulfilled', value: outcome[0] }
      return {
        status: 'rejected',
        reason: errorOf(
          this.#read(() => faultOf(outcome)),
          this.#options.faults,
          this.#name,
        ),
      }
    })
  }

  /** What a server has answered is never its caller's mistake. */
  #read<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw this.#unreadable(error)
    }
  }

  #unreadable(cause?: unknown): CageError {
    const why = cause instanceof Error ? `: ${cause.message}` : ''
    return new CageError('BAD_ANSWER', `${this.#name}: the answer is none of XML-RPC${why}`, { cause, retryable: false })
  }

  /** C1, C2. */
  async #send(request: Dispatcher.RequestOptions, scope: Scope): Promise<Received> {
    try {
      return await this.#exchange(request, scope)
    } catch (error) {
      const late = endOf(scope, Date.now(), this.#name) !== undefined
      const lost = error instanceof CageError && error.code === 'UNAVAILABLE'
      if (late && this.#options.probe)
        await this.check({ deadline: Date.now() + PROBE_MS, signal: NEVER }).catch(() => {}) // it is broken then
      else if (late || lost) await this.#break()
      throw error
    }
  }

  /** One request and its whole answer; rejects with why the scope has ended, or UNAVAILABLE. */
  async #exchange(request: Dispatcher.RequestOptions, scope: Scope): Promise<Received> {
    const ending = new AbortController()
    let why: CageError | undefined
    const off = whenEnded(scope, this.#name, (ended) => {
      why = ended
      ending.abort(ended)
    })
    try {
      const { statusCode, headers, body } = await this.#client.request({ ...request, signal: ending.signal })
      const contentType = headers['content-type']
      const bytes = new Uint8Array(await body.arrayBuffer())
      return { status: statusCode, contentType: Array.isArray(contentType) ? contentType[0] : contentType, bytes }
    } catch (error) {
      throw why ?? fromConnection(error, this.#name)
    } finally {
      off()
    }
  }

  async #break(): Promise<void> {
    this.#broken = true
    await this.#client.destroy()
  }
}

function callOf(given: unknown): MethodCall {
  const [name, ...params] = Array.isArray(given) ? given : []
  if (typeof name !== 'string' || name === '')
    throw new CageError('INVALID_ARGUMENT', 'the name of a method is needed, then its parameters')
  return { name, params }
}
