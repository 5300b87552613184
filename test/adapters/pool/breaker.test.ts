import assert from 'node:assert/strict'
import { test } from 'node:test'
import { afterFailure, afterLoss, type Breaker, CLOSED, LOSSES, whenAsked } from '../../../src/adapters/pool/breaker.ts'
import { backOffMs } from '../../../src/pause.ts'

const backoff = { firstMs: 100, maxMs: 1_000 }

test('breaker: the back-off doubles from its first to its longest, with half of it at random', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 500].map((failures) => backOffMs(failures, backoff, 1)),
    [100, 200, 400, 800, 1_000, 1_000],
  )
  assert.equal(backOffMs(1, backoff, 0), 50)
})

test('breaker: a failure opens it, its time makes it half-open, another failure opens it for longer', () => {
  const open = afterFailure(CLOSED, 1_000, backoff, 1)
  assert.deepEqual(open, { state: 'open', failures: 1, retryAt: 1_100 })
  assert.equal(whenAsked(open, 1_099), open)
  const half = whenAsked(open, 1_100)
  assert.deepEqual(half, { state: 'half-open', failures: 1 })
  assert.deepEqual(afterFailure(half, 1_100, backoff, 1), { state: 'open', failures: 2, retryAt: 1_300 })
})

test('breaker: connections lost at their work open it only if there are several in a row', () => {
  let breaker: Breaker = CLOSED
  for (let n = 1; n < LOSSES; n++) {
    breaker = afterLoss(breaker, 0, backoff, 1)
    assert.equal(breaker.state, 'closed')
  }
  breaker = afterLoss(breaker, 0, backoff, 1)
  assert.equal(breaker.state, 'open')
  assert.equal(afterLoss(breaker, 0, backoff, 1), breaker)
})
