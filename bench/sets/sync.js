/** Calls with an answer, process to process over one nats-server. */
import { message, startNode, startPeer } from '../processes.js'
import { figure, goalTable, median, ratio, table } from '../table.js'

const CONCURRENCIES = [1, 64, 256]
const PEERS = ['raw', 'moleculer', 'nestjs', 'hemera']
const GOALS_TO_RAW = { 1: 1.2, 64: 3.3, 256: 4.3 }
const GOAL_TO_BEST = 2

export const title = 'synchronous calls'
export const rounds = { full: 5, quick: 3 }

/** @param {import('../run.js').Run} run */
export async function measure({ url, ask, answered, server, rounds, quick, progress }) {
  const plan = { warmUpMs: quick ? 500 : 1000, windowMs: quick ? 1000 : 3000 }
  const contestants = new Map([['menagerie', await menagerie({ url, ask, answered })]])
  for (const peer of PEERS) contestants.set(peer, await pair(peer, url))

  /** @type {Record<string, Record<number, import('../load.js').Measured[]>>} */
  const results = {}
  for (const { call } of contestants.values()) await call({ ...plan, concurrency: 64, pids: [] }) // compiled and optimised
  for (let round = 0; round < rounds; round++) {
    for (const concurrency of CONCURRENCIES) {
      for (const [name, { responder, call }] of contestants) {
        const measured = await call({ ...plan, concurrency, pids: [responder.pid, server.pid] })
        results[name] ??= {}
        results[name][concurrency] ??= []
        results[name][concurrency].push(measured)
        progress(round, `${name}, ${concurrency} at once: ${figure(measured.perSecond)} calls/s`)
      }
    }
  }
  return report(results)
}

async function menagerie({ url, ask, answered }) {
  const responder = startNode('bench', url)
  startNode('bencher', url)
  await answered('bench.target.hello', ['World'])
  const run = (plan) => ask('bencher.caller.run', [plan], 60_000)
  const short = { concurrency: 1, warmUpMs: 0, windowMs: 1, pids: [] }
  await answered('bencher.caller.run', [short])
  return { responder, call: run }
}

async function pair(peer, url) {
  const responder = await startPeer(peer, 'respond', url)
  const caller = await startPeer(peer, 'call', url)
  return {
    responder,
    call: (plan) => {
      caller.send(plan)
      return message(caller)
    },
  }
}

function report(results) {
  const perSecond = (name, concurrency) => results[name][concurrency].map((measured) => measured.perSecond)
  const rows = CONCURRENCIES.flatMap((concurrency) =>
    Object.keys(results).map((name) => {
      const all = results[name][concurrency]
      const cpu = [0, 1, 2].map((i) => figure(median(all.map(({ cpuUs }) => cpuUs[i])), 1))
      const errors = all.reduce((sum, measured) => sum + measured.errors, 0)
      const rate = median(perSecond(name, concurrency))
      const toRaw = ratio(perSecond(name, concurrency), perSecond('raw', concurrency))
      return [name, String(concurrency), figure(rate), figure(toRaw, 2), ...cpu, String(errors)]
    }),
  )
  const toRaw = CONCURRENCIES.map((concurrency) => ({
    what: `menagerie to raw, ${concurrency} at once`,
    least: GOALS_TO_RAW[concurrency],
    measured: ratio(perSecond('menagerie', concurrency), perSecond('raw', concurrency)),
  }))
  const toBest = [64, 256].map((concurrency) => {
    const rate = (name) => median(perSecond(name, concurrency))
    const best = PEERS.filter((name) => name !== 'raw').reduce((a, b) => (rate(a) >= rate(b) ? a : b))
    const measured = ratio(perSecond('menagerie', concurrency), perSecond(best, concurrency))
    return { what: `menagerie to the best framework (${best}), ${concurrency} at once`, least: GOAL_TO_BEST, measured }
  })
  const head = ['contestant', 'at once', 'calls/s', 'to raw', 'CPU µs per call: caller', 'responder', 'nats-server', 'errors']
  return [table(head, rows), goalTable([...toRaw, ...toBest])].join('\n\n')
}
