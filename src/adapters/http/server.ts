/**
 * HTTP and HTTPS interface (RFC 9110, RFC 9112) on Fastify. options.ts has a sample configuration, types.ts a sample handler,
 * docs/adapters/http.md the rest.
 * S1. A request is one call over the bus, so any copy of the cage may serve it.
 * S2. Every failure has its status, and a JSON body with code and message.
 * S3. What costs time per request (a plugin, a hook) is there only if the configuration asks for it.
 */
import type { Server as SecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify'
import type { Log } from '../../log.ts'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { type JsonParser, parseBody } from './body.ts'
import { keepCurrent, readCredentials } from './certificate.ts'
import { Connections } from './connections.ts'
import { Exchange } from './exchange.ts'
import type { HttpOptions } from './options.ts'
import { pathOf } from './request.ts'
import { parseRoute, type Route } from './routes.ts'

/** Starts an interface. */
export async function listen(options: HttpOptions, host: InterfaceHost): Promise<Listener> {
  const { tls } = options
  const read = tls && (() => readCredentials(tls, host.dataDir, options.host, Date.now()))
  const secure = await read?.()
  const connections = new Connections({ ...options, timeoutMs: options.timeoutMs ?? host.timeoutMs }, secure, (request) =>
    host.cancel(request),
  )
  const { server } = connections
  const app = await build(options, host, connections)
  const address = await connections.listen(options.host, options.port)
  server.on('error', (error) => host.log.warn({ err: error }, 'a connection could not be accepted'))
  const endRenewal = read && secure && keepCurrent(server as SecureServer, secure, read, host.log) // it is one, with `secure`
  let stopping: Promise<void> | undefined
  let stopped: () => void
  const done = new Promise<void>((resolve, reject) => {
    stopped = resolve
    server.on('close', () => {
      if (!stopping) reject(new Error('the server has closed by itself'))
    })
  })
  const stop = async (): Promise<void> => {
    endRenewal?.()
    await connections.drain()
    await app.close()
    stopped()
  }
  return { address: urlOf(address, secure !== undefined), done, stop: () => (stopping ??= stop()) }
}

/** Fastify with its routes, ready, on a server that does not listen yet. */
async function build(options: HttpOptions, host: InterfaceHost, connections: Connections): Promise<FastifyInstance> {
  const exchange = new Exchange(options, host)
  const app: FastifyInstance = fastify({
    serverFactory: (handle) => connections.serve(handle),
    clientErrorHandler: (error, socket) => connections.refuse(error, socket),
    frameworkErrors: (error, _request, reply) => exchange.fail(reply, error),
    bodyLimit: options.maxBodyBytes,
    trustProxy: options.trustedProxies.length > 0 && options.trustedProxies,
    genReqId: () => '', // the host makes them
    routerOptions: { maxParamLength: options.maxHeaderBytes },
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  })
  app.setErrorHandler((error, _request, reply) => exchange.fail(reply, error))
  if (options.cors) await allowOrigins(app, options.cors)
  if (options.accessLog) logAnswers(app, host.log)
  addBodyParser(app, options.handler !== undefined)
  const routes = addRoutes(app, options.routes, exchange)
  app.setNotFoundHandler(options.handler === undefined ? exchange.nothing(routes) : exchange.handler(options.handler))
  await app.ready()
  return app
}

/** Without it Fastify loads two compilers of JSON schemas at once, which takes longer than everything else in it. */
function noSchemas(): never {
  throw new Error('routes have no schemas: those of modules are checked where the module runs')
}

async function allowOrigins(app: FastifyInstance, { origins, credentials, maxAgeS }: NonNullable<HttpOptions['cors']>): Promise<void> {
  const { default: cors } = await import('@fastify/cors')
  await app.register(cors, {
    origin: origins,
    credentials,
    maxAge: maxAgeS,
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    exposedHeaders: ['Request-Id', 'Retry-After'],
    strictPreflight: false,
  })
}

/** The query is not logged: it may hold secrets. */
function logAnswers(app: FastifyInstance, log: Log): void {
  app.addHook('onResponse', (request, reply, next) => {
    const { method, ip } = request
    const fields = { method, path: pathOf(request), status: reply.statusCode, ms: Math.round(reply.elapsedTime), ip }
    log.info({ ...fields, request: reply.getHeader('request-id') }, 'answered')
    next()
  })
}

function addBodyParser(app: FastifyInstance, hasHandler: boolean): void {
  const parseJson = jsonParserOf(app)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (request, bytes, done) => {
    if (request.is404 && !hasHandler) return done(null) // 404 and 405 come before what is wrong with the body
    const { 'content-type': contentType, 'content-encoding': contentEncoding } = request.headers
    try {
      done(null, parseBody({ bytes: bytes as Buffer, contentType, contentEncoding }, parseJson, request.is404)) // parseAs says so
    } catch (error) {
      done(error as Error) // parseBody throws nothing else
    }
  })
}

/** Fastify's own parser, which refuses `__proto__` and `constructor.prototype`, without its callback. */
function jsonParserOf(app: FastifyInstance): JsonParser {
  const parse = app.getDefaultJsonParser('error', 'error')
  return (text) => {
    let failure: Error | null = null
    let parsed: unknown
    void parse({} as FastifyRequest, text, (error, value) => {
      failure = error
      parsed = value
    }) // it looks at no request, and calls back at once
    if (failure) throw failure
    return parsed
  }
}

function addRoutes(app: FastifyInstance, targets: HttpOptions['routes'], exchange: Exchange): Route[] {
  return Object.entries(targets).map(([text, target]) => {
    const route = parseRoute(text)
    if (typeof route === 'string') throw new TypeError(route) // the schema of the options has refused it
    app.route({ method: route.method, url: route.path, handler: exchange.route(route, target) })
    return route
  })
}

function urlOf({ address, family, port }: AddressInfo, secure: boolean): string {
  return `${secure ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
