import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { Flows } from '../../src/actors/flows.ts'
import { Tally } from '../../src/actors/tally.ts'
import type { Bus } from '../../src/bus/bus.ts'
import type { CopyStatus, MethodStatus } from '../../src/bus/survey/contract.ts'
import type { CageError } from '../../src/errors.ts'
import { addDurations, quantile } from '../../src/histogram.ts'
import { testBus } from '../../src/testing/bus.ts'
import { startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'

let bus: Bus
let folder: Project
let copies: NodeProcess[]
let ports: number[]

const HELLO = `
  export async function hello(ctx, name = 'you') { return 'hello ' + name }
  export async function ask(ctx) { return ctx.module('watched', 'own').fine() }
  export async function wander(ctx, n) {
    await ctx.module('nowhere' + n, 'm').x().catch(() => {})
    await ctx.module('watched', 'own').none().catch(() => {})
    await ctx.resource('none' + n).run().catch(() => {})
  }
  export async function use(ctx) { return ctx.resources.tool.run('ok') }
  export async function hold(ctx) { await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve)); throw ctx.signal.reason }
  export async function fill(ctx, kind) { return ctx.queue('work').module('watched', 'poor')[kind]() }`

before(async () => {
  const server = await startNats(suite)
  folder = project(suite, {
    'cages/watched/hello.js': HELLO,
    'cages/watched/own.js': 'export const options = { isolate: true }\nexport async function fine() { return 1 }',
    'cages/watched/broken.js': 'export async function x( {',
    'cages/watched/poor.js': `
      import { CageError } from 'menagerie'
      export async function flaky(ctx) { if (ctx.request.attempt < 2) throw new Error('not yet') }
      export async function never() { throw new CageError('INVALID_ARGUMENT', 'never good') }
      export async function secret(ctx, n) { throw new CageError('customer-' + n, 'no') }`,
    'config/watched.ts': `
      import { env } from 'menagerie'
      export default {
        interfaces: { web: { kind: 'http', port: Number(env('WEB')), routes: { 'GET /hello': 'hello.hello' } } },
        resources: { tool: { kind: 'exec', commands: { ok: { file: 'true' } } } },
        queues: { work: { backoff: { firstMs: 10, maxMs: 10 } } },
      }`,
  })
  ports = [await freePort(), await freePort()]
  copies = ports.map((port, n) =>
    startNode(suite, folder.dir, ['--cage', 'watched', '--name', `n${n}`, '--bus', server.url], { WEB: String(port) }),
  )
  await Promise.all(copies.map((copy) => copy.ready))
  bus = await testBus(suite, server.url)
  await eventually('all four workers serve', async () => (await survey()).filter(({ state }) => state === 'serving').length === 4)
})

const call = (module: string, method: string, ...args: unknown[]): Promise<unknown> =>
  bus.call('watched', module, method, args, { deadline: Date.now() + 5_000, request: { id: 'test' } })

const survey = (): Promise<CopyStatus[]> => bus.survey.status({ cage: 'watched' })

/** A method, over all copies. */
function methodOf(all: CopyStatus[], module: string, method: string): MethodStatus[] {
  return all.flatMap(({ modules }) =>
    modules.filter((each) => each.module === module).flatMap(({ methods }) => methods.filter((each) => each.method === method)),
  )
}

const sum = (values: number[]): number => values.reduce((a, b) => a + b, 0)

test('survey: both copies and the own workers of their isolated module tell who they are', async () => {
  const all = await survey()
  assert.deepEqual(
    all.map(({ cage, node, only, state }) => [cage, node, only, state]),
    ['n0', 'n1'].flatMap((node) => [
      ['watched', node, undefined, 'serving'],
      ['watched', node, 'own', 'serving'],
    ]),
  )
  for (const copy of all) {
    assert.equal(copy.pid, copies[copy.node === 'n0' ? 0 : 1]?.pid)
    assert.equal(copy.nodeVersion, process.version)
    assert.match(copy.runtime, /^menagerie \d/)
    assert.ok(copy.startedAt > Date.now() - 60_000 && copy.at >= copy.startedAt)
    assert.ok((copy.connection.roundTripMs ?? 0) > 0)
    assert.match(copy.connection.server, /^127\.0\.0\.1:\d+$/)
    const { thread } = copy
    assert.ok(thread.heapUsed > 1e6 && thread.heapUsed < thread.heapLimit && thread.rss > 1e7 && thread.processCpuMs > 1)
    assert.ok(thread.utilization >= 0 && thread.utilization <= 1 && thread.loopLag.max >= thread.loopLag.mean)
    assert.equal(thread.restarts, 0)
  }
  assert.equal(new Set(all.map(({ id }) => id)).size, 4)
})

test('survey: versions, a file that was never good, and a save that came into service', async () => {
  const modules = (await survey()).flatMap(({ modules: each }) => each)
  assert.deepEqual([...new Set(modules.map(({ module }) => module))].sort(), ['broken', 'hello', 'own', 'poor'])
  const broken = modules.filter(({ module }) => module === 'broken')
  assert.equal(broken.length, 2)
  assert.ok(broken.every(({ version, broken: why }) => version === undefined && why?.includes('broken.js')))
  const hello = modules.filter(({ module }) => module === 'hello')
  assert.equal(new Set(hello.map(({ hash }) => hash)).size, 1)
  assert.ok(modules.every(({ module, isolated }) => isolated === (module === 'own')))
  folder.write('cages/watched/hello.js', `${HELLO}\n// saved`)
  await eventually('both copies have the save', async () => {
    const now = (await survey()).flatMap(({ modules: each }) => each).filter(({ module }) => module === 'hello')
    return (
      now.length === 2 && now.every(({ reloads, reloadMs = -1, since = 0 }) => reloads >= 2 && reloadMs > 0 && since > Date.now() - 10_000)
    )
  })
})

test('survey: methods count calls, errors by code and durations over both copies; unknown methods and odd codes grow nothing', async () => {
  for (let n = 0; n < 20; n++) await call('hello', 'hello', `${n}`)
  for (let n = 0; n < 5; n++) {
    await assert.rejects(call('hello', `no${n}`), { code: 'NOT_FOUND' })
    await assert.rejects(call('poor', 'secret', n))
  }
  await assert.rejects(call('poor', 'never'), { code: 'INVALID_ARGUMENT' })
  const held = bus
    .call('watched', 'hello', 'hold', [], { deadline: Date.now() + 20_000, request: { id: 'held' }, owner: survey })
    .catch((error: CageError) => error.code)
  const running = await eventually('the call runs', async () => {
    const all = await survey()
    return sum(methodOf(all, 'hello', 'hold').map((each) => each.running)) === 1 ? all : undefined
  })
  bus.cancel(survey)
  assert.equal(await held, 'CANCELLED')
  assert.equal(sum(running.flatMap(({ modules }) => modules.map((each) => each.running))), 1)
  const all = await survey()
  const hello = methodOf(all, 'hello', 'hello')
  const durations = addDurations(hello.map((each) => each.durations))
  assert.equal(sum(hello.map(({ requests }) => requests)), 20)
  assert.equal(durations.count, 20)
  assert.ok(quantile(durations, 0.5) > 0 && quantile(durations, 0.5) <= durations.max && durations.max < 5_000)
  assert.deepEqual(
    all.flatMap(({ modules }) => modules.flatMap(({ methods }) => methods)).filter(({ method }) => method.startsWith('no')),
    [],
  )
  const secret = methodOf(all, 'poor', 'secret').filter(({ requests }) => requests > 0)
  assert.deepEqual([...new Set(secret.flatMap(({ errors }) => Object.keys(errors)))], ['OTHER'])
  const never = methodOf(all, 'poor', 'never').find(({ requests }) => requests === 1)
  assert.deepEqual(never?.errors, { INVALID_ARGUMENT: 1 })
  assert.equal(never?.lastError?.message, 'never good')
  assert.ok((never?.lastError?.at ?? 0) > Date.now() - 10_000)
})

test('survey: flows are counted by the caller, interfaces, resources and queues by their copies', async () => {
  for (const port of ports) assert.equal((await fetch(`http://127.0.0.1:${port}/hello`)).status, 200)
  for (let n = 0; n < 4; n++) await call('hello', 'ask')
  for (let n = 0; n < 3; n++) await call('hello', 'wander', n)
  await call('hello', 'use')
  await call('hello', 'fill', 'flaky')
  await call('hello', 'fill', 'never')
  const all = await eventually('the queued calls have ended', async () => {
    const now = await survey()
    const queues = now.flatMap((copy) => copy.queues)
    return sum(queues.map(({ done }) => done)) === 1 && sum(queues.map(({ dead }) => dead)) === 1 ? now : undefined
  })
  const flows = all.flatMap((copy) => copy.flows)
  const between = (from: string, to: string): number =>
    sum(flows.filter((flow) => flow.from === from && flow.to === to).map(({ calls }) => calls))
  assert.equal(between('interface web', 'watched.hello'), 2)
  assert.ok(between('hello', 'watched.own') >= 4)
  assert.equal(between('hello', 'resource tool'), 1)
  assert.equal(between('hello', 'queue work'), 2)
  assert.equal(between('queue work', 'watched.poor'), 3)
  assert.deepEqual(
    flows.filter(({ to }) => /nowhere|none/.test(to)),
    [],
  )
  const queues = all.flatMap((copy) => copy.queues)
  assert.equal(queues.length, 2)
  assert.ok(queues.every(({ queue, consuming, running }) => queue === 'work' && consuming && running === 0))
  assert.equal(sum(queues.map(({ retried }) => retried)), 1)
  const resources = all.flatMap((copy) => copy.resources)
  assert.ok(resources.every(({ resource, kind, limit, busy }) => resource === 'tool' && kind === 'exec' && limit === 10 && busy === 0))
  assert.equal(sum(resources.map(({ calls }) => calls)), 1)
  assert.equal(sum(resources.map(({ waits }) => waits.count)), 1)
  assert.equal(sum(resources.map(({ connects }) => connects)), 1)
  const interfaces = all.flatMap((copy) => copy.interfaces)
  assert.deepEqual(
    interfaces.map(({ interface: name, kind, address }) => [name, kind, address]).sort(),
    ports.map((port) => ['web', 'http', `http://127.0.0.1:${port}`]).sort(),
  )
})

test('survey: a worker that was replaced tells how often, and why the last one ended', async () => {
  folder.write('cages/watched/deadly.js', 'export async function exit() { process.exit(7) }')
  await eventually('the module is there', async () => methodOf(await survey(), 'deadly', 'exit').length === 2)
  bus.post('watched', 'deadly', 'exit', [], { deadline: Date.now() + 1_000, request: { id: 'test' } })
  const copy = await eventually('a worker was replaced', async () =>
    (await survey()).find(({ only, state, thread }) => only === undefined && state === 'serving' && thread.restarts === 1),
  )
  assert.match(copy.thread.lastDeath?.reason ?? '', /status 7/)
  assert.ok((copy.thread.lastDeath?.at ?? 0) > Date.now() - 10_000)
})

test('flows: targets beyond the bound are counted together, those that nobody answers for are not kept', () => {
  const flows = new Flows()
  for (let n = 0; n < 1_000; n++) flows.of('m').count(`gone.${n}`, 1, 'UNAVAILABLE')
  assert.deepEqual([...flows.read()], [])
  for (let n = 0; n < 1_000; n++) flows.of('m').count(`there.m${n}`, 1, n % 2 === 0 ? undefined : 'INTERNAL')
  const read = [...flows.read()]
  assert.equal(read.length, 501)
  assert.equal(read.find(({ to }) => to === 'others')?.calls, 500)
  assert.equal(sum(read.map(({ errors }) => errors)), 500)
})

test('tally: codes are bounded, and none is made of data', () => {
  const tally = new Tally()
  for (let n = 0; n < 100; n++) tally.count(1, `CODE_${'ABCDEFGHIJ'[n % 10]}${'ABCDEFGHIJ'[Math.floor(n / 10)]}`)
  tally.count(1, 'order 4711')
  const { errors, calls } = tally.read()
  assert.equal(Object.keys(errors).length, 33)
  assert.equal(errors.OTHER, 100 - 32 + 1)
  assert.equal(calls, tally.failed)
})
