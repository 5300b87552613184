/** The package as somebody else installs it: packed, installed in a project of its own, run by its command. */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { ask, client, type NatsServer, natsServer, startNats } from '../src/testing/nats.ts'
import { atEnd, type Owner, suite } from '../src/testing/owner.ts'
import { freePort } from '../src/testing/port.ts'
import { within } from '../src/testing/wait.ts'
import { type LogEntry, type Project, project, ROOT } from './support/node.ts'

const run = promisify(execFile)
const { NATS_URL: _url, NODE_TEST_CONTEXT: _test, ...inherited } = process.env
const ENV = { ...inherited, NATS_SERVER: resolve(await natsServer()) }

const FILES = {
  'package.json': '{ "name": "somebody-elses", "private": true, "type": "module" }',
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      target: 'es2023',
      module: 'nodenext',
      strict: true,
      verbatimModuleSyntax: true,
      allowImportingTsExtensions: true,
      skipLibCheck: true, // pino's own types need @types/node
      noEmit: true,
      types: [],
    },
    include: ['cages', 'config'],
  }),
  'cages/x/greeter.ts': `
import { CageError, type Context } from 'menagerie'

export async function hello(ctx: Context, name: string): Promise<string> {
  if (name === '') throw new CageError('INVALID_ARGUMENT', 'a name is needed')
  return \`\${ctx.config.greeting}, \${name}!\`
}

export async function twice(ctx: Context, name: string): Promise<string[]> {
  return [await ctx.cages.x.greeter.hello(name), await ctx.cages.x.greeter.hello(name)]
}
`,
  'config/x.ts': `
import { defineCage } from 'menagerie'

export default defineCage({ values: { greeting: 'Hello' } })
`,
}

let folder: Project
let server: NatsServer

before(async () => {
  server = await startNats(suite)
  folder = project(suite, FILES)
  const packed = mkdtempSync(join(tmpdir(), 'menagerie-pack-'))
  atEnd(suite, () => rmSync(packed, { recursive: true, force: true }))
  await npm(ROOT, 'pack', '--ignore-scripts', '--pack-destination', packed)
  const [archive = ''] = readdirSync(packed)
  await npm(folder.dir, 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', join(packed, archive))
})

async function npm(cwd: string, ...words: string[]): Promise<string> {
  const { stdout } = await run('npm', words, { cwd, env: ENV, maxBuffer: 2 ** 24 })
  return stdout
}

interface Ended {
  status: number
  stdout: string
  stderr: string
}

/** `npx menagerie ...`, to its end. */
async function menagerie(...words: string[]): Promise<Ended> {
  try {
    const { stdout, stderr } = await run('npx', ['--no-install', 'menagerie', ...words], { cwd: folder.dir, env: ENV })
    return { status: 0, stdout, stderr }
  } catch (error) {
    const { code, stdout, stderr } = error as unknown as { code: number; stdout: string; stderr: string } // execFile adds them to its error
    return { status: code, stdout, stderr }
  }
}

/** `npx menagerie start ...`, until it is ready; it ends with its owner, and must end well. */
async function start(owner: Owner, ...words: string[]): Promise<{ log: LogEntry[]; stop(): Promise<void> }> {
  const child = spawn('npx', ['--no-install', 'menagerie', 'start', ...words], {
    cwd: folder.dir,
    env: ENV,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const exited = once(child, 'exit')
  const log: LogEntry[] = []
  const ready = new Promise<void>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      const entry = JSON.parse(line) as LogEntry
      log.push(entry)
      if (entry.msg === 'cage is ready') resolve()
    })
    void exited.then(() => reject(new Error(`it ended:\n${JSON.stringify(log, undefined, 1)}`)))
  })
  const stop = (): Promise<void> => end(child, exited)
  atEnd(owner, stop)
  await within('the cage is ready', ready)
  return { log, stop }
}

/** Asks the whole group to stop: npx, and the node under it. */
async function end(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  process.kill(-child.pid, 'SIGTERM')
  await within('the node ends', exited)
}

test('package: an adapter of one’s own is held to the contract by menagerie/testing', async () => {
  folder.write(
    'adapters/echo.js',
    `import { CageError, defineAdapter } from 'menagerie'
     export const open = async ({ suffix }) => ({ connect: async () => ({
       participant: 'irreversible', broken: false, close: async () => {},
       async call(method, [text]) {
         if (method !== 'echo') throw new CageError('INVALID_ARGUMENT', 'no method ' + method)
         return text + suffix
       },
     }) })
     export const adapter = defineAdapter({ open, resourceOptions: { parse: (options) => options } })`,
  )
  folder.write(
    'echo.test.js',
    `import { resourceConforms } from 'menagerie/testing'
     import { adapter } from './adapters/echo.js'
     const quick = { method: 'echo', args: ['a'], result: 'a?' }
     resourceConforms({ name: 'echo', adapter: { ...adapter, kind: 'echo' }, options: () => ({ suffix: '?' }), quick })`,
  )
  const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap', 'echo.test.js'], { cwd: folder.dir, env: ENV })
  assert.match(stdout, /^# pass [1-9]/m)
  assert.match(stdout, /^# fail 0$/m)
})

test('package: it holds what runs, and nothing else', async () => {
  const installed = join(folder.dir, 'node_modules', 'menagerie')
  for (const file of [
    'dist/cli.js',
    'dist/node.js',
    'dist/worker.js',
    'dist/index.d.ts',
    'scripts/nats-server.js',
    'LICENSE',
    'README.md',
  ]) {
    assert.ok(existsSync(join(installed, file)), file)
  }
  const files = readdirSync(installed, { recursive: true }).map(String)
  assert.deepEqual(
    files.filter(
      (file) =>
        !/^cages(\/monitor(\/|$)|$)|^config(\/monitor.ts|$)/.test(file) &&
        /^(src|test|cages|config|bench|node_modules|\.menagerie|dist\/\.)|\.(key|pem|log)$/.test(file),
    ),
    [],
  )
})

test('package: the readme has every dependency with its exact version and a reason', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Record<
    string,
    Record<string, string>
  >
  const rows = [...readme.matchAll(/^\| (\S+)( \(development\))? +\| (\d[\w.-]*) +\| \S.*\|$/gm)].map(
    ([, name, , version]) => `${name} ${version}`,
  )
  const wanted = Object.entries({ ...dependencies, ...devDependencies }).map(([name, version]) => `${name} ${version}`)
  assert.deepEqual(rows.sort(), wanted.sort())
})

test('package: its command runs a cage that any NATS client reaches, and calls it', async (t) => {
  await start(t, '--cage', 'x', '--bus', server.url)
  const nc = await client(t, server.url)
  assert.equal((await ask(nc, 'x.greeter.hello', ['you'])).body, 'Hello, you!')
  assert.deepEqual(await menagerie('call', 'x.greeter.twice', '["you"]', '--bus', server.url).then(pick), {
    status: 0,
    stdout: '["Hello, you!","Hello, you!"]\n',
  })
  const failed = await menagerie('call', 'x.greeter.hello', '[""]', '--bus', server.url)
  assert.equal(failed.status, 1)
  assert.match(failed.stderr, /INVALID_ARGUMENT.*a name is needed/)
  const nobody = await menagerie('call', 'x.gretr.hello', '["you"]', '--bus', server.url)
  assert.equal(nobody.status, 1)
  assert.match(nobody.stderr, /UNAVAILABLE/)
})

test('package: with no bus named, it starts a nats-server of its own, and ends it', async (t) => {
  const port = await freePort()
  folder.write('config/node.ts', `export default { bus: { embedded: { port: ${port} } } }`)
  t.after(() => folder.remove('config/node.ts'))
  const { log, stop } = await start(t, '--cage', 'x')
  assert.ok(log.some((entry) => entry.msg === 'nats-server started' && entry.port === port))
  const call = (): Promise<Ended> => menagerie('call', 'x.greeter.hello', '["you"]', '--bus', `nats://127.0.0.1:${port}`)
  assert.equal((await call()).stdout, '"Hello, you!"\n')
  await stop()
  assert.match((await call()).stderr, /the bus does not answer/)
})

test('package: the index is written, and calls are typed', async () => {
  assert.equal((await menagerie('types', '--check')).status, 1)
  assert.deepEqual(await menagerie('types').then(pick), { status: 0, stdout: '' })
  assert.equal((await menagerie('types', '--check')).status, 0)
  assert.match(readFileSync(join(folder.dir, 'cages', 'index.ts'), 'utf8'), /greeter: typeof import\('\.\/x\/greeter\.ts'\)/)
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc')
  await run(process.execPath, [tsc, '-p', '.'], { cwd: folder.dir })
  folder.write('cages/x/wrong.ts', FILES['cages/x/greeter.ts'].replace('hello(name), await', 'hello(5), await'))
  const { stdout } = await run(process.execPath, [tsc, '-p', '.', '--pretty', 'false'], { cwd: folder.dir }).catch(
    (error: unknown) => error as Ended,
  )
  assert.match(stdout, /^cages\/x\/wrong\.ts\(10,43\): error TS2345: Argument of type 'number'.*\n$/)
})

test('package: a wrong command is told, with status 78', async () => {
  const wrong = await menagerie('strat')
  assert.equal(wrong.status, 78)
  assert.match(wrong.stderr, /unknown command strat/)
  const cage = await menagerie('start', '--cage', 'y')
  assert.equal(cage.status, 78)
  assert.match(cage.stderr, /--cage y: there is no folder cages\/y, did you mean x\?/)
})

function pick({ status, stdout }: Ended): Partial<Ended> {
  return { status, stdout }
}
