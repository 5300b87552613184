/** Transactions of one participant beside pg by itself, of three with their journal, and sagas beside DBOS Transact. */
import { startPostgres } from '../postgres.js'
import { message, startNode, startPeer } from '../processes.js'
import { figure, goalTable, median, ratio, table } from '../table.js'

const CONCURRENCIES = [1, 64]
/** Contestant → what it is measured against. */
const AGAINST = { resource: 'pg', one: 'pg', three: undefined, void: undefined, saga: 'dbos' }
const SHOWN = {
  pg: 'pg: pool.query',
  resource: 'menagerie: ctx.resources, one statement',
  one: 'menagerie: a transaction of one statement',
  void: 'menagerie: a transaction of one void',
  three: 'menagerie: a transaction of three voids, journaled',
  saga: 'menagerie: a saga of three steps, queued',
  dbos: 'DBOS Transact: a workflow of three steps',
}
const GOALS = [
  { what: 'one statement in a transaction to pg', contestant: 'one', to: 'pg', concurrency: 16, least: 0.8 },
  { what: 'a saga of three steps to DBOS', contestant: 'saga', to: 'dbos', concurrency: 64, least: 1 },
]
const LEAST_JOURNALED = { 1: 500, 64: 8_000 }

export const title = 'transactions and sagas'
export const rounds = { full: 5, quick: 3 }

/** @param {import('../run.js').Run} run */
export async function measure({ url, ask, answered, rounds, quick, progress }) {
  const { url: ledger } = await startPostgres()
  const plan = { warmUpMs: quick ? 500 : 1000, windowMs: quick ? 1000 : 3000, pids: [] }
  startNode('teller', url, { env: { LEDGER_URL: ledger } })
  await answered('teller.teller.run', ['void', { ...plan, concurrency: 1, warmUpMs: 0, windowMs: 1 }])
  const peers = { pg: await startPeer('pg', 'call', ledger), dbos: await startPeer('dbos', 'call', ledger) }
  const call = async (name, more) => {
    if (!peers[name]) return ask('teller.teller.run', [name, { ...plan, ...more }], 120_000)
    peers[name].send({ ...plan, ...more })
    return message(peers[name])
  }
  const names = ['pg', 'resource', 'one', 'void', 'three', 'saga', 'dbos']
  const concurrencies = [...new Set([...CONCURRENCIES, ...GOALS.map(({ concurrency }) => concurrency)])].sort((a, b) => a - b)
  const results = {}
  for (const name of names) await call(name, { concurrency: 64 }) // compiled and optimised
  for (let round = 0; round < rounds; round++) {
    for (const concurrency of concurrencies) {
      for (const name of names) {
        const measured = await call(name, { concurrency })
        results[name] ??= {}
        results[name][concurrency] ??= []
        results[name][concurrency].push(measured)
        progress(round, `${SHOWN[name]}, ${concurrency} at once: ${figure(measured.perSecond)}/s`)
      }
    }
  }
  return report(results, concurrencies, names)
}

function report(results, concurrencies, names) {
  const all = (name, concurrency, what) => results[name][concurrency].map((measured) => measured[what])
  const rows = concurrencies.flatMap((concurrency) =>
    names.map((name) => [
      concurrency,
      SHOWN[name],
      figure(median(all(name, concurrency, 'perSecond'))),
      AGAINST[name] ? figure(ratio(all(name, concurrency, 'perSecond'), all(AGAINST[name], concurrency, 'perSecond')), 2) : '',
      figure(median(all(name, concurrency, 'p50')), 2),
      figure(median(all(name, concurrency, 'p99')), 2),
      figure(all(name, concurrency, 'errors').reduce((a, b) => a + b, 0)),
    ]),
  )
  const goals = GOALS.map(({ what, contestant, to, concurrency, least }) => ({
    what: `${what}, ${concurrency} at once`,
    least,
    measured: ratio(all(contestant, concurrency, 'perSecond'), all(to, concurrency, 'perSecond')),
  }))
  for (const [concurrency, least] of Object.entries(LEAST_JOURNALED))
    goals.push({
      what: `three voids with a journal per second, ${concurrency} at once`,
      least,
      measured: median(all('three', concurrency, 'perSecond')),
    })
  return [
    table(['at once', 'contestant', 'per second', 'to its peer', 'p50 ms', 'p99 ms', 'errors'], rows),
    'pg and DBOS write through to disk at each commit; the journal of transactions is on nats-server, which survives kill -9, not a power failure.',
    goalTable(goals),
  ].join('\n\n')
}
