/**
 * CancelRequest: asks a server, over a connection of its own, to end what another session runs.
 * It resolves when the server has closed that connection: by then it has signalled the session. PostgreSQL 18, 54.2.8, 54.7.
 */
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'

/** Whose work is to be cancelled, and where. */
export interface Cancellation {
  /** An address, or the folder of a local socket. */
  host: string
  port: number
  tls: ConnectionOptions | false
  /** The server's name, for its certificate. */
  name: string
  processID: number
  secretKey: number
}

const LIMIT_MS = 400
const SSL_REQUEST = words(8, 80_877_103)

export function sendCancel({ host, port, tls, name, processID, secretKey }: Cancellation): Promise<void> {
  const request = words(16, 80_877_102, processID, secretKey)
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect({ host, port })
  return new Promise<void>((resolve, reject) => {
    const limit = setTimeout(() => end(new Error('the server does not answer')), LIMIT_MS)
    const end = (error?: Error): void => {
      clearTimeout(limit)
      socket.destroy()
      if (error) reject(error)
      else resolve()
    }
    const send = (over: Socket): void => {
      over.once('close', () => end())
      over.resume().write(request)
    }
    socket.once('error', end)
    if (!tls) return void socket.once('connect', () => send(socket))
    socket.once('connect', () => socket.write(SSL_REQUEST))
    socket.once('data', (answer) => {
      if (answer.toString('latin1') !== 'S') return end(new Error('the server does not encrypt'))
      const secure = connectTls({ ...tls, socket, host: name }, () => send(secure))
      secure.once('error', end)
    })
  })
}

function words(...numbers: number[]): Buffer {
  const buffer = Buffer.alloc(numbers.length * 4)
  for (const [n, number] of numbers.entries()) buffer.writeInt32BE(number, n * 4)
  return buffer
}
