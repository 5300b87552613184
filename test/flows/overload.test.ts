import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { startLoad } from '../support/load.ts'
import { project, startNode } from '../support/node.ts'

const SLOTS = 10
const WORK_MS = 50
const CAPACITY = (SLOTS / WORK_MS) * 1_000
const SECONDS = 6

test('overload: at six times its capacity a module refuses at once, times out nothing that it accepted, and works on at full capacity', async (t) => {
  const server = await startNats(t)
  const folder = project(t, {
    'cages/busy/worker.js': `
      import { setTimeout } from 'node:timers/promises'
      export const options = { concurrency: ${SLOTS} }
      export async function work() { await setTimeout(${WORK_MS}) }`,
  })
  const node = startNode(t, folder.dir, ['--cage', 'busy', '--bus', server.url])
  await node.ready
  const bus = await testBus(t, server.url)
  const load = startLoad(bus, 6 * CAPACITY, 3_000, 'busy.worker.work', () => [])
  const begun = performance.now()
  await eventually('the load has run', () => performance.now() - begun > SECONDS * 1_000)
  const seconds = (performance.now() - begun) / 1_000
  const answered = load.durations.length
  await load.stop()
  const codes = new Set(load.failures.map((failure) => failure.code))
  assert.deepEqual([...codes], ['OVERLOADED'], 'no accepted call timed out')
  const refusals = load.refusalsMs.toSorted((a, b) => a - b)
  const middle = refusals[Math.floor(refusals.length / 2)] ?? 0
  t.diagnostic(
    `${Math.round(answered / seconds)} calls/s of ${CAPACITY}; refusals: median ${middle.toFixed(1)} ms, last ${refusals.at(-1)?.toFixed(1)} ms; longest accepted ${Math.max(...load.durations).toFixed(0)} ms`,
  )
  assert.ok(answered > 0.9 * CAPACITY * (seconds - 0.5), `${answered} calls in ${seconds} s`) // the first answers come after WORK_MS
  assert.ok(middle < WORK_MS, 'a refusal does not wait for a slot')
})
