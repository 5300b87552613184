/** Order and limits of the calls that one copy hands out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lanes, type Waiting } from '../../../src/bus/queue/lanes.ts'

interface Item extends Waiting {
  n: number
}

const item = (n: number, lane: string, limit = ''): Item => ({ n, lane, limit })

function takeAll(lanes: Lanes<Item>, now: number): number[] {
  const taken: number[] = []
  for (let next = lanes.take(now); next; next = lanes.take(now)) taken.push(next.n)
  return taken
}

test('lanes: in an ordered lane one call is under way at a time, the oldest first; other lanes go on', () => {
  const lanes = new Lanes<Item>({ ordered: true, limits: {} })
  const [a1, a2, b1] = [item(1, 'a'), item(2, 'a'), item(3, 'b')]
  for (const each of [a1, a2, b1]) lanes.add(each)
  assert.deepEqual(takeAll(lanes, 0), [1, 3])
  lanes.ended(a1)
  assert.deepEqual(takeAll(lanes, 0), [2])
})

test('lanes: a failed call holds its lane until it is tried again, and is the next of it', () => {
  const lanes = new Lanes<Item>({ ordered: true, limits: {} })
  const first = item(1, 'a')
  for (const each of [first, item(2, 'a'), item(3, 'b')]) lanes.add(each)
  assert.equal(lanes.take(0), first)
  lanes.ended(first, 1_000)
  assert.deepEqual(takeAll(lanes, 999), [3])
  assert.equal(lanes.nextAt(999), 1_000)
  assert.deepEqual(
    lanes.info(999, 10).filter(({ heldUntil }) => heldUntil !== undefined),
    [{ lane: 'a', waiting: 2, running: 0, heldUntil: 1_000 }],
  )
  assert.deepEqual(takeAll(lanes, 1_000), [1])
})

test('lanes: a limit of calls at once counts for each of its keys', () => {
  const lanes = new Lanes<Item>({ ordered: false, limits: { concurrency: 2 } })
  const items = [item(1, 'x', 'x'), item(2, 'x', 'x'), item(3, 'x', 'x'), item(4, 'y', 'y')]
  for (const each of items) lanes.add(each)
  assert.deepEqual(takeAll(lanes, 0).sort(), [1, 2, 4])
  lanes.ended(item(1, 'x', 'x'))
  assert.deepEqual(takeAll(lanes, 0), [3])
})

test('lanes: a rate spaces the starts evenly, without a burst after a pause', () => {
  const lanes = new Lanes<Item>({ ordered: false, limits: { ratePerSecond: 10 } })
  for (let n = 1; n <= 5; n++) lanes.add(item(n, ''))
  assert.deepEqual(takeAll(lanes, 0), [1])
  assert.equal(lanes.nextAt(0), 100)
  assert.deepEqual(takeAll(lanes, 99), [])
  assert.deepEqual(takeAll(lanes, 100), [2])
  assert.deepEqual(takeAll(lanes, 5_000), [3])
})

test('lanes: a long lane does not keep the others waiting', () => {
  const lanes = new Lanes<Item>({ ordered: false, limits: {} })
  for (const each of [item(1, 'a'), item(2, 'a'), item(3, 'a'), item(4, 'b')]) lanes.add(each)
  assert.deepEqual([lanes.take(0)?.n, lanes.take(0)?.n], [1, 4])
})
