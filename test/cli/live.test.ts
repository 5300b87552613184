/** The commands that look at what runs, and the REPL, against a real bus and a real node, on pipes and on a terminal. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { promisify } from 'node:util'
import type { Bus } from '../../src/bus/bus.ts'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { cli, documents, type Ended, running } from '../support/cli.ts'
import { type NodeProcess, type Project, project, ROOT, startNode } from '../support/node.ts'
import { terminal } from '../support/terminal.ts'

const FILES = {
  'cages/shop/mail.ts': `
import { CageError, type Context } from 'menagerie'

export async function send(ctx: Context, to: string, options: { fast?: boolean } = {}): Promise<string> {
  ctx.log.debug({ to }, 'sending')
  if (to === 'bad') throw new CageError('BAD_ADDRESS', 'nobody lives there')
  return options.fast ? 'fast to ' + to : 'sent to ' + to
}
`,
  'cages/shop/till.ts': `
import type { Context } from 'menagerie'

export async function sum(_ctx: Context, ...prices: number[]): Promise<number> {
  return prices.reduce((total, price) => total + price, 0)
}
`,
  'config/shop.ts': `export default { queues: { orders: {} }, interfaces: { yearly: { kind: 'schedule', cron: '0 0 1 1 *', call: 'till.sum' } } }`,
}

/** These need copies that answer surveys, tell their steps and take log levels; delete it with the commit that has them do so. */
const SURVEYED = { skip: 'until copies answer surveys' }

let server: NatsServer
let folder: Project
let node: NodeProcess
let bus: Bus
let run: (...words: string[]) => Promise<Ended>
let env: Record<string, string>

before(async () => {
  server = await startNats(suite)
  folder = project(suite, FILES)
  env = { NATS_URL: server.url, MENAGERIE_HISTORY: join(folder.dir, 'history') }
  run = cli(folder.dir, env)
  node = startNode(suite, folder.dir, ['--cage', 'shop', '--name', 'fox', '--bus', server.url])
  bus = await testBus(suite, server.url)
  await node.ready
})

async function output(...words: string[]): Promise<string> {
  const { status, stdout, stderr } = await run(...words)
  assert.equal(status, 0, `${words.join(' ')}: ${stderr}`)
  return stdout
}

const call = (method: string, ...args: unknown[]): Promise<unknown> =>
  bus.call('shop', method.split('.')[0] ?? '', method.split('.')[1] ?? '', args, { deadline: Date.now() + 10_000, request: { id: 'r7' } })

/** Calls again and again until it is stopped. */
function busy(): () => void {
  const timer = setInterval(() => {
    void call('mail.send', 'me').catch(() => {})
    void call('mail.send', 'bad').catch(() => {})
  }, 5)
  return () => clearInterval(timer)
}

test('ls: cages with their nodes, modules and methods with what they take', SURVEYED, async () => {
  assert.match(await output('ls'), /^CAGE +NODE +PID +STATE +UP +RUNTIME +MODULES\nshop +fox +\d+ +serving +\d.* +mail, till\n$/)
  assert.equal(await output('ls', 'shop'), `shop  1 copy: fox (${node.pid})\n  mail\n    send(to, options?)\n  till\n    sum(...prices)\n`)
  const [cage] = documents<{ cage: string; copies: { node: string; host: string }[]; modules: { module: string; hashes: string[] }[] }>(
    await output('ls', '--json'),
  )
  assert.deepEqual([cage?.cage, cage?.copies[0]?.node, cage?.copies[0]?.host], ['shop', 'fox', hostname()])
  assert.deepEqual(
    cage?.modules.map(({ module, hashes }) => [module, hashes.length]),
    [
      ['mail', 1],
      ['till', 1],
    ],
  )
})

test('ls: types are those of the sources here, and it is told where those do not run', SURVEYED, async (t) => {
  assert.match(
    await output('ls', 'shop.mail', '--types'),
    /^ {2}mail\n {4}send\(to: string, options: \{ fast\?: boolean \} = \{\}\): string\n$/m,
  )
  const other = project(t, { 'cages/shop/mail.ts': 'export async function send(ctx, to: URL): Promise<void> {}' })
  const { stdout } = await cli(other.dir, env)('ls', 'shop.mail', '--types')
  assert.match(stdout, /^ {2}mail {2}the sources here are not what runs\n {4}send\(to: URL\): void\n$/m)
})

test('ls: what is not there is told with what was meant', async () => {
  for (const [words, told] of [
    [['ls', 'shp'], 'cage shp does not run, did you mean shop?'],
    [['ls', 'shop.male'], 'cage shop has no module male, did you mean mail?'],
    [['log', 'shop.tll', 'debug'], 'nobody runs shop.tll, did you mean shop.till?'],
  ] as const)
    assert.deepEqual(await run(...words), { status: 1, stdout: '', stderr: `menagerie: NOT_FOUND: ${told}\n` })
})

test('top: one picture has rates, errors and durations of what was called meanwhile', SURVEYED, async (t) => {
  const stop = busy()
  t.after(stop)
  const [picture] = documents<{ copies: number; rate: number; errorRate: number; queues: object; methods: Record<string, unknown>[] }>(
    await output('top', '--once', '--every', '500ms', '--json'),
  )
  assert.ok(picture && picture.copies === 1 && picture.rate > 10 && picture.errorRate > 5, JSON.stringify(picture))
  assert.deepEqual(picture.queues, { waiting: 0, running: 0, delayed: 0, dead: 0 })
  const [first, second] = picture.methods
  assert.deepEqual([first?.method, second?.method, second?.rate], ['shop.mail.send', 'shop.till.sum', 0])
  assert.ok(Number(first?.p50) > 0 && Number(first?.p99) >= Number(first?.p50))
  assert.match(
    await output('top', 'shop.till', '--once', '--every', '100ms'),
    /^\S+ \S+ {2}1 node, 1 copy {2}0\.0 calls\/s, 0\.0 errors\/s\nqueues: 0 waiting, 0 running, 0 delayed, 0 dead\n\nMETHOD +RATE .*\nshop\.till\.sum +0\.0 +0\.0 +- +- +- +0 +0 +1\n\n$/,
  )
})

test('top: on a terminal it takes the screen, and gives it back when it is left', SURVEYED, async (t) => {
  const screen = terminal(t, folder.dir, env, 'top', '--every', '200ms')
  await screen.until('\x1b[?1049h')
  await screen.until(/METHOD[\s\S]*shop\.mail\.send[\s\S]*METHOD/)
  screen.press('q')
  assert.equal(await screen.ended, 0)
  assert.ok(screen.said().includes('\x1b[?25h\x1b[?1049l'))
  assert.ok(!screen.said().includes('left raw'))
})

test('top: a terminal that wants no colours gets none', async (t) => {
  const screen = terminal(t, folder.dir, { ...env, NO_COLOR: '1' }, 'ls')
  assert.equal(await screen.ended, 0)
  assert.match(screen.said(), /^CAGE/m)
  assert.ok(!screen.said().includes('\x1b['))
})

test('tail: calls are shown as they end, filtered', SURVEYED, async (t) => {
  const following = running(t, folder.dir, env, 'tail', 'shop.mail', '--errors', '--json')
  const all = running(t, folder.dir, env, 'tail')
  await Promise.all([following.until('waiting for calls'), all.until('waiting for calls')])
  await eventually('a failed call is told', async () => {
    await call('till.sum', 1)
    await call('mail.send', 'me')
    await call('mail.send', 'bad').catch(() => {})
    return following.said().includes('BAD_ADDRESS') && all.said().includes('BAD_ADDRESS') && all.said().includes('till.sum')
  })
  assert.equal(await following.stop(), 0)
  assert.equal(await all.stop(), 0)
  const steps = documents<{ what: string; code: string; request: string }>(
    following
      .said()
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .join('\n'),
  )
  for (const { what, code, request } of steps) assert.deepEqual([what, code, request], ['mail.send', 'BAD_ADDRESS', 'r7'])
  assert.match(all.said(), /^\d\d:\d\d:\d\d\.\d{3} +\d+\.\d ms {2}shop\.mail\.send {2}r7 {2}BAD_ADDRESS: nobody lives there$/m)
  assert.match(all.said(), /^.* ms {2}shop\.till\.sum {2}r7$/m)
})

test('log: a module logs more for a while, and as configured again', SURVEYED, async () => {
  assert.equal(await output('log', 'shop.mail', 'debug', '--for', '5m'), 'shop.mail logs debug for 5m, on one copy\n')
  await call('mail.send', 'debugged')
  await node.until('it logs debug', ({ msg, to }) => msg === 'sending' && to === 'debugged')
  assert.deepEqual(documents(await output('log', 'shop', 'default', '--json')), [{ cage: 'shop', level: 'default', copies: 1 }])
  await call('mail.send', 'silent')
  await call('mail.send', 'silent')
  assert.ok(!node.log.some(({ to }) => to === 'silent'))
  const wrong = await run('log', 'shop', 'debgu')
  assert.deepEqual([wrong.status, /did you mean debug\?/.test(wrong.stderr)], [78, true])
})

interface Found {
  check: string
  severity: string
  found: string
}

test('doctor: what is not given is explained, and a problem is its exit status', SURVEYED, async (t) => {
  const { status, stdout } = await run('doctor', '--json')
  const found = documents<Found>(stdout)
  assert.equal(status, 0, stdout)
  const of = (check: string): string[] =>
    found.filter((one) => one.check === check).map(({ severity, found: what }) => `${severity} ${what}`)
  assert.match(of('server')[0] ?? '', /^ok nats-server \d/)
  assert.match(of('credentials')[0] ?? '', /^note the server lets everybody in/)
  assert.match(of('clock')[0] ?? '', /^ok the server’s clock and ours agree within \d+ ms/)
  assert.deepEqual(of('consumers'), ['ok the queues’ consumers are as cages make them'])
  assert.deepEqual(of('code'), ['ok all copies run the same code, and their newest'])
  assert.deepEqual(of('copies'), ['note shop: one copy only'])
  assert.deepEqual(of('configuration'), ['ok 1 cage configured here, without a mistake'])
  assert.equal(of('survey').length, 0)

  await bus.queues.setMode('orders', 'paused', 'the move')
  folder.write('cages/shop/till.ts', 'export async function sum( {')
  folder.write('config/shop.ts', 'export default { queus: {} }')
  t.after(async () => {
    await bus.queues.setMode('orders', 'open')
    for (const [file, text] of Object.entries(FILES)) folder.write(file, text)
  })
  await node.until('it does not compile', ({ msg, module }) => module === 'till' && /refused|not|broken/.test(msg))
  const wrong = await run('doctor', '--quiet')
  assert.equal(wrong.status, 1)
  assert.match(wrong.stdout, /^problem +configuration: config\/shop\.ts: queus: unknown option, did you mean queues\?$/m)
  assert.match(wrong.stdout, /^problem +code: shop\.till on fox: its newest file is not in service: .*\n +means: .*\n +do: +mend the file/m)
  assert.match(wrong.stdout, /^warning +queues: queue orders is paused since .*: the move$/m)
  assert.ok(!/^ok/m.test(wrong.stdout))
  assert.match(wrong.stderr, /^2 problems, \d+ warnings?, \d+ notes?\n$/)
})

test('doctor: a bus that does not answer is a problem, and no password is shown', async () => {
  const { status, stdout } = await run('doctor', '--json', '--bus', `nats://me:secret@127.0.0.1:${await freePort()}`)
  assert.equal(status, 1)
  assert.ok(documents<Found>(stdout).some(({ check, severity }) => check === 'bus' && severity === 'problem'))
  assert.ok(!stdout.includes('secret'))
})

test('repl: on a terminal it makes calls, completes names and keeps its history', async (t) => {
  const repl = terminal(t, folder.dir, { ...env, NO_COLOR: '1' }, 'repl')
  await repl.until('menagerie> ')
  repl.press('sh\t')
  await repl.until('shop')
  repl.press('.mai\t')
  await repl.until('.mail')
  repl.press('.send Ann {"fast": true}\r')
  await repl.until(/fast to Ann/)
  repl.press('(await cages.shop.till.sum(1, 2)) + 1\r')
  await repl.until('\r\n4\r\n')
  repl.press('shop.mail.send bad\r')
  await repl.until('BAD_ADDRESS: nobody lives there')
  repl.press('.ls\r')
  await repl.until('shop.till.sum\r\n')
  repl.press('nosuch\r')
  await repl.until('nosuch is not defined')
  repl.press('\x04')
  assert.equal(await repl.ended, 0)
  assert.match(readFileSync(join(folder.dir, 'history'), 'utf8'), /^shop\.mail\.send bad$/m)
})

test('repl: from a pipe lines are run one after the other, and one that fails makes the status', async () => {
  const pipe = async (text: string, ...words: string[]): Promise<Ended> => {
    const promise = promisify(execFile)(process.execPath, [join(ROOT, 'dist', 'cli.js'), 'repl', ...words], {
      cwd: folder.dir,
      env: { ...process.env, ...env },
    })
    promise.child.stdin?.end(text)
    return promise.then(
      ({ stdout, stderr }) => ({ status: 0, stdout, stderr }),
      (error: unknown) => {
        const { code, stdout, stderr } = error as unknown as { code: number; stdout: string; stderr: string } // execFile adds them
        return { status: code, stdout, stderr }
      },
    )
  }
  assert.deepEqual(await pipe('shop.mail.send Ann\nlet a = {\n b: 1 }\na\ncages.shop.till.sum(1, 2)\ncall("shop.till.sum", [5])\n'), {
    ...{ status: 0, stdout: "'sent to Ann'\n{ b: 1 }\n3\n5\n", stderr: '' },
  })
  assert.deepEqual(await pipe('shop.mail.send bad\nnosuch\n1 + 1\nshop.mail.send "x\n'), {
    ...{ status: 1, stdout: '2\n' },
    stderr: 'BAD_ADDRESS: nobody lives there\nReferenceError: nosuch is not defined\nINVALID_ARGUMENT: a quote is open: "x\n',
  })
  const json = await pipe('shop.till.sum 1 2\nshop.mail.send bad\n', '--json')
  assert.deepEqual([json.status, documents(json.stdout)], [1, [3, { error: { code: 'BAD_ADDRESS', message: 'nobody lives there' } }]])
})

test('completion: a real bash completes commands, options and the names of what runs', async () => {
  const complete = async (line: string): Promise<string[]> => {
    const script = `PATH=${folder.dir}:$PATH
eval "$(menagerie completion bash)"
COMP_WORDS=(${line
      .split(' ')
      .map((word) => JSON.stringify(word))
      .join(' ')})
COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
_menagerie
printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout } = await promisify(execFile)('bash', ['--norc', '-c', script], { cwd: folder.dir, env: { ...process.env, ...env } })
    return stdout.split('\n').filter((word) => word !== '')
  }
  folder.write('menagerie', `#!/bin/sh\nexec ${process.execPath} ${join(ROOT, 'dist', 'cli.js')} "$@"\n`)
  await promisify(execFile)('chmod', ['+x', join(folder.dir, 'menagerie')])
  assert.deepEqual(await complete('menagerie sched'), ['schedule'])
  assert.deepEqual(await complete('menagerie call shop.m'), ['shop.mail.send'])
  assert.deepEqual(await complete('menagerie log shop.till d'), ['debug', 'default'])
  assert.deepEqual(await complete('menagerie queue show o'), ['orders'])
  assert.deepEqual(await complete('menagerie schedule run '), ['shop.yearly'])
  assert.deepEqual(await complete('menagerie start --ca'), ['--cage', '--cages'])
  assert.deepEqual(
    await complete(`menagerie call --bus nats://127.0.0.1:${await freePort()} shop`),
    [],
    'a bus that is not there proposes nothing',
  )
})

test('ls: a bus on which nothing runs says so', async (t) => {
  const empty = await startNats(t)
  assert.deepEqual(await run('ls', '--bus', empty.url), { status: 0, stdout: '', stderr: 'no cage runs on this bus\n' })
})
