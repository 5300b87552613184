/** Mover, janitor and the list of dead letters: one bad record stops none of them. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Bus } from '../../../src/bus/bus.ts'
import { Caller } from '../../../src/bus/caller.ts'
import { openConnection } from '../../../src/bus/connection.ts'
import { deliveryOf, JetStream } from '../../../src/bus/jetstream.ts'
import { Outbox } from '../../../src/bus/outbox.ts'
import { AgeWatch } from '../../../src/bus/queue/ages.ts'
import type { QueuePolicy } from '../../../src/bus/queue/contract.ts'
import { HeldTable, sharedHeld } from '../../../src/bus/queue/held.ts'
import { Janitor } from '../../../src/bus/queue/janitor.ts'
import { Keeper } from '../../../src/bus/queue/keeper.ts'
import { Solo } from '../../../src/bus/queue/solo.ts'
import { Streams } from '../../../src/bus/queue/streams.ts'
import { States } from '../../../src/bus/state/states.ts'
import { takeTurn } from '../../../src/bus/turns.ts'
import { encodeResult } from '../../../src/bus/wire.ts'
import type { Log } from '../../../src/log.ts'
import { testBus } from '../../../src/testing/bus.ts'
import { recordingLog } from '../../../src/testing/log.ts'
import { client, startNats } from '../../../src/testing/nats.ts'
import { atEnd } from '../../../src/testing/owner.ts'
import { freePort } from '../../../src/testing/port.ts'
import { deferred, eventually } from '../../../src/testing/wait.ts'
import { each, SOAK } from '../../support/stage.ts'

const POLICY: QueuePolicy = {
  concurrency: 16,
  expiresMs: 3_600_000,
  timeoutMs: 10_000,
  backoff: { firstMs: 100, maxMs: 100, factor: 1, jitter: 0 },
  dedupMs: 3_600_000,
}

/** Runs the queue `work` of a cage here; `began` hears of each call. */
async function consume(t: TestContext, bus: Bus, began: (n: unknown) => void, cage: string = 'a'): Promise<void> {
  const handler = {
    handle: (call: { args: unknown[] }, settle: (outcome: { ok: true; result: unknown }) => void) => {
      began(call.args[0])
      settle({ ok: true, result: null })
    },
    cancel: () => {},
  }
  const consumer = await bus.consume('work', cage, () => POLICY, handler)
  atEnd(t, () => consumer.stop())
}

function enqueue(bus: Bus, args: unknown[], options: object = {}): Promise<string> {
  return bus.enqueue('work', 'a', 'b', 'c', args, { request: { id: '' }, deadline: Date.now() + 10_000, ...options })
}

test('mover: messages that are no calls, or too large to be moved, are dead letters and hold up no other', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  const begun: unknown[] = []
  await consume(t, bus, (n) => begun.push(n))
  const js = (await client(t, server.url)).jetstream()
  for (let n = 0; n < 300; n++) await js.publish(n % 2 === 0 ? 'delayed.work' : 'delayed.work.a.b.c', n % 2 === 0 ? '[]' : '{')
  await enqueue(bus, ['x'.repeat(1_048_576 - 130)], { delayMs: 1 })
  const before = Date.now()
  await enqueue(bus, ['late'], { delayMs: 500 })
  await eventually('the good one is run', () => begun.includes('late'))
  assert.ok(Date.now() - before < 3_000)
  const left = async (): Promise<number> => (await bus.queues.list()).reduce((sum, { delayed, waiting }) => sum + delayed + waiting, 0)
  await eventually('nothing is left', async () => (await left()) === 0)
  let dead = 0
  for await (const _ of bus.queues.dead()) dead++
  assert.ok(dead >= 300, `${dead}`)
})

test('janitor: what expired of a cage that is not there is buried, what names no call too; one that cannot be holds up no other', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  const nc = await client(t, server.url)
  await consume(t, bus, () => {}) // makes the streams, and is another cage
  const put = (n: number): Promise<string> =>
    bus.enqueue('work', 'gone', 'b', 'c', [n], { request: { id: '' }, deadline: Date.now() + 10_000, expiresMs: 1 })
  await put(1)
  const tooLarge = Buffer.alloc(1_048_576 - 10, '[')
  nc.publish('queue.work.gone.b.c', tooLarge) // with a dead letter's message id it is larger than the bus's limit
  await nc.jetstream().publish('queue.work.gone', '[]')
  await nc.jetstream().publish('queue.work.a.b.c.more', '[]')
  await put(2)
  const storedBy = Date.now()
  await eventually('they have expired', () => Date.now() > storedBy + 1)
  const { log, said } = recordingLog()
  const js = await jetStream(t, server.url, log)
  await new Janitor(
    js,
    new Streams(js, {}),
    log,
    () => {},
    () => 3_600_000,
  ).round()
  const letters: string[] = []
  for await (const { target, code } of bus.queues.dead()) letters.push(`${target} ${code}`)
  assert.equal(letters.filter((letter) => letter === 'gone.b.c UNAVAILABLE').length, 2)
  assert.equal(letters.filter((letter) => letter.endsWith('INVALID_ARGUMENT')).length, 2)
  assert.equal((await js.streamInfo('QUEUE_work'))?.state.messages, 1, 'only the one that cannot be buried is left')
  assert.equal(said.filter(({ level }) => level === 'warn').length, 1)
})

test('janitor: what waits for one cage is left alone where another cage of the queue holds a call', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  const put = (cage: string): Promise<string> =>
    bus.enqueue('work', cage, 'b', 'c', [], { request: { id: '' }, deadline: Date.now() + 10_000 })
  for (let n = 0; n < 20; n++) await put(n % 2 === 0 ? 'later' : 'much-later')
  await put('a')
  const begun = deferred<void>()
  const end = deferred<void>()
  const handler = {
    handle: (_call: unknown, settle: (outcome: { ok: true; result: unknown }) => void) => {
      begun.resolve()
      void end.promise.then(() => settle({ ok: true, result: null }))
    },
    cancel: () => {},
  }
  const consumer = await bus.consume('work', 'a', () => POLICY, handler)
  atEnd(t, () => consumer.stop())
  await begun.promise
  const js = await jetStream(t, server.url, recordingLog().log)
  await new Janitor(
    js,
    new Streams(js, {}),
    recordingLog().log,
    () => {},
    () => 3_600_000,
  ).round()
  assert.equal((await js.streamInfo('QUEUE_work'))?.state.messages, 21)
  end.resolve()
})

test('leftovers: what is settled and was kept is not run, what is missing is waited for no more, another under its number is run', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  await consume(t, bus, () => assert.fail('the other cage has no call'), 'other') // makes the streams
  const js = await jetStream(t, server.url, recordingLog().log)
  const streams = new Streams(js, {})
  const consumer = await streams.sharedConsumer('work', 'a', 'normal', 100)
  for (const n of ['kept', 'missing', 'other']) await enqueue(bus, [n])
  const nc = await client(t, server.url)
  const puller = nc.subscribe('given', { max: 3 })
  nc.publish(`$JS.API.CONSUMER.MSG.NEXT.QUEUE_work.${consumer}`, JSON.stringify({ batch: 3 }), { reply: 'given' })
  const places: number[][] = []
  for await (const msg of puller) {
    const { seq, time } = deliveryOf(msg)
    places.push([seq, time])
  }
  const [kept = [], missing = [], [otherSeq = 0, otherTime = 0] = []] = places
  await js.delete('QUEUE_work', missing[0] ?? 0)
  await nc.jetstream().publish('settled.work.a', encodeResult([...kept, ...missing, otherSeq, otherTime - 1], 'msgpack'))
  const begun: unknown[] = []
  await consume(t, bus, (n) => begun.push(n))
  await eventually('the server waits for none of them, and has none', async () => {
    const { num_ack_pending } = (await js.consumerInfo('QUEUE_work', consumer)) ?? assert.fail('no consumer')
    return num_ack_pending === 0 && (await js.streamInfo('QUEUE_work'))?.state.messages === 0
  })
  assert.deepEqual(begun, ['other'])
})

test('dead letters: a listing has all of them, also where others were deleted between them', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  await consume(t, bus, () => {})
  const nc = await client(t, server.url)
  const js = nc.jetstream()
  await each(0, 3_000, 64, (n) => js.publish('dead.work.a.b.c', `[${n}]`))
  const jsm = await nc.jetstreamManager()
  await each(500, 1_500, 64, (seq) => jsm.streams.deleteMessage('DEAD_CALLS', seq))
  let listed = 0
  for await (const _ of bus.queues.dead()) listed++
  assert.equal(listed, 2_000)
})

test('parked: new calls begin at once beside 10,000 delayed ones', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  const startedAt = new Map<unknown, number>()
  await consume(t, bus, (n) => startedAt.set(n, performance.now()))
  const measure = async (name: string): Promise<{ p50: number; p99: number }> => {
    const ms: number[] = []
    for (let i = 0; i < 500; i++) {
      const before = performance.now()
      await enqueue(bus, [`${name}${i}`])
      await eventually('it begins', () => startedAt.get(`${name}${i}`), 5_000)
      ms.push((startedAt.get(`${name}${i}`) ?? 0) - before)
    }
    ms.sort((a, b) => a - b)
    return { p50: ms[250] ?? 0, p99: ms[495] ?? 0 }
  }
  const alone = await measure('alone')
  await each(0, 10_000, 64, () => enqueue(bus, ['parked'], { delayMs: 3_600_000 }))
  const beside = await measure('beside')
  const text = ({ p50, p99 }: { p50: number; p99: number }): string => `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`
  t.diagnostic(`publish to start: ${text(alone)}; beside 10,000 parked calls ${text(beside)}`)
  assert.equal(startedAt.has('parked'), false)
  if (SOAK) assert.ok(beside.p99 < 20, `${beside.p99} ms`)
})

test('keeper: the record of an ordinary call that ended with its worker names its cage, module and method', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  await consume(t, bus, () => {}) // makes the streams
  const js = await jetStream(t, server.url, recordingLog().log)
  const shared = sharedHeld()
  const held = new HeldTable(shared)
  const ackSubject = '$JS.ACK.QUEUE_work.a.1.77.1.1700000000000000000.0'
  held.begin(held.add({ ackSubject, target: 'a.b.c', id: 'work:77' }))
  const keeper = new Keeper(js, new Set([shared]), recordingLog().log)
  t.after(() => keeper.close())
  await keeper.handBack(shared, { module: 'b', method: 'c', certain: true })
  const { target, crashes, queue } = (await bus.queues.status('work:77')) ?? assert.fail('no record')
  assert.deepEqual({ target, crashes, queue }, { target: 'a.b.c', crashes: 1, queue: 'work' })
})

test('control: a connection that cannot read what was said of the queues follows it once all the same', async (t) => {
  const port = await freePort()
  const server = await startNats(t, { jetStream: false, config: `http: "127.0.0.1:${port}"` })
  const bus = await testBus(t, server.url)
  for (let n = 0; n < 3; n++) await assert.rejects(enqueue(bus, [n]), { code: 'UNAVAILABLE' })
  const response = await fetch(`http://127.0.0.1:${port}/connz?subs=1`)
  const { connections } = (await response.json()) as { connections: { subscriptions_list?: string[] }[] }
  const followed = connections.flatMap(({ subscriptions_list = [] }) => subscriptions_list).filter((subject) => subject === 'queues.*')
  assert.equal(followed.length, 1)
})

/** JetStream over a connection of its own. */
async function jetStream(t: TestContext, url: string, log: Log): Promise<JetStream> {
  const connection = await openConnection('test', { servers: [url] }, log, new AbortController().signal)
  atEnd(t, () => connection.nc.close())
  return new JetStream(new Caller(connection, new Outbox(connection.nc)))
}

/** Resolves when everything that promises alone can bring about has happened. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

test('solo: a suspect waits for the calls of its module, and these for it; others do not', async () => {
  const solo = new Solo()
  const order: string[] = []
  const [first, alone, late] = [deferred<void>(), deferred<void>(), deferred<void>()]
  const work = (name: string, until: Promise<void>) => async (): Promise<void> => {
    order.push(`${name} begins`)
    await until
    order.push(`${name} ends`)
  }
  const runs = [solo.run('m', false, work('first', first.promise)), solo.run('m', true, work('alone', alone.promise))]
  await turn()
  runs.push(solo.run('m', false, work('late', late.promise)), solo.run('other', false, work('other', late.promise)))
  await turn()
  assert.deepEqual(order, ['first begins', 'other begins'])
  first.resolve()
  await turn()
  alone.resolve()
  late.resolve()
  await Promise.all(runs)
  assert.deepEqual(
    order.filter((what) => !what.startsWith('other')),
    ['first begins', 'first ends', 'alone begins', 'alone ends', 'late begins', 'late ends'],
  )
})

test('ages: a queue whose oldest call waits for too long is told by one of its copies, once', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  const request = { id: 'r' }
  for (const n of [1, 2]) await bus.enqueue('work', 'a', 'b', 'c', [n], { request, deadline: Date.now() + 10_000 })
  const js = await jetStream(t, server.url, recordingLog().log)
  const told: [string, unknown][] = []
  const taken = new Set<string>()
  const watching = (alertAfterMs: number): AgeWatch =>
    new AgeWatch(
      {
        js,
        control: { of: () => ({ mode: 'paused', at: 0 }) },
        log: recordingLog().log,
        tell: ({ kind, message, details }) => told.push([`${kind} ${message}`, (details as { mode: string }).mode]),
        turns: async (cage, name) => !taken.has(`${cage} ${name}`) && taken.add(`${cage} ${name}`).size > 0,
      },
      () => [{ queue: 'work', cage: 'a', policy: () => ({ ...POLICY, alertAfterMs }) }],
    )
  await watching(60_000).round()
  assert.deepEqual(told, [])
  await eventually('it is old', async () => {
    await watching(50).round()
    return told.length > 0
  })
  await watching(50).round()
  assert.deepEqual(told, [['queue.old the oldest call of cage a in queue work has waited for 0 minutes, 2 are there', 'paused']])
})

test('turns: of many that ask at once one has the turn, and nobody again before it is over', async (t) => {
  const server = await startNats(t)
  const { log } = recordingLog()
  const connection = await openConnection('turns', { servers: [server.url] }, log, new AbortController().signal)
  atEnd(t, () => connection.nc.close())
  const states = (): States =>
    new States(new JetStream(new Caller(connection, new Outbox(connection.nc))), { nc: connection.nc, connection, log }, undefined)
  const ask = async (everyMs: number): Promise<number> =>
    (await Promise.all(Array.from({ length: 8 }, () => takeTurn(states(), 'a', 'queue.old.work', everyMs)))).filter((turn) => turn).length
  assert.equal(await ask(60_000), 1)
  assert.equal(await ask(60_000), 0)
  await eventually('it is over', async () => (await ask(1_000)) === 1)
})
