/** An HTTP request in front of one call over the bus. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { find, install } from '../../scripts/nats-server.js'
import { cpuUsOf } from '../load.js'
import { freePort, listening, retry, startNode, startPeer } from '../processes.js'
import { figure, goalTable, median, ratio, table } from '../table.js'

const GOAL = 1.8
const CONTESTANTS = { one: 'menagerie, one process', two: 'menagerie, module in another node', plain: 'Fastify and a raw request' }

export const title = 'HTTP in front of one call'
export const rounds = { full: 5, quick: 3 }

/** @param {import('../run.js').Run} run */
export async function measure({ url, answered, server, rounds, quick, progress }) {
  const wrk = await ensureWrk()
  const seconds = quick ? 1 : 5
  const responder = await startPeer('raw', 'respond', url)
  const target = startNode('bench', url)
  await answered('bench.target.hello', ['World'])
  const [one, two, plain] = [await freePort(), await freePort(), await freePort()]
  const front = (port, BENCH_HTTP_TARGET) => startNode('web', url, { env: { BENCH_HTTP_PORT: String(port), BENCH_HTTP_TARGET } })
  const contestants = [
    { name: CONTESTANTS.one, port: one, pids: [front(one, 'greeter.hello').pid] },
    { name: CONTESTANTS.two, port: two, pids: [front(two, 'bench.target.hello').pid, target.pid] },
    { name: CONTESTANTS.plain, port: plain, pids: [(await startPeer('fastify', 'front', url, { port: plain })).pid, responder.pid] },
  ]
  for (const { port } of contestants) {
    await listening(port)
    await retry(() => greeted(port), `GET /hello/x is not answered on port ${port}`)
    await requests(wrk, port, 1) // warm-up
  }

  const results = Object.fromEntries(contestants.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const { name, port, pids } of contestants) {
      const all = [...pids, server.pid]
      const before = all.map(cpuUsOf)
      const { count, perSecond, errors } = await requests(wrk, port, seconds)
      const usedUs = all.map((pid, i) => cpuUsOf(pid) - before[i]).reduce((a, b) => a + b)
      results[name].push({ perSecond, errors, cpuUs: usedUs / count })
      progress(round, `${name}: ${figure(perSecond)} requests/s`)
    }
  }
  return report(results)
}

/** wrk's path; installs it where that can be done. */
async function ensureWrk() {
  const found = find('wrk', [])
  if (found !== undefined) return found
  if (!find('apt-get', []) || process.getuid?.() !== 0) throw new Error('wrk is needed: apt-get install wrk, or brew install wrk')
  await install('wrk', (line) => process.stderr.write(`${line}\n`))
  return find('wrk', []) ?? 'wrk'
}

async function greeted(port) {
  const response = await fetch(`http://127.0.0.1:${port}/hello/x`)
  const text = await response.text()
  if (!response.ok || JSON.parse(text).greeting !== 'Hello, x!') throw new Error(`status ${response.status}: ${text}`)
}

async function requests(wrk, port, seconds) {
  const { stdout } = await promisify(execFile)(wrk, ['-t1', '-c64', `-d${seconds}s`, `http://127.0.0.1:${port}/hello/x`])
  const number = (pattern) => Number(pattern.exec(stdout)?.[1] ?? 0)
  const socketErrors = [...(/Socket errors: (.*)/.exec(stdout)?.[1] ?? '').matchAll(/\d+/g)].reduce((sum, [n]) => sum + Number(n), 0)
  return {
    count: number(/(\d+) requests in/),
    perSecond: number(/Requests\/sec:\s+([\d.]+)/),
    errors: number(/Non-2xx or 3xx responses: (\d+)/) + socketErrors,
  }
}

function report(results) {
  const perSecond = (name) => results[name].map((measured) => measured.perSecond)
  const toPlain = (name) => ratio(perSecond(name), perSecond(CONTESTANTS.plain))
  const rows = Object.entries(results).map(([name, all]) => [
    name,
    figure(median(perSecond(name))),
    figure(toPlain(name), 2),
    figure(median(all.map(({ cpuUs }) => cpuUs)), 1),
    String(all.reduce((sum, { errors }) => sum + errors, 0)),
  ])
  const goals = [CONTESTANTS.one, CONTESTANTS.two].map((name) => ({
    what: `${name}, to Fastify and a raw request`,
    least: GOAL,
    measured: toPlain(name),
  }))
  const head = ['front', 'requests/s', 'to Fastify', 'CPU µs per request: front, responder, nats-server', 'errors']
  return [table(head, rows), goalTable(goals)].join('\n\n')
}
