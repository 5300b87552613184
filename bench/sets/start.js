/** From the start of a process to its first answer, with the bus running and all caches warm. */
import { join } from 'node:path'
import { forkPeer, freePort, ROOT, retry, startNode, stop } from '../processes.js'
import { figure, goalTable, median, table } from '../table.js'

const PEERS = ['raw', 'moleculer', 'nestjs']
const GOAL_MS = 350

export const title = 'start to first answer'
export const rounds = { full: 11, quick: 5 }

/** @param {import('../run.js').Run} run */
export async function measure({ url, ask, rounds, progress }) {
  const contestants = [{ name: 'menagerie, cage sample', ...(await menagerie(url, ask)) }]
  for (const peer of PEERS) contestants.push({ name: peer, ...(await connected(peer, url)) })

  const results = Object.fromEntries(contestants.map(({ name }) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const { name, start, call } of contestants) {
      const startedAt = performance.now()
      const child = start()
      await retry(call, `${name} does not answer`)
      const ms = performance.now() - startedAt
      await stop(child)
      await silent(call)
      if (round < 0) continue // fills the caches
      results[name].push(ms)
      progress(round, `${name}: ${figure(ms)} ms`)
    }
  }
  for (const { close } of contestants) await close()
  return report(results)
}

async function menagerie(url, ask) {
  const env = { BENCH_HTTP_PORT: String(await freePort()) }
  return {
    start: () => startNode('sample', url, { cagesDir: join(ROOT, 'cages'), env }),
    call: () => ask('sample.greeter.hello', ['World'], 1000),
    close: async () => {},
  }
}

/** A peer's own client, connected before its responder starts. */
async function connected(peer, url) {
  const { connect } = await import(`../peers/${peer}.js`)
  return { start: () => forkPeer(peer, 'respond', url), ...(await connect(url)) }
}

/** Resolves when nobody answers any more, so that the next answer is the next process's. */
async function silent(call) {
  for (;;) {
    const answers = await call().then(
      () => true,
      () => false,
    )
    if (!answers) return
  }
}

function report(results) {
  const rows = Object.entries(results).map(([name, ms]) => [
    name,
    figure(median(ms)),
    figure(Math.min(...ms)),
    figure(Math.max(...ms)),
    String(ms.length),
  ])
  const own = 'menagerie, cage sample'
  const goals = [
    { what: `${own}, ms`, below: GOAL_MS, measured: median(results[own]), digits: 0 },
    { what: `${own}, ms, against moleculer`, below: Math.round(median(results.moleculer)), measured: median(results[own]), digits: 0 },
  ]
  return [table(['process', 'median ms', 'least', 'most', 'starts'], rows), goalTable(goals)].join('\n\n')
}
