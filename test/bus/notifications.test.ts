/** Notifications on a real bus: kept, listed, followed, also by and from foreign clients. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Bus, Kept, Notification } from '../../src/bus/bus.ts'
import { testBus } from '../../src/testing/bus.ts'
import { client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'

let server: NatsServer
let bus: Bus

before(async () => {
  server = await startNats(suite)
  bus = await testBus(suite, server.url)
})

const soon = (): number => Date.now() + 10_000

async function listed(cage: string, filter: object = {}): Promise<string[]> {
  const found: Kept[] = []
  for await (const kept of bus.notifications.list({ cage, ...filter })) found.push(kept)
  return found.map(({ level, message }) => `${level} ${message}`)
}

test('notifications: they are kept in their order, and found by level, cage and time', async () => {
  for (const level of ['info', 'alert', 'warn', 'error'] as const)
    await bus.notifications.send({ level, cage: 'shop', at: Date.now(), message: `it is ${level}`, details: { n: 1n } }, soon())
  await bus.notifications.send({ level: 'info', cage: 'other', at: Date.now(), message: 'elsewhere' }, soon())
  assert.deepEqual(await listed('shop'), ['info it is info', 'alert it is alert', 'warn it is warn', 'error it is error'])
  assert.deepEqual(await listed('shop', { level: 'error' }), ['alert it is alert', 'error it is error'])
  assert.deepEqual(await listed('shop', { since: Date.now() + 60_000 }), [])
  assert.deepEqual(await listed('nobody'), [])
})

test('notifications: who follows is told what comes, and no more after its end', async () => {
  const heard: Notification[] = []
  const stop = await bus.notifications.follow({ level: 'warn', cage: 'followed' }, (sent) => heard.push(sent))
  const send = (level: Notification['level'], message: string): Promise<void> =>
    bus.notifications.send({ level, cage: 'followed', module: 'm', request: 'r1', at: 5, message }, soon())
  await send('info', 'too little')
  await send('error', 'enough')
  await eventually('it is heard', () => heard.length === 1)
  const [{ level, cage, module, request, at, message } = assert.fail('nothing')] = heard
  assert.deepEqual(
    { level, cage, module, request, at, message },
    { level: 'error', cage: 'followed', module: 'm', request: 'r1', at: 5, message: 'enough' },
  )
  stop()
  await send('alert', 'nobody listens')
  assert.equal(heard.length, 1)
})

test('notifications: any client of NATS sends and sees them; what is none is passed over', async (t) => {
  const nc = await client(t, server.url)
  await bus.notifications.send({ level: 'info', cage: 'foreign', at: 1, message: 'first' }, soon())
  const seen = nc.subscribe('notify.*.foreign', { max: 1 })
  await nc.flush()
  for (const text of ['{', 'null', '{"message":1}', '[]']) await nc.jetstream().publish('notify.warn.foreign2', text)
  await nc.jetstream().publish('notify.odd.foreign2', '{"message":"no level"}')
  await nc.jetstream().publish('notify.warn.foreign2', '{"message":"from outside"}')
  await bus.notifications.send({ level: 'warn', cage: 'foreign', at: 2, message: 'second' }, soon())
  for await (const { subject, data } of seen)
    assert.deepEqual([subject, JSON.parse(Buffer.from(data).toString()).message], ['notify.warn.foreign', 'second'])
  assert.deepEqual(await listed('foreign2'), ['warn from outside'])
})

test('notifications: without JetStream, without a text and with too much they are refused', async (t) => {
  const plain = await startNats(t, { jetStream: false })
  const without = await testBus(t, plain.url)
  const one = { level: 'info', cage: 'a', at: 1, message: 'x' } as const
  await assert.rejects(without.notifications.send(one, Date.now() + 2_000), { code: 'UNAVAILABLE' })
  await assert.rejects(bus.notifications.send({ ...one, message: ' ' }, soon()), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(bus.notifications.send({ ...one, cage: 'a.b' }, soon()), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(bus.notifications.send({ ...one, details: 'x'.repeat(1_100_000) }, soon()), { code: 'PAYLOAD_TOO_LARGE' })
})
