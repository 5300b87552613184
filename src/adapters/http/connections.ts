/**
 * Connections: the HTTP or HTTPS server under Fastify, who is connected to it, and what runs.
 * C1. Who sends too slowly, or nothing, is cut off by the server's timers and answered 408; nobody else waits for it.
 * C2. A response that closes unfinished belongs to a client that has gone away: `onGone` hears of it.
 * C3. drain() takes nothing new, drops the connections on which nothing runs, and resolves when the others have their answers; streams
 *     of events, which have no end, are told to end.
 */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import { failureOf, parserRefusalOf } from './failure.ts'
import { type ListenOptions, LONGEST_MS } from './options.ts'

/** How often the server looks for clients that are too slow, at most, ms. */
const CHECK_MS = 1_000

export class Connections {
  readonly server: Server
  readonly #sockets = new Set<Socket>()
  readonly #running = new Set<ServerResponse>()
  readonly #requestTimeoutMs: number
  #handle: RequestListener = () => {}
  readonly #onGone: (request: IncomingMessage) => void
  readonly #onClose: (this: ServerResponse) => void
  #draining: (() => void) | undefined
  readonly #stop = new AbortController()

  /** `secure` makes it HTTPS. `onGone` hears that a request's client is not there any more (C2). */
  constructor(
    options: ListenOptions & { timeoutMs: number },
    secure: (SecureContextOptions & { requestCert: boolean }) | undefined,
    onGone: (request: IncomingMessage) => void,
  ) {
    this.#requestTimeoutMs = options.requestTimeoutMs
    this.#onGone = onGone
    const ended = (response: ServerResponse): void => this.#end(response)
    this.#onClose = function () {
      ended(this) // one listener for all requests: no closure for each
    }
    const headersTimeout = Math.min(options.headersTimeoutMs, options.requestTimeoutMs)
    const limits = {
      maxHeaderSize: options.maxHeaderBytes,
      headersTimeout,
      requestTimeout: options.requestTimeoutMs,
      keepAliveTimeout: options.keepAliveTimeoutMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, headersTimeout),
    }
    const begin: RequestListener = (request, response) => this.#begin(request, response)
    this.server = secure
      ? createSecureServer({ ...limits, ...secure, handshakeTimeout: headersTimeout }, begin)
      : createServer(limits, begin)
    this.server.maxConnections = options.maxConnections
    this.server.setTimeout(Math.min(options.timeoutMs + options.requestTimeoutMs, LONGEST_MS)) // silent for longer than any request may take
    this.server.on(secure ? 'secureConnection' : 'connection', (socket: Socket) => this.#open(socket))
  }

  /** Fires when drain() begins. */
  get stopping(): AbortSignal {
    return this.#stop.signal
  }

  /** Has `handle` answer the requests; returns the server, which does not listen yet. */
  serve(handle: RequestListener): Server {
    this.#handle = handle
    return this.server
  }

  /** Resolves with the address once the world can connect. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject)
      this.server.listen({ host, port }, () => {
        this.server.off('error', reject)
        resolve()
      })
    })
    return this.server.address() as AddressInfo // a string only for a pipe
  }

  /** C3. */
  async drain(): Promise<void> {
    const drained = new Promise<void>((resolve) => {
      this.#draining = resolve
    })
    this.server.close()
    const busy = new Set([...this.#running].map((response) => response.req.socket))
    for (const response of this.#running) if (!response.headersSent) response.setHeader('connection', 'close')
    for (const socket of this.#sockets) if (!busy.has(socket)) socket.destroy()
    if (this.#running.size === 0) this.#draining?.()
    this.#stop.abort()
    const tooSlow = setTimeout(() => this.#dropUnfinished(), this.#requestTimeoutMs) // a closed server's own timers stand still
    await drained
    clearTimeout(tooSlow)
    for (const socket of this.#sockets) socket.destroySoon() // its answer had begun before
  }

  /** Answers what is no request, unless an answer is on its way on the same connection. */
  refuse(error: NodeJS.ErrnoException, socket: Socket): void {
    if (!this.#sockets.has(socket)) return void socket.destroy() // in its TLS handshake, where nothing can be said
    const answered = [...this.#running].some((response) => response.req.socket === socket && response.headersSent)
    if (socket.writable && !answered && error.code !== 'ECONNRESET') {
      const { status, body } = failureOf(parserRefusalOf(error), {})
      const text = JSON.stringify(body)
      const head = `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json; charset=utf-8\r\n`
      socket.write(`${head}Content-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`)
    }
    socket.destroySoon()
  }

  #dropUnfinished(): void {
    for (const { req } of this.#running) if (!req.complete) req.destroy()
  }

  #open(socket: Socket): void {
    if (this.#draining) return void socket.destroy()
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    this.#running.add(response)
    response.on('close', this.#onClose)
    if (this.#draining) response.setHeader('connection', 'close')
    this.#handle(request, response)
  }

  #end(response: ServerResponse): void {
    this.#running.delete(response)
    if (!response.writableFinished) this.#onGone(response.req)
    if (this.#running.size === 0) this.#draining?.()
  }
}
