/** Web servers that are not ours: Python's (web-peer.py), and sockets that answer with whatever they are told. */
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import type { CertificateFiles } from './certificates.ts'
import { type ServerProcess, startServer } from './process.ts'

export interface WebServer extends ServerProcess {
  readonly url: string
  stats(): Promise<{ running: number; sessions: number; counts: Record<string, number> }>
}

/** With `tls` it is https, and with `tls.demand` clients must have a certificate of that authority. */
export async function startWeb(owner: Owner, tls?: CertificateFiles & { demand?: string }): Promise<WebServer> {
  const port = await freePort()
  const files = tls ? [tls.cert, tls.key, ...(tls.demand === undefined ? [] : [tls.demand])] : []
  const server = await startServer(owner, {
    command: 'python3',
    args: [join(import.meta.dirname, 'web-peer.py'), String(port), ...files],
    isReady: (said) => said.includes('ready'),
  })
  const url = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`
  return Object.defineProperties(
    { url, stats: async () => (await fetch(`${url}/stats`, { headers: { connection: 'close' } })).json() },
    Object.getOwnPropertyDescriptors(server),
  ) as WebServer
}

/** A server that does with each connection what it is told; its URL. */
export async function startSockets(owner: Owner, serve: (socket: Socket, nth: number) => void): Promise<string> {
  let connections = 0
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    open.add(socket)
    socket.on('error', () => {}).on('close', () => open.delete(socket))
    serve(socket, ++connections)
  })
  const port = await freePort()
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  atEnd(owner, async () => {
    for (const socket of open) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${port}`
}
