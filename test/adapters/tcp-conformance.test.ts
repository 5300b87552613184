import diagnostics from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { connect as connectSecure } from 'node:tls'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { Decoder, encode, type Framing } from '../../src/adapters/tcp/framing.ts'
import { CODES } from '../../src/errors.ts'
import { interfaceConforms, type Seen, TARGET, type World } from '../../src/testing/interface.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { resourceConforms } from '../../src/testing/resource.ts'

const adapter = ADAPTERS.get('tcp')
if (!adapter) throw new Error('there is no adapter tcp')

const failures = Object.fromEntries([...Object.keys(CODES), 'OWN'].map((code) => [code, `! ${code}`]))
const LINE: Framing = { framing: 'line', lineEnding: '\n', lengthBytes: 4, lengthOrder: 'big', maxMessageBytes: 65_536 }

interfaceConforms({ name: 'tcp, lines', adapter, failures, world: (owner) => world(owner, LINE, false) })
interfaceConforms({ name: 'tcp, lines over TLS', adapter, failures, world: (owner) => world(owner, LINE, true) })

/** Each request has a connection of its own: those of one connection are answered one after the other. */
async function world(owner: Owner, framing: Framing, secure: boolean): Promise<World> {
  const port = await freePort()
  const sockets = new Set<Socket>()
  atEnd(owner, () => {
    for (const socket of sockets) socket.destroy()
  })
  const open = async (): Promise<Socket> => {
    const options = { port, host: '127.0.0.1', allowHalfOpen: true }
    const socket = secure ? connectSecure({ ...options, rejectUnauthorized: false }) : connect(options)
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    await once(socket, secure ? 'secureConnect' : 'connect')
    return socket
  }
  const send = (socket: Socket, text: string): void => void socket.write(encode(Buffer.from(text), framing))
  const ask = async (text: string): Promise<Seen> => {
    const socket = await open()
    try {
      const decoder = new Decoder(framing)
      send(socket, text)
      for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
        decoder.push(chunk)
        const answer = decoder.next()
        if (answer) return seen(answer.toString())
      }
      throw new Error('it was closed without an answer')
    } finally {
      socket.destroy()
    }
  }
  const servers = new Set<Server>()
  const onSocket = (message: unknown): void => {
    const { server } = (message as { socket: Socket & { server: Server } }).socket
    const address = server.address()
    if (typeof address === 'object' && address?.port === port) servers.add(server)
  }
  diagnostics.subscribe('net.server.socket', onSocket)
  atEnd(owner, () => void diagnostics.unsubscribe('net.server.socket', onSocket))
  return {
    options: {
      ...framing,
      ...{ port, call: TARGET, encoding: 'utf8', failure: '! {code}', halfClose: false },
      ...(secure ? { tls: { selfSigned: true } } : {}),
    },
    ask,
    askAndLeave: async (text) => {
      const socket = await open()
      socket.on('error', () => {}) // it is cut off on purpose
      send(socket, text)
      return () => void socket.destroy()
    },
    block: async () => {
      const other = createServer().listen(port, '127.0.0.1')
      await once(other, 'listening')
      return async () => {
        other.close()
        await once(other, 'close')
      }
    },
    kill: async () => {
      await ask('so that the server is known')
      for (const server of servers) server.close()
    },
  }
}

function seen(text: string): Seen {
  return text.startsWith('! ') ? { failure: text, text } : { answer: text }
}

const echo = createServer((socket) => void socket.on('error', () => {}).pipe(socket))
echo.listen(0, '127.0.0.1').unref()
await once(echo, 'listening')
const address = echo.address()
const port = typeof address === 'object' && address ? address.port : 0

resourceConforms({
  name: 'tcp',
  adapter,
  options: () => ({ host: '127.0.0.1', port }),
  quick: { method: 'request', args: ['hello'], result: 'hello' },
})
