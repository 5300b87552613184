/** Ordered and limited queues over two copies, failures and crashes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import type { NodeProcess } from '../support/node.ts'
import { each, scandals, sized, stage, type Trace } from '../support/stage.ts'

const KEYS = 5

test('ordered: the order of each key outlives failures, kill -9 of the leading copy and of the server; a failing call holds its key only', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url, "{ queues: { work: { ordered: 'key', concurrency: 16, backoff: { firstMs: 100, maxMs: 100 } } } }")
  let copies = [set.start(), set.start()]
  await Promise.all(copies.map((copy) => copy.ready))
  const calls = sized(400, 3_000)
  for (let n = 0; n < calls; n++) {
    const key = `key-${n % KEYS}`
    const failing = n % KEYS === 0 && n % 100 === 0
    await set.enqueue(failing ? 'failing' : 'plain', failing ? [n, 2] : [n, 10], { id: `call-${n}`, key })
  }
  const takeOverMs: number[] = []
  for (let round = 0; round < sized(2, 8); round++) {
    await setTimeout(200 + Math.random() * 300)
    if (round % 2 === 1) await server.restart()
    else {
      const leader = set.traces().at(-1)?.node
      const index = copies.indexOf(set.copies[Number(leader?.split('-')[1])] as NodeProcess)
      const [victim] = copies.splice(Math.max(0, index), 1)
      victim?.kill('SIGKILL')
      await victim?.exited
      const at = Date.now()
      const next = await eventually('the other copy takes over', () => set.traces().findLast((trace) => trace.at > at))
      takeOverMs.push(next.at - at)
      copies = [...copies, set.start()]
    }
  }
  await set.idle(90_000)
  t.diagnostic(`taken over within ${takeOverMs.join(' ')} ms`)
  assert.ok(Math.max(...takeOverMs) < 5_000)
  const ends = set.traces().filter(({ what }) => what === 'end')
  assert.equal(new Set(ends.map(({ n }) => n)).size, calls)
  for (let key = 0; key < KEYS; key++) assert.deepEqual(disorder(ends.filter(({ n }) => n % KEYS === key)), [])
  assert.equal(await set.left('DEAD_CALLS'), 0)
  assert.deepEqual(scandals(set.copies), [])
})

/** Calls whose first end came after the first end of a later one. */
function disorder(ends: readonly Trace[]): number[] {
  const first = [...new Set(ends.map(({ n }) => n))]
  return first.filter((n, i) => n < (first[i - 1] ?? -1))
}

test('ordered: a call that fails again and again holds its own key, and no other', async (t) => {
  const server = await startNats(t)
  const set = await stage(t, server.url, "{ queues: { work: { ordered: 'key', concurrency: 4, backoff: { firstMs: 60_000 } } } }")
  await set.start().ready
  await set.enqueue('failing', [0, 99], { key: 'a', id: 'bad' })
  await set.enqueue('plain', [1], { key: 'a' })
  await each(2, 20, 1, (n) => set.enqueue('plain', [n], { key: 'b' }))
  await eventually('the others end', () => set.traces().filter(({ what }) => what === 'end').length === 18)
  assert.ok(!set.traces().some(({ n }) => n === 1))
})

test('limits: rate and concurrency hold over two copies, a kill -9 of the leading one too', async (t) => {
  const server = await startNats(t)
  const limits = "{ key: 'queue', ratePerSecond: 50, concurrency: 3 }"
  const set = await stage(t, server.url, `{ queues: { work: { concurrency: 16, limits: ${limits} } } }`)
  const copies = [set.start(), set.start()]
  await Promise.all(copies.map((copy) => copy.ready))
  const calls = sized(200, 1_000)
  await each(0, calls, 16, (n) => set.enqueue('plain', [n, 30]))
  await setTimeout(1_000)
  const leader = set.copies[Number(set.traces().at(-1)?.node.split('-')[1])]
  leader?.kill('SIGKILL')
  await leader?.exited
  const killedAt = Date.now()
  await set.idle(90_000)
  const traces = set.traces()
  const begins = traces.filter(({ what }) => what === 'begin').map(({ at }) => at)
  const steps = traces.map(({ what, at }) => ({ at, by: what === 'begin' ? 1 : -1 }))
  const key = ({ node, n }: Trace): string => `${node} ${n}`
  const ended = new Set(traces.filter(({ what }) => what === 'end').map(key))
  for (const trace of traces) if (!ended.has(key(trace))) steps.push({ at: killedAt, by: -1 }) // it ended with its copy
  steps.sort((a, b) => a.at - b.at || a.by - b.by)
  let running = 0
  const most = Math.max(...steps.map(({ by }) => (running += by)))
  const perSecond = begins.map((at, i) => begins.slice(i).filter((other) => other < at + 1_000).length)
  t.diagnostic(`at most ${most} at once and ${Math.max(...perSecond)} begun in a second`)
  assert.equal(new Set(traces.filter(({ what }) => what === 'end').map(({ n }) => n)).size, calls)
  assert.ok(most <= 3, `${most} at once`)
  assert.ok(Math.max(...perSecond) <= 55, `${Math.max(...perSecond)} in a second`) // by the clock of the trace
})
