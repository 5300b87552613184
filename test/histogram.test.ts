import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addDurations, durationsSince, Histogram, NO_DURATIONS, quantile, upperMs } from '../src/histogram.ts'

function of(...values: number[]): Histogram {
  const histogram = new Histogram()
  for (const value of values) histogram.add(value)
  return histogram
}

test('histogram: a quantile is within 6.25 % of the exact one, from a microsecond to an hour', () => {
  for (let exponent = -3; exponent < 6.5; exponent += 0.01) {
    const ms = 10 ** exponent
    const found = quantile(of(ms, ms * 1_000).read(), 0.5)
    assert.ok(Math.abs(found - ms) <= Math.max(ms * 0.0625, 0.0006), `${ms} ms is told as ${found}`)
  }
})

test('histogram: quantiles of a known distribution', () => {
  const read = of(...Array.from({ length: 1_000 }, (_, i) => i + 1)).read()
  for (const [q, exact] of [
    [0.5, 500],
    [0.95, 950],
    [0.99, 990],
  ] as const)
    assert.ok(Math.abs(quantile(read, q) - exact) <= exact * 0.0625, `p${q * 100} is ${quantile(read, q)}`)
  assert.equal(quantile(read, 1), 1_000)
  assert.equal(read.sum, 500_500)
  assert.equal(quantile(NO_DURATIONS, 0.99), 0)
})

test('histogram: those of two copies are one, and two readings of one are what came between', () => {
  const first = of(1, 2, 3)
  const early = first.read()
  const both = addDurations([early, of(100).read()])
  assert.deepEqual([both.count, both.sum, both.max], [4, 106, 100])
  assert.ok(Math.abs(quantile(both, 1) - 100) < 7)
  first.add(50)
  const between = durationsSince(first.read(), early)
  assert.deepEqual([between.count, between.sum], [1, 50])
  assert.ok(Math.abs(quantile(between, 0.5) - 50) < 4)
  assert.deepEqual(durationsSince(early, first.read()), early, 'one that began anew is new as a whole')
})

test('histogram: what cannot be is counted at the ends', () => {
  const read = of(-1, 0, 1e12).read()
  assert.equal(read.count, 3)
  assert.equal(read.buckets[0], 0)
  assert.ok(upperMs(read.buckets.at(-2) ?? 0) >= 4_294_967)
})
