/**
 * Session: one client of the interface. Its messages are called one after the other, and answered in their order.
 * S1. While a call runs or its answer is not taken, what comes is kept up to the limit of one message; then the client has to wait.
 * S2. No client holds us: one that is silent for `idleMs`, has not ended a message in `messageMs`, or takes its answers no more, is dropped.
 * S3. A client that resets its connection cancels its call. One that ends its half gets its answers first (Node hears nothing more of it, a
 *     reset neither, before it writes); with `halfClose` false it has gone away too.
 * S4. What is no message (too long, cut off, not of the encoding) and a call that failed are answered with `failure`, if there is one;
 *     else, and where the next message cannot be found any more, the connection is closed.
 * S5. A stop lets the running call be answered; messages that wait are not called.
 */
import type { Socket } from 'node:net'
import { CageError, toCageError } from '../../errors.ts'
import type { InterfaceHost } from '../adapter.ts'
import { Decoder, encode } from './framing.ts'
import { bytesOf, failureText, messageOf } from './message.ts'
import type { TcpListenOptions } from './options.ts'

/** So long does a client that we have said goodbye to have to read it, ms. */
const LINGER_MS = 1_000

/** Why a wait has ended. */
type Woken = 'something happened' | 'too late'

export class Session {
  /** Resolves when the connection is closed and nothing runs. */
  readonly ended: Promise<void>
  readonly #socket: Socket
  readonly #options: TcpListenOptions
  readonly #host: InterfaceHost
  readonly #decoder: Decoder
  readonly #parameters: Readonly<Record<string, unknown>>
  #stopping = false
  /** The client sends no more. */
  #finished = false
  /** When the message that is not whole yet has begun. */
  #begunAt: number | undefined
  #wake: (() => void) | undefined

  constructor(socket: Socket, options: TcpListenOptions, host: InterfaceHost, clientName: string | undefined) {
    this.#socket = socket
    this.#options = options
    this.#host = host
    this.#decoder = new Decoder(options)
    const remote = `${socket.remoteAddress}:${socket.remotePort}`
    this.#parameters = { connection: host.newRequestId(), remote, ...(clientName === undefined ? {} : { clientName }) }
    socket.on('data', (chunk) => this.#received(chunk))
    socket.on('drain', () => this.#wake?.())
    socket.on('end', () => this.#halfClosed())
    socket.on('error', (error) => host.log.debug({ err: error, remote }, 'a connection has failed')) // 'close' follows
    socket.on('close', () => {
      host.cancel(this) // S3
      this.#wake?.()
    })
    this.ended = this.#serve()
  }

  /** S5. */
  stop(): void {
    this.#stopping = true
    this.#wake?.()
  }

  async #serve(): Promise<void> {
    try {
      while (!this.#socket.destroyed) {
        const message = this.#decoder.next() ?? (this.#finished ? this.#decoder.end() : undefined)
        if (this.#stopping || (message === undefined && this.#finished)) break
        if (message === undefined) {
          if ((await this.#more()) === 'too late') break
          continue
        }
        const answer = await this.#answer(message)
        this.#begunAt = undefined
        if (answer === undefined || !(await this.#send(answer))) break
      }
    } catch (error) {
      const answer = this.#failure(toCageError(error)) // of the decoder: where the next message begins is not known
      if (answer) await this.#send(answer)
    }
    await this.#close()
  }

  /** Undefined: the connection is to be closed. */
  async #answer(message: Buffer): Promise<Buffer | undefined> {
    const { call, timeoutMs, encoding } = this.#options
    try {
      const result = await this.#host.call(call, [messageOf(message, encoding)], {
        timeoutMs,
        owner: this,
        protocol: 'tcp',
        parameters: this.#parameters,
      })
      return result === undefined || result === null ? Buffer.alloc(0) : this.#encoded(result)
    } catch (error) {
      return this.#failure(toCageError(error))
    }
  }

  #encoded(result: unknown): Buffer {
    try {
      return encode(bytesOf(result, this.#options.encoding), this.#options)
    } catch (error) {
      this.#host.log.error({ call: this.#options.call, err: error }, 'the result cannot be sent')
      throw new CageError('INTERNAL', 'the result cannot be sent', { cause: error })
    }
  }

  #failure(error: CageError): Buffer | undefined {
    const { failure, encoding } = this.#options
    this.#host.log.debug({ code: error.code, ...this.#parameters }, 'a message has failed')
    return failure === undefined ? undefined : encode(bytesOf(failureText(failure, error), encoding), this.#options)
  }

  #received(chunk: Buffer): void {
    this.#decoder.push(chunk)
    this.#begunAt ??= Date.now()
    if (this.#decoder.buffered > this.#options.maxMessageBytes) this.#socket.pause() // S1; #more resumes it
    this.#wake?.()
  }

  #halfClosed(): void {
    this.#finished = true
    if (!this.#options.halfClose) this.#socket.destroy()
    this.#wake?.()
  }

  /** S2. Until something has come, or has ended. */
  async #more(): Promise<Woken> {
    const { idleMs, messageMs } = this.#options
    if (this.#decoder.buffered === 0) this.#begunAt = undefined
    else this.#begunAt ??= Date.now() // it came while the call before ran
    this.#socket.resume()
    return await this.#until(this.#begunAt === undefined ? idleMs : Math.min(idleMs, this.#begunAt + messageMs - Date.now()))
  }

  #until(limitMs: number): Promise<Woken> {
    return new Promise((resolve) => {
      const end = (how: Woken): void => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve(how)
      }
      const timer = setTimeout(() => end('too late'), Math.max(0, limitMs))
      this.#wake = () => end('something happened')
    })
  }

  /** Resolves when there is room for more; false if the client does not take it (S2). */
  async #send(bytes: Buffer): Promise<boolean> {
    const socket = this.#socket
    const giveUpAt = Date.now() + this.#options.idleMs
    if (bytes.length > 0 && !socket.destroyed) socket.write(bytes)
    while (socket.writableNeedDrain && !socket.destroyed) {
      if ((await this.#until(giveUpAt - Date.now())) === 'too late') return false
    }
    return !socket.destroyed
  }

  /** What is still on its way to the client arrives, if it reads it. */
  async #close(): Promise<void> {
    const socket = this.#socket
    if (socket.destroyed) return
    socket.removeAllListeners('data')
    socket.resume() // unread bytes would make a reset of it, and the answer would be lost
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.end()
    const timer = setTimeout(() => socket.destroy(), LINGER_MS)
    await closed
    clearTimeout(timer)
  }
}
