/**
 * Exchange: a request becomes one call, and its outcome the response.
 * X1. Whatever happens, there is one response: a value, the handler's answer, or a failure with its status.
 * X2. What arrives on all connections in one turn of the event loop is called together (turn.ts).
 * X3. A failure that is the interface's own or its handler's mistake is logged; what a callee answers is logged by the callee.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import { CageError } from '../../errors.ts'
import type { InterfaceHost } from '../adapter.ts'
import { streamEvents } from './events.ts'
import type { HttpOptions } from './options.ts'
import { argumentsOf, callOptions, pathOf, wholeRequest } from './request.ts'
import { sendFailure, sendResponse, sendValue, tellFailure } from './response.ts'
import { allowedMethods, type Route } from './routes.ts'
import { Turn } from './turn.ts'

/** Answers one request. */
export type Answer = (request: FastifyRequest, reply: FastifyReply) => void

export class Exchange {
  readonly #host: InterfaceHost
  readonly #options: HttpOptions
  readonly #turn = new Turn()

  constructor(options: HttpOptions, host: InterfaceHost) {
    this.#options = options
    this.#host = host
  }

  /** What answers a route's requests: a method that gets arguments and returns a value. */
  route(route: Route, target: string): Answer {
    return (request, reply) => void this.#exchange(request, reply, target, (given) => argumentsOf(route, given), sendValue)
  }

  /** What answers all other requests: a method that gets the whole request and returns a whole response. */
  handler(target: string): Answer {
    const mutual = this.#options.tls?.clientCaFile !== undefined
    return (request, reply) => void this.#exchange(request, reply, target, (given) => [wholeRequest(given, mutual)], sendResponse)
  }

  /** What answers requests for events: a method that is asked again and again for what is new. */
  events(target: string, stopping: AbortSignal): Answer {
    const { tls, timeoutMs } = this.#options
    const mutual = tls?.clientCaFile !== undefined
    return (request, reply) =>
      void streamEvents({
        ...{ target, request, reply, stopping, host: this.#host, timeoutMs: timeoutMs ?? this.#host.timeoutMs },
        whole: wholeRequest(request, mutual),
        fail: (error) => this.fail(reply, error),
        told: (error) => tellFailure(error, this.#options.statuses, this.#host.log),
      })
  }

  /** What answers all other requests where there is no handler: 404, or 405 for a path that a route knows. */
  nothing(routes: readonly Route[]): Answer {
    return (request, reply) => {
      const path = pathOf(request)
      const allowed = allowedMethods(routes, path)
      if (allowed.length === 0) return this.fail(reply, new CageError('NOT_FOUND', 'there is nothing at this path'))
      reply.header('allow', allowed.join(', '))
      this.fail(reply, new CageError('METHOD_NOT_ALLOWED', `the path does not take ${request.method}`))
    }
  }

  /** Answers with a failure (X1). */
  fail(reply: FastifyReply, thrown: unknown): void {
    sendFailure(reply, thrown, this.#options.statuses, this.#host.log)
  }

  async #exchange(
    request: FastifyRequest,
    reply: FastifyReply,
    target: string,
    argumentsFor: (request: FastifyRequest) => unknown[],
    send: (reply: FastifyReply, result: unknown, compress: boolean) => void,
  ): Promise<void> {
    const host = this.#host
    try {
      const options = callOptions(request, this.#options.timeoutMs ?? host.timeoutMs, host)
      reply.header('request-id', options.requestId)
      await this.#turn.end()
      if (reply.raw.destroyed) return // the client has gone away before there was a call to cancel
      send(reply, await host.call(target, argumentsFor(request), options), this.#options.gzip)
    } catch (error) {
      this.fail(reply, error)
    }
  }
}
