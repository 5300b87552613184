/**
 * Whoever looks sees the same: two copies of three cages under load and failures, counted by the load generator, by NATS' own micro services, by
 * Prometheus' text, by `menagerie top` and by the dashboard. `npm run soak -- proof` takes two minutes.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type { NatsConnection } from 'nats'
import { testBus } from '../../src/testing/bus.ts'
import { client, startNats } from '../../src/testing/nats.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { cli, documents } from '../support/cli.ts'
import { startLoad } from '../support/load.ts'
import { project, startNode } from '../support/node.ts'
import { sized } from '../support/stage.ts'

const FILES = {
  'cages/edge/front.js': `
    export async function order(ctx, n) {
      const price = await ctx.cages.desk.price.of(n)
      await ctx.queue('letters').cages.post.mail.send(n)
      return price
    }`,
  'cages/desk/price.js': `
    import { CageError } from 'menagerie'
    import { setTimeout } from 'node:timers/promises'
    export const options = { timeoutMs: 200 }
    export async function of(ctx, n) {
      if (n % 11 === 0) throw new CageError('CONFLICT', 'somebody else has it')
      if (n % 101 === 0) await setTimeout(400) // past its limit
      return n
    }`,
  'cages/post/mail.js': `
    import { CageError } from 'menagerie'
    export async function send(ctx, n) { if (n % 7 === 0 && ctx.request.attempt === 1) throw new CageError('UNAVAILABLE', 'not now') }`,
  'config/post.js': `export default { queues: { letters: { backoff: { firstMs: 50 } } } }`,
}

/** `cage.module.method` → how often it ran, and how often in error. */
type Counts = Map<string, { requests: number; errors: number }>

function counts(): Counts & { add(name: string, requests: number, errors: number): void } {
  const map: Counts = new Map()
  return Object.assign(map, {
    add: (name: string, requests: number, errors: number) => {
      const before = map.get(name) ?? { requests: 0, errors: 0 }
      map.set(name, { requests: before.requests + requests, errors: before.errors + errors })
    },
  })
}

/** What the load must have led to. */
function expected(calls: number): Counts {
  const all = counts()
  for (let n = 0; n < calls; n++) {
    const failed = n % 11 === 0 || n % 101 === 0
    all.add('edge.front.order', 1, failed ? 1 : 0)
    all.add('desk.price.of', 1, failed ? 1 : 0)
    if (!failed) all.add('post.mail.send', n % 7 === 0 ? 2 : 1, n % 7 === 0 ? 1 : 0)
  }
  return all
}

function assertAgrees(seen: Counts, wanted: Counts, who: string): void {
  for (const [name, { requests, errors }] of wanted) {
    const found = seen.get(name) ?? { requests: 0, errors: 0 }
    assert.ok(Math.abs(found.requests - requests) <= requests / 100, `${who} has ${found.requests} calls of ${name}, not ${requests}`)
    assert.ok(Math.abs(found.errors - errors) <= errors / 100, `${who} has ${found.errors} errors of ${name}, not ${errors}`)
  }
}

/** NATS' own micro services (ADR-32), asked by a plain client. */
async function fromMicro(nc: NatsConnection): Promise<Counts> {
  const seen = counts()
  const answers = await nc.requestMany('$SRV.STATS', '', { maxWait: 1_000 })
  for await (const answer of answers) {
    if (answer instanceof Error) throw answer
    const { endpoints } = answer.json<{ endpoints: { subject: string; num_requests: number; num_errors: number }[] }>()
    for (const { subject, num_requests, num_errors } of endpoints) seen.add(subject, num_requests, num_errors)
  }
  return seen
}

/** Prometheus' text of both nodes. */
async function fromMetrics(ports: number[]): Promise<Counts> {
  const seen = counts()
  for (const port of ports) {
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    for (const [, what, labels = '', value] of text.matchAll(/^menagerie_method_(calls|errors)_total\{(.*)\} (\d+)/gm)) {
      const label = (name: string): string => new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? ''
      const name = `${label('cage')}.${label('module')}.${label('method')}`
      seen.add(name, what === 'calls' ? Number(value) : 0, what === 'errors' ? Number(value) : 0)
    }
  }
  return seen
}

interface Row {
  method: string
  requests: number
  errors: Record<string, number>
}

/** What the dashboard shows. */
async function fromDashboard(port: number): Promise<Counts> {
  const seen = counts()
  const { cages } = (await (await fetch(`http://127.0.0.1:${port}/api/overview`)).json()) as {
    cages: { cage: string; modules: { module: string; methods: Row[] }[] }[]
  }
  for (const { cage, modules } of cages)
    for (const { module, methods } of modules)
      for (const { method, requests, errors } of methods) seen.add(`${cage}.${module}.${method}`, requests, sum(Object.values(errors)))
  return seen
}

const sum = (numbers: number[]): number => numbers.reduce((all, one) => all + one, 0)

test('proof: the load generator, NATS micro, Prometheus and the dashboard agree within 1 %, and so does top', async (t) => {
  const server = await startNats(t)
  const [web, ...ops] = await Promise.all([freePort(), freePort(), freePort()])
  const folder = project(t, {
    ...FILES,
    'config/monitor.js': `export default { interfaces: { page: { kind: 'http', port: ${web}, events: { 'GET /live': 'overview.next' }, handler: 'pages.serve' } } }`,
  })
  const three = ['--cage', 'edge', '--cage', 'desk', '--cage', 'post', '--bus', server.url]
  const nodes = ops.map((port, n) => startNode(t, folder.dir, [...three, '--name', `n${n}`, '--ops', String(port)]))
  nodes.push(startNode(t, folder.dir, ['--cage', 'monitor', '--bus', server.url]))
  await Promise.all(nodes.map(({ ready }) => ready))
  const [bus, nc] = await Promise.all([testBus(t, server.url), client(t, server.url)])
  const load = startLoad(bus, 150, 10_000, 'edge.front.order', (n) => [n])
  await setTimeout(sized(4_000, 60_000))
  const top = cli(folder.dir, { NATS_URL: server.url })('top', '--once', '--json', '--every', '3s')
  const begun = { calls: load.calls, at: performance.now() }
  const { stdout } = await top
  const perSecond = (load.calls - begun.calls) / ((performance.now() - begun.at) / 1_000)
  await setTimeout(sized(4_000, 60_000))
  await load.stop()
  const wanted = expected(load.calls)
  const letters = wanted.get('post.mail.send')?.requests ?? 0
  await eventually('the letters are sent', async () => (await fromMicro(nc)).get('post.mail.send')?.requests === letters)
  assertAgrees(await fromMicro(nc), wanted, '$SRV.STATS')
  assertAgrees(await fromMetrics(ops), wanted, '/metrics')
  await eventually('the dashboard has seen the end', async () => (await fromDashboard(web)).get('post.mail.send')?.requests === letters)
  assertAgrees(await fromDashboard(web), wanted, 'the dashboard')
  const [{ methods }] = documents<{ methods: { method: string; rate: number }[] }>(stdout) as [
    { methods: { method: string; rate: number }[] },
  ]
  const rate = methods.find(({ method }) => method.endsWith('front.order'))?.rate ?? 0
  t.diagnostic(`${load.calls} calls; top said ${rate.toFixed(1)} per second while ${perSecond.toFixed(1)} were made`)
  assert.ok(Math.abs(rate - 150) <= sized(15, 1.5), `${rate} per second`)
})
