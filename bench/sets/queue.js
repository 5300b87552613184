/** Durable calls end to end: enqueued with the server's acknowledgement, run by another process, acknowledged and gone. */
import { connect } from 'nats'
import { find, install } from '../../scripts/nats-server.js'
import { message, startNode, startPeer, startRedis } from '../processes.js'
import { syncs } from '../syncs.js'
import { figure, goalTable, median, ratio, table } from '../table.js'

const CONCURRENCY = 64
const OWN = 'menagerie'
const WITH_IDS = 'menagerie, each call with an id'
const GOALS = { jetstream: 1.8, bullmq: 3 }

export const title = `durable calls, ${CONCURRENCY} being enqueued at once`
export const rounds = { full: 5, quick: 3 }

/**
 * @typedef {object} Contestant
 * @property {string} name
 * @property {(plan: { calls: number, concurrency: number, everyMs?: number }) => Promise<unknown>} enqueue
 * @property {() => Promise<number>} left calls that are not done
 * @property {() => Promise<number[]>} latencies from enqueueing to the start of each call since the last question, ms
 * @property {number} store process of the server that keeps the calls
 */

/** @param {import('../run.js').Run} run */
export async function measure({ url, ask, answered, server, rounds, quick, progress }) {
  for (const command of ['redis-server', 'strace']) if (!find(command, [])) await install(command, (line) => progress(0, line))
  const calls = quick ? 4_000 : 20_000
  const nc = await connect({ servers: url })
  const left = async (stream) => (await (await nc.jetstreamManager()).streams.info(stream)).state.messages
  const redis = await startRedis()
  /** @type {Contestant[]} */
  const contestants = [
    ...(await menagerie({ url, ask, answered, store: server.pid, left: () => left('QUEUE_bench') })),
    { ...(await peer('jetstream', url)), store: server.pid, left: () => left('RAW') },
    { ...(await peer('bullmq', redis.url)), store: redis.server.pid },
  ]
  const results = Object.fromEntries(contestants.map(({ name }) => [name, { perSecond: [], enqueuedPerSecond: [] }]))
  for (let round = -1; round < rounds; round++) {
    for (const contestant of contestants) {
      const measured = await endToEnd(contestant, round < 0 ? 1_000 : calls)
      if (round < 0) continue // compiled and optimised
      results[contestant.name].perSecond.push(measured.perSecond)
      results[contestant.name].enqueuedPerSecond.push(measured.enqueuedPerSecond)
      progress(round, `${contestant.name}: ${figure(measured.perSecond)} calls/s`)
    }
  }
  for (const contestant of contestants) {
    await contestant.latencies()
    await contestant.enqueue({ calls: quick ? 100 : 500, concurrency: 1, everyMs: 5 })
    await empty(contestant)
    results[contestant.name].latencies = (await contestant.latencies()).sort((a, b) => a - b)
    const counting = await syncs(contestant.store)
    await endToEnd(contestant, calls)
    results[contestant.name].syncs = await counting.stop()
    progress(rounds - 1, `${contestant.name}: idle latency and fsync counted`)
  }
  await nc.close()
  return report(results)
}

async function endToEnd(contestant, calls) {
  const startedAt = performance.now()
  let enqueuedMs = 0
  const enqueued = contestant.enqueue({ calls, concurrency: CONCURRENCY }).then(() => {
    enqueuedMs = performance.now() - startedAt
  })
  await enqueued
  await empty(contestant)
  const ms = performance.now() - startedAt
  return { perSecond: (calls / ms) * 1000, enqueuedPerSecond: (calls / enqueuedMs) * 1000 }
}

async function empty({ left }) {
  while ((await left()) > 0) await new Promise((resolve) => setTimeout(resolve, 3))
}

/** A module of cage `bencher` enqueues; cage `bench` in another node runs. Without and with ids, by the same processes. */
async function menagerie({ url, ask, answered, store, left }) {
  startNode('bench', url)
  startNode('bencher', url)
  await answered('bench.target.hello', ['World'])
  await answered('bencher.caller.enqueue', [{ calls: 1, concurrency: 1, ids: false }])
  return [OWN, WITH_IDS].map((name) => ({
    name,
    enqueue: (plan) => ask('bencher.caller.enqueue', [{ ...plan, ids: name === WITH_IDS }], 110_000),
    latencies: () => ask('bench.target.latencies', []),
    store,
    left,
  }))
}

async function peer(name, url) {
  const [worker, producer] = [await startPeer(name, 'work', url), await startPeer(name, 'enqueue', url)]
  const asked = (child, question) => {
    child.send(question)
    return message(child)
  }
  return {
    name,
    enqueue: (plan) => asked(producer, plan),
    latencies: () => asked(worker, 'latencies'),
    left: async () => Number(await asked(worker, 'left')),
  }
}

function report(results) {
  const at = (values, share) => values[Math.min(values.length - 1, Math.floor(values.length * share))]
  const rows = Object.entries(results).map(([name, { perSecond, enqueuedPerSecond, latencies, syncs: counted }]) => [
    name,
    figure(median(perSecond)),
    figure(ratio(perSecond, results.jetstream.perSecond), 2),
    figure(median(enqueuedPerSecond)),
    figure(at(latencies, 0.5), 2),
    figure(at(latencies, 0.99), 2),
    `${figure(counted.count)} in ${figure(counted.seconds, 1)} s`,
  ])
  const goals = Object.entries(GOALS).map(([name, least]) => ({
    what: `menagerie to ${name}`,
    least,
    measured: ratio(results[OWN].perSecond, results[name].perSecond),
  }))
  const head = ['contestant', 'calls/s end to end', 'to jetstream', 'enqueued/s', 'idle: ms to start p50', 'p99', 'fsyncs']
  return [
    table(head, rows),
    'menagerie acknowledges twice (the server confirms); jetstream is nats.js: publish, consume 500 ahead, ack. bullmq: Redis, appendonly everysec. ' +
      'fsyncs: counted in one more run under strace.',
    goalTable(goals),
  ].join('\n\n')
}
