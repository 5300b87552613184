import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { StateStore } from '../../src/bus/bus.ts'
import { decodeIntent, encodeIntent, packed, unpacked } from '../../src/bus/state/intent.ts'
import { CageError } from '../../src/errors.ts'
import { pause } from '../../src/pause.ts'
import { testBus } from '../../src/testing/bus.ts'
import { startCluster, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { deferred, eventually } from '../../src/testing/wait.ts'

const server = await startNats(suite)
const [one, two] = await Promise.all([testBus(suite, server.url), testBus(suite, server.url)])

test('intent: nobody but its branch sees a prepared change; committed, everybody does', async () => {
  const [mine, theirs] = stores('isolation')
  await set(mine, 'k', 'old')
  assert.equal(await mine.prepare('k', () => 'new', branch('t1')), 'new')
  assert.equal(await mine.prepare('fresh', () => 1, branch('t1')), 1)
  assert.equal(await theirs.get('k', soon()), 'old')
  assert.equal(await theirs.get('fresh', soon()), undefined)
  assert.deepEqual(await theirs.keys(soon()), ['k'])
  assert.equal(await theirs.prepare('k', (seen) => `${String(seen)}er`, branch('t1')), 'newer', 'the same branch goes on from its own')
  assert.equal(await theirs.get('k', soon()), 'old')
  assert.equal(await theirs.finish('k', 't1', 'commit', soon()), 'newer')
  assert.equal(await theirs.finish('fresh', 't1', 'commit', soon()), 1)
  assert.equal(await mine.get('k', soon()), 'newer')
  assert.deepEqual(await mine.keys(soon()), ['fresh', 'k'])
  assert.equal(await theirs.finish('k', 't1', 'rollback', soon()), 'newer', 'an end that comes again does nothing')
  assert.equal(await theirs.finish('k', 'other', 'commit', soon()), 'newer')
})

test('intent: rolled back, the old value is there as it was, or there is none', async () => {
  const [mine, theirs] = stores('rollback')
  await set(mine, 'k', new Map([[1, 2n]]))
  await mine.prepare('k', () => undefined, branch('t1'))
  await mine.prepare('fresh', () => 1, branch('t1'))
  assert.deepEqual(await theirs.get('k', soon()), new Map([[1, 2n]]))
  assert.deepEqual(await theirs.finish('k', 't1', 'rollback', soon()), new Map([[1, 2n]]))
  assert.equal(await theirs.finish('fresh', 't1', 'rollback', soon()), undefined)
  assert.deepEqual(await mine.get('k', soon()), new Map([[1, 2n]]))
  assert.deepEqual(await mine.keys(soon()), ['k'])
  await mine.prepare('k', () => undefined, branch('t2'))
  await mine.finish('k', 't2', 'commit', soon())
  assert.deepEqual(await theirs.keys(soon()), [])
  assert.equal(await mine.prepare('k', () => undefined, branch('t3')), undefined)
  assert.equal(await set(theirs, 'k', 5), 5, 'to delete what is not there holds nothing')
})

test('intent: other writers wait for its end, or get CONFLICT that names it', async () => {
  const [mine, theirs] = stores('writers')
  await set(mine, 'k', 1)
  await mine.prepare('k', (n) => (n as number) + 1, branch('t1'))
  const named = { code: 'CONFLICT', retryable: true, message: /t1/, details: { branch: 't1' } }
  await assert.rejects(
    theirs.update('k', () => 9, { deadline: Date.now() + 200 }),
    named,
  )
  await assert.rejects(
    theirs.prepare('k', () => 9, { branch: 't2', deadline: Date.now() + 200 }),
    named,
  )
  const waiting = [set(theirs, 'k', (n: unknown) => (n as number) * 10), theirs.prepare('other', () => 1, branch('t2'))]
  await pause(60)
  await mine.finish('k', 't1', 'commit', soon())
  assert.deepEqual(await Promise.all(waiting), [20, 1])
  const wrong = mine.prepare(
    'k',
    () => {
      throw new CageError('MINE', 'no')
    },
    branch('t3'),
  )
  await assert.rejects(wrong, { code: 'MINE' })
  assert.equal(await set(theirs, 'k', 6), 6, 'what was not prepared holds nothing')
})

test('intent: what was under way when its branch was rolled back holds nothing', async () => {
  const [mine, theirs] = stores('underway')
  for (const key of ['k', 'fresh']) {
    if (key === 'k') await set(mine, key, 1)
    const { promise, resolve } = deferred<void>()
    const change = async (): Promise<number> => {
      await promise
      return 2
    }
    const preparing = mine.prepare(key, change, { branch: 't1', deadline: Date.now() + 100 })
    const failed = assert.rejects(preparing)
    await pause(150)
    await theirs.finish(key, 't1', 'rollback', soon())
    resolve()
    await failed
    await theirs.update(key, () => 3, { deadline: Date.now() + 1_000 })
    assert.equal(await mine.get(key, soon()), 3)
  }
})

test('intent: 20 transactions that increment at once, some of which are rolled back, lose nothing', async () => {
  await increments(stores('counters'), 20)
})

test('intent: in a cluster before 2.11 nothing is lost either', async (t) => {
  const { servers } = await startCluster(t)
  const buses = await Promise.all(servers.map(({ url }) => testBus(t, url, { replicas: 3 })))
  const all = buses.map((bus) => bus.state('clustered', 'm'))
  const ready = (): Promise<boolean> =>
    set(all[0], 'ready', 1).then(
      () => true,
      () => false,
    )
  await eventually('the cluster has a leader', ready, 120_000)
  await increments(all, 20)
})

test('intent: what a branch has prepared is finished by another connection after its own is gone', async (t) => {
  const bus = await testBus(t, server.url)
  const store = bus.state('crash', 'm')
  await set(store, 'k', 1)
  await store.prepare('k', () => 2, branch('t1'))
  await bus.close()
  const [mine, theirs] = stores('crash')
  const ends = await Promise.all([mine, theirs].map((other) => other.finish('k', 't1', 'commit', soon())))
  assert.deepEqual(ends, [2, 2])
  assert.equal(await mine.get('k', soon()), 2)
})

test('intent: a watch hears of nothing until it is committed, and not of what is rolled back', async () => {
  const [mine, theirs] = stores('watched')
  await set(mine, 'k', 1)
  const told: [string, unknown][] = []
  const stop = await theirs.watch((key, value) => void told.push([key, value]), soon())
  await mine.prepare('k', () => 2, branch('t1'))
  await mine.prepare('fresh', () => 2, branch('t1'))
  await mine.prepare('k', () => 3, branch('t1'))
  await mine.finish('k', 't1', 'rollback', soon())
  await mine.finish('fresh', 't1', 'rollback', soon())
  await mine.prepare('k', () => 4, branch('t2'))
  const late: [string, unknown][] = []
  const stopLate = await theirs.watch((key, value) => void late.push([key, value]), soon())
  await mine.finish('k', 't2', 'commit', soon())
  await eventually('both are told', () => told.length >= 2 && late.length >= 2)
  assert.deepEqual(told, [
    ['k', 1],
    ['k', 4],
  ])
  assert.deepEqual(late, [
    ['k', 1],
    ['k', 4],
  ])
  stop()
  stopLate()
})

test('intent: an old value that expires meanwhile is absent, a new one lives from its commit on', async () => {
  const [mine, theirs] = stores('expiry')
  await mine.update('k', () => 'short', { deadline: soon(), ttlMs: 150 })
  await mine.prepare('k', () => 'long', { ...branch('t1'), ttlMs: 300 })
  await mine.update('back', () => 'short', { deadline: soon(), ttlMs: 400 })
  await mine.prepare('back', () => 'long', branch('t1'))
  await eventually('the old one expires', async () => (await theirs.get('k', soon())) === undefined)
  await theirs.keys(soon())
  await pause(200)
  assert.equal(await theirs.finish('k', 't1', 'commit', soon()), 'long')
  assert.equal(await theirs.get('k', soon()), 'long')
  await eventually('the new one expires', async () => (await theirs.get('k', soon())) === undefined, 2_000)
  await theirs.finish('back', 't1', 'rollback', soon())
  await eventually('what was rolled back expires when it would have', async () => (await theirs.get('back', soon())) === undefined, 2_000)
})

test('intent: both values have to fit into one message; one that is too large changes nothing', async () => {
  const [mine] = stores('sizes')
  await set(mine, 'k', Buffer.alloc(600_000))
  await assert.rejects(
    mine.prepare('k', () => Buffer.alloc(600_000), branch('t1')),
    {
      code: 'PAYLOAD_TOO_LARGE',
      message: /"k" takes 1200\d\d\d bytes together with the one that it replaces/,
    },
  )
  assert.equal(await set(mine, 'k', 1), 1)
})

test('intent: packed and read, it is the same', () => {
  for (const value of [undefined, null, 0, '', { a: new Map([[1, new Date(0)]]) }]) {
    const intent = { branch: 'b', old: packed(value), oldExpiresAt: 5, new: packed(undefined), ttlMs: null }
    const read = decodeIntent(encodeIntent(intent))
    assert.deepEqual(unpacked(read.old), value)
    assert.equal(unpacked(read.new), undefined)
    assert.deepEqual([read.branch, read.oldExpiresAt, read.ttlMs], ['b', 5, null])
  }
})

/** Transactions that each increment two keys, on all the stores; every fourth is rolled back. */
async function increments(all: readonly StateStore[], count: number): Promise<void> {
  const add = (n: unknown): number => ((n as number | undefined) ?? 0) + 1
  const transaction = async (n: number): Promise<void> => {
    const store = all[n % all.length] ?? assert.fail()
    const end = n % 4 === 3 ? 'rollback' : 'commit'
    for (const key of ['a', 'b']) await store.prepare(key, add, { branch: `t${n}`, deadline: Date.now() + 60_000 })
    for (const key of ['a', 'b']) await (all[(n + 1) % all.length] ?? store).finish(key, `t${n}`, end, soon())
  }
  await Promise.all(Array.from({ length: count }, (_, n) => transaction(n)))
  for (const key of ['a', 'b']) assert.equal(await all[0]?.get(key, soon()), (count * 3) / 4)
}

function stores(cage: string): [StateStore, StateStore] {
  return [one.state(cage, 'm'), two.state(cage, 'm')]
}

function branch(name: string): { branch: string; deadline: number } {
  return { branch: name, deadline: soon() }
}

function set(store: StateStore | undefined, key: string, value: unknown): Promise<unknown> {
  const change = typeof value === 'function' ? (value as (current: unknown) => unknown) : () => value
  return (store ?? assert.fail()).update(key, change, { deadline: soon() })
}

function soon(): number {
  return Date.now() + 20_000
}
