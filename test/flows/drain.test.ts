import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { startLoad } from '../support/load.ts'
import { project, startNode } from '../support/node.ts'
import { sized } from '../support/stage.ts'

const files = {
  'cages/rolling/worker.js': `
    import { setTimeout } from 'node:timers/promises'
    export const options = { concurrency: 4_000, maxQueued: 20_000 } // it is about stopping, not about a busy machine
    export async function work(ctx, n) { await setTimeout(5); return n }
    export async function slow(ctx, ms) { ctx.log.info({}, 'slow begins'); await setTimeout(ms); return 'done' }`,
}

test('drain: rolling restarts of two copies at 2,000 calls/s from another process lose no call', async (t) => {
  const server = await startNats(t)
  const folder = project(t, files)
  const copies = [startNode(t, folder.dir, words(server.url)), startNode(t, folder.dir, words(server.url))]
  await Promise.all(copies.map((copy) => copy.ready))
  const bus = await testBus(t, server.url)
  const load = startLoad(bus, 2_000, 10_000, 'rolling.worker.work', (n) => [n])
  const begun = performance.now()
  for (let n = 0; n < sized(8, 20); n++) {
    const [oldest] = copies.splice(0, 1)
    const signal = n % 2 === 0 ? 'SIGTERM' : 'SIGINT'
    oldest?.kill(signal)
    assert.equal(await oldest?.exited, 0)
    const next = startNode(t, folder.dir, words(server.url))
    await next.ready
    copies.push(next)
  }
  await load.stop()
  t.diagnostic(`${load.calls} calls, ${Math.round(load.calls / ((performance.now() - begun) / 1_000))} per second`)
  assert.deepEqual(load.failures.slice(0, 5), [])
})

test('drain: a stopping node ends what it has accepted, and takes nothing new', async (t) => {
  const server = await startNats(t)
  const folder = project(t, files)
  const node = startNode(t, folder.dir, words(server.url))
  await node.ready
  const nc = await client(t, server.url)
  const slow = ask(nc, 'rolling.worker.slow', [1_000])
  await node.until('it runs', (entry) => entry.msg === 'slow begins')
  node.kill('SIGTERM')
  await node.until('it stops', (entry) => entry.msg === 'node stops')
  assert.equal((await slow).body, 'done')
  assert.equal(await node.exited, 0)
  assert.equal((await ask(nc, 'rolling.worker.work', [1])).status, 503)
})

test('drain: what does not end within drainMs is given up, and a second signal ends the node at once', async (t) => {
  const server = await startNats(t)
  const folder = project(t, { ...files, 'config/rolling.ts': 'export default { drainMs: 300, timeoutMs: 60_000 }' })
  const node = startNode(t, folder.dir, words(server.url))
  await node.ready
  const nc = await client(t, server.url)
  nc.publish('rolling.worker.slow', '[50000]')
  await node.until('it runs', (entry) => entry.msg === 'slow begins')
  node.kill('SIGTERM')
  assert.equal(await node.exited, 0)
  folder.write('config/rolling.ts', 'export default { drainMs: 60_000, timeoutMs: 60_000 }')
  const patient = startNode(t, folder.dir, words(server.url))
  await patient.ready
  nc.publish('rolling.worker.slow', '[50000]')
  await patient.until('it runs', (entry) => entry.msg === 'slow begins')
  patient.kill('SIGTERM')
  await patient.until('it stops', (entry) => entry.msg === 'node stops')
  patient.kill('SIGINT')
  assert.equal(await patient.exited, 1)
})

function words(url: string): string[] {
  return ['--cage', 'rolling', '--bus', url]
}
