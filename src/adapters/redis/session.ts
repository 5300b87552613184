/**
 * Session: one connection to a Redis server, RESP 3, one piece of work at a time.
 * S1. A command that is late, or that nobody wants any more: if it blocks, the server is told to let it go (CLIENT UNBLOCK, on a connection of
 *     its own), and the session lives. What does not answer within GRACE_MS loses the session: nothing hangs.
 * S2. A session that is lost is not made again here: it says so by `broken`.
 */
import { createClient } from '@redis/client'
import { CageError } from '../../errors.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { AS_BYTES, AS_TEXT, type Word } from './codec.ts'
import { fromRedis } from './errors.ts'
import type { RedisOptions } from './options.ts'

/** So long has a server to answer what is called off, ms. */
const GRACE_MS = 500

type Client = ReturnType<typeof clientOf>

export class Session {
  readonly #options: RedisOptions
  readonly #name: string
  readonly #client: Client
  #id = 0
  #broken = false
  /** Why it is. */
  #lost: unknown
  readonly #onEnd = new Set<() => void>()

  private constructor(options: RedisOptions, name: string, connectTimeout: number) {
    this.#options = options
    this.#name = name
    this.#client = clientOf(options, name, connectTimeout)
    this.#client.on('error', (error: unknown) => {
      this.#lost ??= error
      this.destroy() // S2; also what is no reply is an error, and nobody knows what follows it
    })
    this.#client.on('end', () => {
      this.#broken = true
      for (const listener of this.#onEnd) listener()
    })
  }

  /** UNAVAILABLE, UNAUTHENTICATED, OVERLOADED. */
  static async open(options: RedisOptions, name: string, scope: Scope): Promise<Session> {
    const session = new Session(options, name, scope.deadline - Date.now())
    let off = (): void => {}
    const ended = new Promise<never>((_, reject) => {
      off = whenEnded(scope, name, (why) =>
        reject(why.code === 'DEADLINE_EXCEEDED' ? new CageError('UNAVAILABLE', `${name}: the server does not answer`) : why),
      )
    })
    try {
      await Promise.race([session.#client.connect(), ended]) // the driver gives up by itself, too, and not sooner: `destroy` does not reach a socket that connects
      session.#id = Number(await Promise.race([session.send(['CLIENT', 'ID'], scope), ended]))
      return session
    } catch (error) {
      session.destroy()
      throw error instanceof CageError ? error : fromRedis(session.#lost ?? error, name)
    } finally {
      off()
    }
  }

  get broken(): boolean {
    return this.#broken
  }

  /** The server's name for it. */
  get id(): number {
    return this.#id
  }

  /** One command; the reply is still to be `decoded`. Rejects with what the driver says, or with why it was ended. */
  send(words: readonly Word[], scope: Scope, bytes: boolean = false): Promise<unknown> {
    return this.sendAll([words], scope, bytes).then(([reply]) => {
      if (reply instanceof Error) throw reply
      return reply
    })
  }

  /** Several, without waiting in between; an error reply is an Error among the replies. Rejects if the session is lost. */
  async sendAll(commands: readonly (readonly Word[])[], scope: Scope, bytes: boolean = false): Promise<unknown[]> {
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended
    if (this.#broken) throw fromRedis(this.#lost, this.#name)
    let why: CageError | undefined
    let impatience: NodeJS.Timeout | undefined
    let unblocking: Promise<void> | undefined
    const off = whenEnded(scope, this.#name, (reason) => {
      why = reason
      impatience = setTimeout(() => this.destroy(), GRACE_MS)
      unblocking = this.#unblock().catch(() => this.destroy()) // whether it runs, nobody can tell
    })
    const options: Parameters<Client['sendCommand']>[1] = { typeMapping: bytes ? AS_BYTES : AS_TEXT }
    const settled = await Promise.allSettled(commands.map((words) => this.#client.sendCommand(words, options)))
    off()
    await unblocking // it must hit no later command
    clearTimeout(impatience)
    if (why) throw why
    if (this.#broken) throw fromRedis(this.#lost, this.#name)
    return settled.map((one) => (one.status === 'fulfilled' ? one.value : one.reason))
  }

  /** Messages of channels that match; while it listens, commands are answered, too. What does not begin within the scope loses the session. */
  async listen(pattern: string, listener: (message: string, channel: string) => void, scope: Scope): Promise<void> {
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended
    if (this.#broken) throw fromRedis(this.#lost, this.#name)
    let why: CageError | undefined
    const off = whenEnded(scope, this.#name, (reason) => {
      why = reason
      this.destroy() // which rejects what waits
    })
    try {
      await this.#client.pSubscribe(pattern, listener)
    } catch (error) {
      throw why ?? fromRedis(this.#lost ?? error, this.#name)
    } finally {
      off()
    }
  }

  onEnd(listener: () => void): void {
    this.#onEnd.add(listener)
  }

  offEnd(listener: () => void): void {
    this.#onEnd.delete(listener)
  }

  destroy(): void {
    this.#broken = true
    this.#client.destroy()
  }

  async #unblock(): Promise<void> {
    const scope: Scope = { deadline: Date.now() + GRACE_MS, signal: new AbortController().signal }
    const other = await Session.open(this.#options, this.#name, scope)
    try {
      await other.send(['CLIENT', 'UNBLOCK', String(this.#id)], scope)
    } finally {
      other.destroy()
    }
  }
}

function clientOf({ host, port, user, password, database, clientName, tls }: RedisOptions, name: string, connectTimeout: number) {
  const common = { reconnectStrategy: false, connectTimeout: Math.max(1, connectTimeout) } as const
  const to = host.startsWith('/') ? { path: host, tls: false as const } : { host, port }
  return createClient({
    RESP: 3 as const,
    socket: tls && !host.startsWith('/') ? { ...common, ...tlsOptions(tls, name), host, port, tls: true } : { ...common, ...to },
    database,
    name: clientName,
    ...(user === undefined ? {} : { username: user }),
    ...(password === undefined ? {} : { password }),
    ...{ disableOfflineQueue: true, disableClientInfo: true, maintNotifications: 'disabled' },
  })
}
