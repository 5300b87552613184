/** MongoDB as a resource: values, operations, errors, streams. Against the real engine, or against the replica set of MONGODB_URL. */
import assert from 'node:assert/strict'
import { createServer, connect as dial } from 'node:net'
import { before, type TestContext, test } from 'node:test'
import { Binary, type Db, Decimal128, Double, Long, MaxKey, MinKey, ObjectId, Timestamp, UUID } from 'mongodb'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { MongoDocument, MongoResource } from '../../src/adapters/mongodb/api.ts'
import { mongoOptions } from '../../src/adapters/mongodb/options.ts'
import { open } from '../../src/adapters/mongodb/resource.ts'
import { decodeResult, encodeResult } from '../../src/bus/wire.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { ENDLESS, plainMongo, REPLICA_SET, startMongo } from '../support/mongodb.ts'

const DATABASE = 'menagerie_test'
let url: string
let outside: Db
let names = 0

before(async () => {
  url = REPLICA_SET ?? (await startMongo(suite)).url
  outside = await plainMongo(suite, url, DATABASE)
  await outside.dropDatabase()
})

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(t: TestContext, more: object = {}): Promise<ResourceConnection> {
  const resource = await open(mongoOptions.parse({ url, database: DATABASE, ...more }), {
    cage: 'c',
    name: 'shop',
    log: recordingLog().log,
  })
  const connection = await resource.connect(scope())
  atEnd(t, () => connection.close())
  return connection
}

interface Bench {
  db: MongoResource
  connection: ResourceConnection
  /** A collection of the test's own. */
  name: string
}

async function bench(t: TestContext): Promise<Bench> {
  const connection = await connect(t)
  const make =
    (method: string) =>
    (...args: unknown[]) =>
      connection.call(method, args, scope())
  const db = new Proxy({}, { get: (_, method) => make(String(method)) }) as MongoResource // as a module has it
  return { db, connection, name: `c${++names}` }
}

function rejects(work: Promise<unknown>, code: string, check: (error: CageError) => void = () => {}): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, code, error.message)
    check(error)
    return true
  })
}

test('mongodb: values come as plain data that crosses the bus, and are written back as they were', async (t) => {
  const { db, name } = await bench(t)
  const [id, uuid] = [new ObjectId(), new UUID()]
  const at = new Date('2026-11-24T10:11:12.123Z')
  const raw = {
    ...{ _id: id, long: Long.fromString('9223372036854775807'), int: 7, double: 0.1, text: 'é', at, nothing: null, yes: true },
    ...{ exact: Decimal128.fromString('12345678901234567890.123456789'), bytes: new Binary(Buffer.from([0, 255])), uuid },
    ...{
      other: new Binary(Buffer.from('x'), 128),
      stamp: new Timestamp({ t: 4_000_000_000, i: 3 }),
      low: new MinKey(),
      high: new MaxKey(),
    },
    ...{ pattern: /a.b/i, nested: [{ id }, [Long.fromNumber(1)]], whole: new Double(1.5) },
  }
  await outside.collection(name).insertOne({ ...raw })
  const [read] = await db.find(name, { _id: { $oid: id.toHexString() } })
  assert.deepEqual(read, {
    ...{ _id: { $oid: id.toHexString() }, long: 2n ** 63n - 1n, int: 7, double: 0.1, text: 'é', at, nothing: null, yes: true },
    ...{ exact: { $numberDecimal: '12345678901234567890.123456789' }, bytes: Buffer.from([0, 255]) },
    ...{ uuid: { $binary: { base64: Buffer.from(uuid.buffer).toString('base64'), subType: '04' } } },
    ...{ other: { $binary: { base64: 'eA==', subType: '80' } }, stamp: { $timestamp: { t: 4_000_000_000, i: 3 } } },
    ...{ low: { $minKey: 1 }, high: { $maxKey: 1 }, pattern: { $regularExpression: { pattern: 'a.b', options: 'i' } } },
    ...{ nested: [{ id: { $oid: id.toHexString() } }, [1n]], whole: 1.5 },
  })
  const travelled = decodeResult(encodeResult(read, 'envelope')) as MongoDocument
  await db.replaceOne(name, { _id: read?._id }, travelled)
  const options = { promoteValues: false, bsonRegExp: true }
  const again = await outside.collection(name).findOne({ _id: id }, options)
  await outside.collection(name).replaceOne({ _id: id }, raw)
  assert.deepEqual(again, await outside.collection(name).findOne({ _id: id }, options))
})

test('mongodb: values of other kinds are written too: uuid, bytes, patterns, undefined, numbers', async (t) => {
  const { db, name } = await bench(t)
  const uuid = new UUID()
  const document = {
    _id: 1,
    uuid: { $uuid: uuid.toHexString() },
    bytes: new Uint8Array([1]),
    none: undefined,
    zero: -0,
    nan: Number.NaN,
    d: { $numberDouble: '2' },
  }
  await db.insertOne(name, { ...document, date: { $date: '2026-11-24T00:00:00Z' } })
  const stored = await outside.collection<{ _id: number }>(name).findOne({ _id: 1 }, { promoteValues: false })
  assert.deepEqual((stored as MongoDocument | null)?.uuid, uuid)
  assert.deepEqual(
    await db.findOne(
      name,
      { uuid: { $uuid: uuid.toHexString() } },
      { projection: { _id: 0, bytes: 1, none: 1, zero: 1, nan: 1, d: 1, date: 1 } },
    ),
    {
      ...{ bytes: Buffer.from([1]), none: null, zero: -0, nan: Number.NaN, d: 2, date: new Date('2026-11-24') },
    },
  )
  await db.insertMany(name, [{ _id: 'Abc' }, { _id: 'xbc' }])
  assert.deepEqual(await db.find(name, { _id: /^a/i }), [{ _id: 'Abc' }])
  assert.deepEqual(await db.find(name, { _id: { $regex: '^x' } }), [{ _id: 'xbc' }])
})

test('mongodb: what BSON would change silently is refused by its path, and not told', async (t) => {
  const { db, name } = await bench(t)
  const refused = (value: unknown, message: RegExp): Promise<void> =>
    rejects(db.insertOne(name, { a: [{ secret: value }] }), 'INVALID_ARGUMENT', (error) => assert.match(error.message, message))
  await refused(2n ** 63n, /^the document\.a\[0\]\.secret is a bigint of more than 64 bits$/)
  await refused(new Set(), /is an instance of Set/)
  await refused(new ObjectId(), /is an ObjectId: give \{ \$oid: '...' \}/)
  await refused(() => {}, /is a function/)
  await refused(Symbol('s'), /is a symbol/)
  await refused(new Date(Number.NaN), /is an invalid date/)
  await refused({ $oid: 'secret' }, /is no \$oid of BSON$/)
  await refused({ $numberDecimal: 'one' }, /is no \$numberDecimal of BSON$/)
  const cycle: { self?: object } = {}
  cycle.self = cycle
  await rejects(db.insertOne(name, cycle), 'INVALID_ARGUMENT', ({ message }) => assert.match(message, /in itself/))
  assert.equal(await db.countDocuments(name), 0)
})

test('mongodb: documents are inserted, found, changed, replaced, deleted and counted', async (t) => {
  const { db, name } = await bench(t)
  const { insertedId } = await db.insertOne(name, { n: 0 })
  assert.match((insertedId as { $oid: string }).$oid, /^[0-9a-f]{24}$/)
  assert.deepEqual(
    await db.insertMany(
      name,
      [1, 2, 3, 4].map((n) => ({ _id: n, n })),
    ),
    { insertedCount: 4, insertedIds: [1, 2, 3, 4] },
  )
  assert.deepEqual(await db.insertMany(name, []), { insertedCount: 0, insertedIds: [] })
  assert.deepEqual(await db.find(name, { n: { $gt: 0 } }, { sort: { n: -1 }, projection: { _id: 0 }, skip: 1, limit: 2 }), [
    { n: 3 },
    { n: 2 },
  ])
  assert.deepEqual(await db.findOne(name, { _id: 3 }), { _id: 3, n: 3 })
  assert.equal(await db.findOne(name, { _id: 33 }), null)
  assert.deepEqual(await db.updateOne(name, { _id: 1 }, { $inc: { n: 10 } }), {
    matchedCount: 1,
    modifiedCount: 1,
    upsertedCount: 0,
    upsertedId: null,
  })
  assert.deepEqual(await db.updateMany(name, { n: { $lt: 5 } }, [{ $set: { twice: { $multiply: ['$n', 2] } } }]), {
    ...{ matchedCount: 4, modifiedCount: 4, upsertedCount: 0, upsertedId: null },
  })
  assert.equal((await db.updateOne(name, { _id: 'new' }, { $set: { n: 9 } }, { upsert: true })).upsertedId, 'new')
  assert.equal((await db.replaceOne(name, { _id: 2 }, { n: 2 })).modifiedCount, 1)
  assert.deepEqual(await db.findOneAndUpdate(name, { _id: 2 }, { $set: { n: 22 } }, { returnDocument: 'after' }), { _id: 2, n: 22 })
  assert.deepEqual(await db.findOneAndReplace(name, { _id: 2 }, { x: 1 }), { _id: 2, n: 22 })
  assert.deepEqual(await db.findOneAndDelete(name, { _id: 2 }), { _id: 2, x: 1 })
  assert.equal(await db.findOneAndDelete(name, { _id: 2 }), null)
  assert.deepEqual(await db.distinct(name, 'n', { n: { $gt: 5 } }), [9, 11])
  assert.equal(await db.countDocuments(name, { n: { $gt: 0 } }), 4)
  assert.equal(await db.estimatedDocumentCount(name), 5)
  assert.deepEqual(await db.aggregate(name, [{ $match: { n: { $gt: 2 } } }, { $group: { _id: null, sum: { $sum: '$n' } } }]), [
    { _id: null, sum: 27 },
  ])
  assert.deepEqual(await db.deleteOne(name, { _id: 3 }), { deletedCount: 1 })
  assert.deepEqual(await db.deleteMany(name, {}), { deletedCount: 4 })
})

test('mongodb: a bulk tells what was done, and of a failure what was done and what was not', async (t) => {
  const { db, name } = await bench(t)
  const operations = [
    { insertOne: { document: { _id: 1 } } },
    { updateOne: { filter: { _id: 2 }, update: { $set: { n: 1 } }, upsert: true } },
    { deleteOne: { filter: { _id: 3 } } },
  ]
  assert.deepEqual(await db.bulkWrite(name, operations), {
    ...{
      insertedCount: 1,
      matchedCount: 0,
      modifiedCount: 0,
      deletedCount: 0,
      upsertedCount: 1,
      upsertedIds: { 1: 2 },
      insertedIds: { 0: 1 },
    },
  })
  const more = [5, 1, 6].map((_id) => ({ insertOne: { document: { _id } } }))
  const none = { matchedCount: 0, modifiedCount: 0, deletedCount: 0, upsertedCount: 0 }
  const failed = [{ index: 1, mongoCode: 11_000 }]
  await rejects(db.bulkWrite(name, more), 'CONFLICT', ({ details }) => {
    assert.deepEqual(details, { ...(details as object), done: { insertedCount: 1, ...none }, failed })
  })
  await db.deleteOne(name, { _id: 5 })
  await rejects(db.insertMany(name, [{ _id: 5 }, { _id: 1 }, { _id: 6 }], { ordered: false }), 'CONFLICT', ({ details }) => {
    assert.deepEqual(details, { ...(details as object), done: { insertedCount: 2, ...none }, failed })
  })
})

test('mongodb: errors have our codes, and tell no values', async (t) => {
  const { db, name } = await bench(t)
  await db.command({ create: `${name}v`, validator: { n: { $type: 'int' } } })
  await db.command({ createIndexes: name, indexes: [{ key: { email: 1 }, name: 'by_email', unique: true }] })
  await db.insertOne(name, { _id: 1, email: 'secret@example.com' })
  await rejects(db.insertOne(name, { email: 'secret@example.com' }), 'CONFLICT', (error) => {
    assert.equal(error.retryable, false)
    assert.deepEqual(error.details, { mongoCode: 11_000, index: 'by_email', fields: ['email'] })
    assert.doesNotMatch(JSON.stringify(error), /secret/)
  })
  await rejects(db.find(name, { $nonsense: 1 }), 'INVALID_ARGUMENT', ({ message }) => assert.match(message, /^shop: unknown .*\$nonsense/))
  await rejects(db.updateOne(name, { _id: 1 }, { $set: { _id: 2 } }), 'INVALID_ARGUMENT')
  await rejects(db.updateOne(name, { _id: 1 }, { $inc: { email: 1 } }), 'INVALID_ARGUMENT', ({ message }) =>
    assert.doesNotMatch(message, /secret/),
  )
  await rejects(db.updateOne(name, { _id: 1 }, { email: 'x' }), 'INVALID_ARGUMENT')
  await rejects(db.insertOne(`${name}v`, { n: 'secret' }), 'INVALID_ARGUMENT', ({ message }) => assert.doesNotMatch(message, /secret/))
  await rejects(db.aggregate(name, [{ $nonsense: {} }]), 'INVALID_ARGUMENT')
  await rejects(db.aggregate(name, [{ $project: { x: { $divide: [1, { $size: '$none' }] } } }]), 'INVALID_ARGUMENT')
  await rejects(db.command({ nonsense: 1 }), 'INVALID_ARGUMENT')
  await rejects(db.command({ create: `${name}v`, capped: true, size: 4096 }), 'CONFLICT')
  const text = 'x'.repeat(17 * 2 ** 20)
  await rejects(db.insertOne(name, { text }), 'PAYLOAD_TOO_LARGE')
  await rejects(db.insertMany(name, [{ text }]), 'PAYLOAD_TOO_LARGE')
  await rejects(db.updateOne(name, { _id: 1 }, { $set: { text } }), 'PAYLOAD_TOO_LARGE')
})

test('mongodb: what a method does not take is refused, by name', async (t) => {
  const { db, name } = await bench(t)
  const unknown = db as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
  await db.insertOne(name, { _id: 1 })
  await rejects(unknown.find?.(name, {}, { sorted: {} }) ?? Promise.resolve(), 'INVALID_ARGUMENT', ({ message }) =>
    assert.equal(message, 'find has no option sorted, did you mean sort?'),
  )
  await rejects(unknown.findone?.(name) ?? Promise.resolve(), 'INVALID_ARGUMENT', ({ message }) =>
    assert.match(message, /did you mean findOne\?/),
  )
  await rejects(unknown.find?.(name, {}, { session: {} }) ?? Promise.resolve(), 'INVALID_ARGUMENT')
  await rejects(unknown.deleteMany?.(name, undefined) ?? Promise.resolve(), 'INVALID_ARGUMENT')
  await rejects(unknown.deleteMany?.(name, []) ?? Promise.resolve(), 'INVALID_ARGUMENT')
  await rejects(unknown.find?.('') ?? Promise.resolve(), 'INVALID_ARGUMENT')
  await rejects(unknown.insertMany?.(name, { _id: 2 }) ?? Promise.resolve(), 'INVALID_ARGUMENT')
  await rejects(unknown.constructor?.(name) ?? Promise.resolve(), 'INVALID_ARGUMENT')
  assert.deepEqual(await db.find(name, undefined, { limit: undefined } as object), [{ _id: 1 }])
})

test('mongodb: a stream reads more than one batch, and ends with what its reader resolves with', async (t) => {
  const { db, name } = await bench(t)
  await db.insertMany(
    name,
    Array.from({ length: 1_000 }, (_, n) => ({ _id: n })),
  )
  const sum = await db.stream<number, { _id: number }>(
    name,
    { _id: { $lt: 900 } },
    { batchSize: 50, sort: { _id: 1 } },
    async (documents) => {
      let total = 0
      for await (const { _id } of documents) total += _id
      return total
    },
  )
  assert.equal(sum, (899 * 900) / 2)
  const first = await db.stream(name, [{ $sort: { _id: -1 } }], { batchSize: 10 }, async (documents) => {
    for await (const document of documents) return document
    return undefined
  })
  assert.deepEqual(first, { _id: 999 })
  const idle = outside.client
    .db('admin')
    .aggregate([{ $currentOp: { idleCursors: true } }, { $match: { type: 'idleCursor', ns: `${DATABASE}.${name}` } }])
  assert.deepEqual(await idle.toArray(), [], 'the server keeps no cursor')
  await rejects(
    db.stream(name, {}, undefined, async () => {
      throw new CageError('OWN', 'enough')
    }),
    'OWN',
  )
  await rejects(
    db.stream(name, {}, { nonsense: 1 } as object, async () => {}),
    'INVALID_ARGUMENT',
  )
})

test('mongodb: a stream ends with its deadline, at the server too', async (t) => {
  const { connection, name } = await bench(t)
  await outside.collection(name).insertOne({ n: 1 })
  const read = async (documents: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of documents) assert.fail('there is none')
  }
  await rejects(connection.call('stream', [name, ENDLESS, undefined, read], scope(300)), 'DEADLINE_EXCEEDED')
  const operations = outside.client.db('admin').aggregate([{ $currentOp: {} }, { $match: { 'command.aggregate': name } }])
  assert.deepEqual(await operations.toArray(), [])
  assert.equal(connection.broken, false)
})

test('mongodb: a stream whose call has ended between two batches leaves no cursor', async (t) => {
  const { db, connection, name } = await bench(t)
  await db.insertMany(
    name,
    Array.from({ length: 100 }, (_, n) => ({ _id: n })),
  )
  const stopping = new AbortController()
  const read = async (documents: AsyncIterable<unknown>): Promise<void> => {
    for await (const _ of documents) stopping.abort()
  }
  await rejects(connection.call('stream', [name, {}, { batchSize: 10 }, read], scope(9_000, stopping.signal)), 'CANCELLED')
  const idle = outside.client
    .db('admin')
    .aggregate([{ $currentOp: { idleCursors: true } }, { $match: { type: 'idleCursor', ns: `${DATABASE}.${name}` } }])
  assert.deepEqual(await idle.toArray(), [])
  assert.equal(connection.broken, false)
})

test('mongodb: calls are sent with the time that is left, and a comment that names the resource', async (t) => {
  const { connection, name } = await bench(t)
  await outside.collection(name).insertOne({ n: 1 })
  const stopping = new AbortController()
  const running = rejects(connection.call('aggregate', [name, ENDLESS], scope(9_000, stopping.signal)), 'CANCELLED')
  const command = await eventually('it runs', async () => {
    const operations = outside.client.db('admin').aggregate([{ $currentOp: {} }, { $match: { 'command.aggregate': name } }])
    return (await operations.toArray())[0]?.command as MongoDocument | undefined
  })
  assert.ok(Number(command.maxTimeMS) > 8_000 && Number(command.maxTimeMS) <= 9_000)
  assert.match(String(command.comment), /^menagerie shop [0-9a-f-]{36}\/\d+$/)
  stopping.abort()
  await running
})

test('mongodb: half an answer, rubbish and a silent server are told, and cost the connection', async (t) => {
  const { port } = await startMongo(t)
  let spoil: ((answer: Buffer) => Buffer) | undefined
  const proxy = createServer((socket) => {
    const server = dial({ host: '127.0.0.1', port })
    socket.on('error', () => {}).on('close', () => server.destroy())
    server.on('error', () => {}).on('close', () => socket.destroy())
    socket.pipe(server)
    server.on('data', (answer) => (spoil ? socket.end(spoil(answer)) : socket.write(answer)))
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  atEnd(t, () => void proxy.close())
  const through = `mongodb://127.0.0.1:${(proxy.address() as { port: number }).port}/?directConnection=true`
  for (const [make, code] of [
    [(answer: Buffer) => answer.subarray(0, 20), 'UNAVAILABLE'],
    [(answer: Buffer) => Buffer.alloc(answer.length, 0xff), 'UNAVAILABLE'],
  ] as const) {
    spoil = undefined
    const connection = await connect(t, { url: through })
    spoil = make
    await rejects(connection.call('find', ['any'], scope(3_000)), code)
    assert.equal(connection.broken, true)
  }
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  atEnd(t, () => void silent.close())
  const options = mongoOptions.parse({ url: `mongodb://127.0.0.1:${(silent.address() as { port: number }).port}`, database: 'test' })
  const resource = await open(options, { cage: 'c', name: 'shop', log: recordingLog().log })
  await rejects(resource.connect(scope(200)), 'UNAVAILABLE')
})

test('mongodb: options: the url is checked, and never told', () => {
  const told = (given: object): string => {
    const { error } = mongoOptions.safeParse(given)
    const text = JSON.stringify(error?.issues ?? [])
    assert.doesNotMatch(text, /secret/)
    return text
  }
  assert.match(told({ url: 'postgres://u:secret@h/d' }), /is no mongodb:\/\/ URL/)
  assert.match(told({ url: 'mongodb://u:secret@h' }), /a database is needed/)
  assert.match(told({ url: 'mongodb://u:secret@h/d?maxPoolSize=5' }), /has maxPoolSize/)
  assert.match(told({ url: 'mongodb://u:secret@h/d?tlsInsecure=true' }), /has tlsInsecure/)
  assert.match(told({ url: 'mongodb://h/d', password: 'secret' }), /a password needs its user/)
  assert.match(told({ url: 'mongodb://u:secret@h/d', user: 'u' }), /the url names a user too/)
  const read = (more: object): object => {
    const { url: _, ...rest } = mongoOptions.parse(more)
    return rest
  }
  const defaults = { user: undefined, password: undefined, authSource: undefined, applicationName: 'menagerie' }
  assert.deepEqual(read({ url: 'mongodb://localhost:1,127.0.0.1:2/shop?replicaSet=rs0' }), { ...defaults, database: 'shop', tls: false })
  assert.deepEqual(read({ url: 'mongodb://localhost,db.example.com/shop', database: 'other' }), {
    ...defaults,
    database: 'other',
    tls: { verify: true },
  })
  assert.deepEqual(read({ url: 'mongodb+srv://db.example.com/shop?tls=false' }), { ...defaults, database: 'shop', tls: false })
  assert.equal(mongoOptions.parse({ url: 'mongodb://h/d?tls=true&w=1', tls: false }).url, 'mongodb://h/d?w=1')
})
