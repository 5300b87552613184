/** The bus goes away, comes back, loses consumers, is full: callers learn the truth, and work goes on. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { startNats } from '../../src/testing/nats.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { codeOf, each, endsByNumber, scandals, sized, stage } from '../support/stage.ts'

const TYPED = new Set(['DEADLINE_EXCEEDED', 'UNAVAILABLE', 'OVERLOADED'])

test('outage: whatever happens to the server, an enqueued call is stored once, and an error is a typed one', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url)
  await set.enqueue('plain', [-1], { id: 'first' })
  const outcomes = new Map<string, string>()
  let enqueueing = true
  let next = 0
  const deadlineMs = 3_000
  const loops = Array.from({ length: 64 }, async () => {
    while (enqueueing) {
      const id = `call-${next++}`
      const outcome = await set.enqueue('plain', [next], { id, deadline: Date.now() + deadlineMs }).then(() => 'stored', codeOf)
      outcomes.set(id, outcome)
      if (outcome === 'UNAVAILABLE') await setTimeout(50)
    }
  })
  for (let round = 0; round < sized(4, 16); round++) {
    await setTimeout(300 + Math.random() * 300)
    if (round % 2 === 0) await server.restart()
    else {
      server.pause()
      await setTimeout(round % 4 === 1 ? 1_000 : 4_000)
      server.resume()
    }
  }
  await setTimeout(500)
  enqueueing = false
  await Promise.all(loops)
  const counts = tally(outcomes.values())
  t.diagnostic([...counts].map(([outcome, all]) => `${outcome} ${all}`).join(', '))
  const failed = [...outcomes].filter(([, outcome]) => outcome !== 'stored')
  assert.deepEqual(
    failed.filter(([, outcome]) => !TYPED.has(outcome)),
    [],
  )
  const before = await stored(set.jsm)
  const untrue = [...outcomes].filter(
    ([id, outcome]) => (outcome === 'stored' && before.get(id) !== 1) || (outcome === 'UNAVAILABLE' && before.has(id)),
  )
  assert.deepEqual(untrue, [], 'stored is stored, and UNAVAILABLE is not')
  await each(0, failed.length, 32, (i) => set.enqueue('plain', [0], { id: failed[i]?.[0] }))
  const after = await stored(set.jsm)
  assert.deepEqual(
    [...outcomes.keys()].filter((id) => after.get(id) !== 1),
    [],
    'each exists once in the end',
  )
})

/** How often each id is in the queue. */
async function stored(jsm: Awaited<ReturnType<typeof stage>>['jsm']): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  const { first_seq, last_seq } = (await jsm.streams.info('QUEUE_work')).state
  await each(first_seq, last_seq + 1, 32, async (seq) => {
    const message = await jsm.streams.getMessage('QUEUE_work', { seq }).catch(() => undefined)
    const id = message?.header?.get('Nats-Msg-Id')
    if (id) found.set(id, (found.get(id) ?? 0) + 1)
  })
  return found
}

function tally(values: Iterable<string>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}

test('outage: an id is known after its success, and after a kill -9 of the server', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url)
  await set.start().ready
  await set.enqueue('plain', [1], { id: 'once' })
  const status = async (): Promise<unknown[]> => {
    const found = await set.bus.queues.status('once').catch(() => undefined)
    return [found?.state, found?.result]
  }
  await eventually('it is done', async () => (await status())[0] === 'done')
  await set.enqueue('plain', [1], { id: 'once' })
  await server.restart()
  await eventually('the bus is back', () => set.bus.connected)
  await eventually('it is enqueued again', () => set.enqueue('plain', [1], { id: 'once' }).catch(() => undefined))
  await set.enqueue('plain', [2], { id: 'other' })
  await eventually('the other one is run', () => endsByNumber(set.traces()).get(2))
  await set.idle()
  assert.equal(endsByNumber(set.traces()).get(1), 1)
  assert.deepEqual(await status(), ['done', 1])
})

test('outage: a call that ends while the bus is away is done for good, and its id known', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url)
  const copy = set.start()
  await copy.ready
  await set.enqueue('plain', [1, 1_000], { id: 'once' })
  await eventually('it runs', () => set.traces().length === 1)
  server.pause()
  await server.kill()
  await eventually('it has ended', () => set.traces().length === 2)
  await server.restart()
  await eventually('it is done', async () => (await set.bus.queues.status('once').catch(() => undefined))?.state === 'done')
  await set.enqueue('plain', [1], { id: 'once' })
  await set.idle()
  assert.equal(set.traces().length, 2)
  assert.deepEqual(scandals(set.copies), [])
})

test('outage: a delayed call is run within a second of its time over a kill -9 of server and node', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url)
  const copy = set.start()
  await copy.ready
  const dueAt = Date.now() + 9_000
  await each(0, 50, 10, (n) => set.enqueue('plain', [n], { delayMs: dueAt - Date.now() }))
  copy.kill('SIGKILL')
  await Promise.all([copy.exited, server.restart()])
  await set.start().ready
  assert.ok(Date.now() < dueAt, 'the machine is too slow for this test')
  await eventually('all are run', () => endsByNumber(set.traces()).size === 50)
  const lateMs = set
    .traces()
    .filter(({ what }) => what === 'begin')
    .map(({ at }) => at - dueAt)
  t.diagnostic(`begun ${Math.min(...lateMs)} to ${Math.max(...lateMs)} ms after their time`)
  assert.ok(Math.min(...lateMs) >= -50 && Math.max(...lateMs) < 1_000, `${lateMs}`)
  await set.idle()
  assert.deepEqual(
    [...endsByNumber(set.traces()).values()].filter((count) => count > 1),
    [],
  )
})

test('outage: work goes on within 2 s when its consumer is deleted, and when the server is restarted', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url)
  await set.start().ready
  const goesOn = async (what: string, n: number): Promise<void> => {
    await eventually(`${what}: a call can be enqueued`, () => set.enqueue('plain', [n]).catch(() => undefined))
    const at = Date.now()
    await eventually(what, () => endsByNumber(set.traces()).get(n))
    t.diagnostic(`${what}: run after ${Date.now() - at} ms`)
    assert.ok(Date.now() - at < 2_000, `${what}: ${Date.now() - at} ms`)
  }
  await goesOn('begin', -1)
  for (let n = 0; n < sized(3, 20); n++) {
    await set.jsm.consumers.delete('QUEUE_work', 'soak').catch(() => {}) // it is gone even if its folder could not be emptied
    await goesOn('consumer deleted', n)
    await server.restart()
    await eventually('the bus is back', () => set.bus.connected)
    await goesOn('server restarted', 1_000 + n)
  }
  assert.deepEqual(scandals(set.copies), [])
})

test('full: a queue that has reached maxBytes refuses with OVERLOADED; what is in it is run', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url, '{ queues: { work: { maxBytes: 100_000 } } }')
  const first = set.start()
  await first.ready
  await first.stop()
  const outcomes: string[] = []
  const filler = 'x'.repeat(2_000)
  await each(0, 100, 8, async (n) => void outcomes.push(await set.enqueue('plain', [n, 0, filler]).then(() => 'stored', codeOf)))
  const accepted = outcomes.filter((outcome) => outcome === 'stored').length
  assert.deepEqual([...new Set(outcomes)].sort(), ['OVERLOADED', 'stored'])
  await set.start().ready
  await set.idle()
  assert.equal(endsByNumber(set.traces()).size, accepted)
  assert.equal(await set.enqueue('plain', [1_000]).then(() => 'stored', codeOf), 'stored')
})

test('full: when the server has no storage left enqueueing is refused, what runs goes on, and nothing is lost', async (t) => {
  const server = await startNats(t, { maxStore: '3MB' })
  const set = await stage(t, server.url, '{ queues: { work: { concurrency: 4, backoff: { firstMs: 200, maxMs: 500 } } } }')
  const first = set.start()
  await first.ready
  first.kill('SIGKILL')
  await first.exited
  const accepted: number[] = []
  const codes = new Set<string>()
  const put = async (n: number, method: string, bytes: number, id?: string): Promise<void> => {
    await set.enqueue(method, [n, 1, 'x'.repeat(bytes)], { id, deadline: Date.now() + 5_000 }).then(
      () => accepted.push(n),
      (error) => codes.add(codeOf(error)),
    )
  }
  for (const bytes of [20_000, 500, 0]) {
    const base = accepted.length + 10_000 * (20_000 - bytes)
    let full = false
    for (let i = 0; !full && i < 3_000; i++) {
      const before = accepted.length
      await put(base + i, i % 3 === 0 ? 'failing' : 'plain', bytes, i % 2 === 0 ? `id-${base + i}` : undefined)
      full = accepted.length === before
    }
  }
  t.diagnostic(`${accepted.length} accepted, then ${[...codes]}`)
  assert.deepEqual([...codes], ['OVERLOADED'])
  await set.start().ready
  await set.idle(90_000)
  const ends = endsByNumber(set.traces())
  assert.deepEqual(
    accepted.filter((n) => !ends.has(n)),
    [],
  )
  assert.equal(await set.left('DEAD_CALLS'), 0)
  assert.equal(await set.enqueue('plain', [1]).then(() => 'stored', codeOf), 'stored')
})

test('full: a disk that is full stops enqueueing with a typed error; when it has room again nothing is lost', async (t) => {
  const dir = join(tmpdir(), `menagerie-full-${process.pid}`)
  mkdirSync(dir, { recursive: true })
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', dir]).status !== 0) {
    rmSync(dir, { recursive: true })
    return t.skip('a small disk can be made by root only')
  }
  atEnd(t, () => {
    spawnSync('umount', ['-l', dir])
    rmSync(dir, { recursive: true, force: true })
  })
  const server = await startNats(t, { storeDir: join(dir, 'data') })
  const set = await stage(t, server.url)
  const accepted: number[] = []
  const codes = new Set<string>()
  await each(0, 100, 8, (n) => set.enqueue('plain', [n]).then(() => accepted.push(n)))
  writeFileSync(join(dir, 'room'), Buffer.alloc(8 * 2 ** 20))
  await each(100, 2_000, 8, async (n) => {
    if (codes.size > 0) return
    const options = { deadline: Date.now() + 3_000, ...(n % 2 === 0 ? { id: `id-${n}` } : {}) }
    await set.enqueue('plain', [n, 0, 'x'.repeat(50_000)], options).then(
      () => accepted.push(n),
      (error) => codes.add(codeOf(error)),
    )
  })
  t.diagnostic(`${accepted.length} accepted, then ${[...codes]}`)
  assert.ok([...codes].every((code) => TYPED.has(code)) && codes.size > 0, `${[...codes]}`)
  const copy = set.start()
  rmSync(join(dir, 'room'))
  await server.restart() // this server disables JetStream for good when it cannot write
  await copy.ready
  await set.idle(60_000)
  const ends = endsByNumber(set.traces())
  assert.deepEqual(
    accepted.filter((n) => !ends.has(n)),
    [],
  )
  assert.deepEqual(scandals(set.copies), [])
})
