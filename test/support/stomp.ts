/** STOMP by hand: a plain client, and brokers that say what a test wants. Independent of the adapter and its driver. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'

export interface StompFrame {
  command: string
  headers: Record<string, string>
  body: string
}

/** A frame as text; the values of headers have no escapes. */
export function stompFrame(command: string, headers: Record<string, string | number> = {}, body = ''): string {
  return `${[command, ...Object.entries(headers).map(([name, value]) => `${name}:${value}`)].join('\n')}\n\n${body}\0`
}

const UNESCAPED: Readonly<Record<string, string>> = { '\\c': ':', '\\n': '\n', '\\r': '\r', '\\\\': '\\' }

/** Calls `onFrame` for each frame that comes. Bodies without NUL only. */
function readFrames(socket: Socket, onFrame: (frame: StompFrame) => void): void {
  let rest = ''
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    const texts = (rest + chunk).split('\0')
    rest = texts.pop() ?? ''
    for (const text of texts) {
      const [head = '', ...body] = text.replace(/^\n+/, '').split('\n\n')
      const [command = '', ...lines] = head.split('\n')
      const headers = Object.fromEntries(
        lines.map((line) => {
          const value = line.slice(line.indexOf(':') + 1)
          return [line.slice(0, line.indexOf(':')), value.replace(/\\./g, (pair) => UNESCAPED[pair] ?? pair)]
        }),
      )
      onFrame({ command, headers, body: body.join('\n\n') })
    }
  })
}

export interface PlainStomp {
  send(command: string, headers: Record<string, string | number>, body?: string): void
  /** The same, and waits for the receipt. */
  confirm(command: string, headers: Record<string, string | number>, body?: string): Promise<void>
  /** The next MESSAGE that satisfies, and that nobody has taken yet. */
  message(fits?: (frame: StompFrame) => boolean, limitMs?: number): Promise<StompFrame>
  /** Resolves when the connection is closed. */
  readonly closed: Promise<void>
  close(): void
}

/** A client of a broker. */
export async function plainStomp(owner: Owner, port: number, login: Record<string, string> = {}): Promise<PlainStomp> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  atEnd(owner, () => void socket.destroy())
  socket.on('error', () => {}) // a test may end the broker
  const closed = once(socket, 'close').then(() => {})
  const frames: StompFrame[] = []
  readFrames(socket, (frame) => frames.push(frame))
  const take = async (what: string, fits: (frame: StompFrame) => boolean, limitMs?: number): Promise<StompFrame> => {
    const look = (): StompFrame | undefined => {
      const index = frames.findIndex(fits)
      const error = frames.find(({ command }) => command === 'ERROR')
      if (index < 0 && error) throw new Error(`the broker says ${error.headers.message}`)
      return index < 0 ? undefined : frames.splice(index, 1)[0]
    }
    return await eventually(what, look, limitMs)
  }
  let receipts = 0
  const send: PlainStomp['send'] = (command, headers, body = '') => void socket.write(stompFrame(command, headers, body))
  send('CONNECT', { 'accept-version': '1.2', host: '/', login: 'app', passcode: 'secret', ...login })
  await take('it is connected', ({ command }) => command === 'CONNECTED')
  return {
    send,
    async confirm(command, headers, body) {
      const receipt = `plain-${++receipts}`
      send(command, { ...headers, receipt }, body)
      await take(`${command} is confirmed`, (frame) => frame.command === 'RECEIPT' && frame.headers['receipt-id'] === receipt)
    },
    message: async (fits = () => true, limitMs) =>
      await take('a message comes', (frame) => frame.command === 'MESSAGE' && fits(frame), limitMs),
    closed,
    close: () => void socket.destroy(),
  }
}

export interface FakePeer {
  /** Bytes, as they are. */
  say(text: string | Buffer): void
  /** The next frame of this command that nobody has taken yet. */
  heard(command: string): Promise<StompFrame>
  readonly socket: Socket
}

export interface FakeBroker {
  readonly port: number
  /** The next client that has come. */
  client(): Promise<FakePeer>
}

/** What a broker says to begin with. */
export const CONNECTED: string = stompFrame('CONNECTED', { version: '1.2', server: 'ActiveMQ/fake' })

/** A broker that does nothing by itself. */
export async function fakeBroker(owner: Owner, tls?: TlsOptions): Promise<FakeBroker> {
  const clients: FakePeer[] = []
  const sockets = new Set<Socket>()
  const take = (socket: Socket): void => {
    sockets.add(socket)
    socket.setNoDelay(true)
    socket.on('error', () => {}) // what it says may end the connection
    const frames: StompFrame[] = []
    readFrames(socket, (frame) => frames.push(frame))
    clients.push({
      say: (text) => void socket.write(text),
      heard: (command) =>
        eventually(`${command} is heard`, () => {
          const index = frames.findIndex((frame) => frame.command === command)
          return index < 0 ? undefined : frames.splice(index, 1)[0]
        }),
      socket,
    })
  }
  const server = tls ? createTlsServer(tls, take) : createServer(take)
  server.on('tlsClientError', () => {}) // it is distrusted
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(owner, async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await within('the broker has ended', once(server, 'close'))
  })
  return { port: (server.address() as { port: number }).port, client: () => eventually('a client comes', () => clients.shift()) }
}
