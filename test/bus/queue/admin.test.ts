import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Bus, Call, CallHandler, Outcome } from '../../../src/bus/bus.ts'
import type { QueuePolicy } from '../../../src/bus/queue/contract.ts'
import { CageError } from '../../../src/errors.ts'
import { testBus } from '../../../src/testing/bus.ts'
import { client, type NatsServer, startNats } from '../../../src/testing/nats.ts'
import { atEnd, type Owner, suite } from '../../../src/testing/owner.ts'
import { eventually } from '../../../src/testing/wait.ts'

const POLICY: QueuePolicy = {
  concurrency: 16,
  expiresMs: 600_000,
  timeoutMs: 10_000,
  backoff: { firstMs: 1, maxMs: 1, factor: 1, jitter: 0 },
  dedupMs: 600_000,
}

let server: NatsServer
let bus: Bus

before(async () => {
  server = await startNats(suite)
  bus = await testBus(suite, server.url)
})

/** Puts a call into a queue. */
function enqueue(queue: string, args: unknown[], options: { id?: string; delayMs?: number; key?: string } = {}): Promise<string> {
  return bus.enqueue(queue, 'c', 'm', 'f', args, { ...options, request: { id: '' }, deadline: Date.now() + 10_000 })
}

/** Runs what is in a queue. */
async function consume(owner: Owner, queue: string, run: (call: Call) => Outcome, policy: Partial<QueuePolicy> = {}): Promise<void> {
  const consuming = await testBus(owner, server.url)
  const handler: CallHandler = { handle: (call, settle) => settle(run(call)), cancel: () => {} }
  const consumer = await consuming.consume(queue, 'c', () => ({ ...POLICY, ...policy }), handler)
  atEnd(owner, () => consumer.stop())
}

const NO = (code: string): Outcome => ({ ok: false, error: new CageError(code, 'no', { retryable: false }) })

async function deadIn(queue: string): Promise<number[]> {
  const found: number[] = []
  for await (const { seq } of bus.queues.dead({ queue })) found.push(seq)
  return found
}

test('admin: no dead call that is retried is lost, however fast it is taken', async (t) => {
  const done = new Set<unknown>()
  let failing = true
  await consume(t, 'fast', ({ args: [n] }) => {
    if (failing) return NO('BROKEN')
    done.add(n)
    return { ok: true, result: n }
  })
  const count = 200
  await Promise.all(Array.from({ length: count }, (_, n) => enqueue('fast', [n])))
  const letters = await eventually('all are dead', async () => {
    const found = await deadIn('fast')
    return found.length === count && found
  })
  failing = false
  for (const seq of letters) await bus.queues.retry(seq)
  await eventually('all have run', () => done.size === count, 10_000)
  assert.deepEqual(await deadIn('fast'), [])
})

test('admin: a retry that the queue refuses leaves the letter, and its call dead', async (t) => {
  await consume(t, 'small', () => NO('BROKEN'), { maxBytes: 2_000 })
  await enqueue('small', ['x'.repeat(100)], { id: 'refused' })
  const [seq = 0] = await eventually('it is dead', async () => {
    const found = await deadIn('small')
    return found.length > 0 && found
  })
  await assert.rejects(bus.queues.retry(seq, ['x'.repeat(3_000)]), { code: 'OVERLOADED' })
  assert.deepEqual(await deadIn('small'), [seq])
  assert.equal((await bus.queues.status('refused'))?.state, 'dead')
})

test('admin: what is cancelled takes no other call with it', async (t) => {
  const failing: Outcome = { ok: false, error: new CageError('BROKEN', 'no', { retryAfterMs: 60_000 }) }
  await consume(t, 'lanes', () => failing, { ordered: 'key' })
  const delayed = await Promise.all(Array.from({ length: 5 }, () => enqueue('calm', [], { delayMs: 600_000 })))
  for (const id of ['one', 'two', 'three', 'four', 'five']) {
    await enqueue('lanes', [], { id, key: id }) // held in its place: its sequence is one of the queue's stream
    await eventually('it is held', async () => (await bus.queues.status(id))?.state === 'delayed')
    assert.equal(await bus.queues.cancel(id), true)
    assert.equal((await bus.queues.status(id))?.state, 'cancelled')
  }
  const lanes = (await bus.queues.list()).find(({ queue }) => queue === 'lanes')
  assert.equal(lanes?.waiting, 0)
  for (const id of delayed) assert.equal(await bus.queues.cancel(id), true, id)
  for (const id of delayed) assert.equal((await bus.queues.status(id))?.state, 'cancelled')
  const nc = await client(t, server.url)
  const { state } = await (await nc.jetstreamManager()).streams.info('DELAYED_CALLS')
  assert.equal(state.messages, 0)
})

test('admin: a delayed call that is brought forward is run at once, and once', async (t) => {
  const runs: unknown[] = []
  const id = await enqueue('hasten', [7], { id: 'hasten-1', delayMs: 600_000 })
  assert.equal(await bus.queues.hasten('no-such-call'), false)
  assert.deepEqual([await bus.queues.hasten(id), await bus.queues.hasten(id)], [true, false])
  const waiting = await enqueue('hasten', [8], { id: 'hasten-2' })
  assert.equal(await bus.queues.hasten(waiting), false, 'it waits for nothing but its turn')
  await consume(t, 'hasten', ({ args }) => {
    runs.push(...args)
    return { ok: true, result: undefined }
  })
  for (const one of [id, waiting]) await eventually('it is done', async () => (await bus.queues.status(one))?.state === 'done')
  assert.deepEqual(runs.sort(), [7, 8])
})

test('admin: a failed call of an ordered queue that is brought forward is tried again at once, and in its order', async (t) => {
  const runs: unknown[] = []
  await enqueue('hasten-ordered', [1], { id: 'ordered-1' })
  await enqueue('hasten-ordered', [2], { id: 'ordered-2' })
  const run = ({ args, request }: Call): Outcome => {
    runs.push(...args)
    if (request.queued?.attempt === 1 && args[0] === 1) return { ok: false, error: new CageError('LATER', 'no', { retryAfterMs: 600_000 }) }
    return { ok: true, result: undefined }
  }
  await consume(t, 'hasten-ordered', run, { ordered: 'cage', expiresMs: 6_000_000 })
  await eventually('it is put off', async () => (await bus.queues.status('ordered-1'))?.state === 'delayed')
  assert.equal(await bus.queues.hasten('ordered-1'), true)
  await eventually('both are done', async () => (await bus.queues.status('ordered-2'))?.state === 'done')
  assert.deepEqual(runs, [1, 1, 2])
})

test('admin: a call is present for as long as a message stands for it, wherever that is', async (t) => {
  const isPresent = (id: string): Promise<boolean> => bus.queues.isPresent(id)
  const plain = await enqueue('present', [])
  const named = await enqueue('present', [], { id: 'present-1' })
  const delayed = await enqueue('present', [], { id: 'present-2', delayMs: 600_000 })
  const moved = await enqueue('present', [], { id: 'present-3', delayMs: 600_000 })
  await bus.queues.hasten(moved)
  assert.deepEqual(await Promise.all([plain, named, delayed, moved, 'nobody'].map(isPresent)), [true, true, true, true, false])
  await bus.queues.cancel(named)
  assert.equal(await isPresent(named), false)
  await bus.queues.purge('present')
  assert.deepEqual(await Promise.all([plain, delayed, moved].map(isPresent)), [false, false, false])
  const dead = await enqueue('present', [], { id: 'present-4' })
  await consume(t, 'present', () => NO('REFUSED'))
  await eventually('it is dead', async () => (await bus.queues.status(dead))?.state === 'dead')
  assert.equal(await isPresent(dead), false)
})

test('admin: dead letters are found by queue, target, error and time, oldest first', async (t) => {
  await consume(t, 'sorted', ({ args: [code] }) => NO(String(code)))
  const found = async (filter: object): Promise<unknown[]> => {
    const codes: unknown[] = []
    for await (const { code } of bus.queues.dead({ queue: 'sorted', ...filter })) codes.push(code)
    return codes
  }
  const times: number[] = []
  for (const code of ['A1', 'B1', 'A2', 'B2']) {
    await enqueue('sorted', [code])
    await eventually('it is dead', async () => (await found({})).includes(code))
    for await (const { diedAt } of bus.queues.dead({ queue: 'sorted', error: code })) times.push(diedAt)
  }
  const [, second = 0, third = 0] = times
  assert.deepEqual(await found({}), ['A1', 'B1', 'A2', 'B2'])
  assert.deepEqual(await found({ error: 'a' }), ['A1', 'A2'])
  assert.deepEqual(await found({ since: second }), ['B1', 'A2', 'B2'])
  assert.deepEqual(await found({ since: second, until: third }), ['B1', 'A2'])
  assert.deepEqual(await found({ since: Date.now() + 60_000 }), [])
  assert.deepEqual(await found({ target: 'c.m.f' }), ['A1', 'B1', 'A2', 'B2'])
  assert.deepEqual(await found({ target: 'c.x' }), [])
  assert.equal(await bus.queues.countDead({ queue: 'sorted', target: 'c' }), 4)
})

test('admin: a sequenced queue is listed with what runs', async (t) => {
  let end = (): void => {}
  const consuming = await testBus(t, server.url)
  const handle: CallHandler['handle'] = (_call, settle) => {
    end = () => settle({ ok: true, result: 1 })
  }
  const handler = { handle, cancel: () => {} }
  const consumer = await consuming.consume('lined', 'c', () => ({ ...POLICY, ordered: 'cage' }), handler)
  atEnd(t, () => consumer.stop())
  await enqueue('lined', [1])
  await enqueue('lined', [2])
  await eventually('one runs', async () =>
    (await bus.queues.list()).some(({ queue, running, waiting }) => queue === 'lined' && running === 1 && waiting === 1),
  )
  const { running, waiting, cages } = await bus.queues.show('lined')
  assert.deepEqual(
    { running, waiting, shares: cages.map((share) => [share.cage, share.running, share.waiting]) },
    { running: 1, waiting: 1, shares: [['c', 1, 1]] },
  )
  end()
  await eventually('the other runs', async () => (await bus.queues.show('lined')).waiting === 0)
  end()
})

test('admin: a bus without JetStream is told at once', async (t) => {
  const plain = await startNats(t, { jetStream: false })
  const other = await testBus(t, plain.url)
  await assert.rejects(other.queues.check(), { code: 'UNAVAILABLE', message: 'the bus has no JetStream, which queues need' })
})
