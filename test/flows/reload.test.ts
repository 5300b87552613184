import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { ask, client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { startLoad } from '../support/load.ts'
import { type LogEntry, type NodeProcess, type Project, project, startNode } from '../support/node.ts'
import { sized } from '../support/stage.ts'

const version = (n: number): string => `
    export const options = { maxQueued: 20_000 } // it is about reloads, not about a busy machine
  import { setTimeout } from 'node:timers/promises'
  import { helper } from './lib/helper.js'
  export async function which() { await setTimeout(2); return ${n} }
  export async function help() { return helper() }`

const BROKEN = [
  'export async function which( { return 0 }',
  "throw new Error('no load')\nexport async function which() { return 0 }",
  "export async function start() { throw new Error('no start') }\nexport async function which() { return 0 }",
  "import { gone } from './gone.js'\nexport async function which() { return gone }",
  'export const options = { concurency: 1 }\nexport async function which() { return 0 }',
]

let server: NatsServer
let folder: Project
let node: NodeProcess

before(async () => {
  server = await startNats(suite)
  folder = project(suite, {
    'cages/live/versioned.js': version(0),
    'cages/live/lib/helper.js': "export const helper = () => 'first'",
    'cages/live/steady.js':
      "import { setTimeout } from 'node:timers/promises'\nlet loads = 0\nexport async function count() { return ++loads }",
    'cages/live/heap.js': `
      import { setFlagsFromString, getHeapStatistics } from 'node:v8'
      import { runInNewContext } from 'node:vm'
      setFlagsFromString('--expose-gc')
      const gc = runInNewContext('gc')
      export async function used() { gc(); gc(); return getHeapStatistics().used_heap_size }`,
    'cages/.shared/common.js': "export async function from() { return 'shared' }",
    'config/live.ts': "export default { values: { colour: 'red' } }",
  })
  node = startNode(suite, folder.dir, ['--cage', 'live', '--bus', server.url])
  await node.ready
})

/** Saves a module and waits for what the node says of it. */
async function save(name: string, text: string, expected = 'module in service'): Promise<LogEntry> {
  const since = node.log.length
  folder.write(`cages/live/${name}.js`, text)
  return await node.until(`${name}: ${expected}`, (entry) => entry.module === name && entry.msg === expected, { since })
}

test('reload: 100 good versions and 20 broken ones at 1,000 calls/s from another process, and no call fails', async (t) => {
  const bus = await testBus(t, server.url)
  const load = startLoad(bus, 1_200, 10_000, 'live.versioned.which', () => [])
  const begun = performance.now()
  for (let n = 1; n <= 100; n++) {
    await save('versioned', version(n))
    if (n % 5 !== 0) continue
    await save('versioned', BROKEN[(n / 5) % BROKEN.length] ?? '', 'new version refused, the old one goes on')
    assert.equal(await bus.call('live', 'versioned', 'which', [], { deadline: Date.now() + 5_000, request: { id: 'which' } }), n)
  }
  await load.stop()
  const perSecond = load.calls / ((performance.now() - begun) / 1_000)
  t.diagnostic(`${load.calls} calls, ${Math.round(perSecond)} per second`)
  assert.deepEqual(load.failures, [])
  assert.ok(perSecond >= 1_000, `${perSecond} calls/s`)
})

test('reload: a broken version is told with file and line', async () => {
  const entry = await save('versioned', 'export async function which() {\n  return 1 +\n}', 'new version refused, the old one goes on')
  assert.match((entry.err as { message: string }).message, /versioned\.js:3:1: /)
  await save('versioned', version(1))
})

test('reload: a save is live soon', async (t) => {
  const nc = await client(t, server.url)
  const times: number[] = []
  for (let n = 1; n <= 20; n++) {
    const saved = performance.now()
    folder.write('cages/live/versioned.js', version(10_000 + n))
    await eventually('the new version answers', async () => (await ask(nc, 'live.versioned.which')).body === 10_000 + n)
    times.push(performance.now() - saved)
  }
  t.diagnostic(`from save to first answer: median ${times.toSorted((a, b) => a - b)[10]?.toFixed(0)} ms of 20`)
})

test('reload: only what includes a changed file is loaded again', async (t) => {
  const nc = await client(t, server.url)
  await ask(nc, 'live.steady.count')
  const since = node.log.length
  folder.write('cages/live/lib/helper.js', "export const helper = () => 'second'")
  await node.until('the module that includes it', (entry) => entry.msg === 'module in service' && entry.module === 'versioned', { since })
  assert.equal((await ask(nc, 'live.versioned.help')).body, 'second')
  assert.equal((await ask(nc, 'live.steady.count')).body, 2, 'the other module kept its state')
})

test('reload: a cage’s own file wins over the shared one, and gives way when it is deleted', async (t) => {
  const nc = await client(t, server.url)
  assert.equal((await ask(nc, 'live.common.from')).body, 'shared')
  await save('common', "export async function from() { return 'own' }")
  assert.equal((await ask(nc, 'live.common.from')).body, 'own')
  const since = node.log.length
  folder.remove('cages/live/common.js')
  await node.until('the shared one', (entry) => entry.msg === 'module in service' && entry.module === 'common', { since })
  assert.equal((await ask(nc, 'live.common.from')).body, 'shared')
})

test('reload: a file that is emptied before it is written keeps its last version in service', async (t) => {
  const nc = await client(t, server.url)
  await save('emptied', "export async function hello() { return 'here' }")
  const since = node.log.length
  folder.write('cages/live/emptied.js', '')
  await node.until('it is refused', (entry) => entry.module === 'emptied' && String((entry.err as Error)?.message).includes('is empty'), {
    since,
  })
  assert.equal((await ask(nc, 'live.emptied.hello')).body, 'here')
  folder.remove('cages/live/emptied.js')
})

test('reload: new files are served and deleted ones go, without a restart', async (t) => {
  const nc = await client(t, server.url)
  assert.equal((await ask(nc, 'live.fresh.hello')).status, 503)
  await save('fresh', "export async function hello() { return 'new' }")
  assert.equal((await ask(nc, 'live.fresh.hello')).body, 'new')
  const since = node.log.length
  folder.remove('cages/live/fresh.js')
  await node.until('it is gone', (entry) => entry.msg === 'module is gone' && entry.module === 'fresh', { since })
  assert.equal((await ask(nc, 'live.fresh.hello')).status, 503)
})

test('reload: a running call ends on its version while new ones go to the next, whose start comes before the old one’s stop', async (t) => {
  const nc = await client(t, server.url)
  const slow = (n: number): string => `
    import { once } from 'node:events'
    export async function start(ctx) { ctx.log.info({ n: ${n} }, 'started') }
    export async function stop(ctx) { ctx.log.info({ n: ${n} }, 'stopped') }
    export async function wait(ctx) { ctx.log.info({ n: ${n} }, 'waits'); await ctx.module('live', 'gate').pass(); return ${n} }
    export async function now() { return ${n} }`
  await save(
    'gate',
    `
    let open
    const opened = new Promise((resolve) => { open = resolve })
    export async function pass() { await opened }
    export async function free() { open() }`,
  )
  await save('slow', slow(1))
  const since = node.log.length
  const running = ask(nc, 'live.slow.wait')
  await node.until('it runs', (entry) => entry.msg === 'waits', { since })
  folder.write('cages/live/slow.js', slow(2))
  await eventually('new calls go to the new version', async () => (await ask(nc, 'live.slow.now')).body === 2)
  assert.equal(
    node.log.slice(since).some((entry) => entry.msg === 'stopped'),
    false,
    'the old one still has a call',
  )
  await ask(nc, 'live.gate.free')
  assert.equal((await running).body, 1)
  await node.until('the old version stops', (entry) => entry.msg === 'stopped' && entry.n === 1, { since })
})

test('reload: what stop returns is handed to the next start, also over a version that refuses it', async (t) => {
  const nc = await client(t, server.url)
  const counter = (n: number, extra = ''): string => `
    let count = 0
    export async function start(ctx, state) { ${extra}; count = state?.count ?? 0 }
    export async function stop() { return { count, from: ${n} } }
    export async function next() { return [${n}, ++count] }`
  await save('keeper', counter(1))
  assert.deepEqual((await ask(nc, 'live.keeper.next')).body, [1, 1])
  await save('keeper', counter(2))
  assert.deepEqual((await ask(nc, 'live.keeper.next')).body, [2, 2])
  await save('keeper', counter(3, "throw new Error('no')"), 'new version refused, the old one goes on')
  assert.deepEqual((await ask(nc, 'live.keeper.next')).body, [2, 3])
  await save('keeper', counter(4))
  assert.deepEqual((await ask(nc, 'live.keeper.next')).body, [4, 4])
})

test('reload: no call is lost while state is handed over', async (t) => {
  const bus = await testBus(t, server.url)
  const counter = (n: number): string => `
    import { setTimeout } from 'node:timers/promises'
    let count = 0
    export async function start(ctx, state) { await setTimeout(10); count = state ?? 0 }
    export async function stop() { return count }
    export async function next() { await setTimeout(5); return ++count }
    export async function version() { return ${n} }`
  await save('exact', counter(0))
  const load = startLoad(bus, 500, 10_000, 'live.exact.next', () => [])
  for (let n = 1; n <= 10; n++) await save('exact', counter(n))
  await load.stop()
  assert.deepEqual(load.failures, [])
  const nc = await client(t, server.url)
  assert.equal((await ask(nc, 'live.exact.next')).body, load.calls + 1)
})

test('reload: changed configuration is taken over while running', async (t) => {
  const nc = await client(t, server.url)
  await save('colours', 'export async function mine(ctx) { return ctx.config.colour }')
  assert.equal((await ask(nc, 'live.colours.mine')).body, 'red')
  const since = node.log.length
  folder.write('config/live.ts', "export default { values: { colour: 'green' }, modules: { colours: { timeoutMs: 1_000 } } }")
  await node.until('it is taken over', (entry) => entry.msg === 'configuration taken over', { since })
  assert.equal((await ask(nc, 'live.colours.mine')).body, 'green')
  folder.write('config/live.ts', "export default { vales: { colour: 'blue' } }")
  const refused = await node.until('it is refused', (entry) => entry.msg === 'new configuration refused, the old one goes on', { since })
  assert.match(JSON.stringify(refused.mistakes), /vales: unknown option, did you mean values\?/)
  assert.equal((await ask(nc, 'live.colours.mine')).body, 'green')
})

test('reload: hundreds of reloads leave nothing behind in the heap', async (t) => {
  const reloads = sized(200, 1_000)
  const nc = await client(t, server.url)
  const used = async (): Promise<number> => Number((await ask(nc, 'live.heap.used')).body)
  const filler = `\nexport const filler = [${Array.from({ length: 500 }, (_, i) => `() => 'function number ${i}'`).join(',')}]`
  for (let n = 0; n < 50; n++) await save('versioned', version(n) + filler) // caches and inline caches fill up
  const before = await used()
  for (let n = 0; n < reloads; n++) await save('versioned', version(n) + filler)
  const grown = ((await used()) - before) / 2 ** 20
  t.diagnostic(`the heap grew by ${grown.toFixed(2)} MB in ${reloads} reloads`)
  assert.ok(grown < sized(2, 5), `${grown} MB`)
})
