/** A running node whose module calls MySQL, Redis and HTTP, alone and in one transaction, and hears of Redis's messages. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { type Owner, suite } from '../../src/testing/owner.ts'
import { type MariadbServer, startMariadb } from '../support/mariadb.ts'
import { type NodeProcess, project, startNode } from '../support/node.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startWeb, type WebServer } from '../support/web.ts'

const ORDERS = `
  export async function place(ctx, id, status) {
    const xa = ctx.transaction()
    xa.shop.execute('insert into orders values (?)', [id])
    xa.cache.set('order:' + id, 'placed')
    xa.api.post('/status/' + status, { id })
    const [rows, queued, answer] = await xa.execute()
    return { rows, queued, status: answer.status }
  }
  export async function fetched(ctx) { return (await ctx.resources.api.get('/echo/x')).body.path }
  export async function streamed(ctx) {
    return await ctx.resources.api.stream({ path: '/pieces?n=50' }, async ({ body }) => {
      let length = 0
      for await (const piece of body) length += piece.length
      return length
    })
  }
  export async function told(ctx, message, channel) { ctx.log.warn({ message, channel, protocol: ctx.request.protocol }, 'heard') }
`
const CONFIGURATION = `
  import { defineCage, env } from 'menagerie'
  export default defineCage({
    resources: {
      shop: { kind: 'mysql', url: env('SHOP_URL') },
      cache: { kind: 'redis', url: env('REDIS_URL') },
      api: { kind: 'http', url: env('API_URL') },
    },
    interfaces: { news: { kind: 'redis', url: env('REDIS_URL'), channels: { 'orders.*': 'orders.told' } } },
  })`

let nats: NatsServer
let mariadb: MariadbServer
let redis: RedisServer
let web: WebServer
let node: NodeProcess

before(async () => {
  ;[nats, mariadb, redis, web] = await Promise.all([startNats(suite), startMariadb(suite), startRedis(suite), startWeb(suite)])
  await mariadb.sql('create table shop.orders (id int primary key) engine=innodb')
  const { dir } = project(suite, { 'cages/shop/orders.js': ORDERS, 'config/shop.ts': CONFIGURATION })
  const urls = { SHOP_URL: mariadb.url, REDIS_URL: redis.url, API_URL: web.url }
  node = startNode(suite, dir, ['--cage', 'shop', '--bus', nats.url], urls)
  await node.ready
})

async function call(owner: Owner, method: string, ...args: unknown[]): Promise<unknown> {
  const bus = await testBus(owner, nats.url)
  return await bus.call('shop', 'orders', method, args, { deadline: Date.now() + 20_000, request: { id: 't' } })
}

test('clients: a transaction of MySQL, Redis and HTTP is done in all of them', async (t) => {
  assert.deepEqual(await call(t, 'place', 1, 200), { rows: [], queued: 'QUEUED', status: 200 })
  assert.equal(await mariadb.sql('select id from shop.orders'), '1')
  assert.equal(await redis.cli('get', 'order:1'), 'placed')
})

test('clients: a transaction that one of them refuses is done in none', async (t) => {
  await assert.rejects(call(t, 'place', 2, 409), (error: CageError) => error.code === 'CONFLICT')
  await assert.rejects(call(t, 'place', 1, 200), (error: CageError) => error.code === 'CONFLICT')
  assert.equal(await mariadb.sql('select group_concat(id) from shop.orders'), '1')
  assert.equal(await redis.cli('exists', 'order:2'), '0')
  assert.equal(await mariadb.sql('xa recover'), '')
})

test('clients: an answer is read by the module, whole or as a stream, and a message is heard', async (t) => {
  assert.equal(await call(t, 'fetched'), '/echo/x')
  assert.equal(await call(t, 'streamed'), 50_000)
  await node.until('it listens', ({ msg }) => msg === 'listening to messages')
  await redis.cli('publish', 'orders.new', 'hello')
  const { message, channel, protocol } = await node.until('it is heard', ({ msg }) => msg === 'heard')
  assert.deepEqual([message, channel, protocol], ['hello', 'orders.new', 'redis'])
})
