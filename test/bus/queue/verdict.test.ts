/** What becomes of a queued call, before and after its run. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { QueuePolicy } from '../../../src/bus/queue/contract.ts'
import type { CallRecord } from '../../../src/bus/queue/ledger.ts'
import type { QueuedCall } from '../../../src/bus/queue/message.ts'
import { admit, backOffMs, expiryOf, isStale, MAX_RERUNS, verdict } from '../../../src/bus/queue/verdict.ts'
import { CageError } from '../../../src/errors.ts'

const NOW = 1_000_000
const EXPIRES = NOW + 3_600_000
const POLICY: QueuePolicy = {
  concurrency: 1,
  expiresMs: 3_600_000,
  timeoutMs: 1_000,
  backoff: { firstMs: 1_000, maxMs: 60_000, factor: 2, jitter: 0.5 },
  dedupMs: 1,
}

function call(more: Partial<QueuedCall> = {}): QueuedCall {
  return {
    queue: 'retry',
    cage: 'c',
    module: 'm',
    method: 'f',
    priority: 'normal',
    args: [],
    request: { id: '' },
    id: undefined,
    attempts: 0,
    moves: 0,
    enqueuedAt: undefined,
    expiresMs: undefined,
    dueAt: undefined,
    key: undefined,
    failures: [],
    ...more,
  }
}

function record(more: Partial<CallRecord> = {}): CallRecord {
  const counts = { attempts: 0, crashes: 0, reruns: 0 }
  return { id: 'x', queue: 'retry', target: 'c.m.f', state: 'waiting', seq: 7, moves: 0, ...counts, enqueuedAt: 0, changedAt: 0, ...more }
}

function failed(error: CageError, more: Partial<QueuedCall> = {}, policy: QueuePolicy = POLICY, crashes = 0): ReturnType<typeof verdict> {
  return verdict({ ok: false, error }, call(more), crashes, EXPIRES, policy, NOW, 1)
}

test('verdict: a result is done', () => {
  assert.deepEqual(verdict({ ok: true, result: 42 }, call(), 0, EXPIRES, POLICY, NOW, 1), { kind: 'done', result: 42 })
})

test('verdict: a call whose error is not retryable is buried on its first attempt', () => {
  assert.equal(failed(new CageError('INVALID_ARGUMENT', 'no')).kind, 'dead')
  assert.equal(failed(new CageError('INTERNAL', 'no', { retryable: false })).kind, 'dead')
})

test('verdict: an internal error and a module’s own error are tried again, each time after twice as long', () => {
  const error = new CageError('MINE', 'not yet')
  const delays = [0, 1, 2, 9].map((attempts) => {
    const decided = failed(error, { attempts })
    return decided.kind === 'again' && decided.counts ? decided.delayMs : decided.kind
  })
  assert.deepEqual(delays, [1_000, 2_000, 4_000, 60_000])
})

test('verdict: half of the delay is at random', () => {
  assert.deepEqual(
    [0, 0.5, 1].map((random) => backOffMs(1, POLICY, random)),
    [500, 750, 1_000],
  )
})

test('verdict: an error may say when it is worth another try', () => {
  const decided = failed(new CageError('UNAVAILABLE', 'in maintenance', { retryAfterMs: 90_000 }))
  assert.deepEqual(decided.kind === 'again' && [decided.delayMs, decided.counts], [90_000, true])
})

test('verdict: the last attempt of maxAttempts is final', () => {
  const policy = { ...POLICY, maxAttempts: 3 }
  assert.equal(failed(new CageError('INTERNAL', 'no'), { attempts: 1 }, policy).kind, 'again')
  assert.equal(failed(new CageError('INTERNAL', 'no'), { attempts: 2 }, policy).kind, 'dead')
})

test('verdict: a snooze and a refusal by a full mailbox are no attempts, however many there are', () => {
  for (const code of ['SNOOZED', 'OVERLOADED']) {
    const decided = failed(new CageError(code, 'later', { retryAfterMs: 5 }), { attempts: 2 }, { ...POLICY, maxAttempts: 3 })
    assert.deepEqual(decided.kind === 'again' && decided.counts, false)
  }
})

test('verdict: a run that another one has replaced settles nothing, and code that does not match its saga is no attempt', () => {
  assert.deepEqual(failed(new CageError('SUPERSEDED', 'by another run')), { kind: 'left' })
  const again = failed(new CageError('SAGA_MISMATCH', 'old code'), { attempts: 5 }, { ...POLICY, maxAttempts: 6 })
  assert.deepEqual([again.kind, again.kind === 'again' && again.counts], ['again', false])
})

test('verdict: a call that would be expired at its next attempt is dead now', () => {
  const decided = verdict({ ok: false, error: new CageError('INTERNAL', 'no') }, call(), 0, NOW + 900, POLICY, NOW, 1)
  assert.equal(decided.kind, 'dead')
})

test('verdict: a worker that ends twice under a call buries it', () => {
  const error = new CageError('CRASHED', 'gone')
  assert.deepEqual([failed(error, {}, POLICY, 0).kind, failed(error, {}, POLICY, 1).kind], ['again', 'dead'])
})

test('admit: a first delivery without a record runs', () => {
  assert.deepEqual(admit(call(), 7, EXPIRES, undefined, NOW), { kind: 'run' })
})

test('admit: an expired call is dead before it runs', () => {
  const admission = admit(call(), 7, NOW, undefined, NOW)
  assert.equal(admission.kind === 'dead' && admission.error.code, 'DEADLINE_EXCEEDED')
})

test('admit: what is left of a call that is done, dead, cancelled or moved on is dropped', () => {
  for (const state of ['done', 'dead', 'cancelled'] as const) assert.equal(admit(call(), 7, EXPIRES, record({ state }), NOW).kind, 'drop')
  assert.equal(admit(call(), 7, EXPIRES, record({ moves: 1, seq: 3, state: 'delayed' }), NOW).kind, 'drop')
  assert.equal(admit(call({ id: 'x' }), 8, EXPIRES, record({ seq: 7 }), NOW).kind, 'drop', 'a second message of the same call')
})

test('admit: a message that moved on further than its record is the call', () => {
  assert.equal(isStale(call({ moves: 2 }), 9, record({ moves: 1, seq: 3, state: 'running' })), false)
})

test('admit: a call that has crashed its worker once runs alone, and after the second time not at all', () => {
  assert.equal(admit(call(), 7, EXPIRES, record({ crashes: 1 }), NOW).kind, 'alone')
  const admission = admit(call(), 7, EXPIRES, record({ crashes: 2 }), NOW)
  assert.equal(admission.kind === 'dead' && admission.error.code, 'CRASHED')
})

test('admit: a call whose process ended in each of many runs is not run again', () => {
  assert.equal(admit(call(), 7, EXPIRES, record({ state: 'running', reruns: MAX_RERUNS - 1 }), NOW).kind, 'alone')
  assert.equal(admit(call(), 7, EXPIRES, record({ state: 'running', reruns: MAX_RERUNS }), NOW).kind, 'dead')
})

test('expiry: a call’s own comes before the queue’s, and counts from its first enqueueing', () => {
  assert.equal(expiryOf(call(), 500, POLICY), 3_600_500)
  assert.equal(expiryOf(call({ enqueuedAt: 100, expiresMs: 50 }), 500, POLICY), 150)
})
