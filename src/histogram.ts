/**
 * Histogram of durations, from a microsecond to an hour, as HDR histograms have it: eight buckets for each power of two, so a quantile is wrong by
 * 6 % at most, whatever its size; histograms of several copies, or of several moments, are added and subtracted.
 */
import type { Durations } from './bus/survey/contract.ts'

/** 8 for each power of two of microseconds up to 2^32; the first 16 are exact. */
const BUCKETS = 240
const SUB_BITS = 3

export class Histogram {
  count = 0
  /** ms. */
  sum = 0
  max = 0
  /** Made with the first value: most methods of a large cage are never called. */
  #buckets: Uint32Array | undefined

  /** Counts a duration, ms. */
  add(ms: number): void {
    this.count++
    this.sum += ms
    if (ms > this.max) this.max = ms
    this.#buckets ??= new Uint32Array(BUCKETS)
    const bucket = bucketOf(ms)
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1
  }

  read(): Durations {
    const buckets: number[] = []
    this.#buckets?.forEach((count, bucket) => {
      if (count > 0) buckets.push(bucket, count)
    })
    return { count: this.count, sum: this.sum, max: this.max, buckets }
  }
}

export const NO_DURATIONS: Durations = { count: 0, sum: 0, max: 0, buckets: [] }

/** All of them together. Pure. */
export function addDurations(all: Iterable<Durations>): Durations {
  const total = { count: 0, sum: 0, max: 0 }
  const counts = new Map<number, number>()
  for (const { count, sum, max, buckets } of all) {
    total.count += count
    total.sum += sum
    total.max = Math.max(total.max, max)
    for (const [bucket, n] of pairs(buckets)) counts.set(bucket, (counts.get(bucket) ?? 0) + n)
  }
  return { ...total, buckets: [...counts].sort(([a], [b]) => a - b).flat() }
}

/** What has come since an earlier reading of the same histogram; its `max` is the upper end of its last bucket. Pure. */
export function durationsSince(now: Durations, earlier: Durations): Durations {
  if (now.count < earlier.count) return now // it began anew
  if (now.count === earlier.count) return NO_DURATIONS
  const buckets: number[] = []
  let at = 0
  for (let i = 0; i + 1 < now.buckets.length; i += 2) {
    // both are in order
    const bucket = now.buckets[i] as number
    while ((earlier.buckets[at] ?? Number.POSITIVE_INFINITY) < bucket) at += 2
    const n = (now.buckets[i + 1] as number) - (earlier.buckets[at] === bucket ? (earlier.buckets[at + 1] as number) : 0)
    if (n > 0) buckets.push(bucket, n)
  }
  const last = buckets.at(-2)
  return {
    count: now.count - earlier.count,
    sum: now.sum - earlier.sum,
    max: last === undefined ? 0 : Math.min(now.max, upperMs(last)),
    buckets,
  }
}

/** The duration below which a share `q` (0 to 1) of them is, ms; 0 if there are none. Pure. */
export function quantile({ count, max, buckets }: Durations, q: number): number {
  let left = Math.max(1, Math.ceil(q * count))
  for (const [bucket, n] of pairs(buckets)) {
    left -= n
    if (left <= 0) return Math.min(max, (lowerMs(bucket) + upperMs(bucket)) / 2)
  }
  return max
}

/** Where a bucket ends, ms: for cumulative forms such as Prometheus'. Pure. */
export function upperMs(bucket: number): number {
  return lowerMs(bucket + 1)
}

function* pairs(buckets: readonly number[]): Iterable<[bucket: number, count: number]> {
  for (let i = 0; i + 1 < buckets.length; i += 2) yield [buckets[i] as number, buckets[i + 1] as number]
}

function bucketOf(ms: number): number {
  const us = Math.min(0xffff_ffff, Math.max(0, ms * 1_000)) >>> 0
  if (us < 16) return us
  const shift = 31 - Math.clz32(us) - SUB_BITS
  return (shift << SUB_BITS) + (us >>> shift)
}

function lowerMs(bucket: number): number {
  if (bucket < 16) return bucket / 1_000
  const shift = (bucket >> SUB_BITS) - 1
  return (((bucket & 7) + 8) * 2 ** shift) / 1_000
}
