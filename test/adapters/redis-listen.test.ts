/** Redis's messages and keys as an interface: docs/adapters/redis.md. redis-cli publishes. */
import assert from 'node:assert/strict'
import { before, type TestContext, test } from 'node:test'
import type { InterfaceCallOptions, InterfaceHost, InterfaceQueueOptions, Listener, Scope } from '../../src/adapters/adapter.ts'
import { listen } from '../../src/adapters/redis/listener.ts'
import { redisListenOptions } from '../../src/adapters/redis/options.ts'
import { Session } from '../../src/adapters/redis/session.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { startSockets } from '../support/web.ts'

let server: RedisServer
let names = 0

before(async () => {
  server = await startRedis(suite, { args: ['--notify-keyspace-events', 'KA'] })
})

interface Called {
  target: string
  args: unknown[]
  queue?: string
  options: InterfaceCallOptions | InterfaceQueueOptions
}

interface Bench {
  calls: Called[]
  said: Said[]
  /** Starts a copy of the interface. */
  start(more?: object): Promise<Listener>
  listening(times?: number): Promise<true>
}

/** `answer` is what each call does. */
function bench(t: TestContext, answer: (called: Called) => Promise<unknown> = async () => {}): Bench {
  const { log, said } = recordingLog()
  const calls: Called[] = []
  const name = `news${++names}`
  const take = (called: Called): Promise<unknown> => {
    calls.push(called)
    return answer(called)
  }
  let requests = 0
  const host = {
    ...{ cage: 'shop', name, log, timeoutMs: 10_000, dataDir: '', newRequestId: () => `r${++requests}`, cancel: () => {} },
    call: (target: string, args: unknown[], options: InterfaceCallOptions = {}) => take({ target, args, options }),
    enqueue: async (queue: string, target: string, args: unknown[], options: InterfaceQueueOptions) => {
      await take({ target, args, options, queue })
      return options.id
    },
  } as unknown as InterfaceHost // it neither remembers nor exposes anything
  return {
    calls,
    said,
    listening: (times = 1) =>
      eventually('it listens', () => said.filter(({ message }) => message === 'listening to messages').length >= times),
    async start(more = {}) {
      const options = redisListenOptions.parse({ url: server.url, clientName: name, channels: { 'orders.*': 'orders.told' }, ...more })
      const listener = await listen(options, host)
      atEnd(t, () => listener.stop())
      return listener
    },
  }
}

const argsOf = ({ calls }: Bench): unknown[] => calls.map(({ target, args }) => [target, ...args])

test('redis listen: a message is a call with its text and channel, in their order', async (t) => {
  const it = bench(t)
  const { address } = await it.start({ channels: { 'orders.*': 'orders.told', plain: 'billing.orders.told' }, timeoutMs: 500 })
  assert.equal(address, `redis://127.0.0.1:${server.port}/0`)
  await it.listening()
  await server.cli('publish', 'orders.new', 'grüße')
  await server.cli('publish', 'plain', '2')
  await server.cli('publish', 'elsewhere', '3')
  await server.cli('publish', 'orders.old', '4')
  await eventually('three have come', () => it.calls.length === 3)
  assert.deepEqual(argsOf(it), [
    ['orders.told', 'grüße', 'orders.new'],
    ['billing.orders.told', '2', 'plain'],
    ['orders.told', '4', 'orders.old'],
  ])
  assert.deepEqual(it.calls[0]?.options, { timeoutMs: 500, requestId: 'r1', protocol: 'redis' })
})

test('redis listen: what becomes of a key is a call, and a server that tells nothing of keys is warned of', async (t) => {
  const it = bench(t)
  await it.start({ channels: {}, keys: { 'user:*': 'users.changed' } })
  await it.listening()
  await server.cli('set', 'user:1', 'x')
  await server.cli('set', 'other', 'x')
  await server.cli('pexpire', 'user:1', '1')
  await eventually('it has expired', async () => {
    await server.cli('get', 'user:1')
    return it.calls.length === 3
  })
  assert.deepEqual(argsOf(it), [
    ['users.changed', 'user:1', 'set'],
    ['users.changed', 'user:1', 'expire'],
    ['users.changed', 'user:1', 'expired'],
  ])
  assert.equal(
    it.said.some(({ level }) => level === 'warn'),
    false,
  )
  const silent = bench(t)
  const other = await startRedis(t)
  await silent.start({ url: other.url, channels: {}, keys: { 'user:*': 'users.changed' } })
  await eventually('it is told', () => silent.said.some(({ message }) => /notify-keyspace-events/.test(message)))
})

test('redis listen: of two copies one listens, and the other takes over', async (t) => {
  const it = bench(t)
  const first = await it.start()
  await it.listening()
  await it.start()
  await server.cli('publish', 'orders.1', 'once')
  await eventually('it has come', () => it.calls.length > 0)
  await first.stop()
  await it.listening(2)
  await server.cli('publish', 'orders.2', 'again')
  await eventually('it has come to the other', () => it.calls.length > 1)
  assert.deepEqual(
    it.calls.map(({ args }) => args[0]),
    ['once', 'again'],
  )
})

test('redis listen: a lost connection is made again, and what may have been missed can be looked for', async (t) => {
  const own = await startRedis(t)
  const it = bench(t)
  await it.start({ url: own.url, onConnect: 'orders.reread' })
  await it.listening()
  await own.kill()
  await eventually('it is told', () => it.said.some(({ level }) => level === 'warn'))
  await own.start()
  await it.listening(2)
  await own.cli('publish', 'orders.1', 'back')
  await eventually('it has come', () => it.calls.length === 3)
  assert.deepEqual(argsOf(it), [['orders.reread'], ['orders.reread'], ['orders.told', 'back', 'orders.1']])
})

test('redis listen: a start that reaches no server fails', async (t) => {
  const own = await startRedis(t)
  await own.kill()
  await assert.rejects(bench(t).start({ url: own.url }), (error: CageError) => error.code === 'UNAVAILABLE')
  await assert.rejects(bench(t).start({ password: 'wrong', user: 'nobody' }), (error: CageError) => error.code === 'UNAUTHENTICATED')
})

test('redis listen: a server that falls silent when it is to be subscribed to does not keep it from stopping', async (t) => {
  const subscribing = deferred<void>()
  const url = await startSockets(t, (socket) => {
    socket.on('data', (data) => {
      const words = String(data)
      if (/psubscribe/i.test(words)) return subscribing.resolve()
      if (/\bhello\b/i.test(words)) socket.write('%1\r\n+server\r\n+redis\r\n')
      if (/\b(id|eval)\b/i.test(words)) socket.write(':1\r\n')
    })
  })
  const listener = await bench(t).start({ url: url.replace('http', 'redis') })
  await within('it subscribes', subscribing.promise)
  await within('it stops', listener.stop(), 3_000)
  await listener.done
})

test('redis: a session whose subscription is not answered in time is lost', async (t) => {
  const own = await startRedis(t)
  const until = (ms: number): Scope => ({ deadline: Date.now() + ms, signal: new AbortController().signal })
  const session = await Session.open(redisListenOptions.parse({ url: own.url, channels: { x: 'a.b' } }), 'news', until(5_000))
  atEnd(t, () => session.destroy())
  own.freeze()
  atEnd(t, () => own.thaw())
  const listening = session.listen('x', () => {}, until(200))
  await within(
    'it gives up',
    assert.rejects(listening, (error: CageError) => error.code === 'DEADLINE_EXCEEDED'),
  )
  assert.equal(session.broken, true)
})

test('redis listen: no more calls run than allowed, no more wait, and what is lost is told', async (t) => {
  const gate = deferred<void>()
  const it = bench(t, () => gate.promise)
  await it.start({ concurrency: 2, maxPending: 3 })
  await it.listening()
  for (let n = 0; n < 8; n++) await server.cli('publish', 'orders.x', String(n))
  await eventually('some are lost', () => it.said.some(({ message }) => /messages are lost/.test(message)))
  assert.equal(it.calls.length, 2)
  gate.resolve()
  await eventually('it is counted', () =>
    it.said.some(({ fields, message }) => message.startsWith('messages were lost') && fields.lost === 3),
  )
  assert.deepEqual(
    it.calls.map(({ args }) => args[0]),
    ['0', '1', '2', '3', '4'],
  )
})

test('redis listen: a call that fails is told, with a queue it is durable, and a stop waits for what runs', async (t) => {
  const gate = deferred<void>()
  const it = bench(t, async ({ queue }) => {
    if (queue === undefined) throw new CageError('CONFLICT', 'no')
    await gate.promise
  })
  const failing = await it.start()
  await it.listening()
  await server.cli('publish', 'orders.x', 'lost')
  await eventually('it is told', () => it.said.some(({ message }) => message === 'a message was lost: its call failed'))
  await failing.stop()
  const queued = await it.start({ queue: 'later' })
  await it.listening(2)
  await server.cli('publish', 'orders.x', 'kept')
  await eventually('it is enqueued', () => it.calls.some(({ queue }) => queue === 'later'))
  let stopped = false
  const stopping = Promise.all([queued.stop(), queued.stop()]).then(() => (stopped = true))
  assert.equal(stopped, false)
  gate.resolve()
  await within('it stops', stopping)
  await queued.done
})
