/**
 * HTTP and HTTPS interface (RFC 9110, RFC 9112) on Fastify. options.ts has a sample configuration, types.ts a sample handler,
 * docs/adapters/http.md the rest.
 * S1. A request is one call over the bus, so any copy of the cage may serve it.
 * S2. Every failure has its status, and a JSON body with code and message.
 * S3. What costs time per request (a plugin, a hook) is there only if the configuration asks for it.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { type JsonParser, parseBody } from './body.ts'
import { type Answer, Exchange } from './exchange.ts'
import type { HttpOptions } from './options.ts'
import { parseRoute, type Route } from './routes.ts'
import { startServer } from './start.ts'

/** Starts an interface. */
export async function listen(options: HttpOptions, host: InterfaceHost): Promise<Listener> {
  const exchange = new Exchange(options, host)
  return await startServer(
    options,
    host,
    (reply, error) => exchange.fail(reply, error),
    (app, stopping) => addAll(app, options, exchange, stopping),
  )
}

async function addAll(app: FastifyInstance, options: HttpOptions, exchange: Exchange, stopping: AbortSignal): Promise<void> {
  if (options.cors) await allowOrigins(app, options.cors)
  addBodyParser(app, options.handler !== undefined)
  const routes = [
    ...addRoutes(app, options.routes, (route, target) => exchange.route(route, target)),
    ...addRoutes(app, options.events, (_, target) => exchange.events(target, stopping)),
  ]
  app.setNotFoundHandler(options.handler === undefined ? exchange.nothing(routes) : exchange.handler(options.handler))
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

function addRoutes(app: FastifyInstance, targets: HttpOptions['routes'], answer: (route: Route, target: string) => Answer): Route[] {
  return Object.entries(targets).map(([text, target]) => {
    const route = parseRoute(text)
    if (typeof route === 'string') throw new TypeError(route) // the schema of the options has refused it
    app.route({ method: route.method, url: route.path, handler: answer(route, target) })
    return route
  })
}
