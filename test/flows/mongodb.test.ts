/** Modules of a running node and MongoDB: documents over the bus, a transaction with something to undo, and changes that call a module. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { startMongo } from '../support/mongodb.ts'
import { startReplica } from '../support/mongodb-replica.ts'
import { project, startNode } from '../support/node.ts'

const ORDERS = `
  export async function place(ctx, order) { return (await ctx.resources.store.insertOne('orders', order)).insertedId }
  export async function get(ctx, id) { return await ctx.resources.store.findOne('orders', { _id: id }) }
  export async function count(ctx) {
    return await ctx.resources.store.stream('orders', {}, undefined, async (orders) => {
      let n = 0
      for await (const _ of orders) n++
      return n
    })
  }
  export async function both(ctx, by, first, second) {
    const xa = ctx.transaction()
    for (const _id of [first, second]) xa.store.insertOne('orders', { _id, by }).undo('deleteOne', 'orders', { _id, by })
    return await xa.execute()
  }
`
const CHANGES = `export async function changed(ctx, event) { ctx.log.warn({ n: event.n, protocol: ctx.request.protocol }, 'changed') }`
const CONFIG = `
  import { defineCage, env } from 'menagerie'
  export default defineCage({
    resources: { store: { kind: 'mongodb', url: env('STORE_URL'), database: 'shop' } },
    interfaces: { changes: { kind: 'mongodb', url: env('REPLICA_URL'), database: 'shop', collection: 'orders', call: 'changes.changed' } },
  })`

test('mongodb: modules read and write documents, undo them, and are called with changes', async (t) => {
  const [nats, mongo, replica] = await Promise.all([startNats(t), startMongo(t), startReplica(t)])
  const folder = project(t, { 'cages/shop/orders.js': ORDERS, 'cages/shop/changes.js': CHANGES, 'config/shop.ts': CONFIG })
  const environment = { STORE_URL: mongo.url, REPLICA_URL: replica.url }
  const node = startNode(t, folder.dir, ['--cage', 'shop', '--bus', nats.url], environment)
  await node.ready
  const bus = await testBus(t, nats.url)
  const call = (method: string, ...args: unknown[]): Promise<unknown> =>
    bus.call('shop', 'orders', method, args, { deadline: Date.now() + 20_000, request: { id: 'r1' } })

  const order = { sum: { $numberDecimal: '10.50' }, at: new Date('2026-11-24'), long: 2n ** 60n, bytes: Buffer.from([1, 2]) }
  const id = await call('place', order)
  assert.deepEqual(await call('get', id), { _id: id, ...order })
  assert.equal(await call('count'), 1)

  assert.equal(((await call('both', 'one', 'a', 'b')) as unknown[]).length, 2)
  await assert.rejects(call('both', 'two', 'c', 'a'))
  await eventually('the first was undone', async () => (await call('get', 'c')) === null)
  assert.deepEqual(await call('get', 'a'), { _id: 'a', by: 'one' })

  await node.until('it reads', ({ msg }) => msg === 'reading changes from now on')
  replica.emit({ operationType: 'insert', n: 7 })
  const told = await node.until('the module is called', ({ msg }) => msg === 'changed')
  assert.deepEqual([told.n, told.protocol], [7, 'mongodb'])
  assert.equal(await node.stop(), 0)
})
