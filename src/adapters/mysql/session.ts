/**
 * Session: one connection to a MySQL or MariaDB server, one statement at a time, each within its scope.
 * S1. A statement that is late, or that nobody wants any more, is killed at the server (KILL QUERY, on a connection of its own), and rejects when
 *     that is done. A server that does not answer that either loses the session: nothing hangs.
 * S2. A kill can hit no later statement: the next one waits until the server has dealt with it.
 * S3. A session that has ended says so by `broken`; nothing that it emits is thrown.
 * S4. Statements follow each other in the order of their calls.
 * MySQL 8.4, 15.7.8.4 (KILL), 27.2.
 */
import { connect as connectSocket, isIP, type Socket } from 'node:net'
import mysql from 'mysql2'
import { CageError } from '../../errors.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { type DriverError, endsSession, fromMysql } from './errors.ts'
import type { MysqlOptions } from './options.ts'
import type { Statement } from './parameters.ts'
import { type Column, READING, rowOf } from './types.ts'

/** What the server has answered. */
export interface Answer {
  rows: Record<string, unknown>[]
  /** Changed, or found as they should be. */
  rowCount: number
  /** Whether the session is in a transaction now, where the answer tells. */
  inTransaction: boolean | undefined
}

/** Of the server and the session in it. */
export interface ServerFacts {
  id: number
  isMariadb: boolean
  /** Major and minor: 10.11 is 10_011. */
  version: number
}

/** How to reach a server. */
export interface Server {
  readonly options: MysqlOptions
  /** The resource's name, for messages. */
  readonly name: string
  readonly maxCallMs?: number | undefined
}

/** So long has a server to kill, and to say goodbye, ms. */
const GRACE_MS = 1_000
const IN_TRANSACTION = 1 // SERVER_STATUS_IN_TRANS
const NOT_PREPARABLE = 1295 // ER_UNSUPPORTED_PS
const MAX_STATEMENTS = 200

/** What ends an answer without rows, and a procedure's after them. */
interface End {
  affectedRows: number
  serverStatus: number
}

type Raw = unknown[] | End

export class Session {
  readonly #server: Server
  readonly #connection: mysql.Connection
  #facts: ServerFacts = { id: 0, isMariadb: false, version: 0 }
  #broken = false
  #last: Promise<unknown> = Promise.resolve()
  /** Ends the statement that runs: the driver says nothing of a connection that it has destroyed. */
  #onLost: ((error: Error) => void) | undefined

  private constructor(server: Server, connectTimeout: number) {
    this.#server = server
    this.#connection = connectionOf(server, connectTimeout)
    this.#connection.on('error', (error) => this.#lose(error)) // S3
    this.#connection.on('end', () => this.#lose())
  }

  /** Connects; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED, OVERLOADED. */
  static async open(server: Server, scope: Scope): Promise<Session> {
    const { name } = server
    const ended = endOf(scope, Date.now(), name)
    if (ended) throw ended
    const session = new Session(server, Math.max(1, scope.deadline - Date.now()))
    try {
      await new Promise<void>((resolve, reject) => {
        const off = whenEnded(scope, name, (why) =>
          reject(why.code === 'DEADLINE_EXCEEDED' ? new CageError('UNAVAILABLE', `${name}: the server does not answer`) : why),
        )
        session.#begin(scope).then(resolve, reject).finally(off)
      })
      return session
    } catch (error) {
      session.destroy()
      throw fromMysql(error, name)
    }
  }

  get broken(): boolean {
    return this.#broken
  }

  get facts(): ServerFacts {
    return this.#facts
  }

  /** One statement with parameters; or a text, for what cannot have any. */
  query(what: Statement | string, scope: Scope): Promise<Answer> {
    const run = (): Promise<Answer> => this.#run(what, scope)
    const answer = this.#last.then(run, run) // S4
    this.#last = answer
    return answer
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    for (let last: unknown; last !== this.#last; ) {
      last = this.#last
      await this.#last.catch(() => {}) // its caller is told
    }
  }

  destroy(): void {
    this.#lose()
  }

  /** Says goodbye, for a while. */
  async close(): Promise<void> {
    if (this.#broken) return this.destroy()
    this.#broken = true
    await new Promise<void>((resolve) => {
      const impatience = setTimeout(resolve, GRACE_MS)
      this.#connection.end(() => {
        clearTimeout(impatience)
        resolve()
      })
    })
    this.destroy()
  }

  #lose(error: Error = new CageError('UNAVAILABLE', `${this.#server.name}: the connection was lost`)): void {
    this.#broken = true
    this.#connection.destroy()
    this.#onLost?.(error)
  }

  async #begin(scope: Scope): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#onLost = reject
      this.#connection.connect((error) => (error ? reject(error) : resolve()))
    })
    this.#onLost = undefined
    const { rows } = await this.query('select connection_id() as id, version() as version', scope)
    const { id, version } = rows[0] as { id: bigint; version: string } // as asked for
    const [, major = 0, minor = 0] = /^(\d+)\.(\d+)/.exec(version) ?? []
    this.#facts = { id: Number(id), isMariadb: /mariadb/i.test(version), version: Number(major) * 1_000 + Number(minor) }
    const { options, maxCallMs } = this.#server
    const limit = this.#facts.isMariadb ? 'max_statement_time' : 'max_execution_time'
    const settings: [string, string][] = [
      ['time_zone', `'+00:00'`],
      ['sql_mode', `concat(@@sql_mode, ',STRICT_ALL_TABLES')`],
      ...(maxCallMs === undefined
        ? []
        : [[limit, String(this.#facts.isMariadb ? maxCallMs / 1_000 : Math.ceil(maxCallMs))] as [string, string]]),
      ...Object.entries(options.settings).map(([key, value]): [string, string] => [key, mysql.escape(value)]),
    ]
    await this.query(`set ${settings.map(([key, value]) => `session ${key} = ${value}`).join(', ')}`, scope)
  }

  #run(what: Statement | string, scope: Scope): Promise<Answer> {
    const { name } = this.#server
    const ended = endOf(scope, Date.now(), name)
    if (ended) return Promise.reject(ended)
    if (this.#broken) return Promise.reject(new CageError('UNAVAILABLE', `${name}: the connection was lost`))
    return new Promise((resolve, reject) => {
      let why: CageError | undefined
      let killing: Promise<void> | undefined
      let impatience: NodeJS.Timeout | undefined
      let done = false
      const settle = (error: DriverError | null, result: Raw, columns: Column[]): void => {
        if (done) return
        done = true
        off()
        this.#onLost = undefined
        if (error && endsSession(error)) this.destroy() // R2
        const finish = (): void => {
          clearTimeout(impatience)
          if (why ?? error) reject(why ?? fromMysql(error, name))
          else resolve(answerOf(result, columns))
        }
        if (killing === undefined) finish()
        else void killing.then(finish) // S2
      }
      this.#onLost = (error) => settle(error, [], [])
      const off = whenEnded(scope, name, (reason) => {
        why = reason
        killing = this.#kill().catch(() => this.destroy()) // whether it will be killed, and when, nobody knows
        impatience = setTimeout(() => this.destroy(), GRACE_MS)
      })
      const asked = { ...READING, sql: typeof what === 'string' ? what : what.text }
      const values = typeof what === 'string' ? [] : (what.values as mysql.ExecuteValues[]) // as parameters.ts has encoded them
      // with READING results are other than the driver's types say
      const told = (error: DriverError | null, result: mysql.QueryResult, columns: mysql.FieldPacket[]): void =>
        settle(error, result as Raw, columns)
      if (typeof what === 'string') this.#connection.query(asked, told)
      else
        this.#connection.execute(asked, values, (error: DriverError | null, result, columns) => {
          if (error?.errno === NOT_PREPARABLE && values.length === 0) this.#connection.query(asked, told)
          else told(error, result, columns)
        })
    })
  }

  /** S1. Resolves when the server has done it. */
  async #kill(): Promise<void> {
    const scope: Scope = { deadline: Date.now() + GRACE_MS, signal: new AbortController().signal }
    const other = await Session.open(this.#server, scope)
    try {
      await other.query(`kill query ${this.#facts.id}`, scope)
    } finally {
      other.destroy()
    }
  }
}

function answerOf(result: Raw, columns: Column[]): Answer {
  if (!Array.isArray(result)) return { rows: [], rowCount: result.affectedRows, inTransaction: isInTransaction(result) }
  const several = Array.isArray(columns?.[0]) // of a procedure: a list of columns for each result, and at last how it has ended
  const [rows, of] = several ? [result[0] as unknown[][], columns[0] as unknown as Column[]] : [result as unknown[][], columns]
  const inTransaction = several ? isInTransaction(result.at(-1) as End) : undefined
  return { rows: rows.map((row) => rowOf(row, of)), rowCount: rows.length, inTransaction }
}

function isInTransaction({ serverStatus }: End): boolean {
  return (serverStatus & IN_TRANSACTION) !== 0
}

function connectionOf({ options, name }: Server, connectTimeout: number): mysql.Connection {
  const { host, port, user, password, database, tls } = options
  const { servername, ...verified } = tls ? tlsOptions(tls, name) : {}
  const isLocal = host.startsWith('/')
  return mysql.createConnection({
    ...(isLocal ? { socketPath: host } : { host: servername ?? host, port, stream: () => socketTo(host, port) }),
    ...(user === undefined ? {} : { user }),
    ...(password === undefined ? {} : { password }),
    ...(database === undefined ? {} : { database }),
    ...(tls && !isLocal ? { ssl: { ...verified, verifyIdentity: tls.verify } as mysql.SslOptions } : {}), // Node's own options, some by other types
    ...{ connectTimeout, charset: 'utf8mb4', multipleStatements: false, maxPreparedStatements: MAX_STATEMENTS },
  })
}

/** The driver's TLS takes an address for `localhost`, unless the socket says otherwise: the certificate must be the address's. */
function socketTo(host: string, port: number): Socket {
  const socket = connectSocket({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 })
  return isIP(host) ? Object.assign(socket, { _host: host }) : socket
}
