/** Durable queued calls against a real server. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CageError } from '../../../src/errors.ts'
import { testBus } from '../../../src/testing/bus.ts'
import { client, startNats } from '../../../src/testing/nats.ts'
import { suite } from '../../../src/testing/owner.ts'
import { deferred, eventually } from '../../../src/testing/wait.ts'
import { letters, policy, put, work } from '../../support/queue.ts'

const nats = await startNats(suite)
let queues = 0

/** A queue that no other test uses. */
function fresh(): string {
  return `q${++queues}`
}

test('queue: a call is run once, and its id names its place', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(t, bus, queue, policy(), () => 'done')
  const id = await put(bus, queue, 'run', [1, new Date(0)])
  const call = await worker.ran(1)
  assert.deepEqual([id, call.args, call.request.queued], [`${queue}:1`, [1, new Date(0)], { queue, id, attempt: 1, last: false }])
  await eventually('the call is gone', async () => (await bus.queues.status(id)) === undefined)
  assert.equal(worker.runs.length, 1)
})

test('queue: a plain JetStream publication of JSON is a call, and its message id is its id', async (t) => {
  const [bus, queue, nc] = [await testBus(t, nats.url), fresh(), await client(t, nats.url)]
  const worker = await work(t, bus, queue, policy(), () => 'done')
  await nc.jetstream().publish(`queue.${queue}.shop.jobs.run`, '["World"]', { msgID: `order-1-${queue}` })
  const call = await worker.ran(1)
  assert.deepEqual([call.args, call.request.queued?.id], [['World'], `order-1-${queue}`])
  const status = await eventually('it is done', async () => {
    const now = await bus.queues.status(`order-1-${queue}`)
    return now?.state === 'done' && now
  })
  assert.equal(status.result, 'done')
})

test('queue: request id, trace and parameters travel along', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(t, bus, queue, policy(), () => {})
  const request = { id: 'r-7', traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', parameters: { user: 'ann' } }
  await put(bus, queue, 'run', [], { request })
  const { id, traceparent, parameters } = (await worker.ran(1)).request
  assert.deepEqual({ id, traceparent, parameters }, request)
})

test('queue: a failed call is tried again, later each time, and its failures are known', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const starts: number[] = []
  const worker = await work(t, bus, queue, policy(), ({ request }) => {
    starts.push(Date.now())
    if ((request.queued?.attempt ?? 0) < 3) throw new CageError('NOT_YET', 'the sun is down')
    return 'risen'
  })
  const id = await put(bus, queue, 'run')
  await worker.ran(3)
  const status = await eventually('it is done', async () => {
    const now = await bus.queues.status(id)
    return now?.state === 'done' && now
  })
  const [first = 0, second = 0, third = 0] = starts
  assert.ok(second - first >= 100 && third - second >= 200, `${second - first} and ${third - second} ms apart`)
  assert.deepEqual([status.attempts, status.result, status.failures?.map(({ code }) => code)], [2, 'risen', ['NOT_YET', 'NOT_YET']])
})

test('queue: a snooze puts a call off without counting an attempt', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const attempts: number[] = []
  const worker = await work(t, bus, queue, policy({ maxAttempts: 1 }), ({ request }) => {
    attempts.push(request.queued?.attempt ?? 0)
    if (attempts.length < 4) throw new CageError('SNOOZED', 'later', { retryAfterMs: 50 })
  })
  await put(bus, queue, 'run')
  await worker.ran(4)
  assert.deepEqual(attempts, [1, 1, 1, 1])
})

test('queue: a call whose error is not retryable is a dead letter with arguments, error and history', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  await work(t, bus, queue, policy(), ({ request }) => {
    if (request.queued?.attempt === 1) throw new Error('secret of the house')
    throw new CageError('INVALID_ARGUMENT', 'no such order')
  })
  const id = await put(bus, queue, 'run', [{ order: 9 }])
  const [letter] = await eventually('the letter', async () => {
    const found = await letters(bus, { queue })
    return found.length > 0 && found
  })
  assert.ok(letter)
  assert.deepEqual([letter.id, letter.target, letter.code, letter.message], [id, 'shop.jobs.run', 'INVALID_ARGUMENT', 'no such order'])
  assert.deepEqual(
    [letter.args, letter.attempts, letter.failures.map(({ code }) => code)],
    [[{ order: 9 }], 2, ['INTERNAL', 'INVALID_ARGUMENT']],
  )
  assert.ok(!JSON.stringify(letter).includes('secret'), 'what was thrown stays in the log')
  assert.equal((await bus.queues.status(id))?.state, 'dead')
})

test('queue: a dead letter is retried with other arguments, under its id, and is gone', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(t, bus, queue, policy(), ({ args }) => {
    if (args[0] === 'bad') throw new CageError('INVALID_ARGUMENT', 'bad')
    return args[0]
  })
  const id = await put(bus, queue, 'run', ['bad'], { id: `fix-${queue}` })
  const [letter] = await eventually('the letter', async () => {
    const found = await letters(bus, { queue })
    return found.length > 0 && found
  })
  assert.equal(await bus.queues.retry(letter?.seq ?? 0, ['good']), id)
  await worker.ran(2)
  await eventually('it is done', async () => (await bus.queues.status(id))?.result === 'good')
  assert.deepEqual(await letters(bus, { queue }), [])
})

test('queue: dead letters are found by target, text of the error and time, and dropped', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  await work(t, bus, queue, policy(), ({ method }) => {
    throw new CageError('INVALID_ARGUMENT', `no ${method} today`)
  })
  for (const method of ['tea', 'coffee', 'tea']) await put(bus, queue, method)
  const all = await eventually('three letters', async () => {
    const found = await letters(bus, { queue })
    return found.length === 3 && found
  })
  const found = async (filter: object): Promise<number> => (await letters(bus, { queue, ...filter })).length
  assert.deepEqual([await found({ target: 'shop.jobs.tea' }), await found({ target: 'shop' }), await found({ target: 'other' })], [2, 3, 0])
  assert.deepEqual([await found({ error: 'NO COFFEE' }), await found({ error: 'invalid_arg' })], [1, 3])
  assert.deepEqual([await found({ since: Date.now() + 60_000 }), await found({ until: Date.now() + 60_000 })], [0, 3])
  assert.deepEqual([await bus.queues.drop(all[0]?.seq ?? 0), await bus.queues.drop(all[0]?.seq ?? 0), await found({})], [true, false, 2])
})

test('queue: a call with an id is run once, however often it is enqueued, and its result is kept', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(t, bus, queue, policy(), ({ args }) => args[0])
  const id = `order/${queue}`
  assert.deepEqual(await Promise.all([1, 2, 3].map((n) => put(bus, queue, 'run', [n], { id }))), [id, id, id])
  await eventually('it is done', async () => (await bus.queues.status(id))?.state === 'done')
  await put(bus, queue, 'run', [4], { id })
  await put(bus, queue, 'last')
  await worker.ran(1, ({ method }) => method === 'last')
  assert.equal(worker.runs.filter(({ method }) => method === 'run').length, 1)
})

test('queue: an id is free again after its call was cancelled or purged', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const cancelled = `cancelled-${queue}`
  const ids = [cancelled, `purged-${queue}`]
  for (const id of ids) await put(bus, queue, 'run', ['first'], { id })
  assert.equal(await bus.queues.cancel(cancelled), true)
  assert.equal(await bus.queues.purge(queue), 1)
  for (const id of ids) await put(bus, queue, 'run', ['second'], { id })
  const worker = await work(t, bus, queue, policy(), ({ args }) => args[0])
  await worker.ran(2)
  assert.deepEqual(
    worker.runs.map(({ args }) => args[0]),
    ['second', 'second'],
  )
})

test('queue: a delayed call is run when its time has come, not before', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(t, bus, queue, policy(), () => {})
  const enqueuedAt = Date.now()
  const id = await put(bus, queue, 'run', [], { delayMs: 700 })
  assert.equal((await bus.queues.status(id))?.state, 'delayed')
  await worker.ran(1)
  const late = Date.now() - enqueuedAt - 700
  assert.ok(late >= -5 && late < 1_000, `${late} ms late`)
})

test('queue: a delayed call that is cancelled never runs', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(t, bus, queue, policy(), () => {})
  const id = await put(bus, queue, 'never', [], { delayMs: 300 })
  assert.deepEqual([await bus.queues.cancel(id), await bus.queues.cancel(id)], [true, false])
  await put(bus, queue, 'later', [], { delayMs: 600 })
  await worker.ran(1)
  assert.deepEqual([worker.runs.map(({ method }) => method), (await bus.queues.status(id))?.state], [['later'], 'cancelled'])
})

test('queue: a running call that is cancelled hears of it, and is not tried again', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(
    t,
    bus,
    queue,
    policy(),
    (_call, signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('told')))),
  )
  const id = await put(bus, queue, 'run', [], { id: `run-${queue}` })
  await worker.ran(1)
  await eventually('it runs', async () => (await bus.queues.status(id))?.state === 'running')
  assert.equal(await bus.queues.cancel(id), true)
  await eventually('it is cancelled', async () => (await bus.queues.status(id))?.state === 'cancelled')
  assert.equal(worker.runs.length, 1)
})

test('queue: an expired call is not run but buried', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const id = await put(bus, queue, 'run', [], { expiresMs: 1, id: `old-${queue}` })
  const storedBy = Date.now()
  await eventually('it is old', () => Date.now() > storedBy + 1)
  const worker = await work(t, bus, queue, policy(), () => {})
  await eventually('it is dead', async () => (await bus.queues.status(id))?.state === 'dead')
  assert.equal(worker.runs.length, 0)
})

test('queue: a message that is no call is buried with its bytes, and stops nobody', async (t) => {
  const [bus, queue, nc] = [await testBus(t, nats.url), fresh(), await client(t, nats.url)]
  const worker = await work(t, bus, queue, policy(), () => {})
  await nc.jetstream().publish(`queue.${queue}.shop.jobs.run`, '{"half')
  await nc.jetstream().publish(`delayed.${queue}.shop.jobs.run`, '\u0000')
  await put(bus, queue, 'run')
  await worker.ran(1)
  const both = await eventually('both letters', async () => {
    const found = await letters(bus, { queue })
    return found.length === 2 && found
  })
  assert.deepEqual(
    both.map(({ code, args }) => [code, args]),
    [
      ['INVALID_ARGUMENT', undefined],
      ['INVALID_ARGUMENT', undefined],
    ],
  )
  assert.ok(both.some(({ payload }) => Buffer.from(payload).toString() === '{"half'))
})

test('queue: no more calls are under way than there are slots, and all are run', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  let [now, most] = [0, 0]
  const worker = await work(t, bus, queue, policy({ concurrency: 3 }), async () => {
    most = Math.max(most, ++now)
    await new Promise((resolve) => setImmediate(resolve))
    now--
  })
  await Promise.all(Array.from({ length: 60 }, (_, n) => put(bus, queue, 'run', [n])))
  await worker.ran(60)
  assert.equal(most, 3)
})

test('queue: a limit over all copies holds over all copies', async (t) => {
  const [one, two, queue] = [await testBus(t, nats.url), await testBus(t, nats.url), fresh()]
  let [now, most] = [0, 0]
  const run = async (): Promise<void> => {
    most = Math.max(most, ++now)
    await new Promise((resolve) => setImmediate(resolve))
    now--
  }
  const given = policy({ totalConcurrency: 2 })
  const workers = [await work(t, one, queue, given, run), await work(t, two, queue, given, run)]
  await Promise.all(Array.from({ length: 40 }, (_, n) => put(one, queue, 'run', [n])))
  await eventually('all have run', () => workers.reduce((sum, { runs }) => sum + runs.length, 0) === 40)
  assert.ok(most <= 2, `${most} at once`)
})

test('queue: a limit over all copies holds over both priorities, whatever the configuration was before', async (t) => {
  const [one, two, queue] = [await testBus(t, nats.url), await testBus(t, nats.url), fresh()]
  let [now, most] = [0, 0]
  const run = async (): Promise<void> => {
    most = Math.max(most, ++now)
    await new Promise((resolve) => setTimeout(resolve, 5))
    now--
  }
  const enqueue = (): Promise<unknown> =>
    Promise.all(Array.from({ length: 40 }, (_, n) => put(one, queue, 'run', [n], { priority: n % 2 === 0 ? 'high' : 'normal' })))
  const given = [policy(), policy({ totalConcurrency: 3 }), policy()]
  const busiest: number[] = []
  for (const each of given) {
    const workers = [await work(t, one, queue, each, run), await work(t, two, queue, each, run)]
    most = 0
    await enqueue()
    await eventually('all have run', () => workers.reduce((sum, { runs }) => sum + runs.length, 0) === 40)
    busiest.push(most)
    await Promise.all(workers.map((worker) => worker.stop()))
  }
  const [before = 0, limited = 0, after = 0] = busiest
  assert.ok(before > 3 && after > 3 && limited === 3, `${busiest} at once`)
})

test('queue: copies that know of no limit over all copies wait for those that do', async (t) => {
  const [one, two, queue] = [await testBus(t, nats.url), await testBus(t, nats.url), fresh()]
  const worker = await work(t, one, queue, policy({ totalConcurrency: 2 }), () => {})
  await assert.rejects(
    two.consume(queue, 'shop', () => policy(), { handle: () => {}, cancel: () => {} }),
    { code: 'CONFLICT' },
  )
  await put(one, queue, 'run')
  await worker.ran(1)
})

test('queue: an urgent call does not wait behind others', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const gate = deferred<void>()
  const worker = await work(t, bus, queue, policy({ concurrency: 1 }), ({ method }) => (method === 'slow' ? gate.promise : undefined))
  await Promise.all([1, 2, 3].map(() => put(bus, queue, 'slow')))
  await worker.ran(1)
  await put(bus, queue, 'urgent', [], { priority: 'high' })
  await worker.ran(1, ({ method }) => method === 'urgent')
  assert.equal(worker.runs.filter(({ method }) => method === 'slow').length, 1)
  gate.resolve()
})

test('queue: a queue whose slots are all taken, with a backlog, keeps no other queue waiting', async (t) => {
  const [bus, busy, other] = [await testBus(t, nats.url), fresh(), fresh()]
  const gate = deferred<void>()
  const stuck = await work(t, bus, busy, policy({ concurrency: 2 }), () => gate.promise)
  const free = await work(t, bus, other, policy({ concurrency: 2 }), () => {})
  await Promise.all(Array.from({ length: 50 }, (_, n) => put(bus, busy, 'run', [n])))
  await stuck.ran(2)
  for (let n = 0; n < 10; n++) await put(bus, other, 'run', [n])
  await free.ran(10)
  assert.equal(stuck.runs.length, 2)
  gate.resolve()
  await stuck.ran(50)
})

test('queue: a paused queue takes calls in and begins none, until it is resumed', async (t) => {
  const [bus, queue, other] = [await testBus(t, nats.url), fresh(), await testBus(t, nats.url)]
  const worker = await work(t, bus, queue, policy(), () => {})
  await other.queues.setMode(queue, 'paused', 'maintenance')
  await eventually('the order is heard', async () => (await bus.queues.show(queue)).mode === 'paused')
  for (const method of ['first', 'second']) await put(bus, queue, method)
  const { order } = await eventually('both wait', async () => {
    const now = await bus.queues.show(queue)
    return now.waiting === 2 && now
  })
  assert.deepEqual([worker.runs.length, order.reason], [0, 'maintenance'])
  await other.queues.setMode(queue, 'open')
  await worker.ran(2)
})

test('queue: a queue that is being drained takes no calls', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  await work(t, bus, queue, policy(), () => {})
  await bus.queues.setMode(queue, 'draining')
  await assert.rejects(put(bus, queue, 'run'), { code: 'UNAVAILABLE' })
})

test('queue: a full queue refuses at the caller, with a code', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const gate = deferred<void>()
  const worker = await work(t, bus, queue, policy({ concurrency: 1, maxBytes: 4_000 }), () => gate.promise)
  let accepted = 0
  await assert.rejects(
    async () => {
      for (;;) {
        await put(bus, queue, 'run', ['x'.repeat(500)])
        accepted++
      }
    },
    { code: 'OVERLOADED', retryable: true },
  )
  gate.resolve()
  await worker.ran(accepted)
})

test('queue: calls of one key run in their order, over failures, and other keys do not wait', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const done: string[] = []
  const worker = await work(t, bus, queue, policy({ ordered: 'key' }), ({ args, request }) => {
    if (args[0] === 'a1' && (request.queued?.attempt ?? 0) < 3) throw new Error('not yet')
    done.push(String(args[0]))
  })
  for (const name of ['a1', 'a2', 'a3', 'b1', 'b2']) await put(bus, queue, 'run', [name], { key: name[0] })
  await worker.ran(1, ({ args }) => args[0] === 'b2')
  const show = await bus.queues.show(queue)
  assert.ok(
    show.cages[0]?.lanes?.some(({ lane, heldUntil }) => lane === 'a' && heldUntil !== undefined),
    'the wait is visible',
  )
  await worker.ran(1, ({ args }) => args[0] === 'a3')
  await eventually('all are done', () => done.length === 5)
  assert.deepEqual(
    [done.filter((name) => name.startsWith('a')), done.filter((name) => name.startsWith('b'))],
    [
      ['a1', 'a2', 'a3'],
      ['b1', 'b2'],
    ],
  )
})

test('queue: an ordered queue goes on at another copy when the leading one stops, in its order', async (t) => {
  const [one, two, queue] = [await testBus(t, nats.url), await testBus(t, nats.url), fresh()]
  const done: unknown[] = []
  const run = ({ args }: { args: unknown[] }): void => void done.push(args[0])
  const given = policy({ ordered: 'cage' })
  const first = await work(t, one, queue, given, run)
  const second = await work(t, two, queue, given, run)
  for (let n = 0; n < 10; n++) await put(two, queue, 'run', [n])
  await first.ran(10)
  await first.stop()
  for (let n = 10; n < 20; n++) await put(two, queue, 'run', [n])
  await second.ran(10)
  assert.deepEqual(
    done,
    Array.from({ length: 20 }, (_, n) => n),
  )
})

test('queue: a purge of an ordered queue takes what the leading copy had taken ahead', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const gate = deferred<void>()
  const worker = await work(t, bus, queue, policy({ ordered: 'cage' }), ({ method }) => (method === 'first' ? gate.promise : undefined))
  await put(bus, queue, 'first')
  await worker.ran(1)
  for (let n = 0; n < 5; n++) await put(bus, queue, 'purged')
  await eventually('all are taken', async () => (await bus.queues.show(queue)).cages[0]?.lanes?.[0]?.waiting === 5)
  await bus.queues.purge(queue)
  await put(bus, queue, 'later')
  gate.resolve()
  await worker.ran(1, ({ method }) => method === 'later')
  assert.deepEqual(
    worker.runs.map(({ method }) => method),
    ['first', 'later'],
  )
})

test('queue: when the failed head of a lane is cancelled, the lane goes on at once', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const worker = await work(t, bus, queue, policy({ ordered: 'cage' }), ({ method }) => {
    if (method === 'bad') throw new CageError('MINE', 'no', { retryAfterMs: 50_000 })
  })
  const id = await put(bus, queue, 'bad', [], { id: `bad-${queue}` })
  await put(bus, queue, 'next')
  await eventually('it waits', async () => (await bus.queues.status(id))?.state === 'delayed')
  assert.equal(await bus.queues.cancel(id), true)
  await worker.ran(1, ({ method }) => method === 'next')
})

test('queue: a rate limit holds for each key', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  const starts: [string, number][] = []
  const given = policy({ limits: { key: 'key', ratePerSecond: 5 } })
  const worker = await work(t, bus, queue, given, ({ args }) => void starts.push([String(args[0]), performance.now()]))
  await Promise.all(['a', 'b', 'a', 'b', 'a', 'b', 'a', 'b'].map((key) => put(bus, queue, 'run', [key], { key })))
  await worker.ran(8)
  for (const key of ['a', 'b']) {
    const times = starts.filter(([of]) => of === key).map(([, at]) => at)
    assert.ok((times[3] ?? 0) - (times[0] ?? 0) >= 580, `${key}: ${times.map(Math.round).join(' ')}`)
  }
})

test('queue: wrong options are refused before anything is stored', async (t) => {
  const [bus, queue] = [await testBus(t, nats.url), fresh()]
  for (const options of [
    { delayMs: -1 },
    { delayMs: Number.NaN },
    { expiresMs: 0 },
    { id: '' },
    { id: `${queue}:1` },
    { priority: 'urgent' as 'high' },
  ])
    await assert.rejects(put(bus, queue, 'run', [], options), { code: 'INVALID_ARGUMENT' }, JSON.stringify(options))
  await assert.rejects(bus.enqueue('no queue', 'shop', 'jobs', 'run', [], { request: { id: '' }, deadline: Date.now() + 1_000 }), {
    code: 'INVALID_ARGUMENT',
  })
  await assert.rejects(bus.enqueue(queue, 'shop', 'jobs', 'run now', [], { request: { id: '' }, deadline: Date.now() + 1_000 }), {
    code: 'INVALID_ARGUMENT',
  })
  await assert.rejects(bus.queues.show(queue), { code: 'NOT_FOUND' })
})

test('queue: without JetStream a call is refused with a code, and consuming too', async (t) => {
  const plain = await startNats(t, { jetStream: false })
  const bus = await testBus(t, plain.url)
  await assert.rejects(put(bus, 'retry', 'run'), { code: 'UNAVAILABLE' })
  await assert.rejects(
    bus.consume('retry', 'shop', () => policy(), { handle: () => {}, cancel: () => {} }),
    { code: 'UNAVAILABLE' },
  )
})
