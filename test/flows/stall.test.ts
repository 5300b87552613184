import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { NatsConnection } from 'nats'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'

const STALL_MS = 1_000

const bad = {
  'cages/risky/bad.js': `
    export async function loop() { return nested() }
    function nested() { while (true) {} }
    export async function leak(ctx) { const kept = []; for (;;) { kept.push(new Array(10_000).fill(kept.length)); if (kept.length % 100 === 0) await null } }
    export async function exit() { process.exit(7) }
    export async function reject() { Promise.reject(new Error('nobody catches this')); return 'ok' }
    export async function later() { setImmediate(() => { throw new Error('thrown in a timer') }); return 'ok' }
    export async function fine() { return 'fine' }`,
  'cages/risky/good.js': 'export async function fine() { return "good" }',
  'cages/other/good.js': 'export async function fine() { return "other" }',
  'config/risky.ts': `export default { stallMs: ${STALL_MS}, memoryMb: 64 }`,
}

async function start(
  t: TestContext,
  extra: Record<string, string> = {},
): Promise<{ node: NodeProcess; nc: NatsConnection; folder: Project }> {
  const server = await startNats(t)
  const folder = project(t, { ...bad, ...extra })
  const node = startNode(t, folder.dir, ['--cage', 'risky', '--cage', 'other', '--bus', server.url])
  await node.ready
  return { node, nc: await client(t, server.url), folder }
}

/** Provokes a call that never answers; the caller's own limit ends it. */
function provoke(nc: NatsConnection, method: string): void {
  nc.publish(`risky.bad.${method}`, '[]')
}

async function serves(nc: NatsConnection, subject: string): Promise<void> {
  await eventually(
    `${subject} answers`,
    async () =>
      (await ask(nc, subject, [], 300).catch(() => undefined))?.status === undefined &&
      (await ask(nc, subject, [], 300).catch(() => undefined)) !== undefined,
  )
}

test('stall: a module that loops loses its worker; the others of its cage are back within stallMs + 1 s and other cages never noticed', async (t) => {
  const { node, nc } = await start(t)
  const begun = performance.now()
  provoke(nc, 'loop')
  assert.equal((await ask(nc, 'other.good.fine', [], 500)).body, 'other', 'another cage answers meanwhile')
  await serves(nc, 'risky.good.fine')
  const ms = performance.now() - begun
  t.diagnostic(`served again after ${ms.toFixed(0)} ms, stallMs is ${STALL_MS}`)
  const told = await node.until('the culprit', (entry) => String(entry.msg).includes('stood still') && entry.module === 'bad')
  assert.equal(told.method, 'loop')
  assert.match(String(told.where), /cages\/risky\/bad\.js:3:/)
  assert.ok(ms < STALL_MS + 1_000 + 1_000, `${ms} ms`) // the second thousand is for a busy machine
  await serves(nc, 'risky.bad.fine')
})

test('stall: after the second time only that module is away while it is replaced', async (t) => {
  const { node, nc } = await start(t)
  provoke(nc, 'loop')
  await serves(nc, 'risky.bad.fine')
  const again = setInterval(() => provoke(nc, 'loop'), 1_500) // one-way: the server may still give it to the worker that is gone
  provoke(nc, 'loop')
  await node.until('the quarantine', (entry) => String(entry.msg).includes('quarantined') && entry.module === 'bad')
  clearInterval(again)
  await serves(nc, 'risky.bad.fine')
  await serves(nc, 'risky.good.fine')
  const since = node.log.length
  provoke(nc, 'loop')
  let asked = 0
  const stuck = node.until('the third stall', (entry) => String(entry.msg).includes('stood still'), { since })
  let ended = false
  void stuck.then(() => (ended = true))
  while (!ended) {
    assert.equal((await ask(nc, 'risky.good.fine', [], 2_000)).body, 'good')
    asked++
  }
  t.diagnostic(`${asked} calls of the other module answered while the quarantined one was stuck`)
  await serves(nc, 'risky.bad.fine')
})

test('stall: a module with `isolate: true` has a worker of its own from the start', async (t) => {
  const { node, nc } = await start(t, {
    'cages/risky/alone.js':
      'export const options = { isolate: true }\nexport async function loop() { for (;;) {} }\nexport async function fine() { return 1 }',
  })
  await serves(nc, 'risky.alone.fine')
  const since = node.log.length
  nc.publish('risky.alone.loop', '[]')
  let ended = false
  void node.until('the stall', (entry) => String(entry.msg).includes('stood still'), { since }).then(() => (ended = true))
  while (!ended) assert.equal((await ask(nc, 'risky.good.fine', [], 2_000)).body, 'good')
  await serves(nc, 'risky.alone.fine')
})

test('stall: a module that loops while it is loaded keeps nobody from starting for long', async (t) => {
  const { node, nc, folder } = await start(t)
  const since = node.log.length
  folder.write('cages/risky/late.js', 'while (true) {}')
  const told = await node.until('the culprit', (entry) => String(entry.msg).includes('stood still'), { since })
  assert.equal(told.module, 'late')
  await node.until('the quarantine', (entry) => String(entry.msg).includes('quarantined') && entry.module === 'late', { since })
  await serves(nc, 'risky.good.fine')
})

test('out of memory: a module that leaks ends only its worker, which is replaced', async (t) => {
  const { node, nc } = await start(t)
  provoke(nc, 'leak')
  const told = await node.until('the culprit', (entry) => String(entry.msg).includes('out of memory'))
  assert.deepEqual([told.module, told.method], ['bad', 'leak'])
  await serves(nc, 'risky.good.fine')
  assert.equal((await ask(nc, 'other.good.fine')).body, 'other')
})

test('exit: process.exit() in a module ends only its worker, which is replaced', async (t) => {
  const { node, nc } = await start(t)
  provoke(nc, 'exit')
  await node.until('the restart', (entry) => entry.msg === 'child died, restarting it')
  await serves(nc, 'risky.good.fine')
  assert.equal((await ask(nc, 'other.good.fine')).body, 'other')
})

test('unhandled: a rejection and an error of a timer are logged with their module, and harm nobody', async (t) => {
  const { node, nc } = await start(t)
  assert.equal((await ask(nc, 'risky.bad.reject')).body, 'ok')
  const rejection = await node.until('the rejection', (entry) => entry.msg === 'unhandled rejection')
  assert.equal(rejection.module, 'bad')
  assert.equal((await ask(nc, 'risky.bad.later')).body, 'ok')
  const thrown = await node.until('the error', (entry) => entry.msg === 'uncaught exception')
  assert.equal(thrown.module, 'bad')
  assert.equal((await ask(nc, 'risky.bad.fine')).body, 'fine')
  assert.equal(
    node.log.some((entry) => entry.msg === 'child died, restarting it'),
    false,
  )
})

test('escalation: a cage that cannot be kept up ends the node with a status that is not 0', async (t) => {
  const { node, nc } = await start(t)
  const deaths = async (n: number): Promise<unknown> =>
    await eventually(`death ${n}`, () => node.log.filter((entry) => entry.msg === 'child died, restarting it').length >= n)
  for (let n = 1; n <= 5; n++) {
    provoke(nc, 'exit')
    await deaths(n)
    await serves(nc, 'risky.bad.fine')
  }
  provoke(nc, 'exit')
  assert.equal(await node.exited, 1)
})
