import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { ask, client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { within } from '../../src/testing/wait.ts'
import { type NodeProcess, project, startNode } from '../support/node.ts'

/** Three cages in a row; each logs how its signal ended. */
const files = {
  'cages/front/door.js': `
    export async function ask(ctx, ms) { return { remainingMs: ctx.remainingMs, ...(await ctx.cages.middle.desk.ask(ms)) } }
    export async function hurry(ctx, ms) { return await ctx.with({ timeoutMs: 150 }).cages.middle.desk.ask(ms) }
    export async function passOn(ctx) { return await ctx.with({ parameters: { tenant: 'acme' } }).cages.middle.desk.passOn() }`,
  'cages/middle/desk.js': `
    export async function ask(ctx, ms) { return { middleMs: ctx.remainingMs, ...(await ctx.cages.back.office.work(ms)) } }
    export async function passOn(ctx) { return await ctx.cages.back.office.request() }`,
  'cages/back/office.js': `
    import { setTimeout } from 'node:timers/promises'
    export async function work(ctx, ms) {
      ctx.signal.addEventListener('abort', () => ctx.log.warn({ code: ctx.signal.reason.code, ms }, 'signal fired'))
      await setTimeout(ms, undefined, { signal: ctx.signal })
      return { backMs: ctx.remainingMs }
    }
    export async function request(ctx) { return ctx.request }`,
  'cages/back/limited.js': `
    import { setTimeout } from 'node:timers/promises'
    export const options = { timeoutMs: 100 }
    export async function work(ctx, ms) { await setTimeout(ms); return 'done' }`,
  'cages/back/deaf.js': `
    import { setTimeout } from 'node:timers/promises'
    export const options = { concurrency: 4 }
    export async function work(ctx, ms) { ctx.log.warn({}, 'deaf begins'); await setTimeout(ms); return 'much too late' }`,
  'cages/back/strict.js': `
    export const options = { concurrency: 1, timeoutMs: 300 }
    export async function self(ctx) { return await ctx.cage.strict.self() }
    export async function once() { return 'served' }`,
  'config/shared.ts': `export default { timeoutMs: 8_000 }`,
}

let server: NatsServer
let node: NodeProcess
before(async () => {
  server = await startNats(suite)
  const folder = project(suite, files)
  node = startNode(suite, folder.dir, ['front', 'middle', 'back'].flatMap((cage) => ['--cage', cage]).concat('--bus', server.url))
  await node.ready
})

test('deadlines: what is left of the time shrinks from cage to cage', async (t) => {
  const nc = await client(t, server.url)
  const { body } = await ask(nc, 'front.door.ask', [20])
  const { remainingMs, middleMs, backMs } = body as Record<string, number>
  assert.ok(remainingMs && middleMs && backMs)
  assert.ok(remainingMs <= 8_000 && middleMs <= remainingMs && backMs <= middleMs - 15, `${remainingMs}, ${middleMs}, ${backMs}`)
})

test('deadlines: at the deadline the caller gets DEADLINE_EXCEEDED through three cages, and the last signal has fired', async (t) => {
  const bus = await testBus(t, server.url)
  const since = node.log.length
  const call = bus.call('front', 'door', 'ask', [60_000], { deadline: Date.now() + 300, request: { id: 'late' } })
  await assert.rejects(within('the answer', call, 5_000), (error: CageError) => error.code === 'DEADLINE_EXCEEDED')
  await node.until(
    'the signal of the back office',
    (entry) => entry.msg === 'signal fired' && entry.ms === 60_000 && entry.code === 'DEADLINE_EXCEEDED',
    { since },
  )
})

test('deadlines: a foreign client that names its Timeout-Ms gets 504 with a body', async (t) => {
  const nc = await client(t, server.url)
  const { headers } = await import('nats')
  const asked = headers()
  asked.set('Timeout-Ms', '200')
  const msg = await nc.request('back.limited.work', '[5000]', { timeout: 5_000, headers: asked })
  assert.equal(msg.headers?.get('Nats-Service-Error-Code'), '504')
  assert.equal((msg.json() as { code: string }).code, 'DEADLINE_EXCEEDED')
})

test('deadlines: a module’s own limit ends a call whose caller is more patient', async (t) => {
  const nc = await client(t, server.url)
  const { status, body } = await ask(nc, 'back.limited.work', [5_000])
  assert.deepEqual([status, (body as { code: string }).code], [504, 'DEADLINE_EXCEEDED'])
  assert.equal((await ask(nc, 'back.limited.work', [1])).body, 'done')
})

test('deadlines: a shorter time given with ctx.with ends the inner call, and the method sees it as an error', async (t) => {
  const nc = await client(t, server.url)
  assert.equal((await ask(nc, 'front.door.hurry', [5_000])).status, 504)
})

test('deadlines: work that is expired when its turn comes is not run', async (t) => {
  const bus = await testBus(t, server.url)
  const since = node.log.length
  const soon = { deadline: Date.now() + 700, request: { id: 'x' } }
  const slots = Array.from({ length: 4 }, () => bus.call('back', 'deaf', 'work', [1_500], soon).catch((error: CageError) => error.code))
  const waiting = bus.call('back', 'deaf', 'work', [1_500], soon).catch((error: CageError) => error.code)
  assert.deepEqual(await Promise.all([...slots, waiting]), Array(5).fill('DEADLINE_EXCEEDED'))
  const next = bus.call('back', 'deaf', 'work', [1], { deadline: Date.now() + 8_000, request: { id: 'y' } })
  assert.ok(await next)
  assert.equal(node.log.slice(since).filter((entry) => entry.msg === 'deaf begins').length, 5, 'four that had a slot, and the last one')
})

test('cancel: a caller that goes away is felt by its callee’s callee', async (t) => {
  const bus = await testBus(t, server.url)
  const since = node.log.length
  const leaving = new AbortController()
  const call = bus.call('front', 'door', 'ask', [50_000], { deadline: Date.now() + 8_000, request: { id: 'gone' }, signal: leaving.signal })
  const rejected = assert.rejects(call, (error: CageError) => error instanceof CageError && error.code === 'CANCELLED')
  await bus.call('front', 'door', 'ask', [1], { deadline: Date.now() + 8_000, request: { id: 'behind' } }) // it was sent after the other: that one runs
  leaving.abort()
  await rejected
  await node.until('the signal', (entry) => entry.msg === 'signal fired' && entry.ms === 50_000 && entry.code === 'CANCELLED', { since })
})

test('request: id, trace and parameters travel through three cages', async (t) => {
  const bus = await testBus(t, server.url)
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const seen = await bus.call('front', 'door', 'passOn', [], {
    deadline: Date.now() + 8_000,
    request: { id: 'r-1', traceparent, parameters: { interface: 'web', protocol: 'http' } },
  })
  assert.deepEqual(seen, {
    id: 'r-1',
    traceparent,
    interface: 'web',
    protocol: 'http',
    queue: undefined,
    callId: undefined,
    key: undefined,
    attempt: 1,
    parameters: { interface: 'web', protocol: 'http', tenant: 'acme' },
  })
})

test('deadlines: a strict actor that calls itself ends at its deadline, the next time it is refused at once, and it serves on', async (t) => {
  const nc = await client(t, server.url)
  assert.equal((await ask(nc, 'back.strict.self', [])).status, 504)
  const { status, body } = await ask(nc, 'back.strict.self', []) // it is known now how long it would wait for itself
  assert.equal(status, 503)
  assert.match((body as { message: string }).message, /^back\.strict is overloaded: the call would wait \d+ ms/)
  assert.equal((await ask(nc, 'back.strict.once', [])).body, 'served')
})
