/**
 * kill -9 of node, worker, nats-server and database connections at every boundary of a transaction over two databases, the state, a queue and a
 * compensated call: afterwards each transfer is there as a whole or not at all, nothing is prepared or locked, and nobody is asked.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type Bank, bank, type Crash } from '../support/bank.ts'
import { startPostgres } from '../support/postgres.ts'
import { SOAK } from '../support/stage.ts'

type Place = Pick<Crash, 'point' | 'participant'> & { fails?: boolean }

/** Participants: 0 east, 1 west, 2 state, 3 queue, 4 fees. */
const PREPARED: Place[] = [
  { point: 'begin' },
  { point: 'begun' },
  { point: 'execute', participant: 0 },
  { point: 'executed', participant: 0 },
  { point: 'execute', participant: 2 },
  { point: 'executed', participant: 2 },
  { point: 'execute', participant: 4 },
  { point: 'executed', participant: 4 },
  { point: 'prepare', participant: 0 },
  { point: 'prepared', participant: 0 },
  { point: 'prepare', participant: 1 },
  { point: 'prepared', participant: 1 },
  { point: 'decide' },
  { point: 'decided' },
  { point: 'finish', participant: 0 },
  { point: 'finished', participant: 0 },
  { point: 'finish', participant: 1 },
  { point: 'finished', participant: 1 },
  { point: 'finish', participant: 2 },
  { point: 'finished', participant: 2 },
  { point: 'enqueue', participant: 3 },
  { point: 'enqueued', participant: 3 },
  { point: 'end' },
  { point: 'ended' },
  { point: 'executed', participant: 4, fails: true },
  { point: 'undo', participant: 4, fails: true },
  { point: 'undone', participant: 4, fails: true },
  { point: 'end', fails: true },
]

/** Without prepared transactions. Participants: 0 the database, 1 state, 2 queue, 3 fees. */
const ONE_PHASE: Place[] = [
  { point: 'begun' },
  { point: 'executed', participant: 0 },
  { point: 'committing' },
  { point: 'identified' },
  { point: 'commit', participant: 0 },
  { point: 'committed', participant: 0 },
  { point: 'decide' },
  { point: 'decided' },
  { point: 'finished', participant: 1 },
  { point: 'enqueued', participant: 2 },
]

const TARGETS: Crash['target'][] = ['node', 'worker', 'nats', 'database']

test('transactions: a crash at any boundary leaves each one whole or undone', async (t) => {
  const [nats, postgres] = await Promise.all([startNats(t), startPostgres(t, { settings: { max_prepared_transactions: 50 } })])
  const set = await bank(t, nats, postgres, postgres)
  await crashEverywhere(t, set, nats, PREPARED)
})

test('transactions: without prepared transactions, a crash at any boundary leaves each one whole or undone', async (t) => {
  const [nats, postgres] = await Promise.all([startNats(t), startPostgres(t, { settings: { max_prepared_transactions: 0 } })])
  const set = await bank(t, nats, postgres)
  await crashEverywhere(t, set, nats, ONE_PHASE)
})

/** In `npm test` each place once, with one target after the other; in the soak each with each. */
async function crashEverywhere(t: TestContext, set: Bank, nats: NatsServer, places: Place[]): Promise<void> {
  for (let n = 0; n < 3; n++) set.start()
  await Promise.all(set.copies.map(({ ready }) => ready))
  let crashes = 0
  let longestMs = 0
  const slow: string[] = []
  for (const [at, place] of places.entries()) {
    const targets = SOAK ? TARGETS : [TARGETS[at % TARGETS.length] ?? 'node']
    for (const target of targets) {
      const { fails = false, ...where } = place
      const text = `${where.point} ${where.participant ?? ''} ${fails ? '(fails) ' : ''}${target}`
      set.arm({ ...where, target })
      await set.untilCrashed(fails)
      crashes++
      const crashedAt = performance.now()
      if (target === 'nats') await nats.restart()
      if (target === 'node') {
        const gone = await eventually('the copy has died', () => set.copies.find((copy) => copy.hasExited()))
        set.copies.splice(set.copies.indexOf(gone), 1)
        await set.start().ready
      }
      await set.settled().catch((error: unknown) => {
        throw new Error(`after ${text}`, { cause: error })
      })
      const tookMs = performance.now() - crashedAt
      longestMs = Math.max(longestMs, tookMs)
      if (tookMs > 5_000) slow.push(`${text}: ${Math.round(tookMs)} ms`)
      const scandals = await set.scandals()
      assert.deepEqual(scandals, [], `after ${text}`)
    }
  }
  t.diagnostic(`${places.length} places, ${crashes} crashes; settled ${Math.round(longestMs)} ms after the crash at most`)
  if (slow.length > 0) t.diagnostic(`longer than 5 s: ${slow.join('; ')}`)
}
