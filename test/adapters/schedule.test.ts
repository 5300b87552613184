import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { type TestContext, test } from 'node:test'
import { interfaceHost } from '../../src/actors/interface.ts'
import { Trail } from '../../src/actors/trail.ts'
import type { Listener } from '../../src/adapters/adapter.ts'
import { scheduleOptions } from '../../src/adapters/schedule/options.ts'
import { listen } from '../../src/adapters/schedule/server.ts'
import type { Bus, Call, Outcome } from '../../src/bus/bus.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { ask, client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { policy, work } from '../support/queue.ts'

const EVERY_SECOND = { cron: '* * * * * *', call: 'jobs.run' }
const NEVER_NOW = { at: '2126-01-01T00:00:00Z', call: 'jobs.run' }

const server = await startNats(suite)
let cages = 0

test('schedule: two copies fire each tick once, with its time and the arguments of the configuration', async (t) => {
  const shop = await cage(t)
  await shop.copy({ ...EVERY_SECOND, args: ['a', 1] })
  await shop.copy({ ...EVERY_SECOND, args: ['a', 1] })
  await shop.called(4)
  assertEachSecondOnce(shop.calls)
  const { args, request } = shop.calls[0] ?? assert.fail()
  assert.deepEqual(args, ['a', 1])
  assert.equal(request.parameters?.protocol, 'schedule')
  assert.equal(request.parameters?.interface, 'tested')
  assert.equal(request.id, `schedule:${shop.name}.tested:${tickOf(shop.calls[0])}`)
})

test('schedule: two copies enqueue each tick once', async (t) => {
  const shop = await cage(t)
  const worker = await work(t, shop.bus, `${shop.name}-q`, policy(), () => 'done', shop.name)
  const options = { ...EVERY_SECOND, queue: `${shop.name}-q` }
  await Promise.all([shop.copy(options), shop.copy(options)])
  await worker.ran(4)
  assertEachSecondOnce(worker.runs)
  assert.equal(worker.runs[0]?.request.queued?.id, `schedule:${shop.name}.tested:${tickOf(worker.runs[0])}`)
})

test('schedule: a tick that was enqueued by a copy that died before it noted so is not run twice', async (t) => {
  const shop = await cage(t)
  const queue = `${shop.name}-q`
  const tick = Math.floor(Date.now() / 1_000) * 1_000
  await shop.remember(tick - 1_000)
  const id = `schedule:${shop.name}.tested:${new Date(tick).toISOString()}`
  await shop.bus.enqueue(queue, shop.name, 'jobs', 'run', [], { id, request: { id }, deadline: Date.now() + 10_000 })
  const worker = await work(t, shop.bus, queue, policy(), () => 'done', shop.name)
  await shop.copy({ ...EVERY_SECOND, queue, missed: 'all' })
  await worker.ran(3)
  assert.equal(worker.runs.filter((run) => run.request.queued?.id === id).length, 1)
})

for (const [missed, count] of [
  ['skip', 0],
  ['once', 1],
  ['all', 5],
] as const) {
  test(`schedule: of five ticks while no copy was there, missed: ${missed} fires ${count}, also with two copies`, async (t) => {
    const shop = await cage(t)
    const now = Math.floor(Date.now() / 60_000) * 60_000
    await shop.remember(now - 5 * 60_000, 'every 60000 ms')
    const options = { everyMs: 60_000, call: 'jobs.run', missed }
    await Promise.all([shop.copy(options), shop.copy(options)])
    await shop.called(count)
    await eventually(
      'the record is up to date',
      async () => count === 0 || (await shop.bus.schedules.info(shop.name, 'tested')).last?.outcome === 'ok',
    )
    const times = shop.calls.map((call) => Date.parse(tickOf(call))).filter((time) => time <= now)
    assert.deepEqual(
      times,
      Array.from({ length: count }, (_, n) => now - (count - 1 - n) * 60_000),
    )
  })
}

test('schedule: the first start has missed nothing, another expression begins anew', async (t) => {
  const shop = await cage(t)
  await shop.remember(0, 'every 30000 ms')
  const { said } = await shop.copy({ everyMs: 3_600_000, call: 'jobs.run', missed: 'all' })
  assert.deepEqual(shop.calls, [])
  assert.deepEqual(said, [])
})

test('schedule: a moment that passed unseen is fired once where missed says so, and never again', async (t) => {
  const shop = await cage(t)
  const options = { at: '2026-01-01T00:00:00Z', call: 'jobs.run', missed: 'once' }
  const first = await shop.copy(options)
  await shop.called(1)
  await first.listener.stop()
  await shop.copy(options)
  const info = await shop.bus.schedules.info(shop.name, 'tested')
  assert.equal(info.next, undefined)
  assert.equal(info.last?.tick, '2026-01-01T00:00:00.000Z')
  assert.equal(shop.calls.length, 1)
})

test('schedule: a tick is skipped while the call before runs, by whichever copy', async (t) => {
  const shop = await cage(t, 'held')
  const copies = await Promise.all([shop.copy(EVERY_SECOND), shop.copy(EVERY_SECOND)])
  await shop.called(1)
  await eventually(
    'two are skipped',
    () => copies.flatMap(({ said }) => said).filter(({ message }) => message.includes('is skipped')).length >= 2,
  )
  assert.equal(shop.calls.length, 1)
  const { last, running } = await shop.bus.schedules.info(shop.name, 'tested')
  assert.deepEqual([last?.outcome, running], ['skipped', true])
  shop.release()
  await shop.called(2)
})

test('schedule: with overlap a tick does not wait for the call before', async (t) => {
  const shop = await cage(t, 'held')
  await shop.copy({ ...EVERY_SECOND, overlap: true })
  await shop.called(3)
  assertEachSecondOnce(shop.calls)
})

test('schedule: a call that fails is told and seen, and the next tick is fired', async (t) => {
  const shop = await cage(t, 'failing')
  const { said } = await shop.copy(EVERY_SECOND)
  await shop.called(1)
  await eventually('it is noted', async () => (await shop.bus.schedules.info(shop.name, 'tested')).last?.outcome === 'MINE')
  await shop.called(2)
  assert.deepEqual(
    said.slice(0, 1).map(({ level, message }) => [level, message]),
    [['warn', 'a scheduled call has failed']],
  )
})

test('schedule: engineers see next and last, and have it run now, from any NATS client', async (t) => {
  const shop = await cage(t)
  await Promise.all([shop.copy(NEVER_NOW), shop.copy(NEVER_NOW)])
  const nc = await client(t, server.url)
  const { body } = await ask(nc, `$SCHEDULE.${shop.name}.tested.info`)
  const timing = 'at 2126-01-01T00:00:00Z, UTC'
  assert.deepEqual(body, { cage: shop.name, name: 'tested', timing, call: 'jobs.run', next: '2126-01-01T00:00:00.000Z', running: false })
  const { id } = (await ask(nc, `$SCHEDULE.${shop.name}.tested.run`)).body as { id: string }
  await shop.called(1)
  assert.equal(shop.calls[0]?.request.id, id)
  assert.equal(shop.calls[0]?.request.parameters?.tick, undefined)
  const { last } = await eventually('it is noted', async () => {
    const info = await shop.bus.schedules.info(shop.name, 'tested')
    return info.last?.outcome === 'ok' && info
  })
  assert.equal(last?.tick, undefined)
  const listed = (await shop.bus.schedules.list()).filter(({ cage: owner }) => owner === shop.name)
  assert.equal(listed.length, 1, 'once for all copies')
  await assert.rejects(shop.bus.schedules.run(shop.name, 'nothing'), { code: 'UNAVAILABLE' })
})

test('schedule: run now is refused while the call before runs, and put into the queue where there is one', async (t) => {
  const shop = await cage(t, 'held')
  await shop.copy(NEVER_NOW)
  await shop.bus.schedules.run(shop.name, 'tested')
  await shop.called(1)
  await assert.rejects(shop.bus.schedules.run(shop.name, 'tested'), { code: 'CONFLICT', message: /before still runs/ })
  const other = await cage(t)
  const worker = await work(t, other.bus, `${other.name}-q`, policy(), () => 'done', other.name)
  await other.copy({ ...NEVER_NOW, queue: `${other.name}-q` })
  const ids = [await other.bus.schedules.run(other.name, 'tested'), await other.bus.schedules.run(other.name, 'tested')]
  await worker.ran(2)
  assert.deepEqual(worker.runs.map(({ request }) => request.queued?.id).sort(), ids.map(({ id }) => id).sort())
})

test('schedule: a stop lets the running call end, fires nothing more, and may be called twice', async (t) => {
  const shop = await cage(t, 'held')
  const { listener } = await shop.copy({ ...EVERY_SECOND, overlap: true })
  await shop.called(1)
  let stopped = false
  const stopping = Promise.all([listener.stop(), listener.stop()]).then(() => (stopped = true))
  await eventually(
    'nobody answers for it',
    async () => (await ask(await client(t, server.url), `$SCHEDULE.${shop.name}.tested.info`)).status === 503,
  )
  const { length } = shop.calls
  assert.equal(stopped, false)
  shop.release()
  await stopping
  await listener.done
  assert.equal(shop.calls.length, length)
  await shop.copy({ ...EVERY_SECOND, overlap: true })
  await shop.called(length + 1)
})

test('schedule: ticks that came while the bus was away are fired when it is back', async (t) => {
  const own = await startNats(t)
  const shop = await cage(t, 'answering', own)
  const { said } = await shop.copy({ ...EVERY_SECOND, timeoutMs: 1_000 }) // the answer to a call may be lost
  await shop.called(1)
  await own.kill()
  await eventually('a tick cannot be fired', () => said.some(({ message }) => message.includes('cannot be fired yet')))
  await own.restart()
  const { length } = shop.calls
  await shop.called(length + 4)
  assertEachSecondOnce(shop.calls)
})

test('schedule: where nothing can be remembered it does not start', async (t) => {
  const plain = await startNats(t, { jetStream: false })
  const shop = await cage(t, 'answering', plain)
  await assert.rejects(shop.copy(EVERY_SECOND), { code: 'UNAVAILABLE' })
})

interface Shop {
  name: string
  bus: Bus
  /** Of the method that the schedule calls. */
  calls: Call[]
  called(n: number): Promise<void>
  /** Answers what is held, and holds nothing more. */
  release(): void
  /** A copy of the cage with this schedule; it is stopped with the test. */
  copy(options: object): Promise<{ listener: Listener; said: Said[] }>
  /** As if a tick had been dealt with, and nothing since. */
  remember(tick: number, timing?: string): Promise<void>
}

/** A cage of its own with a module `jobs`. */
async function cage(t: TestContext, how: 'answering' | 'held' | 'failing' = 'answering', nats: NatsServer = server): Promise<Shop> {
  const name = `shop${++cages}`
  const bus = await testBus(t, nats.url)
  const calls: Call[] = []
  const held: ((outcome: Outcome) => void)[] = []
  let answering = how
  let look = (): void => {}
  await bus.serve(name, 'jobs', {
    handle: (call, settle) => {
      calls.push(call)
      if (answering === 'held') held.push(settle)
      else settle(answering === 'failing' ? { ok: false, error: new CageError('MINE', 'no') } : { ok: true, result: 'done' })
      look()
    },
    cancel: () => {},
  })
  const release = (): void => {
    answering = 'answering'
    for (const settle of held.splice(0)) settle({ ok: true, result: 'done' })
  }
  atEnd(t, release)
  return {
    name,
    bus,
    calls,
    release,
    called: (n) =>
      new Promise((resolve) => {
        look = () => calls.length >= n && resolve()
        look()
      }),
    async copy(options) {
      const own = await testBus(t, nats.url)
      const { log, said } = recordingLog()
      const loud = { ...log, debug: () => {}, info: () => {}, child: () => loud }
      const source = {
        bus: own,
        cage: name,
        name: 'tested',
        log: loud,
        dataDir: tmpdir(),
        timeoutMs: () => 20_000,
        newRequestId: () => 'new',
        trail: new Trail('test', name),
      }
      const listener = await listen(scheduleOptions.parse(options), interfaceHost(source))
      atEnd(t, async () => {
        release()
        await listener.stop()
      })
      return { listener, said }
    },
    async remember(tick, timing = 'cron * * * * * *, UTC') {
      await bus.state(name, '_tested').update('record', () => ({ timing, tick, by: 'another' }), { deadline: Date.now() + 10_000 })
    },
  }
}

function tickOf(call: Call | undefined): string {
  const { tick } = call?.request.parameters ?? {}
  assert.equal(typeof tick, 'string')
  return tick as string
}

/** One call for each second from the first to the last, in order. */
function assertEachSecondOnce(calls: Call[]): void {
  const times = calls.map((call) => Date.parse(tickOf(call)))
  assert.deepEqual(
    times,
    times.map((_, n) => (times[0] ?? 0) + n * 1_000),
  )
}
