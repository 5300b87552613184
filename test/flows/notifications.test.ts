/** What a node tells people by itself: each kind, from what really happens. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Bus, Kept } from '../../src/bus/bus.ts'
import { testBus } from '../../src/testing/bus.ts'
import { type NatsServer, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { project, startNode } from '../support/node.ts'

let server: NatsServer
let bus: Bus

before(async () => {
  server = await startNats(suite)
  bus = await testBus(suite, server.url)
})

async function told(cage: string): Promise<Kept[]> {
  const found: Kept[] = []
  for await (const kept of bus.notifications.list({ cage })) found.push(kept)
  return found
}

/** The first one of a kind that `test` accepts. */
async function telling(cage: string, kind: string, test: (kept: Kept) => boolean = () => true): Promise<Kept> {
  let found: Kept | undefined
  await eventually(`${kind} of ${cage} is told`, async () => {
    found = (await told(cage)).find((kept) => kept.kind === kind && test(kept))
    return found !== undefined
  })
  return found ?? assert.fail('nothing')
}

const soon = (): number => Date.now() + 10_000

test('notifications: a node tells what befalls its cages', async (t) => {
  const good = 'export async function fine() { return 1 }'
  const config = (extra: string): string => `export default { stallMs: 1_000, queues: { work: { maxAttempts: 1 } },
    resources: { ledger: { kind: 'tcp', host: '127.0.0.1', port: ${port}, framing: 'line' } }${extra} }`
  const port = await freePort()
  const folder = project(t, {
    'cages/shop/good.js': good,
    'cages/shop/bad.js': `import { CageError } from 'menagerie'
      export async function loop() { for (;;) {} }
      export async function exit() { process.exit(3) }
      export async function fail() { throw new CageError('LUCK', 'no such luck') }
      export async function ledger(ctx) { return await ctx.resources.ledger.send('x') }`,
    'config/shop.ts': config(''),
  })
  const node = startNode(t, folder.dir, ['--cage', 'shop', '--name', 'n1', '--bus', server.url])
  await node.ready
  const request = { id: 'r' }
  const bad = async (method: string): Promise<string> =>
    await bus.call('shop', 'bad', method, [], { deadline: Date.now() + 3_000, request }).then(
      () => 'ok',
      (error: { code: string }) => error.code,
    )
  const up = await telling('shop', 'cage.up')
  assert.deepEqual([up.level, up.node, up.message], ['info', 'n1', 'cage shop of node n1 serves'])

  folder.write('cages/shop/good.js', 'export async function fine( {')
  const refused = await telling('shop', 'reload.refused', ({ module }) => module === 'good')
  assert.equal(refused.level, 'error')
  assert.match(String((refused.details as { reason: string }).reason), /good\.js/)
  folder.write('cages/shop/good.js', good)
  await telling('shop', 'reload.healed', ({ module }) => module === 'good')
  folder.write('config/shop.ts', config(', timeoutMs: -1'))
  assert.match(JSON.stringify((await telling('shop', 'reload.refused', ({ module }) => module === undefined)).details), /timeoutMs/)
  folder.write('config/shop.ts', config(''))

  await bus.enqueue('work', 'shop', 'bad', 'fail', [], { request, deadline: soon() })
  const dead = await telling('shop', 'call.dead')
  assert.deepEqual([dead.level, dead.module], ['error', 'bad'])
  assert.match(dead.message, /shop\.bad\.fail in queue work is dead/)
  assert.match(JSON.stringify(dead.details), /no such luck/)

  assert.equal(await bad('ledger'), 'UNAVAILABLE')
  assert.equal((await telling('shop', 'circuit.open')).level, 'error')
  assert.deepEqual(
    (await told('shop')).filter(({ kind }) => kind === 'circuit.closed'),
    [],
  )

  void bad('exit')
  const restarted = await telling('shop', 'cage.restarted')
  assert.match(JSON.stringify(restarted.details), /status 3/)
  await eventually('it is back', async () => (await bad('fail')) === 'LUCK')
  void bad('loop')
  const stalled = await telling('shop', 'cage.stalled', ({ module }) => module !== undefined)
  assert.deepEqual([stalled.module, (stalled.details as { method: string }).method], ['bad', 'loop'])
  await eventually('it is back again', async () => (await bad('fail')) === 'LUCK')
  void bad('loop')
  assert.equal((await telling('shop', 'module.quarantined')).module, 'bad')
  const others = (): Promise<unknown> => bus.call('shop', 'good', 'fine', [], { deadline: Date.now() + 1_000, request })
  await eventually('the others are back', async () => (await others().catch(() => 0)) === 1)

  await node.stop()
  const down = (await told('shop')).filter(({ kind }) => kind === 'cage.down')
  assert.deepEqual(
    down.map(({ level, message }) => `${level} ${message}`),
    ['info cage shop of node n1 was asked to stop'],
  )
})

test('notifications: a cage that cannot be kept up is an alert', async (t) => {
  const folder = project(t, { 'cages/doomed/bad.js': 'setTimeout(() => process.exit(4), 1)\nexport async function never() {}' })
  const node = startNode(t, folder.dir, ['--cage', 'doomed', '--bus', server.url])
  assert.equal(await node.exited, 1)
  const failed = await telling('doomed', 'cage.failed')
  assert.equal(failed.level, 'alert')
  const restarted = (await told('doomed')).filter(({ kind }) => kind === 'cage.restarted')
  assert.equal(restarted.length, 2, 'the first one, and the others together')
  assert.equal(restarted[1]?.repeated, 5)
})
