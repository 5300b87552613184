import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Bus, StateStore, StateWrite } from '../../src/bus/bus.ts'
import { needsSharedIds } from '../../src/bus/state/bucket.ts'
import { fateOf, keyOf, noEntry, tokenOfKey, writersOf } from '../../src/bus/state/entry.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { type Owner, suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { SOAK } from '../support/stage.ts'

const server = await startNats(suite)
const [one, two] = await Promise.all([testBus(suite, server.url), testBus(suite, server.url)])

test('state: what is set is read by another connection, with dates, maps, sets, bytes and bigints', async () => {
  const value = {
    at: new Date(5),
    map: new Map([[1, { deep: new Map() }]]),
    set: new Set(['a']),
    big: 2n ** 70n,
    bytes: Buffer.from('x'),
    none: null,
  }
  await set(one.state('types', 'm'), 'key', value)
  const read = (await get(two.state('types', 'm'), 'key')) as typeof value
  assert.deepEqual({ ...read, bytes: Buffer.from(read.bytes) }, value)
})

test('state: a module sees its own keys only, and so does a cage', async () => {
  const [mine, theirs, elsewhere] = [one.state('private', 'mine'), one.state('private', 'theirs'), one.state('other', 'mine')]
  await set(mine, 'key', 1)
  assert.equal(await get(theirs, 'key'), undefined)
  assert.equal(await get(elsewhere, 'key'), undefined)
  await set(theirs, 'key', 2)
  assert.equal(await get(mine, 'key'), 1)
  assert.deepEqual(await theirs.keys(soon()), ['key'])
})

test('state: any text of up to 256 bytes is a key', async () => {
  const store = one.state('names', 'm')
  const keys = ['a', 'a.b', '.', '*', '>', 'a b', '=41', 'ключ', '🦒', 'x/y', 'A'.repeat(256), '\n', '%', '_-', 'constructor']
  for (const key of keys) await set(store, key, key)
  assert.deepEqual(await store.keys(soon()), [...keys].sort())
  for (const key of keys) assert.equal(await get(store, key), key)
  for (const bad of ['', 'A'.repeat(257), '\ud800', 5 as unknown as string])
    await assert.rejects(get(store, bad), { code: 'INVALID_ARGUMENT' })
  for (const key of keys) assert.match(tokenOfKey(key), /^[-=\w]+$/) // ADR-8
  for (const key of keys) assert.equal(keyOf(tokenOfKey(key)), key)
})

test('state: 20 concurrent incrementers on two connections lose no update', async () => {
  const stores = [one.state('counters', 'm'), two.state('counters', 'm')]
  const before = performance.now()
  const seen = await Promise.all(Array.from({ length: 20 }, (_, n) => increment(stores[n % 2] ?? assert.fail(), 25)))
  assert.equal(await get(one.state('counters', 'm'), 'n'), 500)
  assert.equal(new Set(seen.flat()).size, 500, 'each increment has its own result')
  assert.ok(performance.now() - before < 20_000)
})

test('state: a change may be asynchronous; one that throws writes nothing, and undefined deletes', async () => {
  const store = one.state('changes', 'm')
  assert.equal(await update(store, 'k', async (n) => (await Promise.resolve((n as number) ?? 0)) + 1), 1)
  await assert.rejects(
    update(store, 'k', () => {
      throw new CageError('MINE', 'no')
    }),
    { code: 'MINE' },
  )
  assert.equal(await get(store, 'k'), 1)
  assert.equal(await update(store, 'k', () => undefined), undefined)
  assert.equal(await get(store, 'k'), undefined)
  assert.deepEqual(await store.keys(soon()), [])
  assert.equal(await update(store, 'k', (n) => (n === undefined ? 'again' : 'odd')), 'again')
})

test('state: of 20 who create the same key one does, and again after it was deleted', async () => {
  for (const round of [1, 2]) {
    const created = await Promise.allSettled(
      Array.from({ length: 20 }, (_, n) => create((n % 2 ? one : two).state('creators', 'm'), 'k', n)),
    )
    const winners = created.flatMap((result, n) => (result.status === 'fulfilled' ? [n] : []))
    assert.equal(winners.length, 1, `round ${round}`)
    assert.equal(await get(one.state('creators', 'm'), 'k'), winners[0])
    await update(one.state('creators', 'm'), 'k', () => undefined)
  }
})

test('state: who is outrun until the deadline gets CONFLICT, and what it wanted to write is not there', async () => {
  const store = one.state('outrun', 'm')
  let n = 0
  const deadline = Date.now() + 300
  const change = async (): Promise<string> => {
    await set(two.state('outrun', 'm'), 'k', ++n)
    return 'mine'
  }
  const slow = store.update('k', change, { deadline })
  await assert.rejects(slow, { code: 'CONFLICT', retryable: true })
  assert.equal(await get(store, 'k'), n)
})

test('state: a value as large as the bus carries is kept, a larger one is refused with its key and size', async () => {
  const store = one.state('sizes', 'm')
  const large = Buffer.alloc(1_048_000, 7)
  await set(store, 'large', large)
  assert.deepEqual(Buffer.from((await get(store, 'large')) as Uint8Array), large)
  await assert.rejects(set(store, 'larger', Buffer.alloc(1_048_576)), ({ code, message }: CageError) => {
    assert.equal(code, 'PAYLOAD_TOO_LARGE')
    assert.match(message, /"larger" takes 10485\d\d bytes/)
    return true
  })
  assert.deepEqual(await store.keys(soon()), ['large'])
})

test('state: an expired value is absent for get, keys and create, and is cleaned away', async () => {
  const store = one.state('expiry', 'm')
  const nc = await client(suite, server.url)
  await update(store, 'short', () => 1, 200)
  await update(store, 'long', () => 2, 60_000)
  await update(store, 'met', () => 3, 200)
  assert.equal(await get(store, 'short'), 1)
  await eventually('it expires', async () => (await get(store, 'short')) === undefined)
  await eventually('the other one too', async () => (await store.keys(soon())).join() === 'long')
  const { state } = await (await nc.jetstreamManager()).streams.info('KV_expiry', { subjects_filter: '>' })
  assert.deepEqual(Object.keys(state.subjects ?? {}), ['$KV.expiry.m.long'])
  await create(store, 'short', 'new')
  assert.equal(await get(store, 'short'), 'new')
  await assert.rejects(
    update(store, 'k', () => 1, 0),
    { code: 'INVALID_ARGUMENT' },
  )
})

test('state: a watch tells what is there and then each change, until it is ended', async (t) => {
  const bus = await testBus(t, server.url)
  await set(two.state('watched', 'm'), 'before', 1)
  await set(two.state('watched', 'other'), 'foreign', 1)
  const { told, until, stop } = await watching(bus, 'watched')
  assert.deepEqual(told, [['before', 1]])
  await set(two.state('watched', 'm'), 'a.b', { deep: [1] })
  await until('the new value', () => told.length === 2)
  await update(two.state('watched', 'm'), 'before', () => undefined)
  await until('the deletion', () => told.length === 3)
  await update(two.state('watched', 'm'), 'short', () => 1, 100)
  await until('the expiry', () => told.length === 5)
  assert.deepEqual(told.slice(1), [
    ['a.b', { deep: [1] }],
    ['before', undefined],
    ['short', 1],
    ['short', undefined],
  ])
  stop()
  await set(two.state('watched', 'm'), 'after', 1)
  await set(two.state('watched', 'other'), 'k', 1)
  assert.equal(told.length, 5)
})

test('state: a watch under contention ends with the last value, and tells nothing that was refused', async (t) => {
  const bus = await testBus(t, server.url)
  const { told, until } = await watching(bus, 'contended')
  await Promise.all(Array.from({ length: 10 }, (_, n) => increment((n % 2 ? one : two).state('contended', 'm'), 10)))
  await until('the last value', () => told.at(-1)?.[1] === 100)
  const values = told.map(([, value]) => value as number)
  assert.deepEqual(
    values,
    [...new Set(values)].sort((a, b) => a - b),
  )
})

test('state: a watch reads what was changed while its connection was away', async (t) => {
  const own = await startNats(t)
  const bus = await testBus(t, own.url)
  const store = bus.state('away', 'm')
  await set(store, 'gone', 1)
  await set(store, 'kept', 1)
  const { told, until } = await watching(bus, 'away')
  await own.restart()
  const nc = await client(t, own.url)
  const kv = await nc.jetstream().views.kv('away')
  await kv.put('m.kept', '{"by":"a tool"}')
  await kv.put('m.new', '[1]')
  await (await nc.jetstreamManager()).streams.purge('KV_away', { filter: '$KV.away.m.gone' })
  await until('everything', () => told.length >= 5)
  assert.deepEqual(
    new Map(told),
    new Map<string, unknown>([
      ['gone', undefined],
      ['kept', { by: 'a tool' }],
      ['new', [1]],
    ]),
  )
})

test('state: tools of NATS KV list, read, watch, write and delete its values', async (t) => {
  const nc = await client(t, server.url)
  const store = one.state('tools', 'm')
  await set(store, 'a.b', { n: 1 })
  await set(store, 'gone', 1)
  await update(store, 'gone', () => undefined)
  const kv = await nc.jetstream().views.kv('tools')
  const keys: string[] = []
  for await (const key of await kv.keys()) keys.push(key)
  assert.deepEqual(keys, ['m.a=2Eb'])
  assert.equal((await kv.get('m.gone'))?.operation, 'DEL')
  assert.ok(((await kv.get('m.a=2Eb'))?.value.length ?? 0) > 0)
  await kv.put('m.number', '5')
  assert.equal(await get(store, 'number'), 5)
  assert.equal(await update(store, 'number', (n) => (n as number) + 1), 6)
  await kv.put('m.odd', 'no JSON')
  await assert.rejects(get(store, 'odd'), { code: 'INVALID_ARGUMENT', message: /"odd" is neither JSON nor MessagePack/ })
  await kv.delete('m.number')
  await kv.purge('m.odd')
  assert.deepEqual(await store.keys(soon()), ['a.b'])
})

test('state: what restarts of the server leave in doubt is said, and nothing is written twice or lost', async (t) => {
  const own = await startNats(t)
  const buses = await Promise.all([testBus(t, own.url), testBus(t, own.url)])
  await countThrough(t, buses, [own])
})

test('state: a stream that somebody deleted is made anew at the next use but one', async () => {
  const store = one.state('deleted', 'm')
  const nc = await client(suite, server.url)
  await set(store, 'k', 1)
  await (await nc.jetstreamManager()).streams.delete('KV_deleted')
  assert.equal(await get(store, 'k'), undefined)
  await assert.rejects(set(store, 'k', 2), { code: 'UNAVAILABLE' })
  await set(store, 'k', 3)
  assert.equal(await get(store, 'k'), 3)
})

test('state: without JetStream it is UNAVAILABLE at once', async (t) => {
  const plain = await startNats(t, { jetStream: false })
  const store = (await testBus(t, plain.url)).state('none', 'm')
  await assert.rejects(get(store, 'k'), { code: 'UNAVAILABLE', message: /state cannot be reached/ })
})

test('state: in a cluster before 2.11, 20 concurrent incrementers lose no update, and of 20 creators one wins', async (t) => {
  const buses = (await startCluster(t)).buses
  const store = (n: number): StateStore => (buses[n % 3] ?? assert.fail()).state('clustered', 'm')
  await eventually('the cluster has a leader', () => succeeds(set(store(0), 'ready', 1)))
  const before = performance.now()
  const seen = await Promise.all(Array.from({ length: 20 }, (_, n) => increment(store(n), 25)))
  t.diagnostic(`500 increments in ${Math.round(performance.now() - before)} ms`)
  assert.equal(await get(store(0), 'n'), 500)
  assert.equal(new Set(seen.flat()).size, 500)
  for (let round = 0; round < 10; round++) {
    const created = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => create(store(n), `k${round}`, n)))
    assert.equal(created.filter(({ status }) => status === 'fulfilled').length, 1)
  }
  const { told, until } = await watching(buses[1] ?? assert.fail(), 'clustered')
  await Promise.all(Array.from({ length: 6 }, (_, n) => increment(store(n), 5)))
  await until('the last value', () => told.at(-1)?.[1] === 530)
})

const soak = { skip: SOAK ? false : 'npm run soak: a cluster of 2.9 servers may take minutes to elect its leaders' }

test('state: a cluster before 2.11 whose servers are killed one after the other loses no update', soak, async (t) => {
  const { buses, servers } = await startCluster(t)
  await countThrough(t, buses, servers)
})

test('state: writers share message ids only where the server needs it', () => {
  assert.equal(needsSharedIds(1, '2.9.10'), false)
  assert.equal(needsSharedIds(3, '2.9.10'), true)
  assert.equal(needsSharedIds(3, '2.10.29'), true)
  assert.equal(needsSharedIds(3, '2.11.0'), false)
  assert.equal(needsSharedIds(5, '2.15.1'), false)
  assert.equal(needsSharedIds(3, '3.0.0'), false)
})

test('state: what is there tells what came of an unclear write, or that it cannot', () => {
  const entry = (seq: number, writers: string) => ({ ...noEntry('k'), seq, writers })
  assert.equal(fateOf('me', 5, entry(5, 'a@4')), 'waiting')
  assert.equal(fateOf('me', 5, entry(6, 'me@5 a@4')), 'stored')
  assert.equal(fateOf('me', 5, entry(8, 'b@7 me@5')), 'stored')
  assert.equal(fateOf('me', 5, entry(8, 'b@7 c@5')), 'refused')
  assert.equal(fateOf('me', 5, entry(80, 'b@77 c@70')), undefined)
  assert.equal(fateOf('me', 5, entry(80, '')), undefined, 'another tool has written it')
  let latest = noEntry('k')
  for (let seq = 1; seq < 20; seq++) latest = entry(seq, writersOf(`w${seq}`, latest))
  assert.equal(latest.writers.split(' ').length, 8)
  assert.equal(fateOf('w18', 17, latest), 'stored')
})

function soon(): number {
  return Date.now() + 20_000
}

async function get(store: StateStore, key: string): Promise<unknown> {
  return await store.get(key, soon())
}

async function update(store: StateStore, key: string, change: (current: unknown) => unknown, ttlMs?: number): Promise<unknown> {
  const options: StateWrite = { deadline: soon(), ttlMs }
  return await store.update(key, change, options)
}

async function set(store: StateStore, key: string, value: unknown): Promise<void> {
  await update(store, key, () => value)
}

async function create(store: StateStore, key: string, value: unknown): Promise<void> {
  await update(store, key, (current) => {
    if (current !== undefined) throw new CageError('CONFLICT', 'it is there')
    return value
  })
}

async function increment(store: StateStore, times: number): Promise<number[]> {
  const seen: number[] = []
  for (let n = 0; n < times; n++) seen.push((await update(store, 'n', (current) => ((current as number | undefined) ?? 0) + 1)) as number)
  return seen
}

interface Watching {
  told: [key: string, value: unknown][]
  until(what: string, test: () => boolean): Promise<void>
  stop(): void
}

/** Watches the module `m` of a cage. */
async function watching(bus: Bus, cage: string): Promise<Watching> {
  const told: Watching['told'] = []
  let look = (): void => {}
  const stop = await bus.state(cage, 'm').watch((key, value) => {
    told.push([key, value])
    look()
  }, soon())
  const until = async (what: string, test: () => boolean): Promise<void> => {
    const { promise, resolve } = deferred<void>()
    look = () => test() && resolve()
    look()
    await within(what, promise)
  }
  return { told, until, stop }
}

/** Increments from eight writers while the servers are killed and started again, in turn. */
async function countThrough(t: TestContext, buses: Bus[], servers: NatsServer[]): Promise<void> {
  const counts = { sure: 0, unknown: 0 }
  const store = (n: number): StateStore => (buses[n % buses.length] ?? assert.fail()).state('crash', 'm')
  await eventually('the first write', () => succeeds(set(store(0), 'n', 0)))
  const working = Array.from({ length: 8 }, async (_, n) => {
    while (counts.sure < 400) {
      try {
        await update(store(n), 'n', (current) => (current as number) + 1)
        counts.sure++
      } catch (error) {
        const { code, message } = error as CageError
        if (code === 'DEADLINE_EXCEEDED' && message.includes('may have been written')) counts.unknown++
        else if (code !== 'UNAVAILABLE' && code !== 'DEADLINE_EXCEEDED') throw error // these two: it was not
        await eventually('the bus is back', () => buses.every(({ connected }) => connected))
      }
    }
  })
  for (const [kills, reached] of [60, 180, 300].entries()) {
    await eventually('so many are counted', () => counts.sure >= reached)
    await servers[kills % servers.length]?.restart()
  }
  await Promise.all(working)
  const n = await eventually('it is read', () => get(store(0), 'n').catch(() => undefined))
  t.diagnostic(`${counts.sure} sure, ${counts.unknown} in doubt, ${n} counted`)
  assert.ok(typeof n === 'number' && n >= counts.sure && n <= counts.sure + counts.unknown)
}

async function succeeds(promise: Promise<unknown>): Promise<boolean> {
  return await promise.then(
    () => true,
    () => false,
  )
}

/** Three servers with one JetStream, and a connection to each. */
async function startCluster(owner: Owner): Promise<{ servers: NatsServer[]; buses: Bus[] }> {
  const ports = await Promise.all([freePort(), freePort(), freePort()])
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ')
  const servers = await Promise.all(
    ports.map((port, n) =>
      startNats(owner, { config: `server_name: s${n}\ncluster { name: c, listen: "127.0.0.1:${port}", routes: [${routes}] }` }),
    ),
  )
  return { servers, buses: await Promise.all(servers.map(({ url }) => testBus(owner, url, { replicas: 3 }))) }
}
