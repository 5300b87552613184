/** Sagas over restarts, stopped nodes, and code that changes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { SABOTEUR, shop } from '../support/saga.ts'
import { scandals } from '../support/stage.ts'

const NAP = (second: string): string => `
  export async function nap(ctx, ms) {
    await ctx.saga.step('before', () => ctx.cage.saboteur.count('before'))
    await ctx.saga.sleep(ms)
    await ctx.saga.step('${second}', () => ctx.cage.saboteur.count('${second}'))
    return 'rested'
  }
  export async function crowd(ctx) {
    const names = ['a', 'b', 'c', 'd']
    const numbers = await ctx.saga.all(names.map((name) => ctx.saga.step(name, () => ctx.cage.saboteur.count(name))))
    const queued = await ctx.saga.step('queue', () => ctx.queue('orders').module('shop', 'saboteur').count('queued'))
    return { numbers: numbers.sort(), queued }
  }`

test('saga: a sleep goes on over a restart of node and server, and is not begun again', async (t) => {
  const server = await startNats(t)
  const set = await shop(t, server.url, { 'cages/shop/nap.js': NAP('after') })
  const first = set.start()
  await first.ready
  const begunAt = Date.now()
  await set.enqueue('nap.nap', [8_000], { id: 'nap-1' })
  await set.until('nap-1', 'delayed')
  first.kill('SIGKILL')
  await first.exited
  await server.restart()
  const second = set.start()
  await second.ready
  assert.equal((await set.until('nap-1', 'done')).result, 'rested')
  const tookMs = Date.now() - begunAt
  assert.ok(tookMs >= 8_000 && tookMs < 16_000, `${tookMs} ms`)
  assert.deepEqual(set.trace(), ['before', 'after'])
  await set.settled()
})

test('saga: steps side by side are each done once, and a call that a step queues has its key', async (t) => {
  const server = await startNats(t)
  const set = await shop(t, server.url, { 'cages/shop/nap.js': NAP('after') })
  const node = set.start({ AT: 'crowd-1 acted queue' })
  await node.ready
  await set.enqueue('nap.crowd', [], { id: 'crowd-1' })
  await node.exited
  await set.start().ready
  const { result } = await set.until('crowd-1', 'done')
  assert.deepEqual(result, { numbers: [1, 2, 3, 4], queued: 'crowd-1/queue/do' })
  await set.until('crowd-1/queue/do', 'done')
  assert.deepEqual(set.trace().sort(), ['a', 'b', 'c', 'd', 'queued'])
})

test('saga: a module in a worker of its own has sagas, and one that ends that worker goes on in the next', async (t) => {
  const server = await startNats(t)
  const nap = `${NAP('after')}
    import { existsSync, writeFileSync } from 'node:fs'
    export const options = { isolate: true }
    export async function crash(ctx) {
      await ctx.saga.step('one', () => ctx.cage.saboteur.count('one'))
      await ctx.saga.step('two', async () => {
        await ctx.cage.saboteur.count('two')
        if (existsSync(process.env.TRACE + '.crashed')) return
        writeFileSync(process.env.TRACE + '.crashed', '')
        process.exit(1)
      })
      return ctx.request.callId
    }`
  const set = await shop(t, server.url, { 'cages/shop/nap.js': nap }, '{ queues: { orders: { backoff: { firstMs: 1_000 } } } }')
  const node = set.start()
  await node.until('it has its worker', ({ msg, modules }) => msg === 'cage serves' && String(modules) === 'nap')
  await set.enqueue('nap.crash', [], { id: 'crash-1' })
  assert.equal((await set.until('crash-1', 'done')).result, 'crash-1')
  assert.deepEqual(set.trace(), ['one', 'two'])
})

test('saga: code that does not match waits for code that does, and the queue shows why', async (t) => {
  const server = await startNats(t)
  const set = await shop(t, server.url, { 'cages/shop/nap.js': NAP('after') })
  const node = set.start()
  await node.ready
  const deploy = async (text: string): Promise<void> => {
    const since = node.log.length
    set.folder.write('cages/shop/nap.js', text)
    await node.until('it serves', ({ msg, module }) => msg === 'module in service' && module === 'nap', { since })
  }
  await set.enqueue('nap.nap', [600_000], { id: 'nap-2' })
  await set.until('nap-2', 'delayed')
  await deploy(NAP('after').replace(`step('before'`, `step('early'`))
  await set.bus.queues.hasten('nap-2')
  const { error, attempts } = await eventually('it does not match', async () => {
    const status = await set.bus.queues.status('nap-2')
    return status?.error?.code === 'SAGA_MISMATCH' && status
  })
  assert.match(error?.message ?? '', /version \w{12} began it and came to step before as number 1, version \w{12} comes to step early/)
  assert.equal(attempts, 0)
  await deploy(NAP('later'))
  await set.bus.queues.hasten('nap-2')
  await eventually('it sleeps on', async () => (await set.bus.queues.status('nap-2'))?.error?.code === 'SNOOZED')
  assert.deepEqual(set.trace(), ['before'])
})

test('saga: a run whose node was stopped, and goes on after another one has ended the saga, does nothing more', async (t) => {
  const server = await startNats(t)
  const steps = ['one', 'two'].map((step) => `await ctx.saga.step('${step}', () => ctx.module('bank', 'saboteur').count('${step}'))`)
  const sale = `export async function sell(ctx) { ${steps.join('\n')}; return 'sold' }`
  const set = await shop(t, server.url, { 'cages/shop/sale.js': sale, 'cages/bank/saboteur.js': SABOTEUR })
  const zombie = set.start({ AT: 'zombie-1 acted one', WITH: 'SIGSTOP' })
  await Promise.all([zombie.ready, set.start({}, 'bank').ready]) // calls of its own cage would meet the stopped copy
  await set.enqueue('sale.sell', [], { id: 'zombie-1' })
  await eventually('the first step is done', () => set.trace().length > 0)
  const living = set.start()
  await living.ready
  await set.until('zombie-1', 'done')
  zombie.kill('SIGCONT')
  await zombie.until('it is fenced', ({ msg }) => msg === 'a run was replaced by another one of its call, which is left to that')
  await set.settled()
  assert.deepEqual(set.trace(), ['one', 'two'])
  assert.deepEqual(scandals([zombie, living]), [])
})
