import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type LogEntry, type NodeProcess, project, startNode } from '../support/node.ts'

const files = {
  'cages/shop/jobs.js': `
    export async function direct(ctx, word) { ctx.log.info({ tick: ctx.request.parameters.tick, word }, 'direct') }
    export async function queued(ctx, word) { ctx.log.info({ tick: ctx.request.parameters.tick, word }, 'queued') }`,
  'config/shop.ts': `export default { interfaces: {
    direct: { kind: 'schedule', cron: '* * * * * *', call: 'jobs.direct', args: ['a'], timeoutMs: 1500 },
    queued: { kind: 'schedule', cron: '* * * * * *', call: 'jobs.queued', args: ['b'], queue: 'retry', missed: 'all' },
  } }`,
}

test('schedule: two nodes fire each tick once; one is killed and the ticks go on; a downtime of all is caught up with', async (t) => {
  const server = await startNats(t)
  const folder = project(t, files)
  const start = (): NodeProcess => startNode(t, folder.dir, ['--cage', 'shop', '--bus', server.url])
  const nodes = [start(), start()]
  await Promise.all(nodes.map(({ ready }) => ready))
  await reached(nodes, 'direct', 4)
  await reached(nodes, 'queued', 4)
  await eventually('what was queued is acknowledged', () => Date.now() % 1_000 > 500) // else it is run again, and rightly so
  nodes[0]?.kill('SIGKILL')
  await nodes[0]?.exited
  const before = ticks(nodes, 'direct').length
  await reached(nodes, 'direct', before + 4)
  await nodes[1]?.stop()
  const last = ticks(nodes, 'queued').at(-1) ?? 0
  await eventually('four ticks were missed', () => Date.now() > last + 4_500)
  nodes.push(start())
  await reached(nodes, 'queued', ticks(nodes, 'queued').length + 6)
  const direct = ticks(nodes, 'direct')
  const queued = ticks(nodes, 'queued')
  assert.equal(new Set(direct).size, direct.length, 'no direct tick is fired twice')
  assert.equal(new Set(queued).size, queued.length, 'no queued tick is run twice')
  assert.deepEqual(
    queued,
    queued.map((_, n) => (queued[0] ?? 0) + n * 1_000),
    'no queued tick is missing',
  )
  const up = direct.filter((tick) => tick <= last)
  assert.ok((up.at(-1) ?? 0) - (up[0] ?? 0) <= (up.length + 2) * 1_000, 'the killed node cost at most the ticks of one lease')
})

test('schedule: a wrong expression is told with its file and path', async (t) => {
  const folder = project(t, {
    'cages/shop/jobs.js': 'export async function run() {}',
    'config/shop.ts': `export default { interfaces: {
      nightly: { kind: 'schedule', cron: '0 25 * * *', call: 'jobs.run' },
      hourly: { kind: 'schedule', cron: '0 * * * *', call: 'jobs.run', timezone: 'Berlin', mised: 'all' },
    } }`,
  })
  const node = startNode(t, folder.dir, ['--cage', 'shop'])
  assert.equal(await node.exited, 78)
  assert.match(node.stderr(), /config\/shop\.ts: interfaces\.nightly\.cron: invalid value for hour: 25/)
  assert.match(node.stderr(), /config\/shop\.ts: interfaces\.hourly\.timezone: "Berlin" is no time zone like Europe\/Berlin or UTC/)
  assert.match(node.stderr(), /config\/shop\.ts: interfaces\.hourly\.mised: unknown option, did you mean missed\?/)
})

/** The ticks that the nodes have run, in order, epoch ms. */
function ticks(nodes: NodeProcess[], kind: string): number[] {
  return nodes
    .flatMap(({ log }) => log)
    .filter(({ msg }: LogEntry) => msg === kind)
    .map(({ tick }) => Date.parse(String(tick)))
    .sort((a, b) => a - b)
}

async function reached(nodes: NodeProcess[], kind: string, n: number): Promise<void> {
  await eventually(`${n} ${kind} ticks`, () => ticks(nodes, kind).length >= n)
}
