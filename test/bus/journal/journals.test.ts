import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Bus } from '../../../src/bus/bus.ts'
import { Caller } from '../../../src/bus/caller.ts'
import { openConnection } from '../../../src/bus/connection.ts'
import { JetStream, type PublishOptions, type Stored } from '../../../src/bus/jetstream.ts'
import type { Entry, Journal, Journals } from '../../../src/bus/journal/contract.ts'
import { BusJournals } from '../../../src/bus/journal/journals.ts'
import { tailsOf } from '../../../src/bus/journal/message.ts'
import { Outbox } from '../../../src/bus/outbox.ts'
import { pause } from '../../../src/pause.ts'
import { testBus } from '../../../src/testing/bus.ts'
import { recordingLog } from '../../../src/testing/log.ts'
import { client, startCluster, startNats } from '../../../src/testing/nats.ts'
import { atEnd, type Owner, suite } from '../../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../../src/testing/wait.ts'
import { ROOT } from '../../support/node.ts'
import { codeOf } from '../../support/stage.ts'

const server = await startNats(suite)
const [one, two] = await Promise.all([testBus(suite, server.url), testBus(suite, server.url)])

test('journal: what is appended is read in order, with dates, maps and bigints, by another connection too', async () => {
  const journal = one.journals.open<unknown>('plain', 'tx', 'a.b *ß')
  const events = [{ at: new Date(5) }, new Map([[1, 2n ** 70n]]), 'text', null]
  for (const [i, event] of events.entries()) assert.equal(await journal.append(event), i + 1)
  const read = await two.journals.read('plain', 'tx', 'a.b *ß')
  assert.deepEqual(
    read,
    events.map((event, i) => ({ at: i + 1, event })),
  )
  assert.deepEqual(await two.journals.list('tx', 'plain'), [{ cage: 'plain', kind: 'tx', name: 'a.b *ß', first: 1, last: 4 }])
  assert.deepEqual(await two.journals.list('saga', 'plain'), [])
  assert.deepEqual(await two.journals.read('plain', 'tx', 'other'), [])
})

test('journal: 1,000 events that are appended at once go in a few messages and stay in order', async () => {
  const journal = one.journals.open<number>('group', 'tx', 'j')
  const positions = await Promise.all(Array.from({ length: 1_000 }, (_, n) => journal.append(n)))
  const entries = await two.journals.read<number>('group', 'tx', 'j')
  assert.deepEqual(numbers(entries), range(1_000))
  assert.deepEqual(
    positions,
    entries.map(({ at }) => at),
  )
  assert.ok((positions.at(-1) ?? 0) <= 3, `${positions.at(-1)} messages`)
})

test('journal: an event that has no hurry goes with the next one, in order, or soon by itself', async () => {
  const journal = one.journals.open<number>('soon', 'tx', 'j')
  const [first, second] = await Promise.all([journal.append(1, true), journal.append(2)])
  assert.deepEqual([first, second], [1, 1])
  assert.equal(await journal.append(3, true), 2)
  const closed = assert.rejects(journal.append(4, true), { code: 'CANCELLED' })
  journal.close()
  await closed
  assert.deepEqual(
    (await two.journals.read<number>('soon', 'tx', 'j')).map(({ at, event }) => [at, event]),
    [
      [1, 1],
      [1, 2],
      [2, 3],
    ],
  )
})

test('journal: what does not fit into one message goes in several; an event that fits into none is refused and harms nobody', async () => {
  const journal = one.journals.open<Buffer>('sizes', 'tx', 'j')
  const large = Array.from({ length: 5 }, (_, n) => Buffer.alloc(400_000, n))
  const cyclic: { self?: object } = {}
  cyclic.self = cyclic
  const appended = large.map((event) => journal.append(event))
  await assert.rejects(journal.append(Buffer.alloc(1_048_576)), { code: 'PAYLOAD_TOO_LARGE' })
  await assert.rejects(journal.append(cyclic as unknown as Buffer), { code: 'INTERNAL' })
  appended.push(journal.append(Buffer.alloc(1_040_000, 9)))
  assert.deepEqual(await Promise.all(appended), [1, 1, 2, 2, 3, 4])
  const read = await one.journals.read<Uint8Array>('sizes', 'tx', 'j')
  assert.deepEqual(
    read.map(({ event }) => event[0]),
    [0, 1, 2, 3, 4, 9],
  )
})

test('journal: whoever takes a journal over has all that it holds, and its owner of before is fenced', async () => {
  const old = one.journals.open<number>('fence', 'tx', 'j')
  for (const n of range(10)) await old.append(n)
  const { journal, entries } = await two.journals.takeOver<number>('fence', 'tx', 'j')
  assert.deepEqual(numbers(entries), range(10))
  await assert.rejects(old.append(10), { code: 'FENCED', retryable: false })
  assert.equal(old.fenced, true)
  await assert.rejects(old.append(11), { code: 'FENCED' })
  assert.equal(await journal.append(12), 12)
  assert.deepEqual(numbers(await one.journals.read<number>('fence', 'tx', 'j')), [...range(10), 12])
  const unknown = await two.journals.takeOver<number>('fence', 'tx', 'new')
  assert.deepEqual(unknown.entries, [])
  assert.equal(await unknown.journal.append(1), 2)
})

test('journal: a busy owner loses its journal too, and nothing that it was told is stored', async () => {
  const old = one.journals.open<number>('busy', 'tx', 'j')
  const stored: number[] = []
  const writing = write(old, stored)
  await eventually('it writes', () => stored.length > 100)
  const { entries } = await two.journals.takeOver<number>('busy', 'tx', 'j')
  assert.equal(await writing, 'FENCED')
  assert.deepEqual(numbers(entries), stored)
})

test('journal: of owners who fight for one, all that was acknowledged makes one list, and the losers learn FENCED', async () => {
  await fight([one.journals, two.journals], 20)
})

test('journal: in a cluster before 2.11 owners who fight for one make one list, too', async (t) => {
  const { urls, servers } = await startCluster(t)
  const buses = await Promise.all(servers.map(({ url }) => testBus(t, url, { replicas: 3 })))
  const journals = buses.map((bus) => bus.journals)
  await eventually(
    'the cluster has a leader',
    () =>
      journals[0]?.identity().then(
        () => true,
        () => false,
      ),
    120_000,
  )
  await fight(journals, 12)
  const nc = await client(t, urls.split(',')[0] ?? '')
  const { config } = await (await nc.jetstreamManager()).streams.info('JOURNAL')
  assert.equal(config.num_replicas, 3)
})

test('journal: nothing that was acknowledged is lost or doubled by a server that is killed and comes back', async (t) => {
  const own = await startNats(t)
  const bus = await testBus(t, own.url)
  const journal = bus.journals.open<number>('crash', 'tx', 'j')
  const stored: number[] = []
  let stop = false
  let next = 0
  const writers = Array.from({ length: 8 }, async () => {
    while (!stop) {
      const n = next++
      await journal.append(n)
      stored.push(n)
    }
  })
  for (const reached of [200, 2_000, 4_000]) {
    await eventually('so many are stored', () => stored.length > reached)
    await own.restart()
  }
  await eventually('it goes on', () => stored.length > 5_000)
  stop = true
  await within('all are stored', Promise.all(writers))
  const read = numbers(await bus.journals.read<number>('crash', 'tx', 'j'))
  assert.deepEqual(read, range(next))
  assert.equal(stored.length, next)
})

test('journal: while the bus is away it waits; closed, it is CANCELLED', async (t) => {
  const own = await startNats(t)
  const bus = await testBus(t, own.url)
  const journal = bus.journals.open<number>('away', 'tx', 'j')
  await journal.append(0)
  await own.kill()
  await eventually('the bus is away', () => !bus.connected)
  const waiting = [journal.append(1), journal.append(2)]
  const other = bus.journals.open<number>('away', 'tx', 'other')
  const cancelled = other.append(3)
  await pause(300)
  other.close()
  await assert.rejects(cancelled, { code: 'CANCELLED' })
  await assert.rejects(other.append(4), { code: 'CANCELLED' })
  await own.restart()
  assert.deepEqual(await within('they are stored', Promise.all(waiting)), [2, 2])
  await bus.close()
  await assert.rejects(journal.append(5), { code: 'CANCELLED' })
})

test('journal: without JetStream it is UNAVAILABLE', async (t) => {
  const plain = await startNats(t, { jetStream: false })
  const { journals } = await testBus(t, plain.url)
  const journal = journals.open('none', 'tx', 'j')
  await assert.rejects(journal.append(1), { code: 'UNAVAILABLE', message: /journals cannot be reached/ })
  await assert.rejects(journals.takeOver('none', 'tx', 'j'), { code: 'UNAVAILABLE' })
  await assert.rejects(journals.list('tx'), { code: 'UNAVAILABLE' })
})

test('journal: trimmed, it holds what comes from there on, and its last message always', async () => {
  const journal = one.journals.open<number>('trim', 'tx', 'j')
  for (const n of range(10)) await journal.append(n)
  await journal.trim(6)
  assert.deepEqual(numbers(await two.journals.read<number>('trim', 'tx', 'j')), [5, 6, 7, 8, 9])
  assert.deepEqual(await two.journals.list('tx', 'trim'), [{ cage: 'trim', kind: 'tx', name: 'j', first: 6, last: 10 }])
  await journal.trim(1_000)
  assert.deepEqual(numbers(await two.journals.read<number>('trim', 'tx', 'j')), [9])
  assert.equal(await journal.append(10), 11)
  const { entries } = await two.journals.takeOver<number>('trim', 'tx', 'j')
  assert.deepEqual(numbers(entries), [9, 10])
})

test('journal: removed, nothing of it is left, and its owner appends no more', async () => {
  const journal = one.journals.open<number>('remove', 'saga', 'j')
  const appended = Promise.all(range(100).map((n) => journal.append(n)))
  await journal.remove()
  await appended
  await assert.rejects(journal.append(1), { code: 'CANCELLED' })
  assert.deepEqual(await subjects('journal.saga.remove.>'), [])
  assert.deepEqual(await two.journals.list('saga', 'remove'), [])
  const fenced = one.journals.open<number>('remove', 'saga', 'fenced')
  await fenced.append(1)
  const { journal: theirs } = await two.journals.takeOver<number>('remove', 'saga', 'fenced')
  await assert.rejects(fenced.append(2), { code: 'FENCED' })
  await assert.rejects(fenced.remove(), { code: 'FENCED' })
  await theirs.append(3)
  assert.deepEqual(numbers(await one.journals.read<number>('remove', 'saga', 'fenced')), [1, 3])
})

test('journal: whoever slept through a take-over, a trim and the removal is fenced nevertheless', async () => {
  const zombie = one.journals.open<number>('zombie', 'tx', 'j')
  for (const n of range(5)) await zombie.append(n)
  const { journal } = await two.journals.takeOver<number>('zombie', 'tx', 'j')
  for (const n of range(5)) await journal.append(n)
  await journal.trim(9)
  assert.deepEqual(numbers(await one.journals.read<number>('zombie', 'tx', 'j')), range(5), 'the fence stays, and what came after it')
  await journal.remove()
  assert.deepEqual(await one.journals.list('tx', 'zombie'), [])
  assert.deepEqual(await one.journals.read('zombie', 'tx', 'j'), [])
  await assert.rejects(zombie.append(6), { code: 'FENCED' })
  const again = await one.journals.takeOver<number>('zombie', 'tx', 'j')
  assert.deepEqual(again.entries, [])
  await again.journal.append(7)
  assert.deepEqual(numbers(await two.journals.read<number>('zombie', 'tx', 'j')), [7], 'what it held before its end is over')
})

test('journal: an ended journal is purged once its fence is old, and who slept longer than that is fenced by its own clock', async (t) => {
  const mine = await journalsOf(t, server.url, 400)
  const theirs = await journalsOf(t, server.url, 400)
  const zombie = mine.journals.open<number>('sleeper', 'tx', 'j')
  await zombie.append(1)
  await zombie.append(2)
  const { journal } = await theirs.journals.takeOver<number>('sleeper', 'tx', 'j')
  await journal.append(3)
  await journal.remove()
  assert.ok((await subjects('journal.tx.sleeper.>')).length > 0)
  await eventually('it is purged', async () => {
    assert.deepEqual(await theirs.journals.list('tx', 'sleeper'), [])
    return (await subjects('journal.tx.sleeper.>')).length === 0
  })
  await assert.rejects(zombie.append(4), { code: 'FENCED' })
  assert.deepEqual(await subjects('journal.tx.sleeper.>'), [])
})

test('journal: who falls asleep between looking and storing finds itself fenced when it wakes, and leaves nothing', async (t) => {
  const mine = await journalsOf(t, server.url, 400)
  const theirs = await journalsOf(t, server.url, 400)
  const zombie = mine.journals.open<number>('asleep', 'tx', 'j')
  await zombie.append(1)
  const wake = mine.sleep()
  const append = assert.rejects(zombie.append(2), { code: 'FENCED' })
  const { journal } = await theirs.journals.takeOver<number>('asleep', 'tx', 'j')
  await journal.remove()
  await eventually('it is purged', async () => {
    await theirs.journals.list('tx', 'asleep')
    return (await subjects('journal.tx.asleep.>')).length === 0
  })
  wake()
  await append
  assert.deepEqual(await subjects('journal.tx.asleep.>'), [])
})

test('journal: an owner that was idle for long is none the worse for it', async (t) => {
  const { journals } = await journalsOf(t, server.url, 20)
  const journal = journals.open<number>('idle', 'tx', 'j')
  for (const n of range(4)) {
    await journal.append(n)
    await journal.trim(n)
    await pause(30)
  }
  assert.deepEqual(numbers(await one.journals.read<number>('idle', 'tx', 'j')), [2, 3])
})

test('journal: a take-over that began with an old listing begins again', async (t) => {
  const mine = await journalsOf(t, server.url, 60_000)
  const journal = one.journals.open<number>('stale', 'tx', 'j')
  for (const n of range(3)) await journal.append(n)
  const wake = mine.sleep()
  const taking = mine.journals.takeOver<number>('stale', 'tx', 'j')
  await mine.asleep
  await journal.append(3)
  await journal.append(4)
  await journal.trim(5)
  wake()
  const { entries } = await taking
  assert.deepEqual(numbers(entries), [4])
  assert.deepEqual((await subjects('journal.tx.stale.>')).length, 2)
})

test('journal: a position that is missing, and what was left below by one that slept, harm nobody', async () => {
  const journal = one.journals.open<number>('holes', 'tx', 'j')
  for (const n of range(8)) await journal.append(n)
  await journal.trim(4)
  const nc = await client(suite, server.url)
  const jsm = await nc.jetstreamManager()
  const { seq } = await jsm.streams.getMessage('JOURNAL', { last_by_subj: 'journal.tx.holes.j.6' })
  await jsm.streams.deleteMessage('JOURNAL', seq)
  const late = await jsm.streams.getMessage('JOURNAL', { last_by_subj: 'journal.tx.holes.j.5' })
  await nc.jetstream().publish('journal.tx.holes.j.2', late.data)
  assert.deepEqual(numbers(await two.journals.read<number>('holes', 'tx', 'j')), [3, 4, 6, 7])
  const { entries } = await two.journals.takeOver<number>('holes', 'tx', 'j')
  assert.deepEqual(numbers(entries), [3, 4, 6, 7])
})

test('journal: its owner is known to be alive, closed, killed, or stopped', async (t) => {
  const owner = spawn(process.execPath, ['--import', 'tsx', join('test', 'support', 'journal-owner.ts'), server.url, 'owned', 'j'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  atEnd(t, () => void owner.kill('SIGKILL'))
  await within('it owns the journal', once(owner.stdout, 'data'))
  const [info] = await one.journals.list('tx', 'owned')
  assert.ok(info)
  assert.equal(await one.journals.isOwned(info, 2_000), true)
  owner.kill('SIGSTOP')
  const before = performance.now()
  assert.equal(await one.journals.isOwned(info, 300), false)
  assert.ok(performance.now() - before < 1_500)
  owner.kill('SIGCONT')
  assert.equal(await one.journals.isOwned(info, 5_000), true)
  owner.kill('SIGKILL')
  await once(owner, 'exit')
  await eventually('the server has noticed', async () => !(await one.journals.isOwned(info, 5_000)), 4_000)
  const bus = await testBus(t, server.url)
  await bus.journals.takeOver('owned', 'tx', 'j')
  assert.equal(await one.journals.isOwned(info, 2_000), true, 'by whoever has it now')
  await bus.close()
  assert.equal(await one.journals.isOwned(info, 5_000), false)
})

test('history: of an id the first record is kept, and all are listed, newest last', async () => {
  const { journals } = one
  const before = Date.now() - 1_000
  await journals.keep('hist', 'saga', 'a/b', { n: 1 })
  await journals.keep('hist', 'saga', 'a/b', { n: 2 })
  await journals.keepAll(
    'hist',
    'tx',
    range(500).map((n) => journals.pack({ n, pad: 'x'.repeat(5_000) })),
  )
  await journals.keepAll('hist', 'tx', [])
  await journals.keep('other', 'saga', 'c', { n: 3 })
  assert.deepEqual(await journals.kept('hist', 'saga', 'a/b'), { n: 1 })
  assert.equal(await journals.kept('hist', 'saga', 'none'), undefined)
  assert.equal(await journals.kept('hist', 'tx', 'a/b'), undefined)
  assert.deepEqual(await history(two, { cage: 'hist', kind: 'tx' }), range(500))
  assert.deepEqual(await history(two, { kind: 'saga' }), [1, 3])
  assert.equal((await history(two, { since: before })).length, 502)
  assert.deepEqual(await history(two, { since: Date.now() + 60_000 }), [])
  await assert.rejects(journals.keep('hist', 'tx', 'large', Buffer.alloc(1_048_576)), { code: 'PAYLOAD_TOO_LARGE' })
})

test('history: a server with little room keeps a smaller one', async (t) => {
  const small = await startNats(t, { maxStore: '300MB' })
  const { journals } = await testBus(t, small.url)
  await journals.keep('small', 'tx', 'a', 1)
  assert.equal(await journals.kept('small', 'tx', 'a'), 1)
})

test('journal: a listing of subjects tells the journals; what lies before a gap is no part of them', () => {
  const found = tailsOf(['journal.tx.c.a%2Eb.3', 'journal.tx.c.a%2Eb.10', 'journal.tx.c.a%2Eb.9', 'journal.tx.d.x.end.7.123'])
  const [first, second] = found
  assert.deepEqual(first, { kind: 'tx', cage: 'c', name: 'a.b', first: 9, last: 10, ends: new Map() })
  assert.deepEqual(second, { kind: 'tx', cage: 'd', name: 'x', first: 0, last: 0, ends: new Map([[7, 123]]) })
})

/** Appends 0, 1, 2 ... until it cannot; resolves with the code of the error. */
async function write(journal: Journal<number>, stored: number[], from = 0): Promise<string> {
  for (let n = from; ; n++) {
    try {
      await journal.append(n)
      stored.push(n)
    } catch (error) {
      return codeOf(error)
    }
  }
}

/** Owners who take one journal over from each other, and append while they have it. */
async function fight(journals: Journals[], rounds: number): Promise<void> {
  const place = ['fight', 'tx', 'j'] as const
  const stored: number[][] = []
  const ends: Promise<string>[] = []
  let last: Journal<number> | undefined
  await Promise.all(
    journals.map(async (mine, who) => {
      for (let round = 0; round < rounds; round++) {
        const { journal, entries } = await mine.takeOver<number>(...place)
        const list: number[] = []
        const earlier = stored.filter((other) => other.length > 0 && !numbers(entries).includes(other[0] ?? Number.NaN))
        stored.push(list)
        ends.push(write(journal, list, (who * rounds + round) * 1_000_000))
        await pause(Math.random() * 20)
        assert.ok(earlier.length <= journals.length, 'a take-over has all that was acknowledged to those it displaced')
        last = journal
      }
    }),
  )
  const { journal, entries } = await (journals[0] ?? assert.fail()).takeOver<number>(...place)
  assert.ok(last)
  const codes = await within('all losers learn of it', Promise.all(ends))
  assert.deepEqual(new Set(codes), new Set(['FENCED']))
  const found = numbers(entries)
  assert.equal(new Set(found).size, found.length, 'nothing is doubled')
  const acknowledged = stored.flat()
  assert.ok(acknowledged.length > rounds)
  const there = new Set(found)
  assert.deepEqual(
    acknowledged.filter((n) => !there.has(n)),
    [],
    'nothing is lost',
  )
  const owners = found.map((n) => Math.floor(n / 1_000_000))
  assert.equal(owners.filter((owner, i) => owner !== owners[i - 1]).length, new Set(owners).size, 'one after the other')
  await journal.remove()
}

interface Own {
  journals: Journals
  /** The next publication is held back until the returned function is called. */
  sleep(): () => void
  /** Resolves when one is held back. */
  asleep: Promise<void>
}

/** Journals over a connection of their own, whose fences stand for `fenceMs`. */
async function journalsOf(owner: Owner, url: string, fenceMs: number): Promise<Own> {
  const { log } = recordingLog()
  const connection = await openConnection('test', { servers: [url] }, log, new AbortController().signal)
  const { nc } = connection
  atEnd(owner, () => nc.close())
  let gate: Promise<void> | undefined
  const { promise: asleep, resolve: fellAsleep } = deferred<void>()
  class SleepyJetStream extends JetStream {
    override async publish(subject: string, data: Uint8Array, options: PublishOptions): Promise<Stored> {
      const held = gate
      gate = undefined
      if (held) fellAsleep()
      await held
      return await super.publish(subject, data, held ? { ...options, deadline: Date.now() + 5_000 } : options)
    }
  }
  const js = new SleepyJetStream(new Caller(connection, new Outbox(nc)))
  const isAlive = async (): Promise<boolean> => false
  const journals = new BusJournals({ js, id: 'test', maxPayload: () => 1_048_576, log, replicas: undefined, isAlive, fenceMs })
  return {
    journals,
    asleep,
    sleep() {
      const { promise, resolve } = deferred<void>()
      gate = promise
      return () => resolve()
    },
  }
}

async function subjects(filter: string): Promise<string[]> {
  const nc = await client(suite, server.url)
  const { state } = await (await nc.jetstreamManager()).streams.info('JOURNAL', { subjects_filter: filter })
  await nc.close()
  return Object.keys(state.subjects ?? {})
}

async function history(bus: Bus, filter: Parameters<Journals['history']>[0]): Promise<number[]> {
  const found: number[] = []
  for await (const record of bus.journals.history(filter)) found.push((record as { n: number }).n)
  return found
}

function numbers(entries: readonly Entry<number>[]): number[] {
  return entries.map(({ event }) => event)
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n)
}
