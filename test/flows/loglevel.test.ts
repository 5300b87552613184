/** A log level that goes along with a request, through calls and queued calls, on a node that logs less. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { headers } from 'nats'
import { testBus } from '../../src/testing/bus.ts'
import { client, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { project, startNode } from '../support/node.ts'

const STEPS = `
export async function ask(ctx, n) { ctx.log.debug({ n }, 'asked'); return ctx.queue('work', { id: 'step-' + n }).module('shop', 'steps').work(n) }
export async function work(ctx, n) {
  ctx.log.debug({ n, attempt: ctx.request.attempt }, 'worked')
  if (ctx.request.attempt === 1) throw new Error('not yet')
  await ctx.module('shop', 'leaf').end(n)
}
export async function loud(ctx, n, log) { return ctx.with({ log }).module('shop', 'leaf').end(n) }
`
const LEAF = `export async function end(ctx, n) { ctx.log.debug({ n }, 'ended'); ctx.log.info({ n }, 'told') }`

test('log level: it goes along with one request over queues and retries, and other requests stay quiet', async (t) => {
  const { url } = await startNats(t)
  const { dir } = project(t, {
    'cages/shop/steps.js': STEPS,
    'cages/shop/leaf.js': LEAF,
    'config/shop.ts': 'export default { queues: { work: { backoff: { firstMs: 20 } } } }',
  })
  const node = startNode(t, dir, ['--cage', 'shop', '--bus', url, '--log-level', 'info'])
  await node.ready
  const bus = await testBus(t, url)
  const nc = await client(t, url)
  const call = (method: string, args: unknown[], log?: 'debug'): Promise<unknown> =>
    bus.call('shop', 'steps', method, args, { deadline: Date.now() + 10_000, request: log ? { id: 'r', log } : { id: 'r' } })

  await call('ask', [1])
  await call('ask', [2], 'debug')
  await call('loud', [3, 'debug'])
  await assert.rejects(call('loud', [4, 'deafening']), { code: 'INVALID_ARGUMENT' })
  for (const [n, level] of [
    [5, 'debug'],
    [6, 'deafening'],
  ] as const) {
    const asked = headers()
    asked.set('Log-Level', level)
    await nc.request('shop.leaf.end', `[${n}]`, { headers: asked, timeout: 5_000 })
    await nc.request('queue.work.shop.leaf.end', `[${n + 2}]`, { headers: asked, timeout: 5_000 })
  }

  const told = (): number[] => node.log.filter(({ msg }) => msg === 'told').map(({ n }) => Number(n))
  await eventually('all have ended', () => told().length === 7)
  const debugged = node.log.filter(({ level }) => level === 20).map(({ msg, n, attempt }) => [n, msg, attempt].join(' ').trim())
  assert.deepEqual(debugged.sort(), ['2 asked', '2 ended', '2 worked 1', '2 worked 2', '3 ended', '5 ended', '7 ended'])
})
