/**
 * Change streams as an interface: docs/adapters/mongodb.md. With a peer that speaks the protocol, since the engine of the tests has none; with
 * MONGODB_URL also against that replica set.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { InterfaceCallOptions, InterfaceHost, InterfaceMemory, InterfaceQueueOptions, Listener } from '../../src/adapters/adapter.ts'
import { listen } from '../../src/adapters/mongodb/listener.ts'
import { mongoListenOptions } from '../../src/adapters/mongodb/options.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { plainMongo, REPLICA_SET, startMongo } from '../support/mongodb.ts'
import { type Replica, startReplica } from '../support/mongodb-replica.ts'

interface Called {
  target: string
  args: unknown[]
  options: InterfaceCallOptions | InterfaceQueueOptions
  queue?: string
}

interface Bench {
  replica: Replica
  calls: Called[]
  said: Said[]
  /** What the cage remembers, by key. */
  kept: Map<string, unknown>
  /** Owners whose calls were cancelled. */
  cancelled: object[]
  /** Starts a copy of the interface. */
  start(more?: object): Promise<Listener>
  /** The changes that were told, by their `n`. */
  told(): unknown[]
}

/** `answer` is what each call does. */
async function bench(t: TestContext, answer: (called: Called) => Promise<unknown> = async () => {}): Promise<Bench> {
  const replica = await startReplica(t)
  const { log, said } = recordingLog()
  const calls: Called[] = []
  const kept = new Map<string, unknown>()
  const cancelled: object[] = []
  const take = (called: Called): Promise<unknown> => {
    calls.push(called)
    return answer(called)
  }
  const memory: InterfaceMemory = {
    get: async (key) => structuredClone(kept.get(key)),
    async update(key, change) {
      const value = change(structuredClone(kept.get(key)))
      kept.set(key, structuredClone(value))
      return value
    },
  }
  let ids = 0
  const host = {
    ...{ cage: 'shop', name: 'orders', log, timeoutMs: 10_000, dataDir: '', newRequestId: () => `r${++ids}`, memory },
    cancel: (owner: object) => cancelled.push(owner),
    call: (target: string, args: unknown[], options: InterfaceCallOptions = {}) => take({ target, args, options }),
    enqueue: async (queue: string, target: string, args: unknown[], options: InterfaceQueueOptions) => {
      await take({ target, args, options, queue })
      return options.id
    },
  } as unknown as InterfaceHost // it exposes nothing
  return {
    ...{ replica, calls, said, kept, cancelled },
    told: () => calls.filter(({ target }) => target === 'orders.changed').map(({ args }) => (args[0] as { n: unknown }).n),
    async start(more = {}) {
      const options = mongoListenOptions.parse({
        url: replica.url,
        database: 'shop',
        collection: 'orders',
        call: 'orders.changed',
        ...more,
      })
      const listener = await listen(options, host)
      atEnd(t, () => listener.stop())
      return listener
    },
  }
}

const reading = ({ said }: Bench): Promise<true> =>
  eventually('it reads', () => said.some(({ message }) => message === 'reading changes from now on'))
const change = (n: number): object => ({ operationType: 'insert', documentKey: { _id: n }, n })
const passedOver = ({ said }: Bench): number => said.filter(({ message }) => message === 'a change was passed over: its call failed').length

test('mongodb: listen: a change is a call with plain data, in their order, and a later start goes on where the first has stopped', async (t) => {
  const it = await bench(t)
  const listener = await it.start({ onReset: 'orders.reread', timeoutMs: 500 })
  assert.equal(listener.address, `mongodb://127.0.0.1:${it.replica.port}/shop`)
  await reading(it)
  for (const n of [1, 2, 3]) it.replica.emit(change(n))
  await eventually('all are called', () => it.told().length === 3)
  assert.deepEqual(it.told(), [1, 2, 3])
  assert.equal(it.calls[0]?.target, 'orders.reread')
  const { owner, requestId, ...options } = { ...(it.calls[1]?.options as InterfaceCallOptions | undefined) }
  assert.deepEqual([typeof owner, typeof requestId, options], ['object', 'string', { timeoutMs: 500, protocol: 'mongodb' }])
  await listener.stop()
  await within('its end is told', listener.done)
  it.replica.emit(change(4))
  await it.start({ onReset: 'orders.reread' })
  await eventually('what happened meanwhile is called', () => it.told().includes(4))
  assert.deepEqual(it.told(), [1, 2, 3, 4])
  assert.equal(it.calls.filter(({ target }) => target === 'orders.reread').length, 1)
})

test('mongodb: listen: with a queue each change is enqueued, under an id that a second one would have too, and none is passed over', async (t) => {
  const failures = [new CageError('INVALID_ARGUMENT', 'there is no such queue yet'), new CageError('INTERNAL', 'broken')]
  const it = await bench(t, async () => {
    const error = failures.shift()
    if (error) throw error
  })
  await it.start({ queue: 'retry', attempts: 1 })
  await reading(it)
  it.replica.emit(change(1))
  await eventually('it is enqueued', () => it.calls.length === 3)
  assert.equal(passedOver(it), 0)
  const called = it.calls[2]
  assert.deepEqual([called?.queue, called?.options], ['retry', { id: 'change:{"_data":"00000001"}', requestId: 'r2', protocol: 'mongodb' }])
})

test('mongodb: listen: a call that fails is made again; after so many attempts, or if it can never succeed, it is passed over', async (t) => {
  const failures: Record<number, CageError[]> = {
    1: [new CageError('UNAVAILABLE', 'away'), new CageError('OVERLOADED', 'busy'), new CageError('UNAVAILABLE', 'away')],
    2: [1, 2, 3].map(() => new CageError('INTERNAL', 'broken')),
    3: [new CageError('INVALID_ARGUMENT', 'wrong')],
  }
  const it = await bench(t, async ({ args }) => {
    const error = failures[(args[0] as { n: number }).n]?.shift()
    if (error) throw error
  })
  await it.start({ attempts: 2 })
  await reading(it)
  for (const n of [1, 2, 3, 4]) it.replica.emit(change(n))
  await eventually('all are called', () => it.told().includes(4))
  assert.deepEqual(it.told(), [1, 1, 1, 1, 2, 2, 3, 4])
  assert.equal(passedOver(it), 2)
})

test('mongodb: listen: what happens while the connection is lost is told afterwards, once', async (t) => {
  const it = await bench(t)
  await it.start()
  await reading(it)
  it.replica.emit(change(1))
  await eventually('it is called', () => it.told().length === 1)
  it.replica.cut()
  it.replica.emit(change(2))
  await eventually('it is called', () => it.told().length === 2)
  it.replica.emit(change(3))
  await eventually('it is called', () => it.told().length === 3)
  assert.deepEqual(it.told(), [1, 2, 3])
})

test('mongodb: listen: where the server has forgotten the place, it is told, and reading begins anew', async (t) => {
  const it = await bench(t)
  const first = await it.start()
  await reading(it)
  it.replica.emit(change(1))
  await eventually('it is called', () => it.told().length === 1)
  await first.stop()
  it.replica.emit(change(2))
  it.replica.forget()
  await it.start({ onReset: 'orders.reread' })
  await eventually('it is told', () => it.calls.some(({ target }) => target === 'orders.reread'))
  it.replica.emit(change(3))
  await eventually('it reads on', () => it.told().includes(3))
  assert.deepEqual(it.told(), [1, 3])
  assert.ok(it.said.some(({ level, message }) => level === 'error' && message.startsWith('changes were lost')))
})

test('mongodb: listen: one of several copies reads; when it goes, another one does', async (t) => {
  const it = await bench(t)
  const first = await it.start()
  await reading(it)
  await it.start()
  it.replica.emit(change(1))
  await eventually('it is called', () => it.told().length === 1)
  await first.stop()
  it.replica.emit(change(2))
  await eventually('it is called', () => it.told().length === 2)
  assert.deepEqual(it.told(), [1, 2])
})

test('mongodb: listen: a copy that shows no sign of life is followed by another one', async (t) => {
  const it = await bench(t)
  it.kept.set('place', { holder: 'a dead copy', beat: 7, token: { _data: '00000000' } })
  it.replica.emit(change(1))
  const begun = performance.now()
  await it.start()
  await eventually('it is called', () => it.told().length === 1)
  assert.ok(performance.now() - begun > 4_900)
})

test('mongodb: listen: a copy that has lost its place cancels its call, and reads no more', async (t) => {
  const ends = deferred<void>()
  const it = await bench(t, () => ends.promise)
  await it.start()
  await reading(it)
  it.replica.emit(change(1))
  await eventually('it is called', () => it.told().length === 1)
  it.kept.set('place', { holder: 'another copy', beat: 1_000, token: undefined })
  await eventually('its call is cancelled', () => it.cancelled.length > 0)
  ends.resolve()
  it.replica.emit(change(2))
  assert.equal((it.kept.get('place') as { holder: string }).holder, 'another copy')
  assert.equal(it.told().length, 1)
})

test('mongodb: listen: a stop lets the running call end', async (t) => {
  const ends = deferred<void>()
  const it = await bench(t, () => ends.promise)
  const listener = await it.start()
  await reading(it)
  it.replica.emit(change(1))
  await eventually('it is called', () => it.told().length === 1)
  let stopped = false
  const stopping = listener.stop().then(() => {
    stopped = true
  })
  await new Promise(setImmediate)
  assert.equal(stopped, false)
  ends.resolve()
  await within('it stops', stopping)
  assert.deepEqual((it.kept.get('place') as { holder: string; token: unknown }).token, { _data: '00000001' })
})

test('mongodb: listen: a server without change streams is refused, as one that is not there', async (t) => {
  const it = await bench(t)
  const { url, kill } = await startMongo(t)
  await assert.rejects(it.start({ url }), { code: 'INVALID_ARGUMENT' })
  await kill()
  await assert.rejects(it.start({ url }), { code: 'UNAVAILABLE' })
})

test('mongodb: listen: a replica set of yours tells its changes', { skip: !REPLICA_SET }, async (t) => {
  const it = await bench(t)
  const url = REPLICA_SET ?? ''
  const outside = (await plainMongo(t, url, 'menagerie_test')).collection<{ _id: number }>('changes')
  await outside.deleteMany({})
  const given = { url, database: 'menagerie_test', collection: 'changes', pipeline: [{ $match: { operationType: 'insert' } }] }
  const first = await it.start(given)
  await reading(it)
  await outside.insertMany([{ _id: 1 }, { _id: 2 }])
  const seen = (): unknown[] => it.calls.map(({ args }) => (args[0] as { fullDocument: { _id: number } }).fullDocument._id)
  await eventually('both are called', () => seen().length === 2)
  await first.stop()
  await outside.deleteOne({ _id: 1 })
  await outside.insertOne({ _id: 3 })
  await it.start(given)
  await eventually('what happened meanwhile is called', () => seen().length === 3)
  assert.deepEqual(seen(), [1, 2, 3])
})
