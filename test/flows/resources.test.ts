/** Modules of a running node and their resources: deadlines, callers that leave, caches, and configuration that changes. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type pg from 'pg'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'
import { type PostgresServer, plainClient, startPostgres } from '../support/postgres.ts'

const ORDERS = `
  export async function place(ctx, id, amount) {
    return await ctx.resources.ledger.change('insert into orders values (:id, :amount)', { id, amount })
  }
  export async function list(ctx) { return await ctx.resources.ledger.execute('select * from orders order by id') }
  export async function move(ctx, from, to) {
    return await ctx.resources.ledger.run(async (db) => {
      await db.change('delete from orders where id = $1', [from])
      await db.change('insert into orders values ($1, 0)', [to])
      return 'moved'
    }, { isolation: 'serializable' })
  }
  export async function sleep(ctx) { return await ctx.resources.ledger.execute('select pg_sleep(60)') }
  export async function nap(ctx) { return (await ctx.resources.ledger.execute("select current_setting('application_name') as name, pg_sleep(1)"))[0].name }
  export async function name(ctx) { return (await ctx.resources.ledger.execute("select current_setting('application_name') as name"))[0].name }
  export async function hurried(ctx) { return await ctx.resource('ledger', { timeoutMs: 100 }).execute('select pg_sleep(60)') }
  export async function counted(ctx) { return await ctx.resource('ledger', { cache: { readKeys: ['orders'] } }).execute('select count(*) as n from orders') }
  export async function added(ctx, id) { return await ctx.resource('ledger', { cache: { writeKeys: ['orders'] } }).change('insert into orders values ($1, 1)', [id]) }
  export async function wrong(ctx) { return await ctx.resources.legder.execute('select 1') }
  export async function changed(ctx, payload, channel) { ctx.log.warn({ payload, channel, protocol: ctx.request.protocol }, 'notified') }
`
const configuration = (applicationName: string): string => `
  import { defineCage, env } from 'menagerie'
  export default defineCage({
    resources: { ledger: { kind: 'postgresql', url: env('LEDGER_URL'), applicationName: '${applicationName}', pool: { size: 4 }, cache: { size: 10 } } },
    interfaces: { changes: { kind: 'postgresql', url: env('LEDGER_URL'), channels: { orders: 'orders.changed' } } },
  })`

let nats: NatsServer
let postgres: PostgresServer
let outside: pg.Client
let folder: Project
let node: NodeProcess

before(async () => {
  ;[nats, postgres] = await Promise.all([startNats(suite), startPostgres(suite)])
  outside = await plainClient(suite, postgres)
  await outside.query('create table orders (id int8 primary key, amount numeric not null check (amount >= 0))')
  folder = project(suite, {
    'cages/shop/orders.js': ORDERS,
    'cages/shop/apart.js': `export const options = { isolate: true }\n${ORDERS}`,
    'config/shop.ts': configuration('first'),
  })
  node = startNode(suite, folder.dir, ['--cage', 'shop', '--bus', nats.url], { LEDGER_URL: postgres.url })
  await node.ready
})

/** Statements of ours that run at the server. */
async function running(text = 'pg_sleep'): Promise<number> {
  const { rows } = await outside.query(
    `select count(*)::int as n from pg_stat_activity where state = 'active' and query like '%' || $1 || '%' and pid <> pg_backend_pid()`,
    [text],
  )
  return rows[0].n
}

test('resources: a module’s statement has typed values, and its failure crosses the bus with what the server names', async (t) => {
  const bus = await testBus(t, nats.url)
  const call = (method: string, ...args: unknown[]): Promise<unknown> =>
    bus.call('shop', 'orders', method, args, { deadline: Date.now() + 20_000, request: { id: 't' } })
  assert.equal(await call('place', 2n ** 60n, '12.50'), 1)
  assert.deepEqual(await call('list'), [{ id: 2n ** 60n, amount: '12.50' }])
  await assert.rejects(call('place', 2n ** 60n, '1'), (error: CageError) => {
    assert.deepEqual([error.code, error.details], ['CONFLICT', { sqlState: '23505', constraint: 'orders_pkey', table: 'orders' }])
    return true
  })
  assert.equal(await call('move', 2n ** 60n, 7n), 'moved')
  assert.deepEqual(await call('list'), [{ id: 7n, amount: '0' }])
  await assert.rejects(call('wrong'), /cage shop has no resource legder, did you mean ledger\?/)
})

test('resources: the caller’s deadline, the call’s own, and a caller that leaves end the statement at the server', async (t) => {
  const bus = await testBus(t, nats.url)
  for (const module of ['orders', 'apart']) {
    const late = bus.call('shop', module, 'sleep', [], { deadline: Date.now() + 1_500, request: { id: 't' } })
    const isLate = (error: unknown): boolean => error instanceof CageError && error.code === 'DEADLINE_EXCEEDED'
    const refused = assert.rejects(late, isLate)
    await eventually('it runs', async () => (await running()) === 1)
    await refused
    await eventually('the server has stopped', async () => (await running()) === 0)
    await assert.rejects(bus.call('shop', module, 'hurried', [], { deadline: Date.now() + 20_000, request: { id: 't' } }), isLate)
    await eventually('the server has stopped', async () => (await running()) === 0)
    const owner = {}
    const left = bus.call('shop', module, 'sleep', [], { deadline: Date.now() + 20_000, request: { id: 't' }, owner })
    const cancelled = assert.rejects(left, (error: CageError) => error.code === 'CANCELLED')
    await eventually('it runs', async () => (await running()) === 1)
    bus.cancel(owner)
    await cancelled
    await eventually('the server has stopped', async () => (await running()) === 0)
  }
})

test('resources: a read that is kept is not made again, until a write says so', async (t) => {
  const bus = await testBus(t, nats.url)
  const call = (method: string, ...args: unknown[]): Promise<unknown> =>
    bus.call('shop', 'orders', method, args, { deadline: Date.now() + 20_000, request: { id: 't' } })
  const [before_] = (await call('counted')) as { n: bigint }[]
  await outside.query('insert into orders values (100, 1)')
  assert.deepEqual(await call('counted'), [before_])
  await call('added', 101n)
  assert.deepEqual(await call('counted'), [{ n: (before_?.n ?? 0n) + 2n }])
})

test('resources: a notification calls a method', async () => {
  await node.until('it listens', ({ msg }) => msg === 'listening to notifications')
  await outside.query(`notify orders, 'hello'`)
  const { payload, channel, protocol } = await node.until('it is called', ({ msg }) => msg === 'notified')
  assert.deepEqual([payload, channel, protocol], ['hello', 'orders', 'postgresql'])
})

test('resources: a changed configuration is taken over by new calls, and running ones end on the old', async (t) => {
  const bus = await testBus(t, nats.url)
  const call = (method: string): Promise<unknown> =>
    bus.call('shop', 'orders', method, [], { deadline: Date.now() + 20_000, request: { id: 't' } })
  assert.equal(await call('name'), 'first')
  const nap = call('nap')
  await eventually('it runs', async () => (await running()) === 1)
  folder.write('config/shop.ts', configuration('second'))
  await eventually('new calls see the new one', async () => (await call('name')) === 'second')
  assert.equal(await nap, 'first')
  const old = `select 1 from pg_stat_activity where application_name = 'first'`
  await eventually('the old connections are closed', async () => (await outside.query(old)).rowCount === 0)
})

test('resources: SIGTERM lets a running statement end', async (t) => {
  const bus = await testBus(t, nats.url)
  const nap = bus.call('shop', 'orders', 'nap', [], { deadline: Date.now() + 20_000, request: { id: 't' } })
  await eventually('it runs', async () => (await running()) === 1)
  const ended = node.stop()
  assert.equal(await nap, 'second')
  await within('the node ends', ended)
  await eventually('all connections are closed', async () => {
    const { rowCount } = await outside.query(`select 1 from pg_stat_activity where application_name in ('first', 'second', 'menagerie')`)
    return rowCount === 0
  })
})
