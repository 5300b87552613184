import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'

const HELLO = "export async function hello(ctx, name) { return 'Hello, ' + name + '!' }"

async function embeddedProject(t: TestContext): Promise<{ folder: Project; port: number; serverPid: () => number }> {
  const port = await freePort()
  const folder = project(t, {
    'cages/one/greeter.js': HELLO,
    'cages/two/greeter.js': HELLO,
    'config/node.ts': `import { defineNode } from 'menagerie'\nexport default defineNode({ bus: { embedded: { port: ${port} } } })`,
  })
  atEnd(t, endServer)
  return { folder, port, serverPid }

  function serverPid(): number {
    const file = join(folder.dir, '.menagerie/nats/nats-server.pid')
    return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0
  }

  /** A node that was killed leaves the server to the next one; here nobody comes. */
  function endServer(): void {
    if (serverPid() > 0 && isAlive(serverPid())) process.kill(serverPid(), 'SIGKILL')
  }
}

function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`)
}

function run(t: TestContext, folder: Project, cage: string): NodeProcess {
  return startNode(t, folder.dir, ['--cage', cage, '--name', `node-${cage}`])
}

test('embedded: the first node starts a server, the second joins it, and the last to stop ends it', async (t) => {
  const { folder, port, serverPid } = await embeddedProject(t)
  const first = run(t, folder, 'one')
  await first.ready
  const second = run(t, folder, 'two')
  await second.ready
  assert.equal(
    second.log.some((entry) => entry.msg === 'nats-server started'),
    false,
  )
  assert.equal(await first.stop(), 0)
  const nc = await client(t, `nats://127.0.0.1:${port}`)
  assert.equal((await ask(nc, 'two.greeter.hello', ['you'])).body, 'Hello, you!')
  const pid = serverPid()
  assert.ok(isAlive(pid), 'the server outlives the node that started it')
  assert.equal(await second.stop(), 0)
  assert.equal(isAlive(pid), false)
})

test('embedded: two nodes that start at once share one server', async (t) => {
  const { folder } = await embeddedProject(t)
  const nodes = [run(t, folder, 'one'), run(t, folder, 'two'), run(t, folder, 'one')]
  await Promise.all(nodes.map((node) => node.ready))
  assert.equal(nodes.flatMap((node) => node.log).filter((entry) => entry.msg === 'nats-server started').length, 1)
})

test('embedded: a node killed with -9 takes nothing from the others', async (t) => {
  const { folder, port, serverPid } = await embeddedProject(t)
  const first = run(t, folder, 'one')
  await first.ready
  const second = run(t, folder, 'two')
  await second.ready
  first.kill('SIGKILL')
  await first.exited
  const nc = await client(t, `nats://127.0.0.1:${port}`)
  assert.equal((await ask(nc, 'two.greeter.hello', ['you'])).body, 'Hello, you!')
  const pid = serverPid()
  await second.stop()
  assert.equal(isAlive(pid), false, 'the dead node does not count as one that is left')
})

test('embedded: a server that dies is taken over by one of the nodes, with its data, and all serve again', async (t) => {
  const { folder, port, serverPid } = await embeddedProject(t)
  const nodes = [run(t, folder, 'one'), run(t, folder, 'two')]
  await Promise.all(nodes.map((node) => node.ready))
  const nc = await client(t, `nats://127.0.0.1:${port}`)
  const jsm = await nc.jetstreamManager()
  await jsm.streams.add({ name: 'KEPT', subjects: ['kept'] })
  await nc.jetstream().publish('kept', 'something durable')
  const pid = serverPid()
  process.kill(pid, 'SIGKILL')
  await eventually('another server', () => serverPid() !== pid && isAlive(serverPid()))
  for (const cage of ['one', 'two'])
    await eventually(
      `cage ${cage} answers`,
      async () => (await ask(nc, `${cage}.greeter.hello`, ['you'], 500).catch(() => undefined))?.body === 'Hello, you!',
    )
  assert.equal((await (await nc.jetstreamManager()).streams.info('KEPT')).state.messages, 1)
  assert.equal(
    nodes.flatMap((node) => node.log).filter((entry) => entry.msg === 'nats-server started').length,
    2,
    'one at the start, one taken over',
  )
})

test('embedded: a NATS server of somebody else on the port is joined, and left alone at the end', async (t) => {
  const { folder, port } = await embeddedProject(t)
  const foreign = await startNats(t, { port })
  const node = run(t, folder, 'one')
  await node.ready
  assert.equal(await node.stop(), 0)
  assert.ok(isAlive(foreign.pid))
})

test('embedded: something else on the port is told with what to do', async (t) => {
  const { folder, port } = await embeddedProject(t)
  const server = createServer((socket) => socket.end('220 smtp.example\r\n')).listen(port, '127.0.0.1')
  atEnd(t, () => void server.close())
  const node = run(t, folder, 'one')
  assert.equal(await node.exited, 1)
  const said = node.log.map((entry) => JSON.stringify(entry)).join('\n') + node.stderr()
  assert.match(said, new RegExp(`port ${port} of 127.0.0.1 is taken by something that is not NATS`))
  assert.match(said, /--bus URL/)
  assert.doesNotMatch(said, /node:internal/)
})
