/** Adapters of the user's own: the documented example is held to the contracts, and a node runs a file and a package. */
import assert from 'node:assert/strict'
import diagnostics from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdirSync, symlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import * as finger from '../../docs/adapters/finger.ts'
import type { Adapter } from '../../src/adapters/adapter.ts'
import { ownAdapters } from '../../src/adapters/own.ts'
import * as door from '../../src/index.ts'
import { testBus } from '../../src/testing/bus.ts'
import { interfaceConforms, type Seen, TARGET, type World } from '../../src/testing/interface.ts'
import { startNats } from '../../src/testing/nats.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { type Project, project, ROOT, startNode } from '../support/node.ts'

const CODES = [...Object.keys(door.CODES), 'OWN']
const adapter = { ...finger.adapter, kind: 'finger' } as unknown as Adapter // of options that only it knows

interfaceConforms({
  name: 'an adapter of one’s own',
  adapter,
  failures: Object.fromEntries(CODES.map((code) => [code, code])),
  world,
})

const office = createServer((socket) => void socket.once('data', (line) => socket.end(`you asked for ${line}`)))
let officePort = 0
test.before(async () => {
  officePort = await freePort()
  office.listen(officePort, '127.0.0.1')
  await once(office, 'listening')
  atEnd(suite, () => void office.close())
})

resourceConforms({
  name: 'a resource of one’s own',
  adapter,
  options: () => ({ port: officePort }),
  quick: { method: 'finger', args: ['knuth'], result: 'you asked for knuth' },
})

test('own: a node runs an adapter from a file of the project and one from a package', async (t) => {
  const nats = await startNats(t)
  const folder = projectOf(t, {
    'adapters/reverse.ts': `
      import { z } from 'zod'
      import { defineAdapter } from 'menagerie'
      export const adapter = defineAdapter({
        resourceOptions: z.strictObject({ suffix: z.string() }),
        open: async ({ suffix }) => ({ connect: async () => ({
          participant: 'irreversible', broken: false, close: async () => {},
          call: async (method, [text]) => [...text].reverse().join('') + suffix,
        }) }),
      })`,
    'node_modules/menagerie-tick/package.json': '{ "name": "menagerie-tick", "version": "1.0.0", "type": "module", "main": "index.js" }',
    'node_modules/menagerie-tick/index.js': `
      import { z } from 'zod'
      export const adapter = {
        options: z.strictObject({ target: z.string() }),
        listen: async ({ target }, host) => {
          host.call(target, ['tick']).then((answer) => host.log.info({ answer }, 'answered'), () => {})
          let end
          const done = new Promise((resolve) => (end = resolve))
          return { address: 'tick://', done, stop: async () => end() }
        },
      }`,
    'cages/a/m.ts': `export async function turn(ctx, text) { return await ctx.resources.turner.reverse(text) }`,
    'config/a.ts': `export default {
      resources: { turner: { kind: 'adapters/reverse.ts', suffix: '!' } },
      interfaces: { clock: { kind: 'menagerie-tick', target: 'm.turn' } },
    }`,
  })
  const node = startNode(t, folder.dir, ['--cage', 'a', '--bus', nats.url])
  const { answer } = await node.until('the interface is answered', ({ msg }) => msg === 'answered')
  assert.equal(answer, 'kcit!')
  const bus = await testBus(t, nats.url)
  const called = await bus.call('a', 'm', 'turn', ['abc'], { deadline: Date.now() + 10_000, request: { id: 'r' } })
  assert.equal(called, 'cba!')
})

test('own: what is wrong with one is told with its place', async (t) => {
  const folder = projectOf(t, {
    'adapters/empty.ts': 'export const adaptor = {}',
    'adapters/half.ts': 'export const adapter = { listen: async () => {} }',
    'adapters/broken.ts': 'export const adapter = (',
    'adapters/throws.ts': `throw new Error('at once')`,
    'node_modules/import-only/package.json': '{ "name": "import-only", "exports": { ".": { "import": "./i.js" } } }',
    'node_modules/torn/package.json': '{ "name": ',
  })
  const load = ownAdapters({ dir: folder.dir, cacheDir: join(folder.dir, 'cache'), door })
  const refused = (kind: string, message: RegExp): Promise<void> => assert.rejects(load(kind), { code: 'INVALID_ARGUMENT', message })
  await refused('adapters/absent.ts', /there is no file .*adapters\/absent\.ts/)
  await refused('adapters/empty.ts', /adapters\/empty\.ts exports no adapter: export const adapter = defineAdapter/)
  await refused('adapters/half.ts', /exports no adapter/)
  await refused('adapters/broken.ts', /broken\.ts:1:\d+/)
  await refused('adapters/throws.ts', /adapters\/throws\.ts: at once/)
  await refused('import-only', /import-only: the package exports nothing for `require` or `default`/)
  await refused('torn', /torn: .*package\.json/)
  assert.equal(await load('no-such-package'), undefined)
  assert.equal(await load('fs'), undefined)
  folder.write('adapters/empty.ts', `export const adapter = { open: async () => ({}), resourceOptions: {} }`)
  assert.equal((await load('adapters/empty.ts'))?.kind, 'adapters/empty.ts', 'it was mended')
})

/** A project whose files find zod. */
function projectOf(owner: Owner, files: Record<string, string>): Project {
  const folder = project(owner, files)
  mkdirSync(join(folder.dir, 'node_modules'), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules', 'zod'), join(folder.dir, 'node_modules', 'zod'))
  return folder
}

async function world(owner: Owner): Promise<World> {
  const port = await freePort()
  const servers = new Set<Server>()
  const onSocket = (message: unknown): void => void servers.add((message as { socket: Socket & { server: Server } }).socket.server)
  diagnostics.subscribe('net.server.socket', onSocket)
  atEnd(owner, () => void diagnostics.unsubscribe('net.server.socket', onSocket))
  const open = async (text: string): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.on('error', () => {}) // a cut off answer has no end
    socket.write(`${text}\r\n`)
    return socket
  }
  const ask = async (text: string): Promise<Seen> => {
    let answer = ''
    for await (const chunk of await open(text)) answer += chunk
    if (!answer.endsWith('\r\n')) throw new Error('it was cut off')
    const [, code] = /^! (\S+)/.exec(answer) ?? []
    return code === undefined ? { answer: answer.trimEnd() } : { failure: code, text: answer }
  }
  return {
    options: { port, target: TARGET },
    ask,
    askAndLeave: async (text) => {
      const socket = await open(text)
      return () => void socket.destroy()
    },
    block: async () => {
      const other = createServer().listen(port, '127.0.0.1')
      await once(other, 'listening')
      return async () => {
        other.close()
        await once(other, 'close')
      }
    },
    kill: async () => {
      await ask('so that the server is known')
      for (const server of servers) server.close()
    },
  }
}
