/** LISTEN as an interface: docs/adapters/postgresql.md. */
import assert from 'node:assert/strict'
import { before, type TestContext, test } from 'node:test'
import type pg from 'pg'
import type { InterfaceCallOptions, InterfaceHost, InterfaceQueueOptions, Listener } from '../../src/adapters/adapter.ts'
import { listen } from '../../src/adapters/postgresql/listener.ts'
import { postgresListenOptions } from '../../src/adapters/postgresql/options.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { type PostgresServer, plainClient, startPostgres } from '../support/postgres.ts'

let server: PostgresServer
let outside: pg.Client
let names = 0

before(async () => {
  server = await startPostgres(suite)
  outside = await plainClient(suite, server)
})

interface Called {
  target: string
  args: unknown[]
  options: InterfaceCallOptions | InterfaceQueueOptions
  queue?: string
}

interface Bench {
  calls: Called[]
  said: Said[]
  /** Starts a copy of the interface. */
  start(more?: object): Promise<Listener>
}

/** `answer` is what each call does. */
function bench(t: TestContext, answer: (called: Called) => Promise<unknown> = async () => {}): Bench {
  const { log, said } = recordingLog()
  const calls: Called[] = []
  const name = `changes${++names}`
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
    async start(more = {}) {
      const options = postgresListenOptions.parse({
        url: server.url,
        applicationName: name,
        channels: { orders: 'orders.changed' },
        ...more,
      })
      const listener = await listen(options, host)
      atEnd(t, () => listener.stop())
      return listener
    },
  }
}

const listening = ({ said }: Bench, times = 1): Promise<true> =>
  eventually('it listens', () => said.filter(({ message }) => message === 'listening to notifications').length >= times)
const notify = (payload: string, channel = 'orders'): Promise<unknown> => outside.query('select pg_notify($1, $2)', [channel, payload])

test('listen: a notification is a call with its payload and channel, in their order', async (t) => {
  const it = bench(t)
  const { address } = await it.start({ channels: { orders: 'orders.changed', 'Other "one"': 'billing.orders.changed' }, timeoutMs: 500 })
  assert.equal(address, `postgresql://127.0.0.1:${server.port}/postgres`)
  await listening(it)
  await notify('{"id":1}')
  await notify('', 'Other "one"')
  await notify('nobody listens', 'else')
  await eventually('both are called', () => it.calls.length === 2)
  assert.deepEqual(
    it.calls.map(({ target, args }) => [target, ...args]),
    [
      ['orders.changed', '{"id":1}', 'orders'],
      ['billing.orders.changed', '', 'Other "one"'],
    ],
  )
  assert.deepEqual(it.calls[0]?.options, { timeoutMs: 500, requestId: 'r1', protocol: 'postgresql' })
})

test('listen: with a queue each notification is enqueued', async (t) => {
  const it = bench(t)
  await it.start({ queue: 'retry' })
  await listening(it)
  await notify('a')
  await eventually('it is enqueued', () => it.calls.length === 1)
  assert.equal(it.calls[0]?.queue, 'retry')
})

test('listen: one of several copies listens; when it goes another one does, and is told to look for what it missed', async (t) => {
  const it = bench(t)
  const first = await it.start({ onConnect: 'orders.reread' })
  await listening(it)
  await it.start({ onConnect: 'orders.reread' })
  await notify('once')
  await eventually('it is called', () => it.calls.some(({ args }) => args[0] === 'once'))
  await first.stop()
  await within('its end is told', first.done)
  await listening(it, 2)
  await notify('again')
  await eventually('it is called', () => it.calls.some(({ args }) => args[0] === 'again'))
  assert.deepEqual(
    it.calls.map(({ target, args }) => args[0] ?? target),
    ['orders.reread', 'once', 'orders.reread', 'again'],
  )
})

test('listen: a lost connection is made again', async (t) => {
  const it = bench(t)
  await it.start({ onConnect: 'orders.reread' })
  await listening(it)
  await outside.query('select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1', [`changes${names}`])
  await listening(it, 2)
  await notify('back')
  await eventually('it is called', () => it.calls.some(({ args }) => args[0] === 'back'))
  assert.equal(it.calls.filter(({ target }) => target === 'orders.reread').length, 2)
})

test('listen: a start that cannot reach the server fails', async (t) => {
  await assert.rejects(bench(t).start({ url: 'postgres://postgres@127.0.0.1:1/x' }), (error: CageError) => error.code === 'UNAVAILABLE')
})

test('listen: no more calls run at once than are allowed, none is lost, and a failed one is told', async (t) => {
  const open: (() => void)[] = []
  let most = 0
  let over = false
  const it = bench(t, async () => {
    const { promise, resolve } = deferred<void>()
    most = Math.max(most, open.push(resolve))
    if (!over) await promise
    throw new CageError('INTERNAL', 'failed')
  })
  const listener = await it.start({ concurrency: 3 })
  const endAll = (): void => {
    over = true
    for (const end of open) end()
  }
  atEnd(t, endAll)
  await listening(it)
  for (let n = 0; n < 30; n++) await notify(String(n))
  await eventually('all are called', () => {
    open.shift()?.()
    return it.calls.length === 30
  })
  assert.equal(most, 3)
  assert.deepEqual(
    it.calls.map(({ args }) => Number(args[0])),
    Array.from({ length: 30 }, (_, n) => n),
  )
  const stopped = listener.stop()
  await notify('late')
  endAll()
  await within('it has stopped', stopped)
  assert.equal(it.calls.length, 30)
  assert.equal(it.said.filter(({ message }) => message.startsWith('a notification was lost')).length, 30)
})
