/** Transactions when things go wrong around them: a coordinator that sleeps, nodes that die under load, databases that restart, hang or are slow. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type Bank, bank } from '../support/bank.ts'
import type { LogEntry } from '../support/node.ts'
import { type PostgresServer, plainClient, startPostgres } from '../support/postgres.ts'
import { codeOf, sized } from '../support/stage.ts'

async function start(
  t: TestContext,
  prepared: boolean,
  copies: number,
): Promise<{ set: Bank; nats: NatsServer; postgres: PostgresServer }> {
  const settings = { max_prepared_transactions: prepared ? 100 : 0 }
  const [nats, postgres] = await Promise.all([startNats(t), startPostgres(t, { settings })])
  const set = await bank(t, nats, postgres, prepared ? postgres : undefined)
  for (let n = 0; n < copies; n++) set.start()
  await Promise.all(set.copies.map(({ ready }) => ready))
  return { set, nats, postgres }
}

for (const [what, prepared, point] of [
  ['prepared, before the decision', true, 'decide'],
  ['prepared, after the decision', true, 'decided'],
  ['in one phase, before its commit', false, 'commit'],
] as const) {
  test(`transactions: a coordinator that slept past its take-over writes and commits nothing (${what})`, async (t) => {
    const { set } = await start(t, prepared, 2)
    set.arm({ point, target: 'stop' })
    await set.untilCrashed()
    await set.settled()
    const isAsleep = await Promise.all(set.copies.map((copy) => copy.isStopped()))
    const sleeper = set.copies[isAsleep.indexOf(true)]
    assert.ok(sleeper)
    sleeper.kill('SIGCONT')
    const msg = 'another coordinator has taken over these transactions'
    await sleeper.until('it learns that it was displaced', (entry) => entry.msg === msg, { limitMs: 90_000 }) // its undo may be repeated for a minute before
    await set.settled()
    for (let n = 0; n < 10; n++) await set.call('transfers.move', `after${n}`, 1)
    await set.settled()
    assert.deepEqual(await set.scandals(), [])
  })
}

test('transactions: no money is made or lost by 200 concurrent transfers while nodes are killed', async (t) => {
  const { set } = await start(t, true, 3)
  const until = Date.now() + sized(8_000, 60_000)
  const ends: Record<string, number> = {}
  const transfer = async (): Promise<void> => {
    while (Date.now() < until) {
      const from = Math.floor(Math.random() * 10)
      const to = (from + 1 + Math.floor(Math.random() * 9)) % 10
      const end = await set.call('transfers.pay', from, to, 1, 1_500).then(() => 'ok', codeOf)
      ends[end] = (ends[end] ?? 0) + 1
    }
  }
  const transfers = Promise.all(Array.from({ length: 200 }, transfer))
  let kills = 0
  while (Date.now() < until) {
    await setTimeout(500 + Math.random() * 1_500)
    const [victim] = set.copies.splice(Math.floor(Math.random() * set.copies.length), 1)
    victim?.kill('SIGKILL')
    kills++
    await set.start().ready
  }
  await transfers
  await set.settled()
  assert.equal(await set.money(), 1_000)
  assert.ok((ends.ok ?? 0) > 0, JSON.stringify(ends))
  t.diagnostic(`${kills} nodes killed; transfers: ${JSON.stringify(ends)}`)
})

test('transactions: a deadline that passes between execution and decision leaves nothing behind', async (t) => {
  const { set } = await start(t, true, 1)
  const code = await set.call('transfers.linger', 'late', 5, 300).then(() => 'ok', codeOf)
  assert.equal(code, 'DEADLINE_EXCEEDED')
  await set.settled()
  assert.deepEqual(await set.scandals(), [])
})

test('transactions: more of them than connections wait for their turn', async (t) => {
  const { set } = await start(t, true, 1)
  const ends = await Promise.all(Array.from({ length: 60 }, (_, n) => set.call('transfers.move', `t${n}`, 1).then(() => 'ok', codeOf)))
  await set.settled()
  assert.deepEqual(await set.scandals(), [])
  assert.ok(ends.includes('ok'))
  assert.ok(
    ends.every((end) => end === 'ok' || end === 'DEADLINE_EXCEEDED'),
    String(ends),
  )
})

test('transactions: a database that restarts under them loses none and keeps none half', async (t) => {
  const { set, postgres } = await start(t, true, 2)
  let running = true
  let transfers = 0
  const load = Array.from({ length: 8 }, async () => {
    while (running) await set.call('transfers.move', `t${++transfers}`, 1).catch(() => setTimeout(20))
  })
  for (let n = 0; n < sized(2, 10); n++) {
    const begun = transfers
    await eventually('transfers are under way', () => transfers > begun + 8)
    await postgres.crash()
    await postgres.restart()
  }
  await eventually('transfers go on', async () => await set.call('transfers.move', `again${++transfers}`, 1).catch(() => false))
  running = false
  await Promise.all(load)
  await set.settled()
  assert.deepEqual(await set.scandals(), [])
})

test('transactions: a database that hangs holds nobody past the deadline, and all is whole when it answers again', async (t) => {
  const settings = { max_prepared_transactions: 100 }
  const [nats, east, west] = await Promise.all([startNats(t), startPostgres(t, { settings }), startPostgres(t, { settings })])
  const set = await bank(t, nats, east, west)
  await set.start().ready
  await set.call('transfers.move', 'before', 1)
  west.freeze()
  const code = await set.call('transfers.move', 'meanwhile', 1).then(() => 'ok', codeOf)
  assert.equal(code, 'DEADLINE_EXCEEDED')
  west.thaw()
  await eventually('transfers go on', async () => await set.call('transfers.move', 'after', 1).catch(() => false))
  await set.settled()
  assert.deepEqual(await set.scandals(), [])
})

test('transactions: a prepared branch that no journal knows is rolled back, one of another installation is left alone', async (t) => {
  const { set, postgres } = await start(t, true, 1)
  await set.call('transfers.move', 'first', 1)
  const installation = await set.bus.journals.identity()
  const client = await plainClient(t, { ...postgres, url: postgres.url.replace(/postgres$/, 'east') })
  const orphan = `menagerie/${installation}/bank/nobody-0.1/0`
  const others = 'menagerie/elsewhere/bank/nobody-0.1/0'
  for (const branch of [orphan, others]) {
    await client.query('begin')
    await client.query('insert into entries (id, amount) values ($1, 1)', [branch])
    await client.query(`prepare transaction '${branch}'`)
  }
  set.start() // whose janitor looks at once
  const msg = 'a prepared branch that no journal knows is rolled back'
  const isIt = (entry: LogEntry): boolean => entry.msg === msg && entry.branch === orphan
  await Promise.any(set.copies.map((copy) => copy.until('the janitor has come by', isIt, { limitMs: 60_000 })))
  const { rows } = await client.query('select gid from pg_prepared_xacts')
  assert.deepEqual(
    rows.map(({ gid }) => gid),
    [others],
  )
  await client.query(`rollback prepared '${others}'`)
})
