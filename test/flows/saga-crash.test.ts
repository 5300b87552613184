/** kill -9 of the node wherever a saga writes something down: it ends as if nothing had happened, and each effect is there once. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { startNats } from '../../src/testing/nats.ts'
import { inventory, type Shop, shop } from '../support/saga.ts'
import { scandals } from '../support/stage.ts'

/** How an order ends, and the points on its way. */
const STEPS = ['reserve', 'charge', 'ship', 'mail']
const TO_DONE = ['begin', ...STEPS.flatMap((step) => [`intended ${step}`, `acted ${step}`, `recorded ${step}`]), 'end', 'ended', 'kept']
const UNDONE = ['charge', 'reserve'].flatMap((step) => [`undo ${step}`, `undid ${step}`, `undone ${step}`])
const TO_COMPENSATED = ['fail', 'failed', ...UNDONE, 'end', 'ended', 'kept']

/** Crashes that one chain of nodes goes through: chains wait side by side for what was given to dead nodes. */
const CHAINS = 4

interface Crash {
  id: string
  at: string
  fail: string | undefined
}

const CRASHES: Crash[] = [
  ...TO_DONE.map((at) => ({ id: `done-${at.replace(' ', '-')}`, at, fail: undefined })),
  ...TO_COMPENSATED.map((at) => ({ id: `failed-${at.replace(' ', '-')}`, at, fail: 'shipping' })),
]

test('saga: kill -9 wherever an order writes or does something: every effect is there once', { concurrency: CHAINS }, async (t) => {
  await Promise.all(
    Array.from({ length: CHAINS }, async (_, chain) => {
      const crashes = CRASHES.filter((_crash, i) => i % CHAINS === chain)
      await t.test(crashes.map(({ id }) => id).join(', '), (one) => survive(one, crashes))
    }),
  )
})

async function survive(t: TestContext, crashes: Crash[]): Promise<void> {
  const server = await startNats(t)
  const set = await shop(t, server.url)
  let node = set.start(envOf(crashes[0]))
  const nodes = [node]
  for (const [i, { id, fail }] of crashes.entries()) {
    await node.ready
    await set.call('stock.put', id, 10)
    await set.enqueue('order.place', [{ item: id, customer: id, count: 2, fail }], { id })
    assert.equal(await node.exited, null, `${id}: the node was killed`)
    node = set.start(envOf(crashes[i + 1]))
    nodes.push(node)
    await node.ready
    await set.until(id, fail ? 'dead' : 'done')
    await check(set, id, fail)
  }
  await set.settled()
  assert.deepEqual(scandals(nodes), [])
}

async function check(set: Shop, id: string, fail: string | undefined): Promise<void> {
  const expected = fail
    ? { free: 10, reserved: {}, balance: 1_000, letters: 0 }
    : { free: 8, reserved: { [id]: 2 }, balance: 980, letters: 1 }
  assert.deepEqual(await inventory(set, id, id), expected, id)
  const record = (await set.bus.journals.kept('shop', 'saga', id)) as { outcome: string }
  assert.equal(record.outcome, fail ? 'compensated' : 'done')
}

function envOf(crash: Crash | undefined): NodeJS.ProcessEnv {
  return crash ? { AT: `${crash.id} ${crash.at}` } : {}
}
