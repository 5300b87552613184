/** Start: what every interface over HTTP has in common, whatever its bodies say: Fastify on connections of ours, TLS, and the end of both. */
import type { Server as SecureServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import type { Log } from '../../log.ts'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { keepCurrent, readCredentials } from './certificate.ts'
import { Connections } from './connections.ts'
import type { ListenOptions } from './options.ts'
import { pathOf } from './request.ts'

/** Answers with a failure. */
type Fail = (reply: FastifyReply, error: unknown) => void

/** Gives Fastify its body parsers and routes. The signal fires when the interface stops: an answer that has no end by itself ends then. */
type Add = (app: FastifyInstance, stopping: AbortSignal) => Promise<void>

/** Starts an interface. A client that goes away has its request's calls cancelled. */
export async function startServer(options: ListenOptions, host: InterfaceHost, fail: Fail, add: Add): Promise<Listener> {
  const { tls } = options
  const read = tls && (() => readCredentials(tls, host.dataDir, options.host, Date.now()))
  const secure = await read?.()
  const connections = new Connections({ ...options, timeoutMs: options.timeoutMs ?? host.timeoutMs }, secure, (request) =>
    host.cancel(request),
  )
  const { server } = connections
  const app = await build(options, host.log, connections, fail, add)
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
async function build(options: ListenOptions, log: Log, connections: Connections, fail: Fail, add: Add): Promise<FastifyInstance> {
  const app: FastifyInstance = fastify({
    serverFactory: (handle) => connections.serve(handle),
    clientErrorHandler: (error, socket) => connections.refuse(error, socket),
    frameworkErrors: (error, _request, reply) => fail(reply, error),
    bodyLimit: options.maxBodyBytes,
    trustProxy: options.trustedProxies.length > 0 && options.trustedProxies,
    genReqId: () => '', // the host makes them
    routerOptions: { maxParamLength: options.maxHeaderBytes },
    schemaController: { compilersFactory: { buildValidator: noSchemas, buildSerializer: noSchemas } },
  })
  app.setErrorHandler((error, _request, reply) => fail(reply, error))
  if (options.accessLog) logAnswers(app, log)
  await add(app, connections.stopping)
  await app.ready()
  return app
}

/** Without it Fastify loads two compilers of JSON schemas at once, which takes longer than everything else in it. */
function noSchemas(): never {
  throw new Error('routes have no schemas: those of modules are checked where the module runs')
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

function urlOf({ address, family, port }: AddressInfo, secure: boolean): string {
  return `${secure ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
