/**
 * Dial: a socket to an HTTP origin, by TLS and through a proxy as configured, made within a scope.
 * D1. It is ready when it resolves: the handshake is done and the server's certificate trusted. Nothing is left behind if it rejects.
 * D2. An https origin is reached through a proxy by CONNECT (RFC 9110, 9.3.6), an http one by asking the proxy (RFC 9112, 3.2.2).
 */
import { request } from 'node:http'
import { connect, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { CageError } from '../../errors.ts'
import { whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { fromStatus, fromUndici } from './client-errors.ts'
import type { HttpClientOptions } from './client-options.ts'

/** UNAVAILABLE, UNAUTHENTICATED (the proxy's), DEADLINE_EXCEEDED, CANCELLED. */
export async function dial({ url, proxy, tls }: HttpClientOptions, name: string, scope: Scope): Promise<Socket> {
  const own = tlsOptions(tls, name)
  const origin = new URL(url)
  if (proxy === undefined) return await open(origin, own, name, scope)
  const via = new URL(proxy)
  const { cert: _cert, key: _key, servername: _name, ...proxyTls } = own // those are for the origin
  const socket = await open(via, proxyTls, name, scope)
  if (origin.protocol === 'http:') return socket
  try {
    await tunnel(socket, origin, via, name, scope)
    return await open(origin, { ...own, socket }, name, scope)
  } catch (error) {
    socket.destroy() // D1
    throw error
  }
}

/** What an http origin's proxy wants to know of us: `proxy-authorization`. */
export function proxyHeaders(proxy: URL): Record<string, string> {
  if (proxy.username === '') return {}
  const words = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(words).toString('base64')}` }
}

function open({ protocol, hostname, port }: URL, tls: ConnectionOptions, name: string, scope: Scope): Promise<Socket> {
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const isSecure = protocol === 'https:'
  const to = { host, port: Number(port) || (isSecure ? 443 : 80), autoSelectFamily: true }
  const servername = tls.servername ?? (isIP(host) ? undefined : host)
  const socket = isSecure
    ? connectTls({ ...to, ...tls, ...(servername === undefined ? {} : { servername }), ALPNProtocols: ['http/1.1'] })
    : connect(to)
  socket.setNoDelay(true).setKeepAlive(true, 10_000)
  return settled(socket, name, scope, (done) => socket.once(isSecure ? 'secureConnect' : 'connect', () => done()))
}

/** D2. */
async function tunnel(socket: Socket, { hostname, port }: URL, proxy: URL, name: string, scope: Scope): Promise<void> {
  const target = `${hostname}:${port || 443}`
  const asked = request({
    method: 'CONNECT',
    path: target,
    headers: { host: target, ...proxyHeaders(proxy) },
    createConnection: () => socket,
  })
  await settled(socket, name, scope, (done) => {
    asked.once('error', done)
    asked.once('connect', ({ statusCode = 0 }) => {
      if (statusCode >= 200 && statusCode < 300) return done()
      const refused = statusCode === 407 ? fromStatus(407, name, undefined) : undefined
      done(refused ?? new CageError('UNAVAILABLE', `${name}: the proxy answers with ${statusCode}`, { details: { status: statusCode } }))
    })
    asked.end()
  })
}

/** D1. The socket, when `wait` is done within the scope. */
function settled(socket: Socket, name: string, scope: Scope, wait: (done: (error?: Error) => void) => void): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const done = (error?: Error): void => {
      off()
      socket.off('error', done)
      socket.off('close', onClose)
      if (error === undefined) return resolve(socket)
      socket.on('error', () => {}) // it is told once
      socket.destroy()
      reject(fromUndici(error, name))
    }
    const onClose = (): void => done(new CageError('UNAVAILABLE', `${name}: the connection was lost`))
    const off = whenEnded(scope, name, done)
    socket.once('error', done)
    socket.once('close', onClose)
    wait(done)
  })
}
