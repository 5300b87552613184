/**
 * Connection: one socket of the resource, one message or exchange at a time.
 * C1. What nobody waits for (a late answer, a second one) would be taken for the next call's: the connection is dropped instead.
 * C2. A request that is late, or that nobody wants any more, resets the connection: the other end hears of it at once.
 * C3. Half an answer is none.
 */
import { connect, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectSecure } from 'node:tls'
import { CageError, toCageError } from '../../errors.ts'
import { whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { fromSocket } from './errors.ts'
import { Decoder, encode } from './framing.ts'
import type { TcpOptions } from './options.ts'

/** What a request waits for. */
interface Waiting {
  resolve(answer: Buffer): void
  reject(error: CageError): void
}

export class Connection {
  readonly #socket: Socket
  readonly #secure: boolean
  readonly #options: TcpOptions
  readonly #name: string
  readonly #decoder: Decoder
  #waiting: Waiting | undefined
  #failure: CageError | undefined

  private constructor(socket: Socket, secure: boolean, options: TcpOptions, name: string) {
    this.#secure = secure
    this.#socket = socket
    this.#options = options
    this.#name = name
    this.#decoder = new Decoder(options)
    socket.on('data', (chunk) => this.#received(chunk))
    socket.on('end', () => this.#ended())
    socket.on('error', (error) => this.#fail(fromSocket(error, name)))
    socket.on('close', () => this.#fail(this.#lost('the connection was lost')))
  }

  /** Leaves nothing behind if it rejects. UNAVAILABLE, UNAUTHENTICATED, OVERLOADED. */
  static async open(options: TcpOptions, name: string, secure: ConnectionOptions | undefined, scope: Scope): Promise<Connection> {
    const { host, port } = options
    const plain = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000, allowHalfOpen: true })
    const socket = secure ? connectSecure({ ...secure, socket: plain }) : plain
    const failed = (error: Error): void => void socket.destroy(error)
    if (secure) plain.on('error', failed)
    await new Promise<void>((resolve, reject) => {
      const off = whenEnded(scope, name, failed)
      const refused = (error: Error): void => {
        off()
        plain.destroy()
        reject(fromSocket(error instanceof CageError ? unreached(error, name) : error, name))
      }
      socket.once('error', refused)
      socket.once(secure ? 'secureConnect' : 'connect', () => {
        off()
        socket.off('error', refused)
        resolve()
      })
    })
    return new Connection(socket, secure !== undefined, options, name)
  }

  get broken(): boolean {
    return this.#failure !== undefined
  }

  /** Resolves when the system has taken it. Of a raw connection it is the last. */
  async send(message: Uint8Array, scope: Scope): Promise<void> {
    const bytes = encode(message, this.#options)
    await this.#within(scope, (resolve, reject) => {
      const sent = (error?: Error | null): void => (error ? reject(fromSocket(error, this.#name)) : resolve(undefined))
      if (this.#options.framing === 'raw') this.#socket.end(bytes, sent)
      else this.#socket.write(bytes, sent)
    })
  }

  /** The next message after it. */
  async request(message: Uint8Array, scope: Scope): Promise<Buffer> {
    const bytes = encode(message, this.#options)
    return await this.#within<Buffer>(scope, (resolve, reject) => {
      this.#waiting = { resolve, reject }
      if (this.#options.framing === 'raw') this.#socket.end(bytes)
      else this.#socket.write(bytes)
    })
  }

  async close(): Promise<void> {
    this.#failure ??= this.#lost('the connection is closed')
    this.#socket.end(() => this.#socket.destroy())
    if (this.#socket.destroyed) return
    const closed = new Promise((resolve) => this.#socket.once('close', resolve))
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS)
    await closed
    clearTimeout(timer)
  }

  /** C2. */
  async #within<T>(scope: Scope, begin: (resolve: (value: T) => void, reject: (error: CageError) => void) => void): Promise<T> {
    if (this.#failure) throw this.#failure
    let off = (): void => {}
    try {
      return await new Promise<T>((resolve, reject) => {
        off = whenEnded(scope, this.#name, (why) => {
          this.#fail(why)
          reject(why)
          this.#reset()
        })
        begin(resolve, reject)
      })
    } finally {
      off()
      this.#waiting = undefined
    }
  }

  #received(chunk: Buffer): void {
    if (!this.#waiting) return this.#drop(this.#lost('something came that nobody asked for')) // C1
    this.#decoder.push(chunk)
    try {
      const message = this.#decoder.next()
      if (message) this.#answered(message)
    } catch (error) {
      this.#drop(toCageError(error))
    }
  }

  /** The other end sends no more. */
  #ended(): void {
    const { framing } = this.#options
    if (framing !== 'raw' || !this.#waiting)
      return this.#drop(this.#lost(this.#decoder.buffered > 0 ? 'half an answer came' : 'the other end has closed')) // C3
    this.#answered(this.#decoder.end() ?? Buffer.alloc(0))
  }

  #answered(message: Buffer): void {
    this.#waiting?.resolve(Buffer.from(message)) // the decoder goes on with its bytes
    this.#waiting = undefined
    if (this.#decoder.buffered > 0) this.#drop(this.#lost('something came that nobody asked for')) // C1
  }

  #lost(how: string): CageError {
    return new CageError('UNAVAILABLE', `${this.#name}: ${how}`)
  }

  #drop(why: CageError): void {
    this.#fail(why)
    this.#socket.destroy()
  }

  /** C2. */
  #reset(): void {
    if (this.#secure)
      this.#socket.destroy() // its handle is TLS's now
    else if (!this.#socket.destroyed) this.#socket.resetAndDestroy()
  }

  #fail(error: CageError): void {
    this.#failure ??= error
    this.#waiting?.reject(this.#failure)
    this.#waiting = undefined
  }
}

/** So long does the other end have to close too, ms. */
const CLOSE_MS = 500

/** A server that does not answer in time is not there. */
function unreached(why: CageError, name: string): CageError {
  return why.code === 'DEADLINE_EXCEEDED' ? new CageError('UNAVAILABLE', `${name}: the server does not answer`, { cause: why }) : why
}
