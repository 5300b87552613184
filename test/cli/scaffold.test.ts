/** What `menagerie new` writes passes the checks as it is: format, lint, types, and its own tests on a real bus. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import { natsServer } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { cli, documents, type Ended } from '../support/cli.ts'
import { type Project, project, ROOT } from '../support/node.ts'

const run = promisify(execFile)
const { NATS_URL: _url, NODE_TEST_CONTEXT: _test, ...inherited } = process.env

let parent: Project
let dir: string
let menagerie: (...words: string[]) => Promise<Ended>

before(async () => {
  parent = project(suite, {})
  dir = join(parent.dir, 'my-shop')
  const made = await cli(parent.dir)('new', 'project', 'my-shop')
  assert.equal(made.status, 0, made.stderr)
  mkdirSync(join(dir, 'node_modules'))
  symlinkSync(ROOT, join(dir, 'node_modules', 'menagerie'))
  symlinkSync(join(ROOT, 'node_modules', 'zod'), join(dir, 'node_modules', 'zod'))
  menagerie = cli(dir)
  for (const words of [
    ['cage', 'shop-2'],
    ['module', 'hello.other'],
    ['adapter', 'my-feed'],
  ])
    assert.equal((await menagerie('new', ...words)).status, 0, words.join(' '))
})

test('new: what is written is as the formatter and the linter want it, and its types hold', async () => {
  const bin = (...path: string[]): string => join(ROOT, 'node_modules', ...path)
  parent.write('my-shop/biome.json', readFileSync(join(ROOT, 'biome.json'), 'utf8').replace(/"\$schema":.*\n/, ''))
  await run(
    process.execPath,
    [bin('@biomejs', 'biome', 'bin', 'biome'), 'ci', '--error-on-warnings', 'cages', 'config', 'adapters', 'test'],
    { cwd: dir },
  )
  await run(process.execPath, [bin('typescript', 'bin', 'tsc'), '-p', '.'], { cwd: dir })
  assert.equal((await menagerie('types', '--check')).status, 0)
})

test('new: the tests that are written pass on a real bus', async () => {
  const env = { ...inherited, NATS_SERVER: await natsServer() }
  const { stdout } = await run(process.execPath, ['--test', '--test-reporter=tap'], { cwd: dir, env })
  assert.match(stdout, /^# fail 0$/m)
  for (const name of ['shop-2.greeter', 'hello.greeter', 'hello.other'])
    assert.match(stdout, new RegExp(`^ok \\d+ - ${name}: hello greets`, 'm'))
  assert.match(stdout, /^ok \d+ - my-feed: /m)
})

test('new: a test whose cage does not start tells why', async (t) => {
  const broken = project(t, { 'config/x.ts': 'export default { tiemoutMs: 5 }', 'cages/x/m.ts': '' })
  const { runCages } = await import('../../src/testing/cages.ts')
  await assert.rejects(
    runCages(t, ['x'], { dir: broken.dir }),
    /ended before its cages were ready[\s\S]*tiemoutMs: unknown option, did you mean timeoutMs\?/,
  )
})

test('new: nothing is overwritten, and nothing half written', async () => {
  assert.match((await menagerie('new', 'cage', 'hello')).stderr, /CONFLICT: there is a cage hello already/)
  const before = readFileSync(join(dir, 'cages/hello/greeter.ts'), 'utf8')
  parent.write('my-shop/test/hello.late.test.js', '// mine\n')
  const { status, stderr } = await menagerie('new', 'module', 'hello.late')
  assert.deepEqual([status, stderr], [1, 'menagerie: CONFLICT: test/hello.late.test.js is there already, nothing was written\n'])
  assert.ok(!existsSync(join(dir, 'cages/hello/late.ts')))
  assert.equal((await cli(parent.dir)('new', 'project', 'my-shop')).status, 1)
  assert.equal(readFileSync(join(dir, 'cages/hello/greeter.ts'), 'utf8'), before)
})

test('new: wrong names are told with what would be right', async () => {
  const stderr = async (...words: string[]): Promise<string> => (await menagerie('new', ...words)).stderr
  assert.match(await stderr('module', 'helo.x'), /NOT_FOUND: there is no folder cages\/helo, did you mean hello\?/)
  assert.match(await stderr('module', 'hello'), /a module is named CAGE\.NAME, as in shop\.payment/)
  assert.match(await stderr('cage', '2fast'), /NAME 2fast: a name has letters/)
  assert.match(await stderr('cag', 'x'), /unknown command new cag, did you mean new cage\?/)
})

test('new: what was written is told as JSON', async () => {
  const { stdout } = await menagerie('new', 'module', 'hello.told', '--json')
  assert.deepEqual(documents(stdout), [{ written: ['cages/hello/told.ts', 'test/hello.told.test.js', 'cages/index.ts'] }])
})
