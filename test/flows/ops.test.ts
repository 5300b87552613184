import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { before, test } from 'node:test'
import type { Bus } from '../../src/bus/bus.ts'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { curl } from '../support/http.ts'
import { type NodeProcess, project, startNode } from '../support/node.ts'

const STALL_MS = 1_500

let server: NatsServer
let bus: Bus
let node: NodeProcess
let port: number

before(async () => {
  server = await startNats(suite)
  bus = await testBus(suite, server.url)
  port = await freePort()
  const folder = project(suite, {
    'cages/shop/order.js': `
      import { CageError } from 'menagerie'
      export async function place(ctx, n = 0) { if (n < 0) throw new CageError('CONFLICT', 'no "' + n + '"'); return n }
      export async function later(ctx) { return ctx.queue('work').module('shop', 'order').place(1) }
      export async function slow(ctx) { await new Promise((resolve) => setTimeout(resolve, 1500)); return 'done' }
      export async function use(ctx) { return ctx.resources.tool.run('ok') }`,
    'cages/shop/bad.js': 'export async function loop() { for (;;) {} }',
    'config/shop.ts': `
      import { env } from 'menagerie'
      export default {
        stallMs: ${STALL_MS},
        interfaces: { web: { kind: 'http', port: Number(env('WEB')), routes: { 'GET /': 'order.place' } } },
        resources: { tool: { kind: 'exec', commands: { ok: { file: 'true' } } } },
        queues: { work: {}, idle: {} },
      }`,
  })
  // the port is taken at first: the node goes on, and takes it once it is free
  const other = createServer().listen(port, '127.0.0.1')
  await once(other, 'listening')
  const web = await freePort()
  node = startNode(suite, folder.dir, ['--cage', 'shop', '--name', 'n"1', '--bus', server.url, '--ops', String(port)], { WEB: String(web) })
  await node.ready
  const warned = await node.until('the port is told to be taken', ({ msg }) => msg.startsWith('metrics and health cannot be served'))
  assert.equal(warned.reason, 'EADDRINUSE')
  assert.equal(warned.port, port)
  other.close()
  await node.until('it is taken later', ({ msg }) => msg === 'metrics and health are served')
  assert.equal((await curl(`http://127.0.0.1:${web}/`)).status, 200)
})

interface Health {
  status: number
  body: { status: string; problems?: { problem: string; method?: string }[]; missing?: string[]; notes?: string[] }
}

async function health(path: 'healthz' | 'readyz'): Promise<Health> {
  const response = await curl(`http://127.0.0.1:${port}/${path}`)
  return { status: response.status, body: JSON.parse(response.body.toString()) as Health['body'] }
}

interface Line {
  name: string
  labels: Record<string, string>
  value: number
}

/** Every line as the text format 0.0.4 has it; fails on what is none. */
function read(text: string): Line[] {
  assert.ok(text.endsWith('\n'))
  const types = new Map<string, string>()
  const seen = new Set<string>()
  const lines: Line[] = []
  for (const line of text.split('\n')) {
    if (line === '' || /^# HELP [a-zA-Z_:][\w:]* .+$/.test(line)) continue
    const [, typed, type] = /^# TYPE ([a-zA-Z_:][\w:]*) (counter|gauge|histogram|summary)$/.exec(line) ?? []
    if (typed !== undefined && type !== undefined) {
      assert.ok(!types.has(typed), `${typed} has two types`)
      types.set(typed, type)
      continue
    }
    const [, name = '', labels = '', value = ''] =
      /^([a-zA-Z_:][\w:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|NaN|[+-]Inf|Nan)$/.exec(
        line,
      ) ?? []
    assert.notEqual(name, '', line)
    assert.ok(!seen.has(`${name}{${labels}}`), `${line} is there twice`)
    seen.add(`${name}{${labels}}`)
    const family = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, '')
    assert.ok(types.has(family), `${name} has no type`)
    const pairs = [...labels.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', text = '']) => [
      key,
      text.replaceAll('\\"', '"'),
    ])
    lines.push({ name, labels: Object.fromEntries(pairs) as Line['labels'], value: Number(value.replace('Inf', 'Infinity')) })
  }
  return lines
}

async function metrics(): Promise<Line[]> {
  const response = await curl(`http://127.0.0.1:${port}/metrics`)
  assert.equal(response.status, 200)
  return read(response.body.toString())
}

/** The value of the one line that has these labels. */
function valueIn(lines: Line[], name: string, labels: Record<string, string>): number | undefined {
  const found = lines.filter((line) => line.name === name && Object.entries(labels).every(([key, value]) => line.labels[key] === value))
  assert.ok(found.length < 2, `${name} ${JSON.stringify(labels)}: ${found.length} lines`)
  return found[0]?.value
}

const call = (module: string, method: string, ...args: unknown[]): Promise<unknown> =>
  bus.call('shop', module, method, args, { deadline: Date.now() + 10_000, request: { id: 'test' } })

test('ops: what is measured is told as Prometheus reads it, with no label but names', async () => {
  for (let n = 0; n < 5; n++) await call('order', 'place', n)
  await assert.rejects(call('order', 'place', -7), { code: 'CONFLICT' })
  await call('order', 'later')
  await call('order', 'use')
  await eventually('the queued call is done', async () =>
    (await bus.survey.status({ cage: 'shop' }))[0]?.queues.some(({ done }) => done === 1),
  )
  const lines = await metrics()
  const place = { cage: 'shop', module: 'order', method: 'place', node: 'n"1' }
  assert.equal(valueIn(lines, 'menagerie_method_calls_total', place), 8) // one by HTTP, one by the queue
  assert.equal(valueIn(lines, 'menagerie_method_errors_total', { ...place, code: 'CONFLICT' }), 1)
  assert.equal(valueIn(lines, 'menagerie_method_duration_seconds_count', place), 8)
  const buckets = lines.filter(({ name, labels }) => name === 'menagerie_method_duration_seconds_bucket' && labels.method === 'place')
  assert.equal(buckets.length, 17)
  assert.deepEqual(
    buckets.map(({ value }) => value),
    buckets.map(({ value }) => value).sort((a, b) => a - b),
  )
  assert.deepEqual([buckets.at(-1)?.labels.le, buckets.at(-1)?.value], ['+Inf', 8])
  assert.equal(valueIn(lines, 'menagerie_interface_calls_total', { interface: 'web' }), 1)
  assert.equal(valueIn(lines, 'menagerie_interface_up', { interface: 'web' }), 1)
  assert.equal(valueIn(lines, 'menagerie_resource_calls_total', { resource: 'tool' }), 1)
  assert.equal(valueIn(lines, 'menagerie_resource_wait_seconds_count', { resource: 'tool' }), 1)
  assert.equal(valueIn(lines, 'menagerie_queue_done_total', { queue: 'work' }), 1)
  assert.equal(valueIn(lines, 'menagerie_queue_attempt_calls_total', { queue: 'work' }), 1)
  assert.equal(valueIn(lines, 'menagerie_queue_dead_letters', { queue: 'work' }), 0)
  assert.equal(valueIn(lines, 'menagerie_queue_consuming', { queue: 'idle' }), 1)
  assert.equal(valueIn(lines, 'menagerie_sagas_open', { cage: 'shop' }), 0)
  assert.equal(valueIn(lines, 'menagerie_worker_up', { cage: 'shop' }), 1)
  assert.ok((valueIn(lines, 'menagerie_bus_round_trip_seconds', { cage: 'shop' }) ?? 0) > 0)
  assert.ok((valueIn(lines, 'process_resident_memory_bytes', {}) ?? 0) > 1e7)
  const labels = new Set(lines.filter(({ name }) => name.startsWith('menagerie_')).flatMap((line) => Object.keys(line.labels)))
  assert.deepEqual([...labels].sort(), ['cage', 'code', 'interface', 'le', 'method', 'module', 'node', 'queue', 'resource'])
})

test('ops: HEAD has no body, other paths and methods are refused, and nothing is said of other origins', async () => {
  const url = `http://127.0.0.1:${port}`
  const head = await curl('--head', `${url}/healthz`)
  assert.deepEqual([head.status, head.body.length], [200, 0])
  assert.equal((await curl(`${url}/`)).status, 404)
  assert.equal((await curl(`${url}/metrics/x`)).status, 404)
  const post = await curl('--request', 'POST', '--data', 'x', '--header', 'Origin: http://evil.example', `${url}/metrics`)
  assert.equal(post.status, 405)
  assert.equal(post.headers.get('allow'), 'GET, HEAD')
  const got = await curl('--header', 'Origin: http://evil.example', `${url}/metrics`)
  assert.deepEqual(
    [...got.headers.keys()].filter((name) => name.toLowerCase().startsWith('access-control')),
    [],
  )
})

test('ops: ready while all is there; without the bus it is not, and lives all the same', async () => {
  await eventually('the node is ready', async () => (await health('readyz')).status === 200)
  assert.equal((await health('healthz')).status, 200)
  await bus.queues.setMode('idle', 'paused', 'a test')
  const paused = await eventually('the pause is told', async () => {
    const { status, body } = await health('readyz')
    return body.notes?.includes('queue idle is paused') ? status : undefined
  })
  assert.equal(paused, 200)
  await server.kill()
  const away = await eventually('it is not ready', async () => {
    const found = await health('readyz')
    return found.status === 503 ? found : undefined
  })
  assert.ok(away.body.missing?.includes('cage shop has no bus'), JSON.stringify(away.body))
  assert.equal((await health('healthz')).status, 200)
  await server.restart()
  await eventually('it is ready again', async () => bus.connected && (await health('readyz')).status === 200)
})

test('ops: a method that loops is named by /healthz while /metrics goes on; with the next worker it is well again', async () => {
  bus.post('shop', 'bad', 'loop', [], { deadline: Date.now() + 1_000, request: { id: 'test' } })
  const stuck = await eventually('the stuck worker is told', async () => {
    const found = await health('healthz')
    return found.status === 503 && found.body.problems?.[0]?.problem === 'stuck' ? found : undefined
  })
  assert.equal(stuck.body.problems?.[0]?.method, 'bad.loop')
  const begun = performance.now()
  const lines = await metrics()
  assert.ok(performance.now() - begun < 10_000)
  assert.equal(
    lines.some(({ name }) => name === 'process_cpu_seconds_total'),
    true,
  )
  await eventually('the next worker is well', async () => (await health('healthz')).status === 200)
  const after = await metrics()
  for (const name of ['menagerie_worker_restarts_total', 'menagerie_worker_stalls_total'])
    assert.ok((valueIn(after, name, { cage: 'shop' }) ?? 0) >= 1, name) // a busy machine may take a slow start for a stall
})

test('ops: while accepted calls end after SIGTERM the node lives and is not ready', async () => {
  await eventually('the node is ready', async () => (await health('readyz')).status === 200)
  const slow = call('order', 'slow')
  await eventually('the call runs', async () =>
    (await bus.survey.status({ cage: 'shop' })).some(({ modules }) => modules.some(({ running }) => running > 0)),
  )
  node.kill('SIGTERM')
  const draining = await eventually('it drains', async () => {
    const found = await health('readyz')
    return found.status === 503 ? found : undefined
  })
  assert.ok(draining.body.missing?.includes('the node drains'))
  assert.equal((await health('healthz')).status, 200)
  assert.equal(await slow, 'done')
  assert.equal(await node.exited, 0)
})
