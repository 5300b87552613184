/**
 * A connection to MySQL or MariaDB as a resource: `execute`, `change`, `batch`, `insertMany` and `run`, alone or in a transaction.
 * C1. A call alone is atomic: several statements make a transaction of their own.
 * C2. A transaction that the server has rolled back by itself (deadlock) takes no more statements: they would be done outside of it.
 * C3. SQL that begins or ends a transaction behind our back (also DDL, which commits) costs the session, and is an error.
 * C4. A prepared branch is ended by its name, from any connection. MariaDB lets no other connection end it while the one that has prepared it is
 *     there, so that one is killed: its number is in the branch's xid.
 *
 *   await ctx.resources.shop.execute('select id from orders where customer = :customer', { customer })
 *
 * MySQL 8.4, 15.3.8 (XA), 15.3.3 (implicit commit); MariaDB: XA Transactions.
 */
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { pause } from '../../pause.ts'
import { endOf } from '../../scope.ts'
import type { Branch, Decision, ParticipantClass, ResourceConnection, Scope } from '../adapter.ts'
import { type Work, withSession } from '../client/work.ts'
import { characteristics } from './begin.ts'
import { bulkInserts } from './bulk.ts'
import { endsTransaction, errnoOf, refusesCommit } from './errors.ts'
import { type Statement, statement } from './parameters.ts'
import type { Answer, Session } from './session.ts'
import { type Branched, branchedOf, xidOf } from './xid.ts'

const METHODS = ['execute', 'change', 'batch', 'insertMany', 'run'] as const
const ROLLBACK_MS = 1_000
const RETRY_MS = 20
const XAER_NOTA = 1397
/** Servers that keep a prepared branch when its connection ends. */
const KEEPS_PREPARED = { mariadb: 10_005, mysql: 8_000 }

export class MysqlConnection implements ResourceConnection {
  readonly participant: ParticipantClass
  readonly #session: Session
  readonly #name: string
  /** Branch → when it was first seen, epoch ms: the server does not tell how old one is. Shared by the connections. */
  readonly #seen: Map<string, number>
  #state: 'none' | 'begun' | 'failed' = 'none'
  /** Of a branch by XA. */
  #xid: string | undefined
  #prepared = false

  constructor(session: Session, name: string, wantsXa: boolean, seen: Map<string, number>) {
    this.#session = session
    this.#name = name
    this.#seen = seen
    const { isMariadb, version } = session.facts
    const can = version >= (isMariadb ? KEEPS_PREPARED.mariadb : KEEPS_PREPARED.mysql)
    this.participant = wantsXa && can ? 'prepared' : 'one-phase'
  }

  get broken(): boolean {
    return this.#session.broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    switch (method) {
      case 'execute':
        return (await this.#statement(statement(args[0], args[1]), scope)).rows
      case 'change':
        return (await this.#statement(statement(args[0], args[1]), scope)).rowCount
      case 'insertMany':
        return await this.#insert(bulkInserts(args[0], args[1]), scope)
      case 'batch':
        return await this.#batch(args[0], scope)
      case 'run':
        return await this.#work(args[0], args[1], scope)
    }
    throw new CageError('INVALID_ARGUMENT', `${this.#name} has no method ${method}${didYouMean(method, METHODS)}`)
  }

  async begin({ id, options }: Branch, scope: Scope): Promise<void> {
    const xid = this.participant === 'prepared' ? xidOf(id, this.#session.facts.id) : undefined
    await this.#begin(options, xid, scope)
  }

  async prepare(scope: Scope): Promise<void> {
    if (this.#xid === undefined || this.#state === 'none') throw new CageError('INTERNAL', `${this.#name}: no branch has been begun`)
    await this.#ending(async (xid) => {
      await this.#say(`XA END ${xid}`, scope)
      await this.#say(`XA PREPARE ${xid}`, scope)
      this.#prepared = true
    })
  }

  async commit(scope: Scope): Promise<void> {
    if (this.#state === 'failed') {
      await this.rollback(scope)
      throw new CageError('CONFLICT', `${this.#name}: the transaction had failed, and was rolled back`, { retryable: true })
    }
    if (this.#prepared)
      return await this.#ending(async (xid) => {
        await this.#say(`XA COMMIT ${xid}`, scope)
        this.#over()
      })
    const xid = this.#xid
    try {
      await this.#session.settled() // whether the scope has ended is asked when COMMIT is next
      const ended = endOf(scope, Date.now(), this.#name)
      if (ended) throw ended
      if (xid !== undefined) await this.#say(`XA END ${xid}`, scope)
    } catch (error) {
      await this.#undo() // nothing has been committed
      throw error
    }
    let refused: unknown
    await this.#ending(async () => {
      await this.#say(xid === undefined ? 'COMMIT' : `XA COMMIT ${xid} ONE PHASE`, scope).catch((error: unknown) => {
        if (!refusesCommit(error) || this.broken) throw error
        refused = error
      })
      if (!refused) this.#over()
    })
    if (!refused) return
    await this.#undo() // what the server has left of it
    throw refused
  }

  async rollback(scope: Scope): Promise<void> {
    if (this.broken || this.#state === 'none') return this.#over() // the server has, or will
    await this.#ending(async (xid) => {
      if (xid === undefined) await this.#say('ROLLBACK', scope)
      else {
        if (!this.#prepared) await this.#say(`XA END ${xid}`, scope).catch((error: unknown) => this.#unlessLost(error)) // a failed one says so
        await this.#say(`XA ROLLBACK ${xid}`, scope).catch((error: unknown) => {
          if (this.#prepared || errnoOf(error) !== XAER_NOTA) throw error // a refused commit may have ended it
        })
      }
      this.#over()
    })
  }

  /** C4. */
  async finish(branch: string, decision: Decision, scope: Scope): Promise<void> {
    for (let refused = false; ; ) {
      const found = (await this.#recover(scope)).find(({ id }) => id === branch)
      if (!found) return // ended before, or by somebody else meanwhile
      if (refused) await this.#say(`KILL CONNECTION ${found.session}`, scope).catch((failure: unknown) => this.#unlessLost(failure)) // gone
      try {
        return void (await this.#say(`XA ${decision === 'commit' ? 'COMMIT' : 'ROLLBACK'} ${xidOf(branch, found.session)}`, scope))
      } catch (error) {
        if (errnoOf(error) !== XAER_NOTA) throw error
        refused = true
        await pause(RETRY_MS, scope.signal)
      }
    }
  }

  async leftovers(prefix: string, scope: Scope): Promise<{ branch: string; ageMs: number }[]> {
    const branches = (await this.#recover(scope)).map(({ id }) => id)
    for (const known of this.#seen.keys()) if (!branches.includes(known)) this.#seen.delete(known)
    const now = Date.now()
    return branches
      .filter((branch) => branch.startsWith(prefix))
      .map((branch) => {
        const since = this.#seen.get(branch) ?? now
        this.#seen.set(branch, since)
        return { branch, ageMs: now - since }
      })
  }

  async check(scope: Scope): Promise<void> {
    await this.#say('select 1', scope)
  }

  async close(): Promise<void> {
    await this.#session.close()
  }

  #say(sql: string, scope: Scope): Promise<Answer> {
    return this.#session.query(sql, scope)
  }

  async #recover(scope: Scope): Promise<Branched[]> {
    const { isMariadb } = this.#session.facts
    const { rows } = await this.#say(isMariadb ? `XA RECOVER FORMAT='SQL'` : 'XA RECOVER CONVERT XID', scope)
    return rows.map(({ data, formatID }) => branchedOf(String(data), Number(formatID))).filter((branch) => branch !== undefined)
  }

  /** C2, C3. */
  async #statement(what: Statement, scope: Scope): Promise<Answer> {
    if (this.#state === 'failed')
      throw new CageError('CONFLICT', `${this.#name}: the transaction has failed, it can only be rolled back`, { retryable: true })
    const answer = await this.#session.query(what, scope).catch((error: unknown) => {
      if (this.#state === 'begun' && (endsTransaction(error) || this.broken)) this.#state = 'failed'
      throw error
    })
    if (answer.inTransaction === undefined || answer.inTransaction === (this.#state === 'begun')) return answer
    this.#over()
    this.#session.destroy()
    throw new CageError(
      'INVALID_ARGUMENT',
      `${this.#name}: the statement begins or ends a transaction: use run, batch, or ctx.transaction, and DDL outside of them`,
    )
  }

  async #insert(statements: Statement[], scope: Scope): Promise<number> {
    const [first] = statements
    if (first === undefined) return 0
    if (statements.length === 1) return (await this.#statement(first, scope)).rowCount
    return await this.#atomic({}, scope, async () => {
      let count = 0
      for (const each of statements) count += (await this.#statement(each, scope)).rowCount
      return count
    })
  }

  async #batch(statements: unknown, scope: Scope): Promise<unknown[][]> {
    if (!Array.isArray(statements)) throw new CageError('INVALID_ARGUMENT', 'a batch is a list of [sql, parameters]')
    const parsed = statements.map((item: unknown) => (Array.isArray(item) ? statement(item[0], item[1]) : statement(item)))
    return await this.#atomic({}, scope, async () => {
      const results: unknown[][] = []
      for (const each of parsed) results.push((await this.#statement(each, scope)).rows)
      return results
    })
  }

  async #work(work: unknown, options: unknown = {}, scope: Scope): Promise<unknown> {
    if (typeof work !== 'function') throw new CageError('INVALID_ARGUMENT', 'run takes a function of the session')
    if (typeof options !== 'object' || options === null)
      throw new CageError('INVALID_ARGUMENT', 'the options of a transaction are no object')
    const own = options as Readonly<Record<string, unknown>> // `characteristics` looks at each
    if (this.#state !== 'none' && Object.keys(own).length > 0) {
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: the transaction has been begun, with options of its own`)
    }
    return await this.#atomic(
      own,
      scope,
      () => withSession(this.#name, METHODS, (method, args) => this.call(method, args, scope), work as Work), // what it takes, its types tell
    )
  }

  /** C1. Inside a transaction it is part of that. */
  async #atomic<T>(options: Readonly<Record<string, unknown>>, scope: Scope, work: () => Promise<T>): Promise<T> {
    if (this.#state !== 'none') return await work()
    await this.#begin(options, undefined, scope)
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

  async #begin(options: Readonly<Record<string, unknown>>, xid: string | undefined, scope: Scope): Promise<void> {
    if (this.#state !== 'none') throw new CageError('INTERNAL', `${this.#name}: a transaction has been begun before`)
    const first = characteristics(options)
    try {
      if (first !== undefined) await this.#say(first, scope)
      await this.#say(xid === undefined ? 'START TRANSACTION' : `XA START ${xid}`, scope)
    } catch (error) {
      this.#session.destroy() // what it has begun, or set for the next one, nobody knows
      throw error
    }
    this.#state = 'begun'
    this.#xid = xid
    this.#prepared = false
  }

  async #undo(): Promise<void> {
    const own: Scope = { deadline: Date.now() + ROLLBACK_MS, signal: new AbortController().signal } // the call's may have ended
    await this.rollback(own).catch(() => this.#session.destroy()) // the server rolls back then
  }

  /** R1: whatever goes wrong at a transaction's end, none is left open. */
  async #ending(end: (xid: string | undefined) => Promise<void>): Promise<void> {
    try {
      await end(this.#xid)
    } catch (error) {
      this.#session.destroy()
      this.#over()
      throw error
    }
  }

  #over(): void {
    this.#state = 'none'
    this.#xid = undefined
    this.#prepared = false
  }

  #unlessLost(error: unknown): void {
    if (this.broken) throw error
  }
}
