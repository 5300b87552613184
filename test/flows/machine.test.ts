/** A cage and the machine around it: a drop folder, sockets, commands, and files in transactions, whose node is killed in the middle. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, type TestContext, test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'

const DESK = `
  import { subscribe } from 'node:diagnostics_channel'
  import { existsSync, readFileSync, rmSync } from 'node:fs'
  const arm = process.env.ARM
  subscribe('menagerie:transaction', ({ point }) => {
    if (!existsSync(arm) || readFileSync(arm, 'utf8') !== point) return
    rmSync(arm)
    process.kill(process.pid, 'SIGKILL')
  })
  export async function take(ctx, file) { await store(ctx, file.name, file.content) }
  export async function store(ctx, name, content) {
    const xa = ctx.transaction()
    xa.out.write(name, content.toUpperCase())
    xa.archive.write('all/' + name, content)
    await xa.execute()
  }
  export async function line(ctx, text) {
    const { stdout } = await ctx.resources.tools.run('shout', [], { stdin: text })
    return stdout
  }
  export async function ask(ctx, text) { return await ctx.resources.gate.request(text) }
`
let nats: NatsServer
let folder: Project
let port: number
let datagrams: number

before(async () => {
  ;[nats, port, datagrams] = await Promise.all([startNats(suite), freePort(), freePort()])
  folder = project(suite, {
    'cages/plant/desk.js': DESK,
    ...{ 'in/.keep': '', 'out/.keep': '', 'archive/.keep': '' },
    'config/plant.ts': `
      import { defineCage } from 'menagerie'
      export default defineCage({
        interfaces: {
          inbox: { kind: 'file', dir: 'in', content: 'utf8', settleMs: 20, call: 'desk.take' },
          gate: { kind: 'tcp', port: ${port}, call: 'desk.line' },
          beacon: { kind: 'udp', port: ${datagrams}, encoding: 'utf8', call: 'desk.line' },
        },
        resources: {
          out: { kind: 'file', dir: 'out' },
          archive: { kind: 'file', dir: 'archive' },
          tools: { kind: 'exec', commands: { shout: { file: 'tr', args: ['a-z', 'A-Z'], callerArgs: false } } },
          gate: { kind: 'tcp', host: '127.0.0.1', port: ${port} },
        },
      })`,
  })
})

async function start(t: TestContext): Promise<NodeProcess> {
  const node = startNode(t, folder.dir, ['--cage', 'plant', '--bus', nats.url], { ARM: join(folder.dir, 'arm') })
  await node.ready
  return node
}

async function caller(t: TestContext): Promise<(method: string, ...args: unknown[]) => Promise<unknown>> {
  const bus = await testBus(t, nats.url)
  return (method, ...args) => bus.call('plant', 'desk', method, args, { deadline: Date.now() + 20_000, request: { id: 't' } })
}

const stored = (name: string): boolean[] =>
  [join('out', name), join('archive', 'all', name)].map((path) => existsSync(join(folder.dir, path)))

/** Branches that are prepared, and neither committed nor rolled back. */
function branches(): string[] {
  return ['out', 'archive'].flatMap((resource) =>
    ['prepared', 'decided'].flatMap((state) => {
      const path = join(folder.dir, resource, '.menagerie', state)
      return existsSync(path) ? readdirSync(path).map((name) => `${resource} ${state} ${name}`) : []
    }),
  )
}

test('machine: a line of a client is answered by a command, from outside and from inside, over TCP and UDP', async (t) => {
  const node = await start(t)
  for (const scheme of ['tcp', 'udp'])
    await node.until(`${scheme} listens`, ({ msg, address }) => msg === 'interface listens' && String(address).startsWith(scheme))
  for (const words of [
    ['nc', '-N', '127.0.0.1', String(port)],
    ['socat', '-t', '2', '-', `UDP:127.0.0.1:${datagrams}`],
  ]) {
    const [file = '', ...args] = words
    const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    atEnd(t, () => void child.kill('SIGKILL'))
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    child.stdin.end('hello\n')
    await within(`${file} ends`, once(child, 'close'))
    assert.equal(output.trim(), 'HELLO')
  }
  const call = await caller(t)
  assert.equal(await call('ask', 'from inside'), 'FROM INSIDE')
})

test('machine: a dropped file is stored in two folders, in one transaction', async (t) => {
  await start(t)
  writeFileSync(join(folder.dir, 'in', '.order.csv'), 'tea')
  renameSync(join(folder.dir, 'in', '.order.csv'), join(folder.dir, 'in', 'order.csv'))
  await eventually('it is gone', () => !existsSync(join(folder.dir, 'in', 'order.csv')))
  await eventually('it is stored', () => stored('order.csv').every(Boolean))
  assert.equal(readFileSync(join(folder.dir, 'out', 'order.csv'), 'utf8'), 'TEA')
  assert.deepEqual(readdirSync(join(folder.dir, 'in', 'failed')), [])
})

for (const [point, expected] of [
  ['prepared', false],
  ['decided', true],
] as const) {
  test(`machine: a node that is killed when a transaction of two folders is ${point} leaves ${expected ? 'both' : 'none'} of its files`, async (t) => {
    const node = await start(t)
    const call = await caller(t)
    const name = `${point}.csv`
    writeFileSync(join(folder.dir, 'arm'), point)
    void call('store', name, 'tea').catch(() => {}) // nobody answers
    await within('the node is killed', node.exited)
    assert.ok(branches().length > 0, 'something is left')
    await start(t)
    await eventually('nothing is left', () => branches().length === 0, 45_000)
    assert.deepEqual(stored(name), [expected, expected])
  })
}
