/**
 * A connection to Oracle as a resource: `execute`, `change`, `call`, `executeMany`, `batch` and `run`, alone or in a transaction.
 * C1. A call alone is committed with the round trip that does it; what fails leaves nothing behind.
 * C2. A transaction is one-phase. What became of one whose commit was not answered is asked for by its name (Transaction Guard), where the service keeps
 *     that; else it stays unknown. One that is open when it is asked for is ended with the question.
 *
 *   const { entries } = await ctx.resources.erp.call('begin erp.list(:account, :entries); end;', { account, entries: { out: 'cursor' } })
 *
 * Oracle Database: SET TRANSACTION; DBMS_APP_CONT.GET_LTXID_OUTCOME.
 */
import oracledb from 'oracledb'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { endOf } from '../../scope.ts'
import type { Branch, ResourceConnection, Scope } from '../adapter.ts'
import { withSession } from '../client/work.ts'
import type { OracleSession, OracleTransactionOptions } from './api.ts'
import type { DriverResult } from './driver.ts'
import type { Session } from './session.ts'
import { bindsOf, fetchTypeHandler, outBindsOf } from './values.ts'

const METHODS = ['execute', 'change', 'call', 'executeMany', 'batch', 'run'] as const
const ROLLBACK_MS = 1_000

/** By what an unanswered commit is found again; null: it is not. */
interface Identity {
  ltxid: string | null
}

export class OracleConnection implements ResourceConnection {
  readonly participant = 'one-phase'
  readonly #session: Session
  readonly #name: string
  #inTransaction = false

  constructor(session: Session, name: string) {
    this.#session = session
    this.#name = name
  }

  get broken(): boolean {
    return this.#session.broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    const [first, second] = args
    switch (method) {
      case 'execute':
        return (await this.#execute(first, bindsOf(second, 'values only'), scope)).rows ?? []
      case 'change':
        return (await this.#execute(first, bindsOf(second, 'values only'), scope)).rowsAffected ?? 0
      case 'call':
        return await this.#plsql(first, bindsOf(second, 'with OUT binds'), scope)
      case 'executeMany':
        return await this.#many(first, second, scope)
      case 'batch':
        return await this.#batch(first, scope)
      case 'run':
        return await this.#work(first, second, scope)
    }
    throw new CageError('INVALID_ARGUMENT', `${this.#name} has no method ${method}${didYouMean(method, METHODS)}`)
  }

  async begin({ options }: Branch, scope: Scope): Promise<void> {
    await this.#begin(options, scope)
  }

  async identity(): Promise<Identity> {
    const { ltxid } = this.#session.connection
    return { ltxid: ltxid === undefined || ltxid.length === 0 ? null : ltxid.toString('hex') }
  }

  async commit(scope: Scope): Promise<void> {
    this.#inTransaction = false
    await this.#session.settled() // whether the scope has ended is asked when the commit is next
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) {
      await this.#undo() // nothing has been committed
      throw ended
    }
    try {
      await this.#session.run(scope, (connection) => connection.commit())
    } catch (error) {
      if (error instanceof CageError && error.code === 'CONFLICT')
        await this.#undo() // Oracle has done it, and has said so
      else this.#session.destroy() // R1: what is open ends with its session
      throw error
    }
  }

  async rollback(scope: Scope): Promise<void> {
    this.#inTransaction = false
    if (this.broken) return // the server has, or will
    try {
      await this.#session.run(scope, (connection) => connection.rollback())
    } catch (error) {
      if (this.broken) return
      this.#session.destroy() // R1
      throw error
    }
  }

  /** C2. */
  async outcome(identity: unknown, scope: Scope): Promise<'committed' | 'rolled back' | 'unknown'> {
    const { ltxid } = (identity ?? {}) as Partial<Identity> // checked next
    if (ltxid === null) return 'unknown'
    if (typeof ltxid !== 'string' || !/^([0-9a-f]{2})+$/.test(ltxid))
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: that identifies no transaction`)
    const binds: oracledb.BindParameters = {
      ltxid: { dir: oracledb.BIND_IN, type: oracledb.DB_TYPE_RAW, val: Buffer.from(ltxid, 'hex') },
      committed: { dir: oracledb.BIND_OUT, type: oracledb.DB_TYPE_NUMBER },
    }
    const { outBinds } = await this.#session.run(scope, (connection) => connection.execute(OUTCOME, binds, {}))
    return (outBinds as { committed: number }).committed === 1 ? 'committed' : 'rolled back' // as OUTCOME says
  }

  async check(scope: Scope): Promise<void> {
    await this.#session.run(scope, (connection) => connection.ping())
  }

  async close(): Promise<void> {
    await this.#session.close()
  }

  #execute(sql: unknown, binds: oracledb.BindParameters, scope: Scope): Promise<DriverResult> {
    const text = sqlOf(sql)
    const options = { autoCommit: !this.#inTransaction, outFormat: oracledb.OUT_FORMAT_OBJECT, maxRows: 0, fetchTypeHandler }
    return this.#session.run(scope, (connection) => connection.execute(text, binds, options))
  }

  /** Cursors and large objects are of the transaction: it is committed when they have been read. */
  async #plsql(sql: unknown, binds: oracledb.BindParameters, scope: Scope): Promise<unknown> {
    const text = sqlOf(sql)
    const options = { outFormat: oracledb.OUT_FORMAT_OBJECT, fetchTypeHandler }
    return await this.#atomic({}, scope, () =>
      this.#session.run(scope, async (connection) => await outBindsOf((await connection.execute(text, binds, options)).outBinds)),
    )
  }

  async #many(sql: unknown, rows: unknown, scope: Scope): Promise<number> {
    const text = sqlOf(sql)
    if (!Array.isArray(rows)) throw new CageError('INVALID_ARGUMENT', 'executeMany takes a list of binds')
    if (rows.length === 0) return 0
    const binds = rows.map((row: unknown) => bindsOf(row, 'values only'))
    const done = await this.#atomic({}, scope, () => this.#session.run(scope, (connection) => connection.executeMany(text, binds, {})))
    return done.rowsAffected ?? 0
  }

  async #batch(statements: unknown, scope: Scope): Promise<unknown[][]> {
    if (!Array.isArray(statements)) throw new CageError('INVALID_ARGUMENT', 'a batch is a list of [sql, binds]')
    const parsed = statements.map((item: unknown): [unknown, oracledb.BindParameters] =>
      Array.isArray(item) ? [item[0], bindsOf(item[1], 'values only')] : [item, []],
    )
    return await this.#atomic({}, scope, async () => {
      const results: unknown[][] = []
      for (const [sql, binds] of parsed) results.push((await this.#execute(sql, binds, scope)).rows ?? [])
      return results
    })
  }

  async #work(work: unknown, options: unknown, scope: Scope): Promise<unknown> {
    if (!isWork(work)) throw new CageError('INVALID_ARGUMENT', 'run takes a function of the session')
    if (options !== undefined && this.#inTransaction)
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: the transaction has been begun, with options of its own`)
    return await this.#atomic(options ?? {}, scope, () =>
      withSession(this.#name, METHODS, (method, args) => this.call(method, args, scope), work),
    )
  }

  /** C1. Inside a transaction it is part of that. */
  async #atomic<T>(options: unknown, scope: Scope, work: () => Promise<T>): Promise<T> {
    if (this.#inTransaction) return await work()
    await this.#begin(options, scope)
    let result: T
    try {
      result = await work()
    } catch (error) {
      await this.#undo()
      throw error
    }
    await this.commit(scope)
    return result
  }

  async #undo(): Promise<void> {
    const own: Scope = { deadline: Date.now() + ROLLBACK_MS, signal: new AbortController().signal } // the call's may have ended
    await this.rollback(own).catch(() => {}) // the session is gone then, and the server rolls back
  }

  /** Oracle begins one with the first statement; only what is not the default is said. */
  async #begin(given: unknown, scope: Scope): Promise<void> {
    const { isolation, readOnly } = transactionOptions(given)
    if (this.#inTransaction) throw new CageError('INTERNAL', `${this.#name}: a transaction has been begun before`)
    const how = readOnly ? 'read only' : isolation === undefined ? undefined : `isolation level ${isolation}`
    if (how !== undefined) await this.#session.run(scope, (connection) => connection.execute(`set transaction ${how}`, [], {}))
    this.#inTransaction = true
  }
}

const OUTCOME = `declare
  committed boolean;
  completed boolean;
begin
  dbms_app_cont.get_ltxid_outcome(:ltxid, committed, completed);
  :committed := case when committed then 1 else 0 end;
end;`

function sqlOf(sql: unknown): string {
  if (typeof sql === 'string' && sql.trim() !== '') return sql
  throw new CageError('INVALID_ARGUMENT', 'the SQL is no text')
}

/** Checks what a caller gave. INVALID_ARGUMENT. */
function transactionOptions(given: unknown): OracleTransactionOptions {
  if (typeof given !== 'object' || given === null) throw new CageError('INVALID_ARGUMENT', 'the options of a transaction are no object')
  const { isolation, readOnly, ...rest } = given as Record<string, unknown>
  const unknown = Object.keys(rest)[0]
  if (unknown !== undefined)
    throw new CageError('INVALID_ARGUMENT', `a transaction has no option ${unknown}${didYouMean(unknown, ['isolation', 'readOnly'])}`)
  if (isolation !== undefined && isolation !== 'read committed' && isolation !== 'serializable')
    throw new CageError('INVALID_ARGUMENT', 'isolation is neither read committed nor serializable')
  if (readOnly !== undefined && typeof readOnly !== 'boolean') throw new CageError('INVALID_ARGUMENT', 'readOnly is neither true nor false')
  return { ...(isolation !== undefined && { isolation }), ...(readOnly !== undefined && { readOnly }) }
}

function isWork(work: unknown): work is (session: OracleSession) => unknown {
  return typeof work === 'function'
}
