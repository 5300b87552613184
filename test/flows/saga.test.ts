/** Sagas in a running cage: the shop's orders, to their ends. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { cli, documents } from '../support/cli.ts'
import { inventory, shop } from '../support/saga.ts'

const nats = await startNats(suite)
const set = await shop(suite, nats.url)
await set.start().ready
const menagerie = cli(set.folder.dir, { NATS_URL: nats.url })

const NOTHING = { free: 10, reserved: {}, balance: 1_000, letters: 0 }

let orders = 0

/** A shop with ten of an item that no other test sells, and an order of two. */
async function order(more: object = {}): Promise<{ id: string; item: string; customer: string; place(): Promise<string> }> {
  const n = ++orders
  const [item, customer, id] = [`item-${n}`, `customer-${n}`, `order-${n}`]
  await set.call('stock.put', item, 10)
  return { id, item, customer, place: () => set.enqueue('order.place', [{ item, customer, count: 2, ...more }], { id }) }
}

test('saga: an order is reserved, paid, shipped and told, and its journal becomes a record', async () => {
  const { id, item, customer, place } = await order()
  await place()
  const { result } = await set.until(id, 'done')
  assert.match(String(result), /^P-\d+$/)
  assert.deepEqual(await inventory(set, item, customer), { free: 8, reserved: { [id]: 2 }, balance: 980, letters: 1 })
  const record = (await set.bus.journals.kept('shop', 'saga', id)) as { outcome: string; events: { type: string }[] }
  assert.equal(record.outcome, 'done')
  assert.deepEqual(
    record.events.map(({ type }) => type),
    ['begin', ...Array.from({ length: 4 }, () => ['intent', 'done']).flat(), 'end'],
  )
  await set.settled()
})

const FAILURES: [fail: string, code: string][] = [
  ['stock', 'SOLD_OUT'],
  ['payment', 'DECLINED'],
  ['shipping', 'NO_COURIER'],
]

for (const [fail, code] of FAILURES) {
  test(`saga: an order that fails with ${code} leaves nothing behind, and its call is dead with that error`, async () => {
    const { id, item, customer, place } = await order({ fail })
    await place()
    const { error } = await set.until(id, 'dead')
    assert.equal(error?.code, code)
    assert.deepEqual(await inventory(set, item, customer), NOTHING)
    const record = (await set.bus.journals.kept('shop', 'saga', id)) as { outcome: string }
    assert.equal(record.outcome, 'compensated')
    await set.settled()
  })
}

/** Resolves once a saga stands there. */
async function stands(id: string, state: string): Promise<void> {
  await eventually(`saga ${id} is ${state}`, async () => {
    const { status, stdout } = await menagerie('saga', 'show', id, '--json')
    return status === 0 && documents<{ state: string }>(stdout)[0]?.state === state
  })
}

/** Resolves once all is as if there had been no order; within 5 s. */
async function undone(item: string, customer: string): Promise<void> {
  const isUndone = async (): Promise<boolean> => JSON.stringify(await inventory(set, item, customer)) === JSON.stringify(NOTHING)
  await eventually('the order is undone', isUndone, 5_000)
}

test('saga: a signal that comes while the saga waits brings it forward', async () => {
  const { id, place } = await order({ approveMs: 600_000 })
  await place()
  await set.until(id, 'delayed')
  const sentAt = Date.now()
  const { status, stdout } = await menagerie('saga', 'signal', id, 'approved', '{"by":"ann"}')
  assert.deepEqual([status, stdout], [0, `saga ${id} has the signal approved\n`])
  await set.until(id, 'done')
  assert.ok(Date.now() - sentAt < 5_000, `${Date.now() - sentAt} ms`)
  assert.equal((await menagerie('saga', 'signal', id, 'approved')).status, 1, 'it has ended')
})

test('saga: a signal that comes before the saga waits is there when it does, and the first one counts', async () => {
  const { id, place } = await order({ approveMs: 600_000 })
  await set.bus.queues.setMode('orders', 'paused')
  await place()
  assert.equal((await menagerie('saga', 'signal', id, 'approved', '1')).status, 0)
  const second = await menagerie('saga', 'signal', id, 'approved', '2')
  assert.deepEqual([second.status, second.stdout], [1, `saga ${id} had a signal approved before, which counts\n`])
  await set.bus.queues.setMode('orders', 'open')
  await set.until(id, 'done')
  const record = (await set.bus.journals.kept('shop', 'saga', id)) as { events: { type: string; value?: unknown }[] }
  assert.equal(record.events.find(({ type }) => type === 'signalled')?.value, 1)
  assert.equal((await menagerie('saga', 'signal', 'no-such-saga', 'approved')).status, 1)
})

test('saga: a wait that is over without its signal fails the saga, unless its code knows better', async () => {
  const { id, item, customer, place } = await order({ approveMs: 300 })
  await place()
  assert.equal((await set.until(id, 'dead')).error?.code, 'SIGNAL_TIMEOUT')
  assert.deepEqual(await inventory(set, item, customer), NOTHING)
})

test('saga: one whose call is purged, cancelled, or expires while it waits is undone within 5 s', async () => {
  const [purged, cancelled, expired] = [
    await order({ approveMs: 600_000 }),
    await order({ approveMs: 600_000 }),
    await order({ approveMs: 600_000 }),
  ]
  for (const { id, place } of [purged, cancelled]) {
    await place()
    await set.until(id, 'delayed')
  }
  await set.bus.queues.cancel(cancelled.id)
  await undone(cancelled.item, cancelled.customer)
  await set.bus.queues.purge('orders')
  await undone(purged.item, purged.customer)
  const { id, item, customer } = expired
  await set.enqueue('order.place', [{ item, customer, count: 2, approveMs: 600_000 }], { id, expiresMs: 2_000 })
  await set.until(id, 'dead')
  await undone(item, customer)
  await set.settled()
})

test('saga: what cannot be undone is an incident, which people see, decide, and see the end of', async () => {
  const { id, item, customer, place } = await order({ fail: 'refund' })
  await place()
  const { error } = await set.until(id, 'dead')
  assert.equal(error?.code, 'INCIDENT')
  assert.deepEqual(await inventory(set, item, customer), { free: 8, reserved: { [id]: 2 }, balance: 980, letters: 0 }, 'the order is kept')
  const listed = await menagerie('saga', 'ls', '--incidents')
  assert.match(listed.stdout, new RegExp(`${id} +shop\\.order\\.place +incident +charge .*BANK_REFUSES: the account is closed`))
  const refused = await menagerie('saga', 'resolve', id, 'done')
  assert.deepEqual([refused.status, refused.stderr.includes('--reason is missing')], [78, true])
  assert.equal((await menagerie('saga', 'resolve', id, 'retry', '--reason', 'perhaps now')).status, 0)
  await eventually('it is an incident again', async () => {
    const [saga] = documents<{ state: string; timeline: { what: string }[] }>((await menagerie('saga', 'show', id, '--json')).stdout)
    return saga?.state === 'incident' && saga.timeline.filter(({ what }) => what === 'incident').length === 2
  })
  const { status, stdout } = await menagerie('saga', 'resolve', id, 'done', '--reason', 'paid back in cash', '--yes')
  assert.deepEqual([status, stdout], [0, `saga ${id} goes on as call ${id}~undo2\n`])
  await stands(id, 'compensated')
  assert.deepEqual(await inventory(set, item, customer), { free: 10, reserved: {}, balance: 980, letters: 0 })
  const shown = await menagerie('saga', 'show', id)
  assert.match(shown.stdout, /resolution +charge +done by .+: paid back in cash/)
  const ended = await menagerie('saga', 'ls', '--ended', '--json')
  assert.ok(documents<{ id: string }>(ended.stdout).some((saga) => saga.id === id))
  await set.settled()
})

test('saga: people have one undone that goes on', async () => {
  const { id, item, customer, place } = await order({ approveMs: 600_000 })
  await place()
  await set.until(id, 'delayed')
  await stands(id, 'waiting')
  assert.equal((await menagerie('saga', 'resolve', id, 'skip', '--reason', 'x', '--yes')).status, 1)
  assert.equal((await menagerie('saga', 'resolve', id, 'compensate', '--reason', 'the customer has called', '--yes')).status, 0)
  await undone(item, customer)
  await stands(id, 'compensated')
})
