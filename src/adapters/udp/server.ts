/**
 * UDP interface: each datagram is a call; its result, if it has one, is a datagram back. docs/adapters/udp.md has the rest.
 *
 *   interfaces: { metrics: { kind: 'udp', port: 8125, call: 'metrics.take', encoding: 'utf8' } },
 *   export async function take(ctx: Context, line: string): Promise<void> { ... }
 *
 * U1. At most `concurrency` calls run and `maxWaiting` datagrams wait; more are lost, as UDP may lose any, and the log says so.
 * U2. The copies of a cage do not share a port: the first has it, the next takes over when it goes.
 * RFC 768.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { CageError, toCageError } from '../../errors.ts'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { bytesOf, failureText, messageOf } from '../tcp/message.ts'
import type { UdpListenOptions } from './options.ts'

/** How often the log tells of lost datagrams, at most, ms. */
const TELL_MS = 10_000

/** Starts an interface. */
export async function listen(options: UdpListenOptions, host: InterfaceHost): Promise<Listener> {
  const socket = createSocket(isIPv6(options.host) ? 'udp6' : 'udp4')
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject)
      socket.bind({ address: options.host, port: options.port, exclusive: true }, () => {
        socket.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    socket.close()
    throw error
  }
  const datagrams = new Datagrams(socket, options, host)
  const { address, family, port } = socket.address()
  let stopping: Promise<void> | undefined
  let stopped: () => void
  const done = new Promise<void>((resolve, reject) => {
    stopped = resolve
    socket.once('error', (error) => {
      reject(error)
      socket.close()
    })
    socket.once('close', () => {
      if (!stopping) reject(new Error('the socket has closed by itself'))
    })
  })
  const stop = async (): Promise<void> => {
    await datagrams.drain()
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve())
      try {
        socket.close()
      } catch {
        resolve() // it was closed before
      }
    })
    stopped()
  }
  return { address: `udp://${family === 'IPv6' ? `[${address}]` : address}:${port}`, done, stop: () => (stopping ??= stop()) }
}

interface Datagram {
  bytes: Buffer
  from: RemoteInfo
}

class Datagrams {
  readonly #socket: Socket
  readonly #options: UdpListenOptions
  readonly #host: InterfaceHost
  readonly #waiting: Datagram[] = []
  readonly #running = new Set<Promise<void>>()
  #lost = 0
  #toldAt = 0
  #draining = false

  constructor(socket: Socket, options: UdpListenOptions, host: InterfaceHost) {
    this.#socket = socket
    this.#options = options
    this.#host = host
    socket.on('message', (bytes, from) => this.#take({ bytes, from }))
  }

  /** Takes no more; resolves when what runs has its answers. What waits is lost. */
  async drain(): Promise<void> {
    this.#draining = true
    this.#lose(this.#waiting.splice(0).length)
    await Promise.all(this.#running)
  }

  /** U1. */
  #take(datagram: Datagram): void {
    if (this.#draining) return
    if (this.#running.size >= this.#options.concurrency && this.#waiting.length >= this.#options.maxWaiting) return this.#lose(1)
    this.#waiting.push(datagram)
    this.#pump()
  }

  #pump(): void {
    while (this.#running.size < this.#options.concurrency) {
      const next = this.#waiting.shift()
      if (!next) return
      const run = this.#call(next).finally(() => {
        this.#running.delete(run)
        this.#pump()
      })
      this.#running.add(run)
    }
  }

  #lose(count: number): void {
    this.#lost += count
    const now = Date.now()
    if (this.#lost === 0 || now - this.#toldAt < TELL_MS) return
    this.#host.log.warn({ datagrams: this.#lost }, 'datagrams were lost, there was too much to do')
    this.#toldAt = now
    this.#lost = 0
  }

  async #call({ bytes, from }: Datagram): Promise<void> {
    const { call, encoding, timeoutMs, failure } = this.#options
    const host = this.#host
    const parameters = { remote: `${from.address}:${from.port}` }
    try {
      const result = await host.call(call, [messageOf(bytes, encoding)], { timeoutMs, protocol: 'udp', parameters })
      if (result !== undefined && result !== null) await this.#send(this.#encoded(result), from)
    } catch (error) {
      host.log.debug({ err: error, ...parameters }, 'a datagram has failed')
      if (failure !== undefined) await this.#send(bytesOf(failureText(failure, toCageError(error)), encoding), from)
    }
  }

  #encoded(result: unknown): Uint8Array {
    try {
      return bytesOf(result, this.#options.encoding)
    } catch (error) {
      this.#host.log.error({ call: this.#options.call, err: error }, 'the result cannot be sent')
      throw new CageError('INTERNAL', 'the result cannot be sent', { cause: error })
    }
  }

  /** An answer that the system does not take is lost, as any may be. */
  #send(bytes: Uint8Array, { port, address }: RemoteInfo): Promise<void> {
    return new Promise((resolve) => {
      try {
        this.#socket.send(bytes, port, address, (error) => {
          if (error) this.#host.log.warn({ err: error, bytes: bytes.length }, 'an answer could not be sent')
          resolve()
        })
      } catch (error) {
        this.#host.log.debug({ err: error }, 'an answer could not be sent') // the socket has closed by itself: `done` says so
        resolve()
      }
    })
  }
}
