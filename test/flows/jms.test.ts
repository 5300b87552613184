/** A running node between queues: deaths of the broker and of the node, and transactions with a broker in them. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { type ActiveMq, startActiveMq } from '../support/activemq.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'
import { type PlainStomp, plainStomp } from '../support/stomp.ts'

const ORDERS = `
  export async function take(ctx, body, message) {
    const kind = typeof body === 'string' ? body : Buffer.from(body).toString('hex')
    if (kind === 'slow' && !message.redelivered) {
      ctx.log.warn({ kind }, 'slow')
      await new Promise(() => {})
    }
    await ctx.resources.broker.send('/queue/shipping', kind + ' ' + message.headers.customer, { priority: 7 })
    return 'taken'
  }
  export async function ship(ctx, what, fail) {
    const xa = ctx.transaction()
    xa.broker.batch([['/queue/transport', what], ['/queue/transport', what + ' again']])
    xa.state.update('shipped', (n = 0) => n + 1)
    if (fail) xa.callable({ execute() { throw new Error('no lorry') } })
    await xa.execute()
    return await ctx.state.get('shipped')
  }
`
const CONFIG = `
  import { defineCage, env } from 'menagerie'
  export default defineCage({
    timeoutMs: 60_000,
    resources: { broker: { kind: 'jms', url: env('BROKER_URL'), pool: { size: 4 } } },
    interfaces: { orders: { kind: 'jms', url: env('BROKER_URL'), destination: '/queue/orders', handler: 'orders.take' } },
  })`

let nats: NatsServer
let broker: ActiveMq
let folder: Project
let node: NodeProcess

const start = (): NodeProcess => startNode(suite, folder.dir, ['--cage', 'shop', '--bus', nats.url], { BROKER_URL: broker.url })
const listens = (since = 0): Promise<unknown> => node.until('the interface listens', ({ msg }) => msg === 'interface listens', { since })

before(async () => {
  ;[nats, broker] = await Promise.all([startNats(suite), startActiveMq(suite)])
  folder = project(suite, { 'cages/shop/orders.js': ORDERS, 'config/shop.ts': CONFIG })
  node = start()
  await node.ready
  await listens()
})

/** Resolves when it is shipped. What was, just before a death, may be so once more. */
async function shipped(client: PlainStomp, what: string): Promise<void> {
  await client.confirm('SUBSCRIBE', { id: what, destination: '/queue/shipping', ack: 'auto' })
  await client.message(({ headers, body }) => headers.subscription === what && body === what)
  await client.confirm('UNSUBSCRIBE', { id: what })
}

const put = (client: PlainStomp, body: string): Promise<void> =>
  client.confirm('SEND', { destination: '/queue/orders', persistent: 'true', customer: 'ann' }, body)

test('jms: a message becomes a call of a module, which sends another; when the broker has died and is back, so do the next ones', async (t) => {
  const client = await plainStomp(t, broker.port)
  await put(client, 'book')
  await shipped(client, 'book ann')
  const since = node.log.length
  await broker.kill()
  await node.until('the interface has died', ({ msg }) => msg === 'child died, restarting it', { since })
  await broker.restart()
  const back = performance.now()
  await listens(since)
  const ms = performance.now() - back
  assert.ok(ms < 5_000, `it listens after ${ms} ms`)
  const again = await plainStomp(t, broker.port)
  await put(again, 'pen')
  await shipped(again, 'pen ann')
})

test('jms: a node that is killed during a call loses no message', async (t) => {
  const client = await plainStomp(t, broker.port)
  await put(client, 'slow')
  await node.until('it is called', ({ msg }) => msg === 'slow')
  node.kill('SIGKILL')
  await node.exited
  node = start()
  await shipped(client, 'slow ann')
})

test('jms: messages of a transaction are sent with it or not at all', async (t) => {
  await node.ready
  const client = await plainStomp(t, broker.port)
  const bus = await testBus(t, nats.url)
  const ship = (what: string, fail = false): Promise<unknown> =>
    bus.call('shop', 'orders', 'ship', [what, fail], { deadline: Date.now() + 20_000, request: { id: 't' } })
  await assert.rejects(ship('bad', true))
  assert.equal(await ship('good'), 1)
  await client.confirm('SUBSCRIBE', { id: 's', destination: '/queue/transport', ack: 'auto' })
  assert.deepEqual([(await client.message()).body, (await client.message()).body], ['good', 'good again'])
  assert.deepEqual(
    node.log.filter(({ msg }) => /unhandled|uncaught/.test(msg)),
    [],
  )
})
