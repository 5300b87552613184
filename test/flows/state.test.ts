import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testBus } from '../../src/testing/bus.ts'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type LogEntry, project, startNode } from '../support/node.ts'

const COUNTER = `
  export async function next(ctx, key) { return await ctx.state.update(key, (n = 0) => n + 1) }
  export async function count(ctx, key) { return await ctx.state.get(key) }
  export async function keys(ctx) { return await ctx.state.keys() }
  export async function only(ctx, key) { await ctx.state.create(key, ctx.self.node); return 'created' }
  export async function forget(ctx, key) { await ctx.state.delete(key) }
  export async function nothing(ctx) { await ctx.state.set('k', undefined) }`

test('state: two copies of a cage count together, and go on where they were after a restart of everything', async (t) => {
  const server = await startNats(t)
  const folder = project(t, { 'cages/shop/counter.js': COUNTER, 'cages/shop/other.js': COUNTER })
  const copies = [startNode(t, folder.dir, words(server.url)), startNode(t, folder.dir, words(server.url))]
  await Promise.all(copies.map(({ ready }) => ready))
  const bus = await testBus(t, server.url)
  const call = (module: string, method: string, ...args: unknown[]): Promise<unknown> =>
    bus.call('shop', module, method, args, { deadline: Date.now() + 20_000, request: { id: 'test' } })
  const results = await Promise.all(Array.from({ length: 100 }, () => call('counter', 'next', 'orders')))
  assert.deepEqual(
    (results as number[]).sort((a, b) => a - b),
    Array.from({ length: 100 }, (_, n) => n + 1),
  )
  assert.equal(await call('other', 'count', 'orders'), undefined, 'a module sees its own')
  assert.equal(await call('counter', 'only', 'boss'), 'created')
  await assert.rejects(call('counter', 'only', 'boss'), { code: 'CONFLICT' })
  await assert.rejects(call('counter', 'nothing'), { code: 'INVALID_ARGUMENT' })
  assert.deepEqual(await call('counter', 'keys'), ['boss', 'orders'])
  await call('counter', 'forget', 'boss')
  await Promise.all(copies.map((copy) => copy.stop()))
  await server.restart()
  const again = startNode(t, folder.dir, words(server.url))
  await again.ready
  assert.equal((await ask(await client(t, server.url), 'shop.counter.next', ['orders'])).body, 101)
})

test('state: what start watches is told until the version stops, what a call watches until the call ends', async (t) => {
  const server = await startNats(t)
  const watcher = (version: number): string => `
    export async function start(ctx) {
      await ctx.state.watch((key, value) => ctx.log.info({ name: key, value, version: ${version} }, 'start was told'))
    }
    export async function put(ctx, key, value) { await ctx.state.set(key, value) }
    export async function look(ctx) {
      const seen = []
      await ctx.state.watch((key, value) => {
        ctx.log.info({ name: key, value }, 'call was told')
        seen.push(key)
        if (key === 'bad') throw new Error('I am bad')
      })
      return seen
    }`
  const folder = project(t, { 'cages/shop/watcher.js': watcher(1) })
  const node = startNode(t, folder.dir, words(server.url))
  await node.ready
  const nc = await client(t, server.url)
  const told = (key: string, version: number) => (entry: LogEntry) =>
    entry.msg === 'start was told' && entry.name === key && entry.version === version
  await ask(nc, 'shop.watcher.put', ['first', 1])
  await node.until('the first is told', told('first', 1))
  assert.deepEqual((await ask(nc, 'shop.watcher.look')).body, ['first'])
  await ask(nc, 'shop.watcher.put', ['second', 2])
  await node.until('the second is told', told('second', 1))
  folder.write('cages/shop/watcher.js', watcher(2))
  await node.until('the new version knows', told('second', 2))
  await eventually('the old version has stopped', async () => {
    await ask(nc, 'shop.watcher.put', ['third', Math.random()])
    return node.log.some(told('third', 2))
  })
  const since = node.log.length
  await ask(nc, 'shop.watcher.put', ['bad', 4])
  await node.until('the fourth is told', told('bad', 2), { since })
  await ask(nc, 'shop.watcher.look')
  await node.until('it has thrown', ({ msg }) => msg === 'the listener of a watch has thrown')
  assert.equal(node.log.slice(since).some(told('bad', 1)), false)
  assert.equal(node.log.filter(({ msg, name }) => msg === 'call was told' && name === 'second').length, 1, 'by the second look only')
})

function words(url: string): string[] {
  return ['--cage', 'shop', '--bus', url]
}
