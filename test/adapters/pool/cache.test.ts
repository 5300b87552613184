/** The read cache of a resource: docs/resources.md. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Scope } from '../../../src/adapters/adapter.ts'
import { openCache } from '../../../src/adapters/pool/cache.ts'
import type { CacheCall, CacheSettings, ReadCache } from '../../../src/adapters/pool/contract.ts'
import { cacheOptions } from '../../../src/adapters/pool/options.ts'
import { type Candidate, victim } from '../../../src/adapters/pool/victim.ts'
import { CageError } from '../../../src/errors.ts'
import { deferred, eventually } from '../../../src/testing/wait.ts'

function cacheOf(settings: Partial<CacheSettings> = {}): ReadCache {
  return openCache('ledger', cacheOptions.parse(settings))
}

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

/** A source that counts how often each key was read, and how to read it through a cache. */
function source(cache: ReadCache): { reads: string[]; read(key: string, call?: CacheCall): Promise<unknown> } {
  const reads: string[] = []
  return {
    reads,
    read: (key, call = {}) =>
      cache.use('execute', [key], call, scope(), async () => {
        reads.push(key)
        return { key, n: reads.length }
      }),
  }
}

test('cache: a call is known by its method and arguments, and each caller gets a copy of its own', async () => {
  const cache = cacheOf()
  const { reads, read } = source(cache)
  const first = (await read('a')) as { n: number }
  first.n = 99
  const second = (await read('a')) as { n: number }
  assert.deepEqual(second, { key: 'a', n: 1 })
  second.n = 98
  assert.deepEqual(await read('a'), { key: 'a', n: 1 })
  await read('b')
  await cache.use('other', ['a'], {}, scope(), async () => 'other')
  assert.deepEqual(reads, ['a', 'b'])
  assert.deepEqual(cache.stats(), { size: 1_000, kept: 3, hits: 2, misses: 3 })
  assert.deepEqual(
    await Promise.all([1, 1n, '1', [1], new Date(1)].map((value) => cache.use('typed', [value], {}, scope(), async () => [value]))),
    [[1], [1n], ['1'], [[1]], [new Date(1)]],
    'values of different types are different arguments',
  )
})

test('cache: a key of the caller’s own names the result whatever the arguments', async () => {
  const cache = cacheOf()
  assert.equal(await cache.use('execute', [1], { key: 'mine' }, scope(), async () => 'one'), 'one')
  assert.equal(await cache.use('execute', [2], { key: 'mine' }, scope(), async () => 'two'), 'one')
})

test('cache: functions among the arguments, failures, undefined and null are not kept', async () => {
  const cache = cacheOf()
  let runs = 0
  const run = (value: unknown) => async (): Promise<unknown> => {
    runs++
    if (value instanceof Error) throw value
    return value
  }
  for (let n = 0; n < 2; n++) {
    await cache.use('run', [() => {}], {}, scope(), run('result'))
    await cache.use('execute', ['undefined'], {}, scope(), run(undefined))
    await cache.use('execute', ['null'], {}, scope(), run(null))
    await assert.rejects(cache.use('execute', ['error'], {}, scope(), run(new Error('no'))))
  }
  assert.equal(runs, 8)
  assert.equal(cache.stats().kept, 0)
})

test('cache: what is expired is read anew, by its own time or the resource’s', async () => {
  const cache = cacheOf({ ttlMs: 20 })
  const { reads, read } = source(cache)
  await read('short')
  await read('long', { ttlMs: 60_000 })
  await eventually('the short one is read anew', async () => ((await read('short')) as { n: number }).n > 2)
  await read('long', { ttlMs: 60_000 })
  assert.equal(reads.filter((key) => key === 'long').length, 1)
})

test('cache: of many who read the same at once one executes', async () => {
  const cache = cacheOf()
  const { promise, resolve } = deferred<string[]>()
  let executed = 0
  const read = (): Promise<unknown> =>
    cache.use('execute', ['x'], {}, scope(), () => {
      executed++
      return promise
    })
  const all = Promise.all(Array.from({ length: 50 }, read))
  resolve(['value'])
  const values = await all
  assert.equal(executed, 1)
  assert.equal(new Set(values).size, 50, 'copies')
  assert.deepEqual(values[49], ['value'])
})

test('cache: who waits for another’s read does so within its own scope', async () => {
  const cache = cacheOf()
  const slow = deferred<string>()
  const leader = cache.use('execute', ['x'], {}, scope(), () => slow.promise)
  const gone = new AbortController()
  const leaving = cache.use('execute', ['x'], {}, scope(20_000, gone.signal), async () => 'never')
  await assert.rejects(
    cache.use('execute', ['x'], {}, scope(10), async () => 'never'),
    (error: CageError) => error.code === 'DEADLINE_EXCEEDED',
  )
  gone.abort()
  await assert.rejects(leaving, (error: CageError) => error.code === 'CANCELLED')
  slow.resolve('value')
  assert.equal(await leader, 'value')
})

test('cache: if the one who executes gives up, another one does; a failure of the resource is everybody’s', async () => {
  const cache = cacheOf()
  const fail = deferred<Error>()
  const failing = async (): Promise<unknown> => {
    throw await fail.promise
  }
  const leader = cache.use('execute', ['x'], {}, scope(), failing)
  const follower = cache.use('execute', ['x'], {}, scope(), async () => 'second')
  fail.resolve(new CageError('CANCELLED', 'the first one left'))
  await assert.rejects(leader)
  assert.equal(await follower, 'second')
  const [one, two] = [cache.use('execute', ['y'], {}, scope(), failing2), cache.use('execute', ['y'], {}, scope(), async () => 'no')]
  await assert.rejects(one, /broken/)
  await assert.rejects(two, /broken/)
  async function failing2(): Promise<never> {
    throw new CageError('UNAVAILABLE', 'broken')
  }
})

test('cache: a write forgets the reads that share a key with it, also those under way', async () => {
  const cache = cacheOf()
  const { reads, read } = source(cache)
  await read('orders', { readKeys: ['orders', 'customers'] })
  await read('articles', { readKeys: ['articles'] })
  const slow = deferred<string>()
  const under = cache.use('execute', ['slow'], { readKeys: ['orders'] }, scope(), () => slow.promise)
  assert.equal(await cache.use('change', ['x'], { writeKeys: ['orders'] }, scope(), async () => 1), 1)
  slow.resolve('old')
  assert.equal(await under, 'old', 'who asked before the write gets what was there')
  assert.equal(await cache.use('execute', ['slow'], { readKeys: ['orders'] }, scope(), async () => 'new'), 'new')
  await read('orders', { readKeys: ['orders'] })
  await read('articles', { readKeys: ['articles'] })
  assert.deepEqual(reads, ['orders', 'articles', 'orders'])
  await assert.rejects(cache.use('change', ['x'], { writeKeys: ['orders'] }, scope(), () => Promise.reject(new Error('lost'))))
  await read('orders', { readKeys: ['orders'] })
  assert.equal(reads.length, 4, 'a write that failed may have been one')
})

test('cache: no policy keeps more than its size', async () => {
  for (const policy of ['lru', 'lfu', 'weight', 'useless', 'old', 'random'] as const) {
    const cache = cacheOf({ size: 3, policy })
    const { read } = source(cache)
    for (let n = 0; n < 20; n++) await read(String(n % 7), { weight: n, ttlMs: 1_000 + n })
    assert.equal(cache.stats().kept, 3, policy)
  }
})

test('cache: each policy lets another one go', () => {
  const candidate = (key: string, weight: number, hits: number, remainingMs: number, group = ''): Candidate<string> => ({
    key,
    kept: { weight, hits, group },
    remainingMs,
  })
  const all = [candidate('stale', 5, 9, 40), candidate('rare', 7, 1, 30), candidate('cheap', 1, 20, 20), candidate('old', 9, 30, 10)]
  const out = (policy: CacheSettings['policy'], random = 0.5): string | undefined =>
    victim(
      all,
      policy,
      () => random,
      () => 0,
    )
  assert.deepEqual(
    (['lru', 'lfu', 'weight', 'useless', 'old', 'random'] as const).map((policy) => out(policy)),
    ['stale', 'rare', 'cheap', 'rare', 'old', 'stale'],
  )
  const grouped = [candidate('rich', 1, 1, 1, 'rich'), candidate('poor 2', 5, 5, 5, 'poor'), candidate('poor 1', 4, 4, 4, 'poor')]
  assert.equal(
    victim(
      grouped,
      'lfu',
      () => 0,
      (group) => (group === 'rich' ? 10 : 1),
    ),
    'poor 1',
  )
})

test('cache: with groups room is made in the one that has saved the least', async () => {
  const cache = cacheOf({ size: 4, groupIntervalMs: 60_000 })
  const { reads, read } = source(cache)
  await read('a1', { group: 'a', weight: 10 })
  await read('a2', { group: 'a', weight: 10 })
  await read('b1', { group: 'b', weight: 10 })
  await read('a1', { group: 'a' })
  await read('c', { group: 'c', weight: 10 })
  await read('d', { group: 'd', weight: 10 })
  await read('a2', { group: 'a' })
  assert.deepEqual(reads, ['a1', 'a2', 'b1', 'c', 'd'], 'the hits of one saved its whole group')
})
