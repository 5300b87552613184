/**
 * A connection to PostgreSQL as a resource: `execute`, `change`, `batch`, `insertMany` and `run`, alone or in a transaction.
 * C1. A call alone is one round trip, and atomic: several statements make a transaction of their own.
 * C2. A transaction ends itself at the server at about its deadline, although we are gone or stopped: until it is prepared.
 * C3. SQL that begins or ends a transaction behind our back costs the session, and is an error.
 * C4. A prepared branch is ended by its name, from any connection; a one-phase branch is asked for by its transaction's id.
 *
 *   await ctx.resources.ledger.execute('select id from orders where customer = :customer', { customer })
 *
 * PostgreSQL 18: PREPARE TRANSACTION, COMMIT PREPARED, 9.28.2 (pg_terminate_backend), 9.27.8 (pg_xact_status).
 */
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { pause } from '../../pause.ts'
import type { Branch, Decision, ParticipantClass, ResourceConnection, Scope } from '../adapter.ts'
import { type Work, withSession } from '../client/work.ts'
import { beginning, type TransactionOptions, transactionOptions } from './begin.ts'
import { bulkInsert } from './bulk.ts'
import { statement } from './parameters.ts'
import type { Answer, Session } from './session.ts'

const METHODS = ['execute', 'change', 'batch', 'insertMany', 'run'] as const
const ROLLBACK_MS = 1_000
const RETRY_MS = 20
const BRANCH_ID = /^[\w/.-]{1,200}$/

/** By what an unprepared branch is found again. `xid` is null if it could not have written. */
interface Identity {
  xid: string | null
  pid: number
  startedAt: string
}

export class PostgresConnection implements ResourceConnection {
  readonly participant: ParticipantClass
  readonly #session: Session
  readonly #name: string
  #inTransaction = false
  #prepared: string | undefined
  #branch: string | undefined

  constructor(session: Session, name: string) {
    this.#session = session
    this.#name = name
    this.participant = session.facts.maxPrepared > 0 ? 'prepared' : 'one-phase'
  }

  get broken(): boolean {
    return this.#session.broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    switch (method) {
      case 'execute':
        return (await this.#statement(args[0], args[1], scope)).rows
      case 'change':
        return (await this.#statement(args[0], args[1], scope)).rowCount
      case 'insertMany': {
        const insert = bulkInsert(args[0], args[1])
        return insert === undefined ? 0 : (await this.#guarded(insert, scope)).rowCount
      }
      case 'batch':
        return await this.#batch(args[0], scope)
      case 'run':
        return await this.#work(args[0], args[1], scope)
    }
    throw new CageError('INVALID_ARGUMENT', `${this.#name} has no method ${method}${didYouMean(method, METHODS)}`)
  }

  async begin({ id, options }: Branch, scope: Scope): Promise<void> {
    if (!BRANCH_ID.test(id)) throw new CageError('INVALID_ARGUMENT', `${this.#name}: ${JSON.stringify(id)} is no id of a branch`)
    await this.#begin(transactionOptions(options), scope)
    this.#branch = id
  }

  async identity(scope: Scope): Promise<Identity> {
    const { pid, startedAt } = this.#session.facts
    const { rows } = await this.#query(
      `select case current_setting('transaction_read_only') when 'off' then pg_current_xact_id()::text end as xid`,
      [],
      scope,
    )
    return { xid: (rows[0]?.xid as string | null | undefined) ?? null, pid, startedAt } // text, as asked for
  }

  async prepare(scope: Scope): Promise<void> {
    const id = this.#branch
    if (id === undefined || !this.#inTransaction) throw new CageError('INTERNAL', `${this.#name}: no branch has been begun`)
    await this.#end(`PREPARE TRANSACTION '${id}'`, 'PREPARE', scope)
    this.#prepared = id
  }

  async commit(scope: Scope): Promise<void> {
    if (this.#prepared === undefined) return await this.#end('COMMIT', 'COMMIT', scope)
    const id = this.#prepared
    this.#prepared = undefined
    await this.finish(id, 'commit', scope)
  }

  async rollback(scope: Scope): Promise<void> {
    const id = this.#prepared
    this.#prepared = undefined
    if (id !== undefined) return await this.finish(id, 'rollback', scope)
    if (this.broken) return // the server has, or will
    await this.#end('ROLLBACK', 'ROLLBACK', scope).catch((error: unknown) => {
      if (!this.broken) throw error
    })
  }

  /** C4. */
  async finish(branch: string, decision: Decision, scope: Scope): Promise<void> {
    if (!BRANCH_ID.test(branch)) throw new CageError('INVALID_ARGUMENT', `${this.#name}: ${JSON.stringify(branch)} is no id of a branch`)
    const sql = `${decision === 'commit' ? 'COMMIT' : 'ROLLBACK'} PREPARED '${branch}'`
    for (;;) {
      try {
        await this.#session.query(sql, scope)
        return
      } catch (error) {
        const sqlState = sqlStateOf(error)
        if (sqlState === '42704') return // undefined_object: ended before
        if (sqlState !== '55000') throw error // its own session, or somebody else, is still at it
        await pause(RETRY_MS, scope.signal)
      }
    }
  }

  /** C4. */
  async outcome(identity: unknown, scope: Scope): Promise<'committed' | 'rolled back' | 'unknown'> {
    const { xid, pid, startedAt } = identityOf(identity, this.#name)
    for (;;) {
      if (xid !== null) {
        const { rows } = await this.#query('select pg_xact_status($1::xid8) as status', [xid], scope)
        const status = rows[0]?.status
        if (status === 'committed') return 'committed'
        if (status === 'aborted') return 'rolled back'
        if (status === null) return 'unknown' // too long ago
      }
      const session = `from pg_stat_activity where pid = $1 and extract(epoch from backend_start)::text = $2`
      const { rowCount } = await this.#query(`select pg_terminate_backend(pid) ${session}`, [pid, startedAt], scope)
      if (rowCount === 0 && xid === null) return 'committed' // it could not write: nothing was lost
      await pause(RETRY_MS, scope.signal)
    }
  }

  async leftovers(prefix: string, scope: Scope): Promise<{ branch: string; ageMs: number }[]> {
    const { rows } = await this.#query(
      `select gid as branch, (extract(epoch from clock_timestamp() - prepared) * 1000)::float8 as "ageMs" from pg_prepared_xacts
       where database = current_database() and starts_with(gid, $1) order by prepared`,
      [prefix],
      scope,
    )
    return rows as { branch: string; ageMs: number }[] // as asked for
  }

  async check(scope: Scope): Promise<void> {
    await this.#query('select 1', [], scope)
  }

  async close(): Promise<void> {
    await this.#session.close()
  }

  #query(text: string, values: unknown[], scope: Scope): Promise<Answer> {
    return this.#session.query({ text, values }, scope)
  }

  #statement(sql: unknown, parameters: unknown, scope: Scope): Promise<Answer> {
    return this.#guarded(statement(sql, parameters), scope)
  }

  /** C3. */
  async #guarded(what: { text: string; values: unknown[] }, scope: Scope): Promise<Answer> {
    const answer = await this.#session.query(what, scope)
    if ((this.#session.transaction !== 'I') === this.#inTransaction) return answer
    this.#inTransaction = false
    this.#session.destroy()
    throw new CageError('INVALID_ARGUMENT', `${this.#name}: ${answer.command} is the runtime's to say: use run, batch, or ctx.transaction`)
  }

  async #batch(statements: unknown, scope: Scope): Promise<unknown[][]> {
    if (!Array.isArray(statements)) throw new CageError('INVALID_ARGUMENT', 'a batch is a list of [sql, parameters]')
    const parsed = statements.map((item: unknown) => (Array.isArray(item) ? statement(item[0], item[1]) : statement(item)))
    return await this.#atomic({}, scope, async () => {
      const results: unknown[][] = []
      for (const each of parsed) results.push((await this.#guarded(each, scope)).rows)
      return results
    })
  }

  async #work(work: unknown, options: unknown, scope: Scope): Promise<unknown> {
    if (typeof work !== 'function') throw new CageError('INVALID_ARGUMENT', 'run takes a function of the session')
    if (options !== undefined && this.#inTransaction) {
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: the transaction has been begun, with options of its own`)
    }
    return await this.#atomic(
      options ?? {},
      scope,
      () => withSession(this.#name, METHODS, (method, args) => this.call(method, args, scope), work as Work), // what it takes, its types tell
    )
  }

  /** C1. Inside a transaction it is part of that. */
  async #atomic<T>(options: unknown, scope: Scope, work: () => Promise<T>): Promise<T> {
    if (this.#inTransaction) return await work()
    await this.#begin(transactionOptions(options), scope)
    let result: T
    try {
      result = await work()
    } catch (error) {
      const own: Scope = { deadline: Date.now() + ROLLBACK_MS, signal: new AbortController().signal }
      if (!this.broken) await this.rollback(own).catch(() => this.#session.destroy()) // the server rolls back then
      throw error
    }
    try {
      await this.commit(scope)
    } catch (error) {
      if (this.#session.transaction !== 'I') this.#session.destroy() // R1
      throw error
    }
    return result
  }

  async #begin(options: TransactionOptions, scope: Scope): Promise<void> {
    if (this.#inTransaction) throw new CageError('INTERNAL', `${this.#name}: a transaction has been begun before`)
    await this.#session.query(beginning(options, scope.deadline - Date.now(), this.#session.facts.version), scope)
    this.#inTransaction = true
    this.#branch = undefined
    this.#prepared = undefined // of a branch before, whose answer came too late
  }

  /** Ends the session's transaction, whatever comes of it. A failed one is always rolled back, and says so by its answer. */
  async #end(sql: string, expected: string, scope: Scope): Promise<void> {
    try {
      const { command } = await this.#session.query(sql, scope)
      this.#inTransaction = false
      if (command !== expected) throw new CageError('CONFLICT', `${this.#name}: the transaction had failed, and was rolled back`)
    } catch (error) {
      if (this.#inTransaction && this.#session.transaction !== 'I') this.#session.destroy() // R1: nothing is left open
      this.#inTransaction = false
      throw error
    }
  }
}

function sqlStateOf(error: unknown): unknown {
  return error instanceof CageError ? (error.details as { sqlState?: unknown } | undefined)?.sqlState : undefined
}

function identityOf(identity: unknown, name: string): Identity {
  const { xid, pid, startedAt } = (identity ?? {}) as Partial<Identity> // checked next
  if ((typeof xid === 'string' || xid === null) && typeof pid === 'number' && typeof startedAt === 'string') return { xid, pid, startedAt }
  throw new CageError('INVALID_ARGUMENT', `${name}: that identifies no transaction`)
}
