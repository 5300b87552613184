/** Traces: one over HTTP → module → queue → module → PostgreSQL at a collector; and without one, trace context that passes and nothing that is loaded. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { before, test } from 'node:test'
import { startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { type Collector, type Received, startCollector } from '../support/collector.ts'
import { curl } from '../support/http.ts'
import { type NodeProcess, project, startNode } from '../support/node.ts'
import { type PostgresServer, plainClient, startPostgres } from '../support/postgres.ts'

const ORDERS = `
  import Module from 'node:module'
  export async function place(ctx, order) { return await ctx.queue('retry', { id: order.id }).module(ctx.self.cage, 'books').book(order.id, 'a secret of the arguments') }
  export async function fetch(ctx) { return (await ctx.resources.self.get('/told')).body }
  export async function told(ctx, request) {
    const names = Object.keys(Module._cache).filter((file) => file.includes('@opentelemetry'))
    return { status: 200, body: { header: request.headers.traceparent, context: ctx.request.traceparent, loaded: names.length } }
  }`
const BOOKS = `
  import { CageError } from 'menagerie'
  export async function book(ctx, id, secret) {
    if (ctx.request.attempt === 1) throw new CageError('UNAVAILABLE', 'not yet')
    return await ctx.cage.ledger.enter(id)
  }`
const LEDGER = `
  export async function enter(ctx, id) { return await ctx.resources.ledger.change('insert into orders values (:id)', { id }) }`
const CONFIG = `
  import { defineCage, env } from 'menagerie'
  export default defineCage({
    interfaces: { web: { kind: 'http', port: Number(env('PORT')), host: '127.0.0.1', routes: { 'POST /orders': 'orders.place', 'GET /fetch': 'orders.fetch' }, handler: 'orders.told' } },
    resources: {
      ledger: { kind: 'postgresql', url: env('LEDGER_URL') },
      self: { kind: 'http', url: 'http://127.0.0.1:' + env('PORT') },
    },
    queues: { retry: { backoff: { firstMs: 10, maxMs: 10 } } },
  })`

let collector: Collector
let postgres: PostgresServer
let traced: NodeProcess
const ports: Record<'traced' | 'plain', number> = { traced: 0, plain: 0 }

before(async () => {
  const [nats, tracedPort, plainPort] = await Promise.all([startNats(suite), freePort(), freePort()])
  ;[collector, postgres] = await Promise.all([startCollector(suite), startPostgres(suite)])
  const outside = await plainClient(suite, postgres)
  await outside.query('create table orders (id text primary key)')
  Object.assign(ports, { traced: tracedPort, plain: plainPort })
  const files = (cage: string): Record<string, string> => ({
    [`cages/${cage}/orders.js`]: ORDERS,
    [`cages/${cage}/books.js`]: BOOKS,
    [`cages/${cage}/ledger.js`]: LEDGER,
    [`config/${cage}.ts`]: CONFIG,
  })
  const { dir } = project(suite, { ...files('shop'), ...files('plain') })
  const start = (cage: string, PORT: number, env: NodeJS.ProcessEnv): NodeProcess =>
    startNode(suite, dir, ['--cage', cage, '--bus', nats.url], { LEDGER_URL: postgres.url, PORT: String(PORT), ...env })
  const quick = { OTEL_BSP_SCHEDULE_DELAY: '50', OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=zoo' }
  traced = start('shop', tracedPort, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ...quick })
  const plain = start('plain', plainPort, {})
  const listening = [traced, plain].map((node) => node.until('it listens', ({ msg }) => msg === 'interface listens'))
  await Promise.all([traced.ready, plain.ready, ...listening])
})

/** A trace of a client's own: its id, the client's span, and the header. */
function client(flags = '01'): { trace: string; span: string; header: string } {
  const [trace, span] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')]
  return { trace, span, header: `traceparent: 00-${trace}-${span}-${flags}` }
}

const [INTERNAL, SERVER, CLIENT, CONSUMER] = [1, 2, 3, 5] as const

test('tracing: one trace goes over HTTP, module, queue with its attempts, module and PostgreSQL, each span within the one that asked', async () => {
  const { trace, span, header } = client()
  const id = `order-${trace.slice(0, 8)}`
  const answer = await curl('-H', header, '-H', 'Content-Type: application/json', '-d', JSON.stringify({ id }), at('traced', '/orders'))
  assert.equal(answer.status, 200, answer.text)
  const is = (name: string, attempt?: number) => (one: Received) =>
    one.trace === trace && one.name === name && one.attributes['menagerie.attempt'] === attempt
  const web = await collector.span('of the interface', is('web shop.orders.place'))
  const place = await collector.span('of the module that enqueues', is('shop.orders.place'))
  const first = await collector.span('of the first attempt', is('shop.books.book', 1))
  const second = await collector.span('of the second attempt', is('shop.books.book', 2))
  const enter = await collector.span('of the module that it calls', is('shop.ledger.enter'))
  const change = await collector.span('of the database', is('ledger.change'))
  const parents = [web, place, first, second, enter, change].map(({ parent }) => parent)
  assert.deepEqual(parents, [span, web.id, place.id, place.id, second.id, enter.id])
  const kinds = [web, place, first, second, enter, change].map(({ kind }) => kind)
  assert.deepEqual(kinds, [SERVER, INTERNAL, CONSUMER, CONSUMER, INTERNAL, CLIENT])
  assert.deepEqual(first.status, { code: 2, message: 'UNAVAILABLE: not yet' })
  assert.equal(first.attributes['error.type'], 'UNAVAILABLE')
  assert.notEqual(second.status.code, 2)
  assert.equal(change.attributes['db.system'], 'postgresql')
  const { 'menagerie.queue': queue, 'menagerie.call': callId, 'menagerie.module': module } = second.attributes
  assert.deepEqual([queue, callId, module, second.service], ['retry', id, 'books', 'shop'])
  assert.equal(collector.spans.filter((one) => one.trace === trace).length, 6)
  assert.ok(!JSON.stringify(collector.spans).includes('a secret of the arguments'))
  assert.ok(collector.requests.every(({ path, headers }) => path === '/v1/traces' && headers['x-tenant'] === 'zoo'))
})

test('tracing: an outgoing request carries the span that it is made within, and what it reaches is within that', async () => {
  const { trace, header } = client()
  const answer = await curl('-H', header, at('traced', '/fetch'))
  const { header: passed, loaded } = answer.json() as { header: string; loaded: number }
  const request = await collector.span('of the resource', (one) => one.trace === trace && one.name === 'self.get')
  const reached = await collector.span('of what it reached', (one) => one.trace === trace && one.name === 'web shop.orders.told')
  assert.equal(passed, `00-${trace}-${request.id}-01`)
  assert.equal(reached.parent, request.id)
  assert.ok(loaded > 0, 'the SDK is loaded here, else the test below could not fail')
})

test('tracing: a trace that its client does not want sampled is not told, and goes on unsampled', async () => {
  const { trace, header } = client('00')
  const answer = await curl('-H', header, at('traced', '/fetch'))
  const { header: passed } = answer.json() as { header: string }
  assert.match(passed, new RegExp(`^00-${trace}-[\\da-f]{16}-00$`))
  const later = client()
  await curl('-H', later.header, at('traced', '/fetch'))
  await collector.span('of a later request', (one) => one.trace === later.trace && one.name === 'web shop.orders.fetch')
  assert.equal(collector.spans.filter((one) => one.trace === trace).length, 0)
})

test('tracing: without a collector the trace context passes unchanged, and nothing of OpenTelemetry is loaded', async () => {
  const { header } = client()
  const answer = await curl('-H', header, at('plain', '/fetch'))
  const given = header.slice('traceparent: '.length)
  assert.deepEqual(answer.json(), { header: given, context: given, loaded: 0 })
  const none = await curl(at('plain', '/fetch'))
  assert.deepEqual(none.json(), { loaded: 0 })
})

test('tracing: what a node has not told yet is told as it stops', async () => {
  const { trace, header } = client()
  await curl('-H', header, at('traced', '/fetch'))
  assert.equal(await traced.stop(), 0)
  assert.equal(collector.spans.filter((one) => one.trace === trace).length, 5)
})

function at(node: 'traced' | 'plain', path: string): string {
  return `http://127.0.0.1:${ports[node]}${path}`
}
