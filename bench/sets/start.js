/** From the start of a process to its first answer, with the bus running and all caches warm. */
import { join } from 'node:path'
import { forkPeer, freePort, message, ROOT, retry, startNode, stop } from '../processes.js'
import { figure, goalTable, median, table } from '../table.js'

const PEERS = ['raw', 'moleculer', 'nestjs']
const GOAL_MS = 350
const OWN = 'menagerie, cage sample'
const ALONE = 'moleculer, broker started'

export const title = 'start to first answer'
export const rounds = { full: 11, quick: 5 }

/** @param {import('../run.js').Run} run */
export async function measure({ url, ask, rounds, progress }) {
  const contestants = [await menagerie(url, ask)]
  for (const peer of PEERS) contestants.push(await connected(peer, url))
  contestants.push(moleculerAlone(url))

  const results = Object.fromEntries(contestants.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const { name, start, answer, gone } of contestants) {
      const startedAt = performance.now()
      const child = start()
      await answer(child)
      const ms = performance.now() - startedAt
      await stop(child)
      await gone?.()
      if (round < 0) continue // fills the caches
      results[name].push(ms)
      progress(round, `${name}: ${figure(ms)} ms`)
    }
  }
  for (const { close } of contestants) await close?.()
  return report(results)
}

async function menagerie(url, ask) {
  const env = { BENCH_HTTP_PORT: String(await freePort()) }
  const call = () => ask('sample.greeter.hello', ['World'], 1000)
  return { name: OWN, start: () => startNode('sample', url, { cagesDir: join(ROOT, 'cages'), env }), ...asked(call) }
}

/** A peer's own client, connected before its responder starts, asks until it is answered. */
async function connected(peer, url) {
  const { connect } = await import(`../peers/${peer}.js`)
  const { call, close } = await connect(url)
  return { name: peer, start: () => forkPeer(peer, 'respond', url), ...asked(call), close }
}

/** Moleculer tells other nodes of a new service a second late (service-broker.js, `localServiceChanged`): so also until it could answer itself. */
function moleculerAlone(url) {
  return { name: ALONE, start: () => forkPeer('moleculer', 'respond', url), answer: message }
}

function asked(call) {
  return {
    answer: () => retry(call, 'no answer'),
    /** Resolves when nobody answers any more, so that the next answer is the next process's. */
    gone: async () => {
      while (await answers(call)) await new Promise((resolve) => setTimeout(resolve, 2))
    },
  }
}

function answers(call) {
  return call().then(
    () => true,
    () => false,
  )
}

function report(results) {
  const rows = Object.entries(results).map(([name, ms]) => [
    name,
    figure(median(ms)),
    figure(Math.min(...ms)),
    figure(Math.max(...ms)),
    String(ms.length),
  ])
  const own = median(results[OWN])
  const goals = [
    { what: `${OWN}, ms`, below: GOAL_MS, measured: own, digits: 0 },
    { what: `${OWN}, ms, against ${ALONE}`, below: Math.round(median(results[ALONE])), measured: own, digits: 0 },
  ]
  return [table(['process', 'median ms', 'least', 'most', 'starts'], rows), goalTable(goals)].join('\n\n')
}
