import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { z } from 'zod'
import type { Adapter } from '../src/adapters/adapter.ts'
import { RESOURCE_SCHEMAS } from '../src/adapters/registry.ts'
import { type ConfigSource, type Protocols, readCageConfig, readNodeConfig } from '../src/config.ts'
import * as door from '../src/index.ts'
import type { CageSettings } from '../src/settings.ts'
import { ask, client, type NatsServer, startNats } from '../src/testing/nats.ts'
import { suite } from '../src/testing/owner.ts'
import { type NodeProcess, type Project, project, ROOT, startNode } from './support/node.ts'

const EX_CONFIG = 78

const gopher: Adapter<{ port: number; host: string }> = {
  kind: 'gopher',
  options: z.strictObject({ port: z.number().int(), host: z.string().default('127.0.0.1') }),
}
const ADAPTERS = new Map<string, Adapter>([['gopher', gopher as unknown as Adapter]])
const barrel: Adapter<unknown, { litres: number }> = {
  kind: 'barrel',
  resourceOptions: z.strictObject({ litres: z.number().default(200) }).transform((given) => given),
}
ADAPTERS.set('barrel', barrel as unknown as Adapter)
const PROTOCOLS: Protocols = { adapters: ADAPTERS, resource: RESOURCE_SCHEMAS, loadOwn: async () => undefined }

let server: NatsServer

before(async () => {
  server = await startNats(suite)
})

/** Writes configuration files; what reads them. */
function source(t: TestContext, files: Record<string, string>): ConfigSource & { dir: string } {
  const { dir } = project(t, Object.fromEntries(Object.entries(files).map(([file, text]) => [join('config', file), text])))
  mkdirSync(join(dir, 'config'), { recursive: true })
  return { dir, configDir: join(dir, 'config'), cacheDir: join(dir, 'cache'), door }
}

/** The mistakes in cage x's configuration, without the folder's name. */
async function mistakesOf(t: TestContext, files: Record<string, string>): Promise<string[]> {
  const given = source(t, files)
  const read = await readCageConfig(given, 'x', PROTOCOLS)
  assert.equal(read.ok, false)
  return read.ok ? [] : read.mistakes.map((mistake) => mistake.replaceAll(`${given.dir}/`, ''))
}

async function settingsOf(t: TestContext, files: Record<string, string>): Promise<CageSettings> {
  const read = await readCageConfig(source(t, files), 'x', PROTOCOLS)
  assert.deepEqual(read.ok ? [] : read.mistakes, [])
  if (!read.ok) throw new Error('unreachable')
  return read.settings
}

test('config: without a file everything has its default', async (t) => {
  const files = source(t, {})
  const node = await readNodeConfig(files)
  assert.deepEqual(node, { ok: true, settings: { bus: { embedded: { port: 4222 } }, logLevel: 'info', dataDir: '.menagerie' } })
  assert.deepEqual(await settingsOf(t, {}), {
    timeoutMs: 10_000,
    stallMs: 5_000,
    memoryMb: 1_024,
    drainMs: 15_000,
    values: {},
    resources: {},
    modules: {},
    interfaces: {},
    queues: {
      retry: {
        concurrency: 16,
        expiresMs: 7 * 86_400_000,
        timeoutMs: 10_000,
        backoff: { firstMs: 1_000, maxMs: 600_000, factor: 2, jitter: 0.5 },
        dedupMs: 3 * 86_400_000,
        alertAfterMs: 3_600_000,
      },
    },
    transactions: { patienceMs: 60_000 },
    supervision: { intensity: 5, periodMs: 10_000 },
  })
})

test('config: TypeScript with defineCage and env is read', async (t) => {
  process.env.MENAGERIE_TEST = 'from the environment'
  const { values, interfaces, timeoutMs } = await settingsOf(t, {
    'x.ts': `
      import { defineCage, env } from 'menagerie'
      const port: number = 7_000
      export default defineCage({
        timeoutMs: 5,
        values: { a: env('MENAGERIE_TEST'), b: env('MENAGERIE_NOT_SET', 'fallback') },
        interfaces: { web: { kind: 'gopher', port } },
      })`,
  })
  assert.deepEqual(values, { a: 'from the environment', b: 'fallback' })
  assert.deepEqual(interfaces, { web: { kind: 'gopher', options: { port: 7_000, host: '127.0.0.1' } } })
  assert.equal(timeoutMs, 5)
})

test('config: the cage’s file is laid over shared.ts, objects key by key', async (t) => {
  const { values, modules, timeoutMs, stallMs } = await settingsOf(t, {
    'shared.ts': `export default { timeoutMs: 1, stallMs: 200, values: { list: [1, 2], deep: { a: 1, b: 1 } }, modules: { m: { concurrency: 2 } } }`,
    'x.ts': `export default { timeoutMs: 2, values: { list: [3], deep: { b: 2, c: 2 } }, modules: { m: { timeoutMs: 9 }, n: {} } }`,
  })
  assert.deepEqual({ timeoutMs, stallMs }, { timeoutMs: 2, stallMs: 200 })
  assert.deepEqual(values, { list: [3], deep: { a: 1, b: 2, c: 2 } })
  assert.deepEqual(modules, { m: { concurrency: 2, timeoutMs: 9 }, n: {} })
})

test('config: every mistake is told at once, with file, path and what was probably meant', async (t) => {
  const found = await mistakesOf(t, {
    'x.ts': `export default {
      timeuotMs: 1,
      stallMs: 'x',
      modules: { a: { concurency: 1, maxQueued: -1 } },
      interfaces: { web: { kind: 'gofer', port: 1 }, own: { kind: 'gopher', prot: 1 }, '9x': { kind: 'gopher', port: 1 } },
    }`,
  })
  assert.deepEqual(found.sort(), [
    'config/x.ts: interfaces.9x: a name has letters, digits, _ and -, at most 32, and begins with a letter',
    'config/x.ts: interfaces.own.port: expected number, received undefined',
    'config/x.ts: interfaces.own.prot: unknown option, did you mean port?',
    'config/x.ts: interfaces.web.kind: unknown kind "gofer", did you mean gopher? (known: gopher)',
    'config/x.ts: modules.a.concurency: unknown option, did you mean concurrency?',
    'config/x.ts: modules.a.maxQueued: Too small: expected number to be >=0',
    'config/x.ts: stallMs: expected number, received string',
    'config/x.ts: timeuotMs: unknown option, did you mean timeoutMs?',
  ])
})

test('config: a resource has its adapter’s options, a pool, and a cache if it is asked for', async (t) => {
  const { resources } = await settingsOf(t, {
    'x.ts': `export default { resources: { rain: { kind: 'barrel' }, wine: { kind: 'barrel', litres: 1, pool: { size: 2, backoff: { maxMs: 500 } }, cache: {} } } }`,
  })
  const pool = { size: 10, standby: 0, idleMs: 30_000, maxAgeMs: 300_000, minRemainingMs: 0, connectMs: 5_000 }
  assert.deepEqual(resources, {
    rain: { kind: 'barrel', options: { litres: 200 }, pool: { ...pool, backoff: { firstMs: 100, maxMs: 3_000 } }, cache: undefined },
    wine: {
      kind: 'barrel',
      options: { litres: 1 },
      pool: { ...pool, size: 2, backoff: { firstMs: 100, maxMs: 500 } },
      cache: { size: 1_000, policy: 'lru', always: false },
    },
  })
})

test('config: mistakes in resources are told like those in interfaces, and which of the two a kind is', async (t) => {
  const found = await mistakesOf(t, {
    'x.ts': `export default {
      timeoutMs: 'x',
      interfaces: { hole: { kind: 'barrel' } },
      resources: {
        burrow: { kind: 'gopher', port: 1 },
        rain: { kind: 'barel' },
        wine: { kind: 'barrel', liters: 1, pool: { sise: 1, standby: -1 }, cache: { policy: 'lur' } },
        few: { kind: 'barrel', pool: { size: 1, standby: 2 } },
      },
    }`,
  })
  assert.deepEqual(found.sort(), [
    'config/x.ts: interfaces.hole.kind: barrel is a resource: it belongs under resources (here: gopher)',
    'config/x.ts: resources.burrow.kind: gopher is an interface: it belongs under interfaces (here: barrel)',
    'config/x.ts: resources.few.pool.standby: standby is more than size',
    'config/x.ts: resources.rain.kind: unknown kind "barel", did you mean barrel? (known: barrel)',
    'config/x.ts: resources.wine.cache.policy: Invalid option: expected one of "lru"|"lfu"|"weight"|"useless"|"old"|"random"',
    'config/x.ts: resources.wine.liters: unknown option, did you mean litres?',
    'config/x.ts: resources.wine.pool.sise: unknown option, did you mean size?',
    'config/x.ts: resources.wine.pool.standby: Too small: expected number to be >=0',
    'config/x.ts: timeoutMs: expected number, received string',
  ])
})

test('config: every variable that the environment lacks is named', async (t) => {
  const found = await mistakesOf(t, {
    'shared.ts': `import { env } from 'menagerie'\nexport default { values: { c: env('MENAGERIE_NO_C') } }`,
    'x.ts': `import { env } from 'menagerie'\nexport default { values: { a: env('MENAGERIE_NO_A'), b: env('MENAGERIE_NO_B') } }`,
  })
  assert.deepEqual(found.sort(), [
    'config/shared.ts: the environment has no MENAGERIE_NO_C',
    'config/x.ts: the environment has no MENAGERIE_NO_A',
    'config/x.ts: the environment has no MENAGERIE_NO_B',
  ])
})

test('config: a syntax error is told with file, line and column', async (t) => {
  const [found] = await mistakesOf(t, { 'x.ts': 'export default {\n  values: [\n}\n' })
  assert.match(found ?? '', /^config\/x\.ts:3:1: Unexpected "}"/)
})

const UNUSABLE = {
  "throw new Error('boom')": /^config\/x\.ts: boom$/,
  'export const values = {}': /^config\/x\.ts: has no default export$/,
  'export default 5': /^config\/x\.ts: the configuration: expected object, received number$/,
  "import { gone } from './gone.ts'\nexport default { values: { gone } }": /^config\/x\.ts:1:22: Could not resolve/,
  'export default { interfaces: 5 }': /^config\/x\.ts: interfaces: expected record, received number$/,
  'export default { interfaces: { web: {} } }': /^config\/x\.ts: interfaces\.web\.kind: expected string, received undefined$/,
}
for (const [text, expected] of Object.entries(UNUSABLE)) {
  test(`config: ${JSON.stringify(text)} is refused with its file`, async (t) => {
    const found = await mistakesOf(t, { 'x.ts': text })
    assert.equal(found.length, 1, found.join('\n'))
    assert.match(found[0] ?? '', expected)
  })
}

test('config: mistakes of config/node.ts are told too', async (t) => {
  const given = source(t, { 'node.ts': `export default { loglevel: 'info', bus: { sevrers: ['a'], embedded: { port: 0 } } }` })
  const read = await readNodeConfig(given)
  assert.deepEqual(read.ok ? [] : read.mistakes.map((mistake) => mistake.replace(`${given.dir}/`, '')).sort(), [
    'config/node.ts: bus.embedded.port: Too small: expected number to be >=1',
    'config/node.ts: bus.sevrers: unknown option, did you mean servers?',
    'config/node.ts: loglevel: unknown option, did you mean logLevel?',
  ])
})

interface Refusal {
  status: number | null
  stdout: string
  stderr: string[]
}

/** The built node, that must end by itself. */
function refusal(dir: string, ...words: string[]): Refusal {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'dist', 'node.js'), ...words], {
    cwd: dir,
    encoding: 'utf8',
    timeout: 30_000,
  })
  return { status, stdout, stderr: stderr.trimEnd().split('\n') }
}

test('node: wrong arguments end it with status 78, and say how to get help', (t) => {
  const { dir } = project(t, { 'cages/x/a.js': '' })
  assert.deepEqual(refusal(dir, '--cgae', '--log-level', 'inof'), {
    status: EX_CONFIG,
    stdout: '',
    stderr: [
      'menagerie: unknown option --cgae, did you mean --cage?',
      'menagerie: --log-level inof: unknown level, did you mean info? (trace, debug, info, warn, error, fatal, silent)',
      'menagerie: see --help',
    ],
  })
})

test('node: mistakes of all files and cages at once, status 78, nothing on standard output, nothing started', (t) => {
  const { dir } = project(t, {
    'cages/sample/a.js': '',
    'cages/x/a.js': '',
    'config/node.ts': `export default { loglevel: 'info' }`,
    'config/x.ts': `export default { timeuotMs: 1, interfaces: { web: { kind: 'htpp' } } }`,
  })
  const { status, stdout, stderr } = refusal(dir, '--cage', 'smaple', '--cage', 'x')
  assert.equal(status, EX_CONFIG)
  assert.equal(stdout, '')
  assert.ok(stderr.includes('menagerie: config/node.ts: loglevel: unknown option, did you mean logLevel?'))
  assert.ok(stderr.includes('menagerie: --cage smaple: there is no folder cages/smaple, did you mean sample?'))
  assert.ok(stderr.includes('menagerie: config/x.ts: timeuotMs: unknown option, did you mean timeoutMs?'))
  assert.match(stderr.join('\n'), /menagerie: config\/x\.ts: interfaces\.web\.kind: unknown kind "htpp", did you mean http\? \(known: http/)
  assert.equal(stderr.length, 4)
  assert.equal(existsSync(join(dir, '.menagerie', 'nats')), false)
})

test('node: folders that are not there are told', (t) => {
  const { dir } = project(t, { 'cages/x/a.js': '' })
  assert.deepEqual(refusal(dir, '--cage', 'x', '--cages', 'cgaes', '--config', 'cnofig'), {
    status: EX_CONFIG,
    stdout: '',
    stderr: ['menagerie: --config cnofig: there is no such folder', 'menagerie: --cages cgaes: there is no such folder'],
  })
})

test('node: --help and --version print and end well', (t) => {
  const { dir } = project(t, { 'a.js': '' })
  const help = refusal(dir, '--help')
  assert.equal(help.status, 0)
  assert.match(help.stdout, /^Runs cages of modules on a NATS bus\./)
  const version = refusal(dir, '-v')
  assert.equal(version.status, 0)
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
})

async function start(t: TestContext, files: Record<string, string>): Promise<{ folder: Project; node: NodeProcess }> {
  const folder = project(t, files)
  mkdirSync(join(folder.dir, 'cages', 'x'), { recursive: true })
  const node = startNode(t, folder.dir, ['--cage', 'x', '--bus', server.url])
  await node.ready
  return { folder, node }
}

test('node: an empty folder is a valid cage, and is discovered', async (t) => {
  await start(t, {})
  const nc = await client(t, server.url)
  const { body } = await ask(nc, '$SRV.INFO.x')
  assert.equal((body as { name: string }).name, 'x')
  assert.deepEqual((body as { endpoints: unknown[] }).endpoints, [])
})

test('node: changed configuration is taken over while it runs, a broken one is refused and the old one goes on', async (t) => {
  const config = (colour: string, timeoutMs: number): string =>
    `export default { values: { colour: '${colour}' }, modules: { m: { timeoutMs: ${timeoutMs} } } }`
  const { folder, node } = await start(t, {
    'cages/x/m.js': `
      import { once } from 'node:events'
      export async function colour(ctx) { return [ctx.config.colour, ctx.deadline - Date.now() <= 1_000] }
      export async function wait(ctx) { await once(ctx.signal, 'abort') }`,
    'config/x.ts': config('red', 30_000),
  })
  const nc = await client(t, server.url)
  assert.deepEqual((await ask(nc, 'x.m.colour')).body, ['red', false])
  let since = node.log.length
  folder.write('config/x.ts', config('green', 1_000))
  await node.until('it is taken over', (entry) => entry.msg === 'configuration taken over', { since })
  assert.deepEqual((await ask(nc, 'x.m.colour')).body, ['green', true])
  assert.equal((await ask(nc, 'x.m.wait')).status, 504, 'the new limit ends a call')
  for (const broken of ['export default { vlaues: {} }', 'export default {', "throw new Error('no')"]) {
    since = node.log.length
    folder.write('config/x.ts', broken)
    await node.until('it is refused', (entry) => entry.msg === 'new configuration refused, the old one goes on', { since })
    assert.deepEqual((await ask(nc, 'x.m.colour')).body, ['green', true], broken)
  }
  since = node.log.length
  folder.write('config/x.ts', config('blue', 30_000))
  await node.until('the next good one is taken over', (entry) => entry.msg === 'configuration taken over', { since })
  assert.deepEqual((await ask(nc, 'x.m.colour')).body, ['blue', false])
})

test('node: a change of shared.ts, and a first file for the cage, are taken over too', async (t) => {
  const { folder, node } = await start(t, {
    'cages/x/m.js': 'export async function values(ctx) { return ctx.config }',
    'config/shared.ts': 'export default { values: { a: 1 } }',
  })
  const nc = await client(t, server.url)
  let since = node.log.length
  folder.write('config/shared.ts', 'export default { values: { a: 2 } }')
  await node.until('it is taken over', (entry) => entry.msg === 'configuration taken over', { since })
  assert.deepEqual((await ask(nc, 'x.m.values')).body, { a: 2 })
  since = node.log.length
  folder.write('config/x.ts', 'export default { values: { b: 3 } }')
  await node.until('it is taken over', (entry) => entry.msg === 'configuration taken over', { since })
  assert.deepEqual((await ask(nc, 'x.m.values')).body, { a: 2, b: 3 })
})
