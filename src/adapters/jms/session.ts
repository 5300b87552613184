/**
 * Session: one STOMP connection. What asks for a receipt is confirmed by the broker, or has failed.
 * S1. A frame that the broker has not confirmed when its scope ends costs the session: nobody knows what becomes of it, and what comes after it
 *     would wait behind it.
 * S2. An ERROR frame ends the session (STOMP 1.2, ERROR). The frame that it names rejects with it, all others as lost. RabbitMQ names none: if
 *     a single frame is unconfirmed then, it is that one.
 * S3. A session that has ended says so by `broken`, once to who listens; nothing that it emits is thrown.
 * S4. A receipt or message that nobody waits for is dropped: it belongs to something that has ended.
 *
 * STOMP 1.2: stomp.github.io/stomp-specification-1.2.html
 */
import { once } from 'node:events'
import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { CageError } from '../../errors.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { type Client, openClient } from './client.ts'
import { type Dialect, dialectOf } from './dialect.ts'
import { fromErrorFrame, lost } from './errors.ts'
import type { Frame, Headers } from './frame.ts'
import type { JmsServer } from './options.ts'

/** So long has a broker to say goodbye, ms. */
const GRACE_MS = 500

/** How to reach a broker, and as whom. */
export interface Broker {
  readonly options: JmsServer
  /** The resource's or the interface's name, for messages. */
  readonly name: string
  readonly clientId?: string | undefined
}

interface Waiter {
  resolve(): void
  reject(why: CageError): void
}

export class Session {
  readonly #name: string
  readonly #client: Client
  readonly #receipts = new Map<string, Waiter>()
  readonly #subscriptions = new Map<string, (message: Frame) => void>()
  readonly #endings = new Set<(why: CageError) => void>()
  #dialect: Dialect = dialectOf(undefined)
  #connected: Waiter | undefined
  #ended: CageError | undefined
  #last = 0

  private constructor(socket: Socket, { options, name, clientId }: Broker) {
    const { user, password, virtualHost, heartbeatMs, maxBodyBytes } = options
    this.#name = name
    const login: Headers = { host: virtualHost }
    if (user !== undefined) login.login = user
    if (password !== undefined) login.passcode = password
    if (clientId !== undefined) login['client-id'] = clientId
    this.#client = openClient(
      socket,
      login,
      { who: name, heartbeatMs, maxBodyBytes },
      { onFrame: (frame) => this.#onFrame(frame), onEnd: (why) => this.#onEnd(why) },
    )
  }

  /** Connects; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED, FORBIDDEN. */
  static async open(broker: Broker, scope: Scope): Promise<Session> {
    const { name } = broker
    const socket = await reach(broker, scope)
    const session = new Session(socket, broker)
    const connected = new Promise<void>((resolve, reject) => {
      session.#connected = { resolve, reject }
      if (session.#ended) reject(session.#ended) // before there was somebody to tell
    })
    const off = whenEnded(scope, name, (why) => session.destroy(silent(why, name)))
    try {
      await connected
      return session
    } finally {
      off()
      session.#connected = undefined
    }
  }

  get broken(): boolean {
    return this.#ended !== undefined
  }

  get dialect(): Dialect {
    return this.#dialect
  }

  /** Called once, when the session has ended; at once if it has. Returns what calls that off. */
  onEnd(listener: (why: CageError) => void): () => void {
    if (this.#ended) listener(this.#ended)
    else this.#endings.add(listener)
    return () => this.#endings.delete(listener)
  }

  /** An id that is unique in the session. */
  nextId(): string {
    return String(++this.#last)
  }

  /** Writes a frame that nobody answers. */
  write(command: string, headers: Headers, body?: Buffer): void {
    this.#client.write(command, headers, body)
  }

  /** Writes a frame; resolves when the broker has dealt with it (S1). */
  confirm(command: string, headers: Headers, scope: Scope, body?: Buffer): Promise<void> {
    const ended = this.#ended ?? endOf(scope, Date.now(), this.#name)
    if (ended) return Promise.reject(ended)
    return new Promise((resolve, reject) => {
      const receipt = this.nextId()
      const settle = (): void => {
        off()
        this.#receipts.delete(receipt)
      }
      const waiter: Waiter = {
        resolve: () => {
          settle()
          resolve()
        },
        reject: (why) => {
          settle()
          reject(why)
        },
      }
      const off = whenEnded(scope, this.#name, (why) => {
        waiter.reject(why)
        this.destroy(new CageError('UNAVAILABLE', `${this.#name}: the broker did not confirm in time`))
      })
      this.#receipts.set(receipt, waiter)
      this.#client.write(command, { ...headers, receipt }, body)
    })
  }

  /** Subscribes; resolves with the subscription's id when the broker has taken it. Messages may come before. */
  async subscribe(headers: Headers, onMessage: (message: Frame) => void, scope: Scope): Promise<string> {
    const id = headers.id ?? `s${this.nextId()}`
    this.#subscriptions.set(id, onMessage)
    try {
      await this.confirm('SUBSCRIBE', { ...headers, id }, scope)
      return id
    } catch (error) {
      this.#subscriptions.delete(id)
      throw error
    }
  }

  /** Messages that name this subscription, although there was no SUBSCRIBE. */
  expect(id: string, onMessage: (message: Frame) => void): void {
    this.#subscriptions.set(id, onMessage)
  }

  async unsubscribe(id: string, scope: Scope): Promise<void> {
    try {
      await this.confirm('UNSUBSCRIBE', { id }, scope)
    } finally {
      this.#subscriptions.delete(id)
    }
  }

  destroy(why: CageError = lost(undefined, this.#name)): void {
    this.#client.destroy(why)
  }

  /** Says goodbye, for a while: what was written before is dealt with then. */
  async close(graceMs: number = GRACE_MS): Promise<void> {
    if (this.#ended) return
    this.#subscriptions.clear()
    const scope: Scope = { deadline: Date.now() + graceMs, signal: new AbortController().signal }
    await this.confirm('DISCONNECT', {}, scope).catch(() => {}) // it has gone in any case
    this.destroy()
  }

  #onFrame(frame: Frame): void {
    const { command, headers } = frame
    switch (command) {
      case 'MESSAGE':
        return this.#subscriptions.get(headers.subscription ?? '')?.(frame) // S4
      case 'RECEIPT':
        return this.#receipts.get(headers['receipt-id'] ?? '')?.resolve() // S4
      case 'ERROR':
        return this.#accused(headers['receipt-id'])?.reject(fromErrorFrame(frame, this.#name))
      case 'CONNECTED':
        this.#dialect = dialectOf(headers.server)
        return this.#connected?.resolve()
    }
  }

  /** S2. */
  #accused(receipt: string | undefined): Waiter | undefined {
    if (receipt !== undefined) return this.#receipts.get(receipt)
    const [first, ...others] = this.#receipts.values()
    return others.length === 0 ? first : undefined
  }

  #onEnd(reason: Error): void {
    const why = lost(reason, this.#name)
    this.#ended = why
    this.#connected?.reject(why)
    // what was under way is lost, whatever the reason was of somebody else's frame (S2)
    const lostToo = why.code === 'UNAVAILABLE' ? why : new CageError('UNAVAILABLE', why.message, { cause: why })
    for (const waiter of [...this.#receipts.values()]) waiter.reject(lostToo)
    for (const listener of this.#endings) listener(why)
    this.#endings.clear()
    this.#subscriptions.clear()
  }
}

/** A transport to the broker. */
async function reach({ options, name }: Broker, scope: Scope): Promise<Socket> {
  const { host, port } = options
  const tls = options.tls ? tlsOptions(options.tls, name) : undefined
  const socket = tls ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }), ...tls }) : connectPlain({ host, port })
  socket.setNoDelay(true)
  socket.setKeepAlive(true, 10_000)
  const late = new AbortController()
  const off = whenEnded(scope, name, (why) => late.abort(silent(why, name)))
  try {
    await once(socket, tls ? 'secureConnect' : 'connect', { signal: late.signal })
    return socket
  } catch (error) {
    socket.on('error', () => {}) // it is of no interest any more
    socket.destroy()
    throw lost(late.signal.aborted ? late.signal.reason : error, name)
  } finally {
    off()
  }
}

/** Connecting is the pool's own: a broker that takes too long is away. */
function silent(why: CageError, name: string): CageError {
  return why.code === 'DEADLINE_EXCEEDED' ? new CageError('UNAVAILABLE', `${name}: the broker does not answer`) : why
}
