/** Rules for notifications: by themselves, and as copies of a cage on a real bus. */
import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { before, type TestContext, test } from 'node:test'
import { interfaceHost } from '../../src/actors/interface.ts'
import type { KeptNotification, Listener } from '../../src/adapters/adapter.ts'
import { type NotificationsOptions, notificationsOptions } from '../../src/adapters/notifications/options.ts'
import { advance, concerns, firstRecord, nextDue, type RuleRecord } from '../../src/adapters/notifications/rules.ts'
import { listen } from '../../src/adapters/notifications/server.ts'
import type { Bus, Call, Notification, Outcome } from '../../src/bus/bus.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { policy, work } from '../support/queue.ts'

const MINUTE_MS = 60_000

function parsed(options: object = {}): NotificationsOptions {
  return notificationsOptions.parse({ call: 'desk.take', ...options })
}

function kept(seq: number, more: Partial<KeptNotification> = {}): KeptNotification {
  return { level: 'error', cage: 'shop', at: seq, message: `trouble ${seq}`, seq, ...more }
}

/** What a record has to deliver: `seq x count`, `+count` for a summary. */
function deliveries({ outbox }: RuleRecord): string[] {
  return outbox.map(({ seq, count, held }) => (held ? `+${count}` : `${seq} x ${count}`))
}

test('rules: the same one is delivered at once, and at the end of its time with how many came meanwhile', () => {
  const options = parsed({ sameEveryMs: 1_000 })
  const same = [1, 2, 3].map((seq) => kept(seq, { message: 'the bank is away' }))
  const counted = kept(4, { message: 'the bank is away', repeated: 10 })
  let record = advance(firstRecord(0), [...same, counted], 4, options, 100)
  assert.deepEqual(deliveries(record), ['1 x 1'])
  assert.equal(nextDue({ ...record, outbox: [] }), 1_100)
  record = advance({ ...record, outbox: [] }, [], 4, options, 1_100)
  assert.deepEqual(deliveries(record), ['4 x 12'])
  record = advance({ ...record, outbox: [] }, [], 4, options, 5_000)
  assert.deepEqual([deliveries(record), nextDue(record)], [[], Number.POSITIVE_INFINITY], 'a quiet time ends it')
  assert.deepEqual(deliveries(advance(record, [kept(5, { message: 'the bank is away' })], 5, options, 5_001)), ['5 x 1'])
})

test('rules: a thousand at once are ten deliveries and one summary a minute later that counts the others', () => {
  const options = parsed()
  const found = Array.from({ length: 1_000 }, (_, n) => kept(n + 1, { kind: 'call.dead', level: n === 500 ? 'alert' : 'error' }))
  let record = advance(firstRecord(0), found, 1_000, options, 0)
  assert.equal(record.outbox.length, 10)
  assert.equal(nextDue({ ...record, outbox: [] }), MINUTE_MS)
  assert.ok(JSON.stringify(record).length < 100_000, 'the record stays small')
  record = advance({ ...record, outbox: [] }, [], 1_000, options, MINUTE_MS)
  assert.deepEqual(deliveries(record), ['+990'])
  assert.deepEqual(record.outbox[0]?.held, {
    ...{ count: 990, firstSeq: 11, lastSeq: 1_000, level: 'alert' },
    by: { 'error shop call.dead': 989, 'alert shop call.dead': 1 },
  })
  const more = Array.from({ length: 10 }, (_, n) => kept(n + 2_000))
  record = advance({ ...record, outbox: [] }, more, 2_009, options, MINUTE_MS + 1)
  assert.equal(record.outbox.length, 9, 'the summary was one of this minute')
})

test('rules: cages, modules and kinds select; a dead delivery is none', () => {
  const about = (options: object, more: Partial<KeptNotification>): boolean => concerns(parsed(options), 'shop', kept(1, more))
  assert.ok(about({}, { kind: 'call.dead', module: 'orders' }))
  assert.ok(!about({ cages: ['billing'] }, {}))
  assert.ok(!about({ modules: ['orders'] }, {}))
  assert.ok(about({ modules: ['orders'], kinds: ['call.dead'] }, { kind: 'call.dead', module: 'orders' }))
  assert.ok(!about({ kinds: ['call.dead'] }, { kind: 'queue.old' }))
  assert.ok(!about({ kinds: ['call.dead'] }, {}))
  assert.ok(!about({}, { kind: 'call.dead', module: 'desk' }))
  assert.ok(about({}, { kind: 'call.dead', module: 'desk', cage: 'other' }))
  assert.ok(!about({ call: 'other.desk.take' }, { kind: 'call.dead', module: 'desk', cage: 'other' }))
})

test('rules: the same rule again changes nothing that it was given', () => {
  const before = Object.freeze(firstRecord(3))
  advance(before, [kept(4)], 4, parsed(), 0)
  assert.deepEqual(before, firstRecord(3))
})

let server: NatsServer
let cages = 0

before(async () => {
  server = await startNats(suite)
})

interface Desk {
  name: string
  bus: Bus
  calls: Call[]
  /** From now on each call ends so. */
  answering(outcome: Outcome | 'never'): void
  send(message: string, more?: Partial<Notification>): Promise<void>
  copy(options?: object): Promise<{ listener: Listener; said: Said[]; bus: Bus }>
}

const DONE: Outcome = { ok: true, result: null }

async function desk(t: TestContext): Promise<Desk> {
  const name = `desk${++cages}`
  const bus = await testBus(t, server.url)
  const calls: Call[] = []
  let outcome: Outcome | 'never' = DONE
  await bus.serve(name, 'desk', {
    handle: (call, settle) => {
      calls.push(call)
      if (outcome !== 'never') settle(outcome)
    },
    cancel: () => {},
  })
  return {
    name,
    bus,
    calls,
    answering: (next) => {
      outcome = next
    },
    send: (message, more) => bus.notifications.send({ level: 'error', cage: name, at: 5, message, ...more }, Date.now() + 10_000),
    async copy(options = {}) {
      const own = await testBus(t, server.url)
      const { log, said } = recordingLog()
      const source = { bus: own, cage: name, name: 'tested', log, dataDir: tmpdir(), timeoutMs: () => 1_000, newRequestId: () => 'new' }
      const listener = await listen(parsed({ cages: [name], ...options }), interfaceHost(source))
      atEnd(t, () => listener.stop())
      return { listener, said, bus: own }
    },
  }
}

const messages = ({ calls }: Desk): unknown[] => calls.map(({ args }) => (args[0] as Notification).message)

test('notifications: two copies deliver each once, with the arguments of the configuration', async (t) => {
  const shop = await desk(t)
  const options = { level: 'warn', args: ['mail', { to: 'x' }] }
  await shop.copy(options)
  await shop.copy(options)
  for (const [n, level] of (['info', 'warn', 'error', 'alert'] as const).entries()) await shop.send(`${n}`, { level })
  await eventually('three are delivered', () => shop.calls.length >= 3)
  await shop.send('last')
  await eventually('the last one is', () => shop.calls.length >= 4)
  assert.deepEqual(messages(shop).sort(), ['1', '2', '3', 'last'])
  const [{ args, request } = assert.fail('nothing')] = shop.calls
  const { seq, ...notification } = args[0] as KeptNotification
  assert.deepEqual(notification, { level: 'warn', cage: shop.name, at: 5, message: '1' })
  assert.deepEqual(args.slice(1), ['mail', { to: 'x' }])
  assert.deepEqual([request.id, request.parameters?.protocol], [`notifications:${shop.name}.tested:${seq}`, 'notifications'])
})

test('notifications: what came while no copy was there is delivered by the next one, what came before the first is not', async (t) => {
  const shop = await desk(t)
  await shop.send('before the first')
  const first = await shop.copy()
  await shop.send('seen')
  await eventually('it is delivered', () => shop.calls.length === 1)
  await Promise.all([first.listener.stop(), first.listener.stop()])
  await first.listener.done
  await shop.send('missed')
  await shop.copy()
  await eventually('it is delivered later', () => shop.calls.length === 2)
  assert.deepEqual(messages(shop), ['seen', 'missed'])
})

test('notifications: a copy that dies at its delivery has it made by the other', async (t) => {
  const shop = await desk(t)
  const copies = [await shop.copy({ timeoutMs: 500 }), await shop.copy({ timeoutMs: 500 })]
  shop.answering('never')
  await shop.send('important')
  await eventually('one has begun', () => shop.calls.length === 1)
  const [{ request } = assert.fail('nothing')] = shop.calls
  shop.answering(DONE)
  const record = (await shop.bus.state(shop.name, '_tested').get('record', Date.now() + 5_000)) as RuleRecord
  assert.ok(record.lease, 'the delivery is a lease')
  for (const { bus } of copies) if (bus.stats().inFlight > 0) await bus.close() // as kill -9 does: it can note nothing
  await eventually('the other has made it', () => shop.calls.length === 2)
  assert.equal(shop.calls[1]?.request.id, request.id)
})

test('notifications: with a queue each is enqueued once by whatever number of copies', async (t) => {
  const shop = await desk(t)
  const queue = `${shop.name}-q`
  const worker = await work(t, shop.bus, queue, policy(), () => 'done', shop.name)
  await Promise.all([shop.copy({ queue }), shop.copy({ queue })])
  for (const n of [1, 2, 3, 4, 5]) await shop.send(`trouble ${n}`)
  await worker.ran(5)
  const ids = worker.runs.map(({ request }) => request.queued?.id)
  assert.equal(new Set(ids).size, 5)
  assert.match(String(ids[0]), new RegExp(`^notifications:${shop.name}\\.tested:\\d+$`))
})

test('notifications: of a burst of 1,000 ten are delivered, the others are counted for the summary', async (t) => {
  const shop = await desk(t)
  await shop.copy()
  await shop.copy()
  for (let n = 0; n < 1_000; n += 100) await Promise.all(Array.from({ length: 100 }, (_, i) => shop.send(`trouble ${n + i}`)))
  const record = async (): Promise<RuleRecord> =>
    (await shop.bus.state(shop.name, '_tested').get('record', Date.now() + 5_000)) as RuleRecord
  await eventually('all are dealt with', async () => (await record()).minute.held?.count === 990)
  await eventually('what is delivered is noted', async () => (await record()).outbox.length === 0)
  assert.equal(shop.calls.length, 10)
})

test('notifications: a delivery that may succeed later is repeated, another is told in the log and never again', async (t) => {
  const shop = await desk(t)
  shop.answering({ ok: false, error: new CageError('UNAVAILABLE', 'no mail today') })
  const { said } = await shop.copy()
  await shop.send('first')
  await eventually('it has failed', () => said.some(({ message }) => message.includes('trying again')))
  shop.answering(DONE)
  await eventually('it is repeated', () => shop.calls.length === 2)
  shop.answering({ ok: false, error: new CageError('INVALID_ARGUMENT', 'no such address') })
  await shop.send('second')
  await eventually('it is given up', () =>
    said.some(({ level, message }) => level === 'error' && message.includes('could not be delivered')),
  )
  shop.answering(DONE)
  await shop.send('third')
  await eventually('the next one is delivered', () => messages(shop).includes('third'))
  assert.deepEqual(messages(shop), ['first', 'first', 'second', 'third'])
})

test('notifications: without JetStream a start fails, and says so', async (t) => {
  const { url } = await startNats(t, { jetStream: false })
  const bus = await testBus(t, url)
  const source = {
    bus,
    cage: 'x',
    name: 'tested',
    log: recordingLog().log,
    dataDir: tmpdir(),
    timeoutMs: () => 1_000,
    newRequestId: () => 'n',
  }
  await assert.rejects(listen(parsed(), interfaceHost(source)), { code: 'UNAVAILABLE' })
})

test('notifications: mistakes in the options are told by their path', () => {
  const wrong = notificationsOptions.safeParse({ call: 'take', level: 'loud', perMinute: 0, queue: 'q', timeoutMs: 5 })
  assert.deepEqual(wrong.error?.issues.map(({ path }) => path.join('.')).sort(), ['call', 'level', 'perMinute'])
  const both = notificationsOptions.safeParse({ call: 'a.b', queue: 'q', timeoutMs: 5 })
  assert.deepEqual(
    both.error?.issues.map(({ path }) => path.join('.')),
    ['timeoutMs'],
  )
})
