/**
 * UDP as a resource: datagrams, and requests with one datagram back.
 *
 *   resources: { beacon: { kind: 'udp', host: 'time.plant.example', port: 9999 } },
 *   await ctx.resources.beacon.send('tick')
 *   const answer = await ctx.resources.beacon.request(question)
 *
 * D1. Only what comes from where we send to is heard, and only what comes while a request waits.
 * D2. After a request that had no answer the socket is another one, on another port: a late answer is nobody else's.
 * D3. Nothing is sent twice: whoever wants that asks again.
 * RFC 768.
 */
import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import { fromSocket } from '../tcp/errors.ts'
import { bytesOf, messageOf } from '../tcp/message.ts'
import type { UdpOptions } from './options.ts'

const METHODS = ['send', 'request']

export async function open(options: UdpOptions, { name }: ResourceHost): Promise<Resource> {
  return {
    async connect(scope) {
      const socket = await ready(options, name, scope)
      return new UdpConnection(socket, options, name)
    },
  }
}

/** A socket that hears of errors of its peer (ICMP), if the peer is one. */
async function ready({ host, port, broadcast }: UdpOptions, name: string, scope: Scope): Promise<Socket> {
  return await new Promise((resolve, reject) => {
    let socket: Socket | undefined
    let over = false
    const fail = (error: unknown): void => {
      if (over) return
      over = true
      off()
      socket?.close()
      reject(fromSocket(error, name))
    }
    const off = whenEnded(scope, name, fail)
    const begin = async (): Promise<void> => {
      const { address, family } = await lookup(host)
      if (over) return
      socket = createSocket(family === 6 ? 'udp6' : 'udp4')
      socket.once('error', fail)
      await new Promise<void>((bound) => socket?.bind(0, bound))
      if (broadcast) socket.setBroadcast(true)
      socket.connect(port, address, (error?: Error) => {
        if (error) return fail(error)
        over = true
        off()
        socket?.off('error', fail)
        resolve(socket as Socket) // it was made above
      })
    }
    begin().catch(fail)
  })
}

class UdpConnection implements ResourceConnection {
  readonly participant = 'irreversible'
  readonly #socket: Socket
  readonly #options: UdpOptions
  readonly #name: string
  #broken = false
  #closed = false
  #waiting: { resolve(answer: Buffer): void; reject(error: CageError): void } | undefined

  constructor(socket: Socket, options: UdpOptions, name: string) {
    this.#socket = socket
    this.#options = options
    this.#name = name
    socket.on('message', (bytes) => this.#waiting?.resolve(bytes)) // D1
    socket.on('error', (error) => this.#fail(error))
    socket.on('close', () => (this.#closed = true))
  }

  get broken(): boolean {
    return this.#broken
  }

  async call(method: string, [message]: readonly unknown[], scope: Scope): Promise<unknown> {
    if (!METHODS.includes(method))
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: there is no method ${method}${didYouMean(method, METHODS)}`)
    const { encoding } = this.#options
    const bytes = bytesOf(message, encoding)
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended
    if (method === 'send') return await this.#send(bytes)
    return messageOf(await this.#request(bytes, scope), encoding)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    await new Promise<void>((resolve) => this.#socket.close(resolve))
  }

  async #request(bytes: Uint8Array, scope: Scope): Promise<Buffer> {
    let off = (): void => {}
    try {
      return await new Promise<Buffer>((resolve, reject) => {
        this.#waiting = { resolve, reject }
        off = whenEnded(scope, this.#name, reject)
        this.#send(bytes).catch(reject)
      })
    } catch (error) {
      this.#broken = true // D2
      throw error
    } finally {
      off()
      this.#waiting = undefined
    }
  }

  #send(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.send(bytes, (error) => (error ? reject(fromSocket(error, this.#name)) : resolve()))
    })
  }

  /** What ICMP tells: nobody listens there. */
  #fail(error: unknown): void {
    this.#waiting?.reject(fromSocket(error, this.#name))
  }
}
