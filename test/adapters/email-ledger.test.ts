/** What the copies of a cage know of a mailbox: pure, and as they share it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InterfaceMemory } from '../../src/adapters/adapter.ts'
import { type Book, claim, GRACE_MS, LEASE_MS, Ledger, renew, settle } from '../../src/adapters/email/ledger.ts'

const NOW = 1_000_000_000
const asking = (more: object = {}): Parameters<typeof claim>[2] => ({ by: 'me', now: NOW, listedAt: NOW, room: 2, attempts: 3, ...more })
const taken = (book: Book, listed: string[], more: object = {}): string[] =>
  claim(book, listed, asking(more)).taken.map(({ name, attempt }) => `${name} ${attempt}`)

test('ledger: messages are claimed in their order, as many as there is room for', () => {
  const book: Book = new Map()
  assert.deepEqual(taken(book, ['a', 'b', 'c']), ['a 1', 'b 1'])
  assert.deepEqual(taken(book, ['a', 'b', 'c'], { by: 'another' }), ['c 1'])
  assert.deepEqual(taken(book, ['a', 'b', 'c'], { by: 'another' }), [])
})

test('ledger: a claim that is not renewed runs out, and the next one is another attempt', () => {
  const book: Book = new Map()
  taken(book, ['a', 'b'])
  renew(book, ['a', 'b'], 'another', NOW + LEASE_MS)
  renew(book, ['b'], 'me', NOW + LEASE_MS / 2)
  assert.deepEqual(taken(book, ['a', 'b'], { by: 'another', now: NOW + LEASE_MS, listedAt: NOW + LEASE_MS }), ['a 2'])
})

test('ledger: what has no attempt left is set aside, and told once', () => {
  const book: Book = new Map([['a', { is: 'claimed', attempts: 3, by: 'dead', until: NOW }]])
  const first = claim(book, ['a'], asking())
  assert.deepEqual([first.taken, first.disposals, first.exhausted], [[], [{ name: 'a', how: 'aside' }], ['a']])
  assert.deepEqual(claim(book, ['a'], asking()).exhausted, [])
})

test('ledger: what is done is only disposed of, by whoever finds it, and forgotten when it is gone', () => {
  const book: Book = new Map([
    ['a', { is: 'done', at: NOW - 1 }],
    ['b', { is: 'gone', at: NOW - 1 }],
    ['c', { is: 'waiting', attempts: 1, until: NOW + 5 }],
  ])
  const { taken: none, disposals, rest } = claim(book, ['a', 'b', 'c'], asking())
  assert.deepEqual([none, disposals], [[], [{ name: 'a', how: 'done' }]])
  assert.deepEqual([...rest], [['b', NOW - 1 + GRACE_MS], ['c', NOW + 5]]) // biome-ignore format: short
  const later = NOW + GRACE_MS + 5
  assert.deepEqual(taken(book, [], { now: later, listedAt: later }), [])
  assert.equal(book.size, 0)
})

test('ledger: what has been disposed of and is there again later is a message like any other', () => {
  const book: Book = new Map([['a', { is: 'gone', at: NOW - GRACE_MS }]])
  assert.deepEqual(taken(book, ['a']), ['a 1'])
})

test('ledger: nobody claims from an old list', () => {
  assert.deepEqual(taken(new Map(), ['a'], { listedAt: NOW - GRACE_MS / 2 - 1 }), [])
})

test('ledger: who has lost a claim says nothing about it but that the message is done', () => {
  const book: Book = new Map([['a', { is: 'claimed', attempts: 2, by: 'another', until: NOW + 1 }]])
  settle(book, 'a', 'me', { is: 'waiting', attempts: 1, until: NOW })
  assert.equal(book.get('a')?.is, 'claimed')
  settle(book, 'a', 'me', { is: 'done', at: NOW })
  assert.equal(book.get('a')?.is, 'done')
})

test('ledger: changes that come while one is written are written together, and each has its answer', async () => {
  let value: unknown
  let writes = 0
  const memory: InterfaceMemory = {
    get: async () => value,
    update: async (_key, change) => {
      writes++
      change(structuredClone(value)) // what a conflict costs
      await new Promise(setImmediate)
      value = change(structuredClone(value))
      return value
    },
  }
  const ledger = new Ledger(memory, 'key')
  const sizes = await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      ledger.update((book) => {
        book.set(`m${n}`, { is: 'done', at: n })
        return book.size
      }),
    ),
  )
  assert.deepEqual([sizes, writes], [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 2])
  await ledger.update((book) => book.clear())
  assert.equal(value, undefined)
  const failing = new Ledger({ ...memory, update: () => Promise.reject(new Error('away')) }, 'key')
  await assert.rejects(
    failing.update(() => 1),
    /away/,
  )
})
