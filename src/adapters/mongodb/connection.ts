/**
 * A connection to MongoDB as a resource: every operation on documents, `stream`, `command`, and `run`, alone or in a transaction.
 * C1. Where the deployment has transactions (replica sets, sharded clusters) it is a one-phase participant; a standalone server's calls are irreversible,
 *     and compensable with something that undoes them.
 * C2. In a transaction calls follow each other, whatever the caller awaits: MongoDB takes one at a time.
 *
 *   await ctx.resources.shop.updateOne('orders', { _id: { $oid: id } }, { $set: { paid: true } })
 *
 * MongoDB Manual: CRUD Operations, Transactions; 4.4 or newer.
 */
import type { ClientSession } from 'mongodb'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import type { ResourceConnection, Scope } from '../adapter.ts'
import { withSession } from '../client/work.ts'
import type { MongoSession } from './api.ts'
import { callOf, METHOD_NAMES, streamOf } from './calls.ts'
import type { Link } from './link.ts'
import { begin, commit, identityOf, outcomeOf, transactionOptions } from './transaction.ts'
import { fromBson } from './values.ts'

const METHODS = [...METHOD_NAMES, 'stream', 'run']
const ROLLBACK_MS = 1_000
const CLOSE_MS = 1_000

/** Branches are there only where the deployment has them. */
export function connectionOf(link: Link, name: string): ResourceConnection {
  const own = new MongoConnection(link, name)
  const plain: ResourceConnection = {
    participant: link.deployment.transactions ? 'one-phase' : 'irreversible',
    get broken() {
      return link.broken
    },
    call: (method, args, scope) => own.call(method, args, scope),
    check: async (scope) => void (await link.run(scope, ({ maxTimeMS }) => link.db.command({ ping: 1, maxTimeMS }))),
    close: () => link.close(),
  }
  if (!link.deployment.transactions) return plain
  return Object.assign(plain, {
    begin: async ({ options }, scope) => own.begin(options, scope),
    identity: async () => own.identity(),
    commit: (scope) => own.commit(scope),
    rollback: (scope) => own.rollback(scope),
    outcome: (identity, scope) => outcomeOf(link, identity, name, scope),
  } satisfies Partial<ResourceConnection>)
}

/** What a caller does with what it is given. */
type Work<Given> = (given: Given) => unknown

/** The server has said that it was not committed. */
function isRefusal(error: unknown): boolean {
  return error instanceof CageError && (error.code === 'CONFLICT' || error.code === 'INVALID_ARGUMENT')
}

function isWork<Given>(work: unknown): work is Work<Given> {
  return typeof work === 'function'
}

class MongoConnection {
  readonly #link: Link
  readonly #name: string
  #session: ClientSession | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(link: Link, name: string) {
    this.#link = link
    this.#name = name
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    if (method === 'run') return await this.#work(args[0], args[1], scope)
    if (method === 'stream') return await this.#stream(args, scope)
    const call = callOf(method, args)
    if (!call) throw new CageError('INVALID_ARGUMENT', `${this.#name} has no method ${method}${didYouMean(method, METHODS)}`)
    const { db } = this.#link
    const session = this.#session
    return await this.#inTurn(() => this.#link.run(scope, (limits) => call({ ...limits, db, session })))
  }

  begin(options: unknown, scope: Scope): void {
    if (!this.#link.deployment.transactions)
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: the server is no replica set: it has no transactions`)
    if (this.#session) throw new CageError('INTERNAL', `${this.#name}: a transaction has been begun before`)
    this.#session = begin(this.#link, transactionOptions(options), scope)
  }

  identity(): unknown {
    return identityOf(this.#held())
  }

  async commit(scope: Scope): Promise<void> {
    const session = this.#held()
    this.#session = undefined
    try {
      await commit(this.#link, session, scope)
    } catch (error) {
      if (!isRefusal(error)) this.#link.destroy() // R1: whatever is open ends, and what was committed is found by its identity
      throw error
    } finally {
      if (!this.#link.broken) await session.endSession()
    }
  }

  async rollback(scope: Scope): Promise<void> {
    const session = this.#session
    this.#session = undefined
    if (!session || this.#link.broken) return // the server has, or will (transaction.ts, T3)
    await this.#link.run(scope, async () => {
      await session.abortTransaction()
      await session.endSession()
    })
  }

  /** C2. */
  #inTurn<T>(send: () => Promise<T>): Promise<T> {
    if (!this.#session) return send()
    const result = this.#last.then(send, send)
    this.#last = result.catch(() => {}) // its caller is told
    return result
  }

  async #work(work: unknown, options: unknown, scope: Scope): Promise<unknown> {
    if (!isWork<MongoSession>(work)) throw new CageError('INVALID_ARGUMENT', 'run takes a function of the session')
    if (this.#session) {
      if (options !== undefined)
        throw new CageError('INVALID_ARGUMENT', `${this.#name}: the transaction has been begun, with options of its own`)
      return await this.#withSession(work, scope)
    }
    this.begin(options, scope)
    let result: unknown
    try {
      result = await this.#withSession(work, scope)
    } catch (error) {
      const own: Scope = { deadline: Date.now() + ROLLBACK_MS, signal: new AbortController().signal }
      await this.rollback(own).catch(() => this.#link.destroy()) // the server rolls back by itself
      throw error
    }
    await this.commit(scope)
    return result
  }

  async #withSession(work: Work<MongoSession>, scope: Scope): Promise<unknown> {
    return await withSession(this.#name, METHODS, (method, args) => this.call(method, args, scope), work)
  }

  /** Batches are read when they are asked for; each ends with the scope. */
  async #stream([collection, what, options, work]: readonly unknown[], scope: Scope): Promise<unknown> {
    if (!isWork<AsyncIterable<unknown>>(work)) throw new CageError('INVALID_ARGUMENT', 'stream takes a function of the documents')
    const wanted = streamOf(collection, what, options)
    const link = this.#link
    const comment = link.newComment()
    const maxTimeMS = Math.max(1, Math.ceil(scope.deadline - Date.now()))
    const given = { ...wanted.options, comment, maxTimeMS, ...(this.#session && { session: this.#session }) }
    const from = link.db.collection(wanted.collection)
    const cursor = Array.isArray(wanted.what) ? from.aggregate(wanted.what, given) : from.find(wanted.what, given)
    const read = <T>(ask: () => Promise<T>): Promise<T> => this.#inTurn(() => link.run(scope, ask, comment))
    async function* documents(): AsyncGenerator<unknown> {
      for (;;) {
        const first = await read(() => cursor.next())
        if (first === null) return
        yield fromBson(first)
        for (const document of cursor.readBufferedDocuments()) yield fromBson(document)
      }
    }
    try {
      return await work(documents())
    } finally {
      const own: Scope = { deadline: Date.now() + CLOSE_MS, signal: new AbortController().signal } // the call's may have ended
      if (!link.broken) await this.#inTurn(() => link.run(own, () => cursor.close())).catch(() => {}) // the server forgets a cursor that nobody reads
    }
  }

  #held(): ClientSession {
    if (!this.#session) throw new CageError('INTERNAL', `${this.#name}: no branch has been begun`)
    return this.#session
  }
}
