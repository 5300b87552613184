import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { type Job, Mailbox } from '../../src/actors/mailbox.ts'
import { eventually } from '../../src/testing/wait.ts'

const NOW = 1_000_000

/** A mailbox and the names of what it started, in order. */
function filled(concurrency: number, maxQueued: number) {
  const started: string[] = []
  const mailbox = new Mailbox({ concurrency, maxQueued })
  const job = (name: string, deadline: number, expectedMs = 0): Job => ({ deadline, expectedMs, run: () => void started.push(name) })
  return { mailbox, started, post: (name: string, inMs: number, expectedMs = 0) => mailbox.post(job(name, NOW + inMs, expectedMs), NOW) }
}

test('mailbox: a free slot is used at once, and no more than `concurrency` run', () => {
  const { mailbox, started, post } = filled(2, 10)
  for (const name of ['a', 'b', 'c']) assert.equal(post(name, 1_000), undefined)
  assert.deepEqual(started, ['a', 'b'])
  assert.deepEqual([mailbox.running, mailbox.waiting], [2, 1])
})

test('mailbox: of those that wait, the earliest deadline comes first, and equals in the order they came', async () => {
  const { mailbox, started, post } = filled(1, 10)
  post('running', 1_000)
  for (const [name, inMs] of [
    ['late', 9_000],
    ['soon', 2_000],
    ['soon too', 2_000],
    ['middle', 5_000],
  ] as const)
    post(name, inMs)
  await setImmediate() // the turn in which they came is over
  for (let n = 2; n <= 5; n++) {
    mailbox.release()
    await eventually(`start ${n}`, () => started.length === n)
  }
  assert.deepEqual(started, ['running', 'soon', 'soon too', 'middle', 'late'])
})

test('mailbox: a slot that is freed in the same turn goes to the next that came in it, without a queue', () => {
  const { mailbox, started, post } = filled(1, 10)
  for (const name of ['a', 'b', 'c']) post(name, 1_000)
  mailbox.release()
  assert.deepEqual(started, ['a', 'b'])
  mailbox.release()
  assert.deepEqual(started, ['a', 'b', 'c'])
})

test('mailbox: beyond maxQueued a job is refused at once with OVERLOADED', () => {
  const { post, started } = filled(1, 2)
  assert.deepEqual([post('a', 1_000), post('b', 1_000), post('c', 1_000)], [undefined, undefined, undefined])
  assert.equal(post('d', 1_000)?.code, 'OVERLOADED')
  assert.deepEqual(started, ['a'])
})

test('mailbox: a job that cannot make its deadline is refused when it is posted, one that can is taken', () => {
  const { post } = filled(1, 100)
  for (let n = 0; n < 5; n++) assert.equal(post(`job ${n}`, 10_000, 100), undefined)
  assert.equal(post('short of time', 400, 100)?.code, 'OVERLOADED')
  assert.equal(post('patient', 5_000, 100), undefined)
})

test('mailbox: while it is held nothing starts; resume starts what waits', async () => {
  const { mailbox, started, post } = filled(2, 10)
  mailbox.hold()
  for (const name of ['a', 'b', 'c']) post(name, 1_000)
  assert.deepEqual(started, [])
  mailbox.resume()
  await eventually('two have started', () => started.length === 2)
  assert.equal(mailbox.waiting, 1)
})

test('mailbox: a raised limit starts those that wait', async () => {
  const { mailbox, started, post } = filled(1, 10)
  for (const name of ['a', 'b', 'c']) post(name, 1_000)
  mailbox.setLimits({ concurrency: 3, maxQueued: 10 })
  await eventually('all have started', () => started.length === 3)
})
