/** A door before a server of TCP that can be shut, cut and held: a server that is gone, or silent, without its start and end. */
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { atEnd, type Owner } from '../../src/testing/owner.ts'

export interface TcpProxy {
  readonly port: number
  /** Connections that are open. */
  readonly connections: number
  /** Ends the connections. */
  cut(): void
  /** The same, and takes no more, until `open`. */
  shut(): Promise<void>
  open(): Promise<void>
  /** Passes nothing on in either direction, until `release`. */
  hold(): void
  release(): void
}

/** Stands before a port of loopback; with `tls` it takes the encryption off. */
export async function tcpProxy(owner: Owner, target: number, tls?: TlsOptions): Promise<TcpProxy> {
  const sockets = new Set<Socket>()
  let connections = 0
  let held = false
  let server: Server | undefined
  let port = 0
  const join = (outside: Socket): void => {
    const inside = connect(target, '127.0.0.1')
    connections++
    outside.once('close', () => connections--)
    for (const [from, to] of [
      [outside, inside],
      [inside, outside],
    ] as const) {
      sockets.add(from)
      from.setNoDelay(true)
      from.on('error', () => {}) // tests cut connections
      from.on('data', (chunk) => to.write(chunk))
      from.on('end', () => to.end())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
      if (held) from.pause()
    }
  }
  const open = async (): Promise<void> => {
    if (server) return
    server = tls ? createTlsServer(tls, join) : createServer(join)
    server.on('tlsClientError', () => {}) // tests distrust it
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as { port: number }).port
  }
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  const shut = async (): Promise<void> => {
    const closing = server
    server = undefined
    if (!closing) return
    const closed = once(closing, 'close')
    closing.close()
    cut()
    await closed
  }
  atEnd(owner, shut)
  await open()
  return {
    get port() {
      return port
    },
    get connections() {
      return connections
    },
    cut,
    shut,
    open,
    hold() {
      held = true
      for (const socket of sockets) socket.pause()
    },
    release() {
      held = false
      for (const socket of sockets) socket.resume()
    },
  }
}
