/** Requests: what Fastify has of one → arguments of a method, a handler's HttpRequest, and how the call is made. */
import type { IncomingHttpHeaders } from 'node:http'
import { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import { CageError } from '../../errors.ts'
import { traceparentOf } from '../../traceparent.ts'
import type { InterfaceCallOptions, InterfaceHost } from '../adapter.ts'
import type { Route } from './routes.ts'
import type { HttpRequest } from './types.ts'

const REQUEST_ID = /^[\x21-\x7e]{1,128}$/
const ORIGIN = /^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i

/** The arguments of a route's method (routes.ts, R1). */
export function argumentsOf(route: Route, request: FastifyRequest): unknown[] {
  const args: unknown[] = []
  const parameters = request.params as Record<string, string> // the route's own, decoded by the router
  for (const name of route.parameters) args.push(parameters[name])
  if (route.query.length > 0) {
    const query = request.query as Record<string, string | string[]> // what Fastify's parser makes
    for (const name of route.query) {
      const value = query[name]
      if (Array.isArray(value)) throw new CageError('INVALID_ARGUMENT', `the query has ${name} more than once`)
      args.push(value)
    }
  }
  if (route.takesBody) args.push(request.body)
  return args
}

/** The whole request, for the handler. */
export function wholeRequest(request: FastifyRequest, mutual: boolean): HttpRequest {
  const whole = {
    method: request.method,
    url: urlOf(request),
    path: pathOf(request),
    query: { ...(request.query as Record<string, string | string[]>) },
    headers: request.headers as Record<string, string | string[]>, // none is undefined: they all came
    body: request.body,
    ip: request.ip,
    host: request.host,
    protocol: protocolOf(request),
  }
  return mutual ? { ...whole, clientName: clientNameOf(request) } : whole
}

/** The path as it came, without the query. */
export function pathOf(request: FastifyRequest): string {
  const url = urlOf(request)
  const end = url.indexOf('?')
  return end < 0 ? url : url.slice(0, end)
}

/** How the call is made; throws INVALID_ARGUMENT for a `Timeout-Ms` that is no time. */
export function callOptions(request: FastifyRequest, limitMs: number, host: InterfaceHost): InterfaceCallOptions {
  const { raw } = request
  const { headers } = raw
  return {
    timeoutMs: timeoutOf(headers, limitMs),
    owner: raw,
    requestId: matching(REQUEST_ID, headers['request-id']) ?? host.newRequestId(),
    traceparent: traceparentOf(headers.traceparent),
    protocol: protocolOf(request),
  }
}

function urlOf({ raw }: FastifyRequest): string {
  return raw.url?.replace(ORIGIN, '') || '/' // RFC 9112, 3.2.2: a client may name the origin too
}

/** A trusted proxy's word for it is any text. */
function protocolOf(request: FastifyRequest): 'http' | 'https' {
  return request.protocol === 'https' ? 'https' : 'http'
}

/** `Timeout-Ms` can only shorten it. */
function timeoutOf(headers: IncomingHttpHeaders, limitMs: number): number {
  const text = headers['timeout-ms']
  if (text === undefined) return limitMs
  const timeoutMs = Number(text)
  if (!(timeoutMs > 0)) throw new CageError('INVALID_ARGUMENT', 'the header Timeout-Ms must be a positive number of milliseconds')
  return Math.min(timeoutMs, limitMs)
}

function matching(pattern: RegExp, text: string | string[] | undefined): string | undefined {
  return typeof text === 'string' && pattern.test(text) ? text : undefined
}

/** The common name in the certificate of a client that had to show one. */
export function clientNameOf({ raw }: FastifyRequest): string | undefined {
  const name = raw.socket instanceof TLSSocket ? raw.socket.getPeerCertificate().subject?.CN : undefined
  return Array.isArray(name) ? name[0] : name
}
