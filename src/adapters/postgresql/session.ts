/**
 * Session: one connection to a PostgreSQL server, one statement at a time, each within its scope.
 * S1. A statement that is late, or that nobody wants any more, is cancelled at the server (CancelRequest), and rejects when that is done.
 *     A server that does not answer that either loses the session: nothing hangs.
 * S2. A cancellation can hit no later statement: the next one waits until the server has dealt with it.
 * S3. A session that has ended says so by `broken`; nothing that it emits is thrown.
 * S4. Statements follow each other in the order of their calls.
 * PostgreSQL 18, 54.2.8 (cancelling), 19.3.1 (client_connection_check_interval).
 */
import type { Socket } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import pg from 'pg'
import { CageError } from '../../errors.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { sendCancel } from './cancel.ts'
import { endsSession, fromPostgres } from './errors.ts'
import type { PostgresOptions } from './options.ts'
import type { Statement } from './parameters.ts'
import { typeParser } from './types.ts'

/** What the server has answered. */
export interface Answer {
  /** COMMIT, ROLLBACK, INSERT ... */
  command: string
  rows: Record<string, unknown>[]
  rowCount: number
}

/** Of the server and the session in it. */
export interface ServerFacts {
  pid: number
  /** With `pid` it names the session for ever: seconds, exact. */
  startedAt: string
  maxPrepared: number
  /** server_version_num. */
  version: number
}

/** Whether it is in a transaction: idle, in one, in a failed one. */
export type TransactionStatus = 'I' | 'T' | 'E'

/** So long has a server to cancel, and to say goodbye, ms. */
const GRACE_MS = 500
const OLDEST_VERSION = 130_000

/** Values are read as they are written here, whatever the role's or the database's settings are. */
const FORMATS = { DateStyle: 'ISO', IntervalStyle: 'iso_8601', bytea_output: 'hex', extra_float_digits: '1', client_encoding: 'UTF8' }

const FACTS = `select pid, extract(epoch from backend_start)::text as "startedAt", current_setting('max_prepared_transactions')::int as "maxPrepared",
  current_setting('server_version_num')::int as version from pg_stat_activity where pid = pg_backend_pid()`

/** How to reach a server. */
export interface Server {
  readonly options: PostgresOptions
  /** The resource's name, for messages. */
  readonly name: string
  readonly maxCallMs?: number | undefined
}

export class Session {
  readonly #server: Server
  readonly #client: pg.Client
  readonly #tls: ConnectionOptions | false
  #facts: ServerFacts = { pid: 0, startedAt: '', maxPrepared: 0, version: 0 }
  #broken = false
  #last: Promise<Answer> = Promise.resolve({ command: '', rows: [], rowCount: 0 })
  /** Statements that run or wait. */
  #running = 0

  private constructor(server: Server, tls: ConnectionOptions | false) {
    const { host, port, database, user, password = '', applicationName, settings } = server.options
    this.#server = server
    this.#tls = tls
    this.#client = new pg.Client({
      ...{
        host,
        port,
        database,
        user,
        password,
        ssl: tls,
        application_name: applicationName,
        keepAlive: true,
        keepAliveInitialDelayMillis: 10_000,
      },
      options: sessionOptions({ ...settings, ...FORMATS }),
      ...(server.maxCallMs === undefined ? {} : { statement_timeout: Math.ceil(server.maxCallMs) }),
      types: { getTypeParser: typeParser as typeof pg.types.getTypeParser }, // its overloads tell text from binary, which we never ask for
    })
    this.#client.on('error', () => (this.#broken = true)) // S3
    this.#client.on('end', () => (this.#broken = true))
  }

  /** Connects; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED, OVERLOADED. */
  static async open(server: Server, scope: Scope): Promise<Session> {
    const session = new Session(server, server.options.tls && tlsOptions(server.options.tls, server.name))
    try {
      await session.#connect(scope)
      return session
    } catch (error) {
      session.destroy()
      throw fromPostgres(error, server.name)
    }
  }

  get broken(): boolean {
    return this.#broken
  }

  get facts(): ServerFacts {
    return this.#facts
  }

  get transaction(): TransactionStatus {
    return this.#client.getTransactionStatus() ?? 'I'
  }

  /** Told every notification, its channel and payload. */
  onNotification(listener: (channel: string, payload: string) => void): void {
    this.#client.on('notification', ({ channel, payload = '' }) => listener(channel, payload))
  }

  /** Called once, when the session has ended. */
  onEnd(listener: () => void): void {
    this.#client.once('end', listener)
  }

  offEnd(listener: () => void): void {
    this.#client.off('end', listener)
  }

  /** Stops and continues reading: the server keeps what it has to say. */
  pause(): void {
    this.#client.connection.stream.pause()
  }

  resume(): void {
    this.#client.connection.stream.resume()
  }

  /** One statement, with parameters; or a text without, that may hold several (of which the first answers). */
  query(what: Statement | string, scope: Scope): Promise<Answer> {
    const run = (): Promise<Answer> => this.#run(what, scope)
    this.#last = this.#running++ === 0 ? run() : this.#last.then(run, run) // S4
    return this.#last
  }

  destroy(): void {
    this.#broken = true
    const { stream } = this.#client.connection
    stream.on('error', () => {}) // whoever waits for something is told; the rest is of no interest
    stream.destroy()
  }

  /** Says goodbye, for a while. */
  async close(): Promise<void> {
    if (this.#broken) return this.destroy()
    this.#broken = true
    const impatience = setTimeout(() => this.destroy(), GRACE_MS)
    await this.#client.end().finally(() => clearTimeout(impatience))
  }

  async #connect(scope: Scope): Promise<void> {
    let why: CageError | undefined
    const off = whenEnded(scope, this.#server.name, (reason) => {
      why = reason
      this.destroy()
    })
    try {
      await this.#client.connect()
      off()
      const { rows } = await this.query({ text: FACTS, values: [] }, scope)
      this.#facts = rows[0] as unknown as ServerFacts // as FACTS says
    } catch (error) {
      throw why?.code === 'DEADLINE_EXCEEDED'
        ? new CageError('UNAVAILABLE', `${this.#server.name}: the server does not answer`)
        : (why ?? error)
    } finally {
      off()
    }
    if (this.#facts.version < OLDEST_VERSION) throw new CageError('UNAVAILABLE', `${this.#server.name}: PostgreSQL 13 or newer is needed`)
    // the server ends what runs for a client that is gone; one that cannot tell, on some systems, refuses the setting
    if (this.#facts.version < 140_000) return
    await this.query('set client_connection_check_interval = 2000', scope).catch((error: unknown) => {
      if (this.#broken) throw error
    })
  }

  #run(what: Statement | string, scope: Scope): Promise<Answer> {
    const ended = endOf(scope, Date.now(), this.#server.name)
    if (ended) {
      this.#running--
      return Promise.reject(ended)
    }
    return new Promise((resolve, reject) => {
      let why: CageError | undefined
      let cancelling: Promise<void> | undefined
      let impatience: NodeJS.Timeout | undefined
      const off = whenEnded(scope, this.#server.name, (reason) => {
        why = reason
        cancelling = this.#cancel()
        impatience = setTimeout(() => this.destroy(), GRACE_MS)
      })
      const settle = (error: Error | null, result: pg.QueryResult): void => {
        off()
        if (error && endsSession(error)) this.#broken = true // R2
        const finish = (): void => {
          clearTimeout(impatience)
          this.#running--
          if (error) reject(why ?? fromPostgres(error, this.#server.name))
          else resolve(answerOf(result))
        }
        if (cancelling !== undefined)
          void cancelling.then(finish) // S2
        else if (error && !this.#broken) this.#whenReady(finish)
        else finish()
      }
      // the extended protocol takes one statement only, so that none can be smuggled in: it is used with values, or if it is asked for
      if (typeof what === 'string') this.#client.query(what, settle)
      else if (what.values.length > 0) this.#client.query(what.text, what.values, settle)
      else void this.#client.query({ text: what.text, queryMode: 'extended' } as pg.QueryConfig, settle) // not in the driver's types
    })
  }

  /** After an error the server tells what became of the transaction. */
  #whenReady(listener: () => void): void {
    const { connection } = this.#client
    const once = (): void => {
      connection.off('readyForQuery', once)
      connection.off('end', once)
      listener()
    }
    connection.on('readyForQuery', once)
    connection.on('end', once)
  }

  /** S1. Resolves when the server has taken it, or the session is lost. */
  async #cancel(): Promise<void> {
    const { port } = this.#server.options
    const { stream } = this.#client.connection
    const host = (stream as Socket).remoteAddress ?? this.#server.options.host // the same server, where a name stands for several
    const { processID, secretKey } = this.#client as unknown as { processID: number; secretKey: number } // not in the driver's types
    try {
      await sendCancel({ host, port, tls: this.#tls, name: this.#server.options.host, processID, secretKey })
    } catch {
      this.destroy() // whether it will be cancelled, and when, nobody knows
    }
  }
}

function answerOf(result: pg.QueryResult | pg.QueryResult[]): Answer {
  const { command, rows, rowCount } = (Array.isArray(result) ? result[0] : result) ?? { command: '', rows: [], rowCount: 0 }
  return { command, rows, rowCount: rowCount ?? 0 }
}

function sessionOptions(settings: Readonly<Record<string, string>>): string {
  return Object.entries(settings)
    .map(([name, value]) => `-c ${name}=${value.replace(/[\\\s]/g, '\\$&')}`)
    .join(' ')
}
