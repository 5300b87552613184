/** MongoDB does what every resource does. */
import { before } from 'node:test'
import { MongoClient } from 'mongodb'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { ENDLESS, type MongoServer, startMongo } from '../support/mongodb.ts'

let server: MongoServer

before(async () => {
  server = await startMongo(suite)
  await outside((client) => client.db('test').collection<{ _id: number }>('one').insertOne({ _id: 1 }))
})

/** A client that is there for one question, and counts among the server's. */
async function outside<T>(ask: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(server.url, { appName: 'outside' })
  try {
    return await ask(client)
  } finally {
    await client.close()
  }
}

async function running(): Promise<number> {
  return await outside(async (client) => {
    const operations = client.db('admin').aggregate([{ $currentOp: {} }, { $match: { 'command.aggregate': 'one' } }])
    return (await operations.toArray()).length
  })
}

const adapter = ADAPTERS.get('mongodb')
if (!adapter) throw new Error('there is no adapter mongodb')

resourceConforms({
  name: 'mongodb',
  adapter,
  options: () => ({ url: server.url, database: 'test' }),
  quick: { method: 'find', args: ['one', { _id: 1 }], result: [{ _id: 1 }] },
  server: {
    slow: { method: 'aggregate', args: ['one', ENDLESS] },
    running,
    sessions: () => server.sessions(),
    stop: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    refused: () => ({ url: server.url, database: 'test', user: 'nobody', password: 'wrong' }),
  },
})
