/**
 * TCP interface, with TLS if it is configured: each message of a client is a call, and its result the answer. docs/adapters/tcp.md has the rest.
 *
 *   interfaces: { gate: { kind: 'tcp', port: 7000, call: 'gate.line', failure: 'ERROR {code}' } },
 *   export async function line(ctx: Context, text: string): Promise<string> { return `you said ${text}` }
 *
 * T1. A stop closes connections on which nothing runs, and lets the others have the answer of the call that runs (session.ts).
 * RFC 9293 (half-closed connections: 3.6), RFC 8446 (6.1: TLS has them too).
 */
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createSecureServer, type Server as SecureServer, type TLSSocket } from 'node:tls'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { keepCurrent, readCredentials } from '../http/certificate.ts'
import type { TcpListenOptions } from './options.ts'
import { Session } from './session.ts'

/** A TLS handshake has so long, ms. */
const HANDSHAKE_MS = 10_000

/** Starts an interface. */
export async function listen(options: TcpListenOptions, host: InterfaceHost): Promise<Listener> {
  const { tls } = options
  const read = tls && (() => readCredentials(tls, host.dataDir, options.host, Date.now()))
  const credentials = await read?.()
  const sessions = new Set<Session>()
  const sockets = new Set<Socket>() // of TLS, also those in their handshake
  const limits = { allowHalfOpen: true, noDelay: true, keepAlive: true }
  const secure: SecureServer | undefined = credentials && createSecureServer({ ...limits, ...credentials, handshakeTimeout: HANDSHAKE_MS })
  const server: Server = secure ?? createServer(limits)
  server.maxConnections = options.maxConnections
  server.on('drop', () => host.log.warn({ maxConnections: options.maxConnections }, 'a connection is refused, there are too many'))
  if (secure) {
    secure.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
    })
    secure.on('tlsClientError', (error) => host.log.debug({ err: error }, 'a TLS handshake has failed'))
    secure.on('secureConnection', (socket) => serve(socket, clientNameOf(socket)))
  } else server.on('connection', (socket: Socket) => serve(socket))
  const address = await bound(server, options)
  server.on('error', (error) => host.log.warn({ err: error }, 'a connection could not be accepted'))
  const endRenewal = secure && read && credentials && keepCurrent(secure, credentials, read, host.log)
  let stopping: Promise<void> | undefined
  let stopped: () => void
  const done = new Promise<void>((resolve, reject) => {
    stopped = resolve
    server.once('close', () => {
      if (!stopping) reject(new Error('the server has closed by itself'))
    })
  })
  return { address, done, stop: () => (stopping ??= stop()) }

  function serve(socket: Socket, clientName?: string): void {
    if (stopping !== undefined) return void socket.destroy()
    const session = new Session(socket, options, host, clientName)
    sessions.add(session)
    void session.ended.then(() => sessions.delete(session)) // it never rejects
  }

  /** T1. */
  async function stop(): Promise<void> {
    endRenewal?.()
    server.close()
    for (const session of sessions) session.stop()
    await Promise.all([...sessions].map(({ ended }) => ended))
    for (const socket of sockets) socket.destroy()
    stopped()
  }
}

/** Where the world can reach it; rejects if it cannot. */
async function bound(server: Server, { host, port, tls }: TcpListenOptions): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no address') // a pipe has none
  return `${tls ? 'tls' : 'tcp'}://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`
}

function clientNameOf(socket: TLSSocket): string | undefined {
  const name = socket.getPeerCertificate().subject?.CN
  return Array.isArray(name) ? name[0] : name
}
