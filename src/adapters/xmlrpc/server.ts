/**
 * XML-RPC interface (xmlrpc.com/spec; RFC 9110) on the servers of HTTP. options.ts has a sample configuration, docs/adapters/xmlrpc.md the rest.
 *
 *   export async function total(ctx: Context, order: number): Promise<Double> {   // proxy.orders.total(7), in Python
 *     if (order < 1) throw new CageError('NO_ORDER', `there is no order ${order}`)  // a fault; `faults: { NO_ORDER: 42 }` gives it its code
 *     return { $double: 12 }
 *   }
 *
 * S1. A request is one call over the bus, but for system.multicall, which is several.
 * S2. What is a POST of XML to one of our paths is answered with 200 and a methodResponse, be it a fault; anything else with the statuses of HTTP.
 * S3. A client that goes away cancels its calls, and a request's later ones are not made.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CageError, toCageError } from '../../errors.ts'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { callOptions, clientNameOf, pathOf } from '../http/request.ts'
import { sendFailure, sendResponse } from '../http/response.ts'
import { startServer } from '../http/start.ts'
import { Turn } from '../http/turn.ts'
import { faultOf } from './faults.ts'
import { Codec } from './messages.ts'
import { Methods, type RequestCall } from './methods.ts'
import type { XmlrpcListenOptions } from './options.ts'

const XML = /^(text|application)\/([\w.-]+\+)?xml\s*(;|$)/i

/** Starts an interface. */
export async function listen(options: XmlrpcListenOptions, host: InterfaceHost): Promise<Listener> {
  const fail = (reply: FastifyReply, error: unknown): void => sendFailure(reply, error, {}, host.log)
  const answer = answering(options, host)
  return await startServer(options, host, fail, async (app) => {
    addBodyParser(app)
    for (const path of new Set(options.paths))
      app.post(path, (request, reply) => void answer(request, reply).catch((error) => fail(reply, error)))
    app.setNotFoundHandler((request, reply) => {
      if (!options.paths.includes(pathOf(request))) return fail(reply, new CageError('NOT_FOUND', 'there is nothing at this path'))
      fail(reply.header('allow', 'POST'), new CageError('METHOD_NOT_ALLOWED', 'XML-RPC is a POST'))
    })
  })
}

/** What answers one request; rejects with what is a status of HTTP (S2). */
function answering(options: XmlrpcListenOptions, host: InterfaceHost): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  const codec = new Codec(options)
  const methods = new Methods(options, host, (error) => faultOf(error, options.faults))
  const turn = new Turn()
  const mutual = options.tls?.clientCaFile !== undefined
  return async (request, reply) => {
    const timeoutMs = options.timeoutMs ?? host.timeoutMs
    const made = callOptions(request, timeoutMs, host)
    const call: RequestCall = {
      ...made,
      timeoutMs: made.timeoutMs ?? timeoutMs,
      protocol: 'xmlrpc',
      parameters: mutual ? { clientName: clientNameOf(request) } : undefined,
      wanted: () => !reply.raw.destroyed,
    }
    reply.header('request-id', call.requestId)
    await turn.end()
    if (reply.raw.destroyed) return // the client has gone away before there was a call to cancel
    const body = await respond(request, call)
    if (!reply.raw.destroyed) sendResponse(reply, { headers: { 'content-type': 'text/xml; charset=utf-8' }, body }, options.gzip)
  }

  async function respond(request: FastifyRequest, call: RequestCall): Promise<string> {
    try {
      const result = await methods.call(codec.call(bytesOf(request.body), request.headers['content-type']), call)
      return encode(result)
    } catch (error) {
      if (!(error instanceof CageError)) host.log.error({ err: error }, 'a request cannot be answered')
      return codec.encodeFault(faultOf(toCageError(error), options.faults))
    }
  }

  /** A result that XML-RPC cannot say is its method's mistake. */
  function encode(result: unknown): string {
    try {
      return codec.encodeResult(result)
    } catch (cause) {
      host.log.error({ err: cause }, 'a result cannot be sent')
      throw new CageError('INTERNAL', 'internal error', { cause })
    }
  }
}

function addBodyParser(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, bytes, done) => {
    const { 'content-type': type = 'no type', 'content-encoding': encoding = 'identity' } = request.headers
    if (request.is404) return done(null) // 404 and 405 come before what is wrong with the body
    if (encoding !== 'identity') return done(unsupported(`a body encoded with ${encoding} is not read`))
    if (!XML.test(type)) return done(unsupported(`a body of ${type} is not read, XML-RPC is text/xml`))
    done(null, bytes)
  })
}

function bytesOf(body: unknown): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array() // a POST without a body has none
}

function unsupported(message: string): CageError {
  return new CageError('UNSUPPORTED_MEDIA_TYPE', message)
}
