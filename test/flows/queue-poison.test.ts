/** Calls that end or block their workers are found out, the others are not blamed, and nothing rests in the queue. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import type { DeadLetter } from '../../src/bus/queue/contract.ts'
import { startNats } from '../../src/testing/nats.ts'
import { eventually } from '../../src/testing/wait.ts'
import { deadLetters, each, endsByNumber, SOAK, type Stage, scandals, stage } from '../support/stage.ts'

const INNOCENT = 24

async function begin(t: TestContext, config: string): Promise<Stage> {
  const server = await startNats(t)
  const set = await stage(t, server.url, config)
  await set.start().ready
  return set
}

/** A bad call among good ones of its own method's module, some of the same method. */
async function poison(t: TestContext, method: string, limits = 'stallMs: 600'): Promise<void> {
  const set = await begin(
    t,
    `{ ${limits}, timeoutMs: 20_000, supervision: { intensity: 20 }, queues: { work: { concurrency: 16, backoff: { firstMs: 100 } } } }`,
  )
  const ids = await Promise.all(
    Array.from({ length: INNOCENT }, (_, n) =>
      set.enqueue(n % 2 === 0 ? 'plain' : 'named', [n, 300], n % 2 === 0 ? {} : { id: `call-${n}` }),
    ),
  )
  const bad = await set.enqueue(method, [1_000], { id: 'bad' })
  await eventually('the bad call is dead', async () => (await set.bus.queues.status(bad))?.state === 'dead')
  await set.idle()
  const runs = set.traces().filter(({ n, what }) => n === 1_000 && what === 'begin').length
  const ends = endsByNumber(set.traces())
  const letters = await deadLetters(set)
  t.diagnostic(`${method}: run ${runs} times; ${ids.filter((_, n) => (ends.get(n) ?? 0) > 1).length} of ${INNOCENT} others ended twice`)
  assert.deepEqual(
    letters.map(({ id, code }) => [id, code]),
    [['bad', 'CRASHED']],
  )
  assert.equal(runs, 2, 'not a third time')
  assert.deepEqual(
    ids.flatMap((_, n) => (ends.has(n) ? [] : [n])),
    [],
    'all others have ended',
  )
  assert.deepEqual(scandals(set.copies), [])
}

test('poison: a call that loops is dead before its third run; those in flight with it are not blamed', (t) => poison(t, 'loop'))
test('poison: a call that fills the heap is dead before its third run; those in flight with it are not blamed', (t) =>
  poison(t, 'leak', 'memoryMb: 64'))
test('poison: a call that calls process.exit() is dead before its third run; those in flight with it are not blamed', (t) =>
  poison(t, 'exit'))

test('poison: of calls of one method only the one that ends its worker is dead, the others run alone and end', async (t) => {
  const set = await begin(t, '{ supervision: { intensity: 20 }, queues: { work: { concurrency: 16 } } }')
  await each(0, 16, 16, (n) => set.enqueue('mixed', [n], { id: `mixed-${n}` }))
  await set.idle()
  const states = await Promise.all(Array.from({ length: 16 }, async (_, n) => [n, (await set.bus.queues.status(`mixed-${n}`))?.state]))
  assert.deepEqual(
    states.filter(([, state]) => state !== 'done'),
    [
      [3, 'dead'],
      [11, 'dead'],
    ],
  )
})

test('poison: a call that kills its process is dead at last, and no other', async (t) => {
  const set = await begin(t, '{ queues: { work: { concurrency: 16 } } }')
  await each(0, 8, 8, (n) => set.enqueue('plain', [n, 50], { id: `call-${n}` }))
  await set.enqueue('murder', [1_000], { id: 'murder' })
  const dead = async (): Promise<boolean> => (await set.bus.queues.status('murder'))?.state === 'dead'
  for (let end = false; !end; end = await dead()) {
    const copy = set.copies.at(-1)
    await Promise.race([copy?.exited, eventually('it is dead', dead, 20_000)])
    if ((await Promise.race([copy?.exited, setTimeout(0, 'alive')])) !== 'alive') await set.start().ready
  }
  await set.idle()
  const letters = await deadLetters(set)
  t.diagnostic(`${set.traces().filter(({ n }) => n === 1_000).length} runs`)
  assert.deepEqual(
    letters.map(({ id, code }) => [id, code]),
    [['murder', 'CRASHED']],
  )
})

test('poison: a hanging method, a missing method and a missing module are dead when they expire', async (t) => {
  const set = await begin(t, '{ queues: { work: { timeoutMs: 300, backoff: { firstMs: 100, maxMs: 300 } } } }')
  await Promise.all([
    set.enqueue('hanging', [1], { id: 'hanging', expiresMs: 4_000 }),
    set.enqueue('missing', [2], { id: 'method', expiresMs: 4_000 }),
    set.bus.enqueue('work', 'soak', 'missing', 'run', [], {
      request: { id: '' },
      deadline: Date.now() + 5_000,
      id: 'module',
      expiresMs: 4_000,
    }),
  ])
  await set.idle()
  const letters = await deadLetters(set)
  // the last try may have had too little time for an answer
  const reason = ({ code, failures }: DeadLetter): string => (failures.some((failure) => failure.code === 'NOT_FOUND') ? 'NOT_FOUND' : code)
  assert.deepEqual(letters.map((letter) => `${letter.id} ${reason(letter)}`).sort(), [
    'hanging DEADLINE_EXCEEDED',
    'method NOT_FOUND',
    'module NOT_FOUND',
  ])
})

test('stall: a call that blocks its worker for 10 s is not run by another copy meanwhile', async (t) => {
  const blockMs = SOAK ? 10_000 : 7_000 // longer than the ack wait of 5 s
  const set = await begin(t, '{ stallMs: 20_000, timeoutMs: 60_000, queues: { work: { concurrency: 4 } } }')
  await set.start().ready
  await set.enqueue('blocking', [1, blockMs])
  await set.idle()
  assert.deepEqual(
    set.traces().map(({ what }) => what),
    ['begin', 'end'],
  )
})

test('stall: a call whose worker the stall watch kills is run again at once', async (t) => {
  const set = await begin(t, '{ stallMs: 1_000, timeoutMs: 60_000, queues: { work: { concurrency: 4 } } }')
  await set.start().ready
  await set.enqueue('blocking', [1, 3_000])
  const again = await eventually('it is run again', () => set.traces().filter(({ what }) => what === 'begin')[1])
  const first = set.traces()[0]
  assert.ok(again.at - (first?.at ?? 0) < 3_500, `${again.at - (first?.at ?? 0)} ms`)
  await set.idle()
})
