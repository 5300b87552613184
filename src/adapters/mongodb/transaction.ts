/**
 * A transaction of a session: begun with the first call in it, committed again and again while nobody knows whether it was, and asked for afterwards.
 * T1. A commit is idempotent: it is asked for again, until it has an answer or its scope ends.
 * T2. What became of one whose answer was lost is found from any connection, by session and number: `abortTransaction` ends one that is open, and is
 *     refused by one that was committed. Through mongos, which remembers nothing, the commit is asked for with the recovery token: that ends an open one too.
 * T3. The server ends one that was left alone by itself (transactionLifetimeLimitSeconds, 60 s).
 * MongoDB Driver Specifications: Transactions ("commitTransaction", "Error Labels"), Sharded Transactions ("recoveryToken").
 */
import { Binary, type ClientSession, type Document, type TransactionOptions as DriverOptions } from 'mongodb'
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { Scope } from '../adapter.ts'
import type { TransactionOptions } from './api.ts'
import { optionsOf } from './calls.ts'
import { isUnknownCommit, mongoCodeOf, NO_SUCH_TRANSACTION, TRANSACTION_COMMITTED } from './errors.ts'
import type { Link } from './link.ts'

const RETRY_MS = 50
/** Clocks of ours and of the server's may differ by so much, ms. */
const MARGIN_MS = 60_000

/** By what a transaction is found again. */
export interface Identity {
  session: string
  number: number
  at: number
  /** Of a transaction through mongos. */
  recovery?: string | undefined
}

/** What the driver keeps of a session, and does not tell. */
interface Inside {
  serverSession: { id: { id: Binary }; txnNumber: number; isDirty: boolean }
  transaction: { recoveryToken?: Document }
}

/** Checks what a caller gave. INVALID_ARGUMENT. */
export function transactionOptions(given: unknown): TransactionOptions {
  const { readConcern, w, ...rest } = optionsOf('a transaction', given, ['readConcern', 'w'])
  if (readConcern !== undefined && !['local', 'majority', 'snapshot'].includes(readConcern))
    throw new CageError('INVALID_ARGUMENT', 'readConcern is none of local, majority, snapshot')
  if (w !== undefined && w !== 'majority' && !(Number.isInteger(w) && w >= 1))
    throw new CageError('INVALID_ARGUMENT', 'w is neither majority nor a number')
  return { ...rest, ...(readConcern !== undefined && { readConcern }), ...(w !== undefined && { w }) }
}

/** Nothing is sent yet. */
export function begin({ client }: Link, { readConcern, w }: TransactionOptions, scope: Scope): ClientSession {
  const session = client.startSession()
  const options: DriverOptions = {
    maxCommitTimeMS: Math.max(1, Math.ceil(scope.deadline - Date.now())),
    writeConcern: { w: w ?? 'majority' },
  }
  if (readConcern !== undefined) options.readConcern = { level: readConcern }
  session.startTransaction(options)
  return session
}

/** T1. */
export async function commit(link: Link, session: ClientSession, scope: Scope): Promise<void> {
  await link.run(scope, async () => {
    for (;;) {
      try {
        return await session.commitTransaction()
      } catch (error) {
        if (!isUnknownCommit(error) || link.broken || scope.deadline - Date.now() < RETRY_MS) throw error
        await pause(RETRY_MS)
      }
    }
  })
}

export function identityOf(session: ClientSession): Identity {
  const { serverSession, transaction } = session as unknown as Inside
  const recovery = transaction.recoveryToken
  return {
    session: Buffer.from(serverSession.id.id.buffer).toString('hex'),
    number: serverSession.txnNumber,
    at: Date.now(),
    ...(recovery && { recovery: JSON.stringify(recovery) }),
  }
}

/** T2. */
export async function outcomeOf(link: Link, given: unknown, name: string, scope: Scope): Promise<'committed' | 'rolled back' | 'unknown'> {
  const { session: id, number, at, recovery } = parsed(given, name)
  const session = link.client.startSession()
  const { serverSession } = session as unknown as Inside
  serverSession.id = { id: new Binary(Buffer.from(id, 'hex'), Binary.SUBTYPE_UUID) }
  serverSession.txnNumber = number
  serverSession.isDirty = true // never used again
  const ask = async (command: Document): Promise<'done' | 'committed' | 'none'> => {
    let code: number | undefined
    await link.run(scope, ({ maxTimeMS }) =>
      link.client
        .db('admin')
        .command({ ...command, writeConcern: { w: 'majority' }, maxTimeMS }, { session })
        .catch((error: unknown) => {
          code = mongoCodeOf(error)
          if (code !== NO_SUCH_TRANSACTION && code !== TRANSACTION_COMMITTED) throw error
        }),
    )
    return code === undefined ? 'done' : code === TRANSACTION_COMMITTED ? 'committed' : 'none'
  }
  try {
    if (recovery !== undefined) {
      if ((await ask({ commitTransaction: 1, recoveryToken: JSON.parse(recovery) as Document })) !== 'none') return 'committed'
    } else {
      const answer = await ask({ abortTransaction: 1 })
      if (answer === 'done') return 'rolled back'
      if (answer === 'committed' && (await ask({ commitTransaction: 1 })) !== 'none') return 'committed' // by a majority, so that it stays
    }
    return Date.now() - at < link.deployment.sessionMs - MARGIN_MS ? 'rolled back' : 'unknown' // too long ago
  } finally {
    await session.endSession()
  }
}

function parsed(identity: unknown, name: string): Identity {
  const { session, number, at, recovery } = (identity ?? {}) as Partial<Identity> // checked next
  if (typeof session === 'string' && /^[0-9a-f]{32}$/.test(session) && typeof number === 'number' && typeof at === 'number')
    return { session, number, at, recovery: typeof recovery === 'string' ? recovery : undefined }
  throw new CageError('INVALID_ARGUMENT', `${name}: that identifies no transaction`)
}
