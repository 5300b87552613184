/** kill -9 of a node, of the server, of both, and rolling restarts, with a backlog: nothing is lost, no effect with an id comes twice. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { each, effects, endsByNumber, type Stage, scandals, sized, stage } from '../support/stage.ts'

const BACKLOG = sized(1_000, 5_000)
const RUN_MS = 10

/** What a killed server has not read yet is lost with its node: a few calls for each crash, too many for the share of a short run. */
const FEW = 2
const CONFIG = '{ queues: { work: { concurrency: 16, backoff: { firstMs: 200 } } } }'

test('crash: kill -9 of a node loses no call, and no effect with an id comes twice', async (t) => {
  await survive(t, sized(3, 20), async ({ copies }) => {
    const last = copies.at(-1)
    last?.kill('SIGKILL')
    await last?.exited
  })
})

test('crash: kill -9 of nats-server loses no call, and no effect with an id comes twice', async (t) => {
  await survive(t, sized(3, 10), async (_stage, server) => server.restart())
})

test('crash: kill -9 of node and nats-server together loses no call, and no effect with an id comes twice', async (t) => {
  // the server forgets what it has confirmed in its last 100 ms, and the node does not remember it either: the settlements do
  await survive(t, sized(4, 10), async ({ copies }, server) => {
    const last = copies.at(-1)
    last?.kill('SIGKILL')
    await Promise.all([last?.exited, server.restart()])
  })
})

test('crash: a rolling restart of both copies under load loses no call, and none is run twice', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url, CONFIG)
  let running = [set.start(), set.start()]
  await Promise.all(running.map((copy) => copy.ready))
  const accepted: number[] = []
  let loading = true
  let next = 0
  const load = Array.from({ length: 8 }, async () => {
    while (loading) {
      await put(set, next++, accepted)
      await setTimeout(8)
    }
  })
  for (let round = 0; round < sized(4, 20); round++) {
    const [oldest, ...others] = running
    oldest?.kill('SIGTERM')
    assert.equal(await oldest?.exited, 0)
    running = [...others, set.start()]
    await Promise.all(running.map((copy) => copy.ready))
  }
  loading = false
  await Promise.all(load)
  await check(t, set, accepted, 0)
})

/** Enqueues odd numbers with an id and even ones without. */
async function put({ enqueue }: Stage, n: number, accepted: number[]): Promise<void> {
  const method = n % 2 === 1 ? 'named' : 'plain'
  await enqueue(method, [n, RUN_MS], method === 'named' ? { id: `call-${n}` } : {}).then(
    () => accepted.push(n),
    () => {},
  )
}

async function survive(t: TestContext, times: number, crash: (set: Stage, server: NatsServer) => Promise<void>): Promise<void> {
  const server = await startNats(t)
  const set = await stage(t, server.url, CONFIG)
  const accepted: number[] = []
  let next = 0
  const resumedMs: number[] = []
  let node = set.start()
  for (let time = 0; time < times; time++) {
    const missing = BACKLOG - (await set.left('QUEUE_work'))
    await each(next, next + missing, 32, (n) => put(set, n, accepted))
    next += Math.max(0, missing)
    await node.ready
    await setTimeout(100 + Math.random() * 1_000) // the moment is to be a random one
    await crash(set, server)
    const crashedAt = Date.now()
    let readyAt = crashedAt
    if ((await Promise.race([node.exited, setTimeout(0, 'alive')])) !== 'alive') {
      node = set.start()
      await node.ready
      readyAt = Date.now()
    }
    const probe = next++ // the backlog may have been done already
    await eventually('the probe is stored', async () => {
      await put(set, probe, accepted)
      return accepted.includes(probe)
    })
    const first = await eventually('work resumes', () => set.traces().findLast(({ what, at }) => what === 'end' && at > readyAt + 20))
    resumedMs.push(first.at - readyAt)
  }
  t.diagnostic(`${times} crashes; work resumed after ${Math.max(...resumedMs)} ms at most: ${resumedMs.join(' ')}`)
  assert.ok(Math.max(...resumedMs) < 5_000, `${resumedMs}`)
  await check(t, set, accepted, Math.max(accepted.length * 0.0025, FEW * times)) // 0.5 % of those without ids
}

async function check(t: TestContext, set: Stage, accepted: number[], mayEndTwice: number): Promise<void> {
  await set.idle()
  const traces = set.traces()
  const ends = endsByNumber(traces)
  const dead = await set.left('DEAD_CALLS')
  const lost = accepted.filter((n) => !ends.has(n))
  const plainTwice = accepted.filter((n) => n % 2 === 0 && (ends.get(n) ?? 0) > 1)
  const begun = traces.filter(({ what }) => what === 'begin').length
  const found = await effects(set)
  const named = accepted.filter((n) => n % 2 === 1)
  const noEffect = named.filter((n) => !found.has(`call-${n}/effect`))
  const twice = [...found].filter(([, count]) => count > 1)
  t.diagnostic(
    `${accepted.length} calls: ${lost.length} lost, ${dead} dead, ${begun - accepted.length} begun again, ${plainTwice.length} ended twice without ids ` +
      `(${((200 * plainTwice.length) / accepted.length).toFixed(2)} % of these), ` +
      `${noEffect.length} effects missing and ${twice.length} twice with ids`,
  )
  assert.deepEqual(
    { lost, dead, noEffect, twice, scandals: scandals(set.copies) },
    { lost: [], dead: 0, noEffect: [], twice: [], scandals: [] },
  )
  assert.ok(plainTwice.length <= mayEndTwice, `${plainTwice.length} twice`)
  if (mayEndTwice === 0)
    assert.deepEqual(
      named.filter((n) => (ends.get(n) ?? 0) > 1),
      [],
    )
}
