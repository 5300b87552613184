import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { headers as createHeaders } from 'nats'
import { testBus } from '../../src/testing/bus.ts'
import { client, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { project, startNode } from '../support/node.ts'

const ROOMS = `
import { appendFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
const trace = (ctx, what) => appendFileSync(process.env.TRACE, what + ' ' + process.pid + '\\n')
export async function reserve(ctx, n, ms = 0) {
  trace(ctx, 'reserve ' + n)
  await setTimeout(ms)
  return { key: ctx.request.key, nested: await ctx.cage.rooms.key() }
}
export async function cancel(ctx, n) { trace(ctx, 'cancel ' + n) }
export async function key(ctx) { return ctx.request.key ?? 'none' }
export async function stubborn(ctx) { trace(ctx, 'stubborn'); await setTimeout(1_500); return 'after all' }`

test('once: 50 calls of one key over two copies run once; a copy that is killed is replaced; what did not run is not undone', async (t) => {
  const server = await startNats(t)
  const folder = project(t, { 'cages/hotel/rooms.js': ROOMS })
  const trace = join(folder.dir, 'trace')
  const copies = [0, 1].map((n) =>
    startNode(t, folder.dir, ['--cage', 'hotel', '--bus', server.url, '--name', `copy-${n}`], { TRACE: trace }),
  )
  await Promise.all(copies.map(({ ready }) => ready))
  const bus = await testBus(t, server.url)
  const call = (method: string, args: unknown[], options: object = {}): Promise<unknown> =>
    bus.call('hotel', 'rooms', method, args, { deadline: Date.now() + 20_000, request: { id: 'test' }, ...options })
  const lines = (what: string): string[] =>
    existsSync(trace)
      ? readFileSync(trace, 'utf8')
          .split('\n')
          .filter((line) => line.startsWith(`${what} `))
      : []

  const results = await Promise.all(Array.from({ length: 50 }, () => call('reserve', [1, 50], { key: 't/1/do' })))
  for (const result of results) assert.deepEqual(result, { key: 't/1/do', nested: 'none' })
  assert.equal(lines('reserve 1').length, 1)

  const before = performance.now()
  await Promise.all(Array.from({ length: 50 }, () => call('key', [])))
  t.diagnostic(`50 calls without a key: ${Math.round(performance.now() - before)} ms`)

  const asked = createHeaders()
  asked.set('Idempotency-Key', 'foreign')
  const nc = await client(t, server.url)
  for (const _ of [1, 2])
    assert.deepEqual(JSON.parse((await nc.request('hotel.rooms.reserve', '[2]', { headers: asked, timeout: 5_000 })).string()), {
      key: 'foreign',
      nested: 'none',
    })
  assert.equal(lines('reserve 2').length, 1)

  assert.equal(await call('cancel', [3], { key: 't/3/undo', cancels: 't/3/do' }), undefined)
  await assert.rejects(call('reserve', [3], { key: 't/3/do' }), { code: 'CANCELLED' })
  await call('cancel', [1], { key: 't/1/undo', cancels: 't/1/do' })
  assert.deepEqual([lines('reserve 3').length, lines('cancel 3').length, lines('cancel 1').length], [0, 0, 1])

  await assert.rejects(call('stubborn', [], { key: 'late', deadline: Date.now() + 300 }), { code: 'DEADLINE_EXCEEDED' })
  assert.equal(await call('stubborn', [], { key: 'late' }), 'after all')
  assert.equal(lines('stubborn').length, 1)

  const long = call('reserve', [4, 600_000], { key: 't/4/do', deadline: Date.now() + 30_000 })
  const gone = assert.rejects(long)
  await eventually('it runs', () => lines('reserve 4').length === 1)
  const runner = Number(lines('reserve 4')[0]?.split(' ')[2])
  copies.find(({ pid }) => pid === runner)?.kill('SIGKILL')
  const again = (): Promise<unknown> => call('reserve', [4, 0], { key: 't/4/do', deadline: Date.now() + 2_000 }).catch(() => undefined) // it may go to the dead one
  assert.deepEqual(await eventually('it is run again', again), { key: 't/4/do', nested: 'none' })
  assert.equal(lines('reserve 4').length, 2)
  await bus.close()
  await gone
})
