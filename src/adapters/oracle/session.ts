/**
 * Session: one connection to a database, one statement at a time, each within its scope.
 * S1. A statement that is late is ended by the driver (`callTimeout`, for a round trip), or by us (`break`, for all of them); one that nobody wants any
 *     more by `break`. A server that does not answer that either loses the session: nothing hangs.
 * S2. What ends a statement can hit no later one: the database is asked whether it is done with it before the session is used again.
 * S3. Statements follow each other in the order of their calls.
 * node-oracledb: "Connection Timeouts", `connection.break()`; thin mode, Oracle Database 12.1 or newer.
 */
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import type { DriverConnection, OracleDriver } from './driver.ts'
import { fromConnect, fromOracle, losesConnection } from './errors.ts'
import type { OracleOptions } from './options.ts'

/** So long has a server to end what is to end, and to say goodbye, ms. */
const GRACE_MS = 500
/** So long is the driver, whose own clock ends a statement, waited for, ms. */
const OWN_CLOCK_MS = 50
/** A server that is gone without a word is noticed by the system's probes, begun after so long. */
const PROBE_MINUTES = 1
const LONGEST_MS = 2 ** 31 - 1

/** How to reach a database. */
export interface Database {
  readonly options: OracleOptions
  /** The resource's name, for messages. */
  readonly name: string
  readonly driver: OracleDriver
}

export class Session {
  readonly #connection: DriverConnection
  readonly #name: string
  readonly #lost = new AbortController()
  #last: Promise<unknown> = Promise.resolve()

  private constructor(connection: DriverConnection, name: string) {
    this.#connection = connection
    this.#name = name
  }

  /** Connects; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED, OVERLOADED. */
  static async open({ options, name, driver }: Database, scope: Scope): Promise<Session> {
    const { connectString, user, password, configDir, walletDir, walletPassword, applicationName, settings } = options
    const attributes = {
      ...{ connectString, user, password, expireTime: PROBE_MINUTES },
      connectTimeout: Math.max(1, Math.ceil((scope.deadline - Date.now()) / 1_000)), // the driver counts in seconds
      ...(configDir === undefined ? {} : { configDir }),
      ...(walletDir === undefined ? {} : { walletLocation: walletDir }),
      ...(walletPassword === undefined ? {} : { walletPassword }),
    }
    const connecting = driver.getConnection(attributes)
    const connection = await new Promise<DriverConnection>((resolve, reject) => {
      const off = whenEnded(scope, name, (why) => {
        connecting.then(drop, () => {}) // who asked is gone: nothing is left behind
        reject(why.code === 'DEADLINE_EXCEEDED' ? new CageError('UNAVAILABLE', `${name}: the database does not answer`) : why)
      })
      connecting.then(resolve, (error: unknown) => reject(fromConnect(error, name))).finally(off)
    })
    const session = new Session(connection, name)
    try {
      connection.module = applicationName // sent with the next statement
      const parameters = Object.entries({ nls_numeric_characters: '.,', ...settings })
      for (const [parameter, value] of parameters)
        await session.run(scope, () => connection.execute(alterSession(parameter, value), [], {}))
      return session
    } catch (error) {
      session.destroy()
      throw error
    }
  }

  get broken(): boolean {
    return this.#lost.signal.aborted
  }

  get connection(): DriverConnection {
    return this.#connection
  }

  /** S3. */
  run<T>(scope: Scope, send: (connection: DriverConnection) => Promise<T>): Promise<T> {
    const begin = (): Promise<T> => this.#run(scope, send)
    const result = this.#last.then(begin, begin)
    this.#last = result.catch(() => {}) // its caller is told
    return result
  }

  /** Resolves when nothing runs any more. */
  async settled(): Promise<void> {
    await this.#last
  }

  destroy(): void {
    if (this.broken) return
    this.#lost.abort()
    drop(this.#connection)
  }

  /** Says goodbye, for a while. */
  async close(): Promise<void> {
    if (this.broken) return
    this.#lost.abort()
    const enough = new AbortController()
    const closing = this.#connection.close().catch(() => {}) // it is gone, which was wanted
    await Promise.race([closing, pause(GRACE_MS, enough.signal)]).finally(() => enough.abort())
  }

  async #run<T>(scope: Scope, send: (connection: DriverConnection) => Promise<T>): Promise<T> {
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended
    if (this.broken) throw this.#lostError()
    this.#connection.callTimeout = Math.min(LONGEST_MS, Math.max(1, Math.ceil(scope.deadline - Date.now())))
    return await new Promise<T>((resolve, reject) => {
      let why: CageError | undefined
      let settled: AbortController | undefined
      let ending: Promise<void> | undefined
      const off = whenEnded(scope, this.#name, (reason) => {
        why = reason
        settled = new AbortController()
        ending = this.#end(reason, settled.signal)
      })
      const finish = (settle: () => void): void => {
        off()
        settled?.abort()
        this.#lost.signal.removeEventListener('abort', onLost)
        if (why && ending) void ending.then(() => reject(why))
        else settle()
      }
      const fail = (error: unknown): void => {
        if (losesConnection(error) || !this.#connection.isHealthy()) this.destroy()
        finish(() => reject(fromOracle(error, this.#name)))
      }
      const onLost = (): void => finish(() => reject(this.#lostError()))
      this.#lost.signal.addEventListener('abort', onLost)
      send(this.#connection).then((result) => finish(() => resolve(result)), fail)
    })
  }

  /** S1, S2. */
  async #end({ code }: CageError, settled: AbortSignal): Promise<void> {
    if (code === 'DEADLINE_EXCEEDED') await pause(OWN_CLOCK_MS, settled)
    if (settled.aborted) return
    const impatience = pause(GRACE_MS, settled)
    await Promise.race([this.#connection.break().catch(() => {}), impatience]) // the session is lost then, next
    await impatience
    if (!settled.aborted || !(await this.#answers())) this.destroy()
  }

  /** The break may have come too late for what it was meant for: then it hits the first question. */
  async #answers(): Promise<boolean> {
    if (this.broken) return false
    this.#connection.callTimeout = GRACE_MS
    const ask = (): Promise<boolean> => this.#connection.ping().then(() => true)
    const enough = new AbortController()
    const silence = pause(GRACE_MS, enough.signal).then(() => false)
    return await Promise.race([
      ask()
        .catch(ask)
        .catch(() => false),
      silence,
    ]).finally(() => enough.abort())
  }

  #lostError(): CageError {
    return new CageError('UNAVAILABLE', `${this.#name}: the connection was lost`)
  }
}

function drop(connection: DriverConnection): void {
  connection.close({ drop: true }).catch(() => {}) // of no interest any more
}

/** A value is quoted, unless it is a name as SQL has names. */
function alterSession(name: string, value: string): string {
  const isName = /^current_schema$|^isolation_level$/i.test(name)
  return `alter session set ${name} = ${isName ? `"${value.replaceAll('"', '').toUpperCase()}"` : `'${value.replaceAll("'", "''")}'`}`
}
