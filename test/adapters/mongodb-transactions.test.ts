/**
 * MongoDB's transactions: what is sent, and what is made of the answers, with a peer that speaks the protocol and fails on demand. With MONGODB_URL the
 * behaviour itself, against that replica set.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Branch, ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { MongoResource, MongoSession } from '../../src/adapters/mongodb/api.ts'
import { mongoOptions } from '../../src/adapters/mongodb/options.ts'
import { open } from '../../src/adapters/mongodb/resource.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { plainMongo, REPLICA_SET } from '../support/mongodb.ts'
import { failure, type Replica, startReplica } from '../support/mongodb-replica.ts'

const COLLECTION = 'entries'

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(t: TestContext, url: string): Promise<Required<ResourceConnection>> {
  const options = mongoOptions.parse({ url, database: 'menagerie_test' })
  const resource = await open(options, { cage: 'c', name: 'ledger', log: recordingLog().log })
  const connection = await resource.connect(scope())
  atEnd(t, () => connection.close())
  return connection as Required<ResourceConnection> // where transactions are, all that is asked for here is
}

const run = (connection: ResourceConnection, work: Parameters<MongoResource['run']>[0], ...more: unknown[]): Promise<unknown> =>
  connection.call('run', [work, ...more], scope())
const insert = (connection: ResourceConnection, n: number): Promise<unknown> => connection.call('insertOne', [COLLECTION, { n }], scope())
const branch = (id: string): Branch => ({ id, options: {} })

async function bench(t: TestContext): Promise<{ replica: Replica; db: Required<ResourceConnection> }> {
  const replica = await startReplica(t)
  const db = await connect(t, replica.url)
  replica.said.length = 0
  return { replica, db }
}

function rejects(work: Promise<unknown>, code: string): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, code, error.message)
    return true
  })
}

const values = ({ documents }: Replica): unknown[] => documents.map(({ n }) => n)

test('mongodb: run commits what resolves and rolls back what rejects', async (t) => {
  const { replica, db } = await bench(t)
  assert.equal(db.participant, 'one-phase')
  const result = await run(db, async (session) => {
    await Promise.all([session.insertOne(COLLECTION, { n: 1 }), session.insertOne(COLLECTION, { n: 2 })])
    assert.deepEqual(replica.documents, [])
    return 'done'
  })
  assert.equal(result, 'done')
  assert.deepEqual(replica.said, ['insert', 'insert', 'commitTransaction'])
  await assert.rejects(
    run(db, async (session) => {
      await session.insertOne(COLLECTION, { n: 3 })
      throw new CageError('OWN', 'no')
    }),
    { code: 'OWN' },
  )
  assert.equal(replica.said.at(-1), 'abortTransaction')
  assert.deepEqual(values(replica), [1, 2])
  await insert(db, 4) // alone again
  assert.deepEqual(values(replica), [1, 2, 4])
})

test('mongodb: a session is of no use once its transaction has ended, and options of a transaction are checked', async (t) => {
  const { db, replica } = await bench(t)
  let kept: MongoSession | undefined
  const keep = async (session: MongoSession): Promise<void> => {
    kept = session
  }
  await run(db, keep, { readConcern: 'snapshot', w: 1 })
  await rejects(kept?.insertOne(COLLECTION, {}) ?? Promise.resolve(), 'INVALID_ARGUMENT')
  await rejects(
    run(db, async () => {}, { isolation: 'serializable' }),
    'INVALID_ARGUMENT',
  )
  await rejects(
    run(db, async () => {}, { readConcern: 'linearizable' }),
    'INVALID_ARGUMENT',
  )
  await rejects(db.call('command', [{ abortTransaction: 1 }], scope()), 'INVALID_ARGUMENT')
  assert.deepEqual(replica.said, [])
})

test('mongodb: a commit whose answer is lost is asked for again, and done once', async (t) => {
  const { replica, db } = await bench(t)
  let losses = 2
  replica.fate((name) => (name === 'commitTransaction' && losses-- > 0 ? 'lost after' : undefined))
  await run(db, (session) => session.insertOne(COLLECTION, { n: 1 }))
  assert.ok(replica.said.filter((name) => name === 'commitTransaction').length >= 2)
  assert.deepEqual(values(replica), [1])
})

test('mongodb: a commit with an unknown result is asked for again until it is known', async (t) => {
  const { replica, db } = await bench(t)
  let unknown = 3
  replica.fate((name) =>
    name === 'commitTransaction' && unknown-- > 0
      ? failure(91, 'ShutdownInProgress', ['RetryableWriteError', 'UnknownTransactionCommitResult'])
      : undefined,
  )
  await db.begin(branch('a'), scope())
  await insert(db, 1)
  await db.commit(scope())
  assert.deepEqual(values(replica), [1])
})

test('mongodb: a write conflict is told as one that may be tried again', async (t) => {
  const { replica, db } = await bench(t)
  replica.fate((name) => (name === 'insert' ? failure(112, 'WriteConflict', ['TransientTransactionError']) : undefined))
  await assert.rejects(
    run(db, (session) => session.insertOne(COLLECTION, { n: 1 })),
    (error: CageError) => error.code === 'CONFLICT' && error.retryable && (error.details as { mongoCode: number }).mongoCode === 112,
  )
  replica.fate(() => undefined)
  await run(db, (session) => session.insertOne(COLLECTION, { n: 2 }))
  assert.deepEqual(values(replica), [2])
})

test('mongodb: what became of a branch is told by another connection, and one that is open is ended', async (t) => {
  const { replica, db } = await bench(t)
  const other = await connect(t, replica.url)
  const outcome = (identity: unknown): Promise<string> => other.outcome(structuredClone(identity), scope())

  await db.begin(branch('committed'), scope())
  await insert(db, 1)
  const committed = await db.identity(scope())
  await db.commit(scope())
  assert.equal(await outcome(committed), 'committed')
  assert.equal(await outcome(committed), 'committed')

  await db.begin(branch('rolled back'), scope())
  await insert(db, 2)
  const rolledBack = await db.identity(scope())
  await db.rollback(scope())
  assert.equal(await outcome(rolledBack), 'rolled back')

  await db.begin(branch('open'), scope())
  await insert(db, 3)
  const open_ = await db.identity(scope())
  assert.equal(await outcome(open_), 'rolled back')
  await rejects(db.commit(scope()), 'CONFLICT')
  assert.equal(db.broken, false, 'a refusal is an answer')
  assert.deepEqual(values(replica), [1])

  assert.equal(await outcome({ ...(open_ as object), at: Date.now() - 40 * 60_000 }), 'unknown')
  await rejects(outcome({ session: 'x' }), 'INVALID_ARGUMENT')
  await insert(other, 4)
  assert.deepEqual(values(replica), [1, 4])
})

test('mongodb: a commit that nobody answers in time costs the connection, and its outcome can be told', async (t) => {
  const { replica, db } = await bench(t)
  await db.begin(branch('late'), scope())
  await insert(db, 1)
  const identity = await db.identity(scope())
  replica.fate((name) => (name === 'commitTransaction' ? 'lost after' : undefined))
  await rejects(db.commit(scope(300)), 'DEADLINE_EXCEEDED')
  assert.equal(db.broken, true)
  replica.fate(() => undefined)
  const other = await connect(t, replica.url)
  assert.equal(await other.outcome(identity, scope()), 'committed')
})

test('mongodb: a write whose answer is lost is made again once, as the server can tell', async (t) => {
  const { replica, db } = await bench(t)
  let losses = 1
  const numbers: unknown[] = []
  replica.fate((name, command) => {
    if (name !== 'insert') return undefined
    numbers.push(String(command.txnNumber))
    return losses-- > 0 ? 'lost before' : undefined
  })
  await insert(db, 1)
  assert.equal(numbers.length, 2)
  assert.equal(numbers[0], numbers[1])
  assert.deepEqual(values(replica), [1])
})

test('mongodb: a replica set of yours commits, rolls back, tells conflicts and outcomes', { skip: !REPLICA_SET }, async (t) => {
  const url = REPLICA_SET ?? ''
  const outside = (await plainMongo(t, url, 'menagerie_test')).collection(COLLECTION)
  await outside.deleteMany({})
  await outside.insertOne({ n: 0 })
  const [db, other] = await Promise.all([connect(t, url), connect(t, url)])
  assert.equal(db.participant, 'one-phase')
  await run(db, async (session) => {
    await session.updateOne(COLLECTION, { n: 0 }, { $set: { by: 1 } })
    await assert.rejects(
      run(other, (second) => second.updateOne(COLLECTION, { n: 0 }, { $set: { by: 2 } })),
      { code: 'CONFLICT' },
    )
    await session.insertOne(COLLECTION, { n: 1 })
    assert.equal(await outside.countDocuments({}), 1)
  })
  await assert.rejects(
    run(db, async (session) => {
      await session.insertOne(COLLECTION, { n: 2 })
      throw new CageError('OWN', 'no')
    }),
  )
  assert.equal(await outside.countDocuments({}), 2)
  for (const end of ['commit', 'rollback'] as const) {
    await db.begin(branch(end), scope())
    await insert(db, 3)
    const identity = await db.identity(scope())
    await db[end](scope())
    assert.equal(await other.outcome(identity, scope()), end === 'commit' ? 'committed' : 'rolled back')
  }
  await db.begin(branch('open'), scope())
  await insert(db, 4)
  assert.equal(await other.outcome(await db.identity(scope()), scope()), 'rolled back')
  await rejects(db.commit(scope()), 'CONFLICT')
  assert.equal(await outside.countDocuments({}), 3)
})
