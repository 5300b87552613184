/**
 * SMPP as an interface that is a server (SMSC): ESMEs bind, and what they submit becomes calls.
 *
 *   smsc: { kind: 'smpp', mode: 'smsc', port: 2775, accounts: { shop: env('SHOP_PASSWORD') }, submit: 'sms.submit', query: 'sms.query' }
 *   export async function submit(ctx: Context, message: SmppReceived, peer: SmppPeer): Promise<SmppAccepted> {
 *     return { messageId: await store(message) }
 *   }
 *
 * G1. Nothing is taken from a connection before it is bound, and it is cut off if it does not bind within `bindTimeoutMs`, or with a wrong password.
 * G2. Each request is answered when its call has ended, in whatever order, and never left without an answer.
 * G3. An ESME that goes away cancels its calls.
 * G4. stop() takes no new connections and requests, answers what runs, says unbind, and ends.
 *
 * SMPP 3.4, 2.2 (session states), 4.1 to 4.10, 7.2 (timers).
 */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer as createPlainServer, type Server, type Socket } from 'node:net'
import { createServer as createSecureServer } from 'node:tls'
import { CageError } from '../../errors.ts'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { Desk } from './desk.ts'
import { statusOf } from './errors.ts'
import type { SmppServerOptions } from './options.ts'
import { Outbox } from './outbox.ts'
import { Session } from './session.ts'

const LATER = { full: statusOf('RTHROTTLED'), closing: statusOf('RSYSERR') }

export async function serve(options: SmppServerOptions, host: InterfaceHost): Promise<Listener> {
  const server = await createServer(options)
  const sessions = new Set<Session>()
  const outbox = new Outbox(options, host)
  let stopping: Promise<void> | undefined
  server.maxConnections = options.maxConnections
  server.on(options.tls ? 'secureConnection' : 'connection', accept)
  server.on('tlsClientError', (error) => host.log.debug({ err: error }, 'a TLS connection could not be accepted'))
  await listening(server, options)
  server.on('error', (error) => host.log.warn({ err: error }, 'a connection could not be accepted'))
  const done = once(server, 'close').then(() => {
    if (stopping === undefined) throw new CageError('UNAVAILABLE', `${host.name}: the server has closed by itself`)
  })
  done.catch(() => {}) // whoever looks at it is told
  const bound = server.address()
  const port = typeof bound === 'object' ? (bound?.port ?? options.port) : options.port
  return {
    address: `${options.tls ? 'ssmpp' : 'smpp'}://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`,
    done,
    stop: () => (stopping ??= stop()),
  }

  function accept(socket: Socket): void {
    if (stopping !== undefined) return void socket.destroy()
    const name = `${socket.remoteAddress ?? 'a peer that has gone'}`
    const desk = new Desk(options, host, name, (peer) => outbox.open(peer, session))
    const session: Session = new Session({ name, socket, limits: options, log: host.log, later: LATER, serve: (pdu) => desk.serve(pdu) })
    sessions.add(session)
    const late = setTimeout(() => {
      if (!desk.peer) session.destroy(new CageError('UNAVAILABLE', `${name}: not bound in time`)) // G1
    }, options.bindTimeoutMs)
    void session.ended.then((why) => {
      clearTimeout(late)
      sessions.delete(session)
      host.cancel(desk) // G3
      if (desk.peer) host.log.info({ systemId: desk.peer.systemId, reason: why?.message }, 'an ESME is gone')
    })
  }

  /** G4. */
  async function stop(): Promise<void> {
    server.close()
    await Promise.all([...sessions].map((session) => session.close()))
    await outbox.ended()
    await done.catch(() => {}) // it had closed before
  }
}

async function createServer({ tls, bindTimeoutMs }: SmppServerOptions): Promise<Server> {
  if (!tls) return createPlainServer()
  const [key, cert, ca] = await Promise.all([tls.keyFile, tls.certFile, tls.clientCaFile].map((file) => file && readFile(file, 'utf8')))
  const mutual = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }
  return createSecureServer({
    ...(key === undefined ? {} : { key }),
    ...(cert === undefined ? {} : { cert }),
    ...mutual,
    handshakeTimeout: bindTimeoutMs,
  })
}

/** Rejects if the port cannot be had. */
async function listening(server: Server, { host, port }: SmppServerOptions): Promise<void> {
  const listens = once(server, 'listening')
  server.listen({ host, port })
  await listens
}
