/**
 * History: points of methods and queues, in steps of 5 s for 15 minutes and of a minute for a day, and the chunks in which they are kept.
 * H1. A step counts if somebody has surveyed it; a name of which nothing is known in such a step did nothing.
 * H2. Chunks of several copies are laid together: each step is taken from whoever has seen it.
 * H3. It is bounded: SERIES names, the rest have no history.
 */
import type { History as View } from './model.ts'
import type { Point } from './track.ts'

const FIELDS = ['rate', 'errorRate', 'p50', 'p95', 'p99'] as const
const SERIES = 1_000

export interface Range {
  /** First letter of its chunks' keys. */
  key: string
  stepMs: number
  steps: number
  /** Steps of one chunk. */
  chunk: number
}

export const FINE: Range = { key: 'f', stepMs: 5_000, steps: 180, chunk: 36 }
export const COARSE: Range = { key: 'c', stepMs: 60_000, steps: 1_440, chunk: 20 }

/** As it is kept: of each name, for each step of the chunk, the FIELDS as 32 bit floats. */
export interface Chunk {
  seen: Uint8Array
  names: string[]
  data: Uint8Array
}

export class History {
  readonly #range: Range
  /** By step modulo steps: the step that stands there. */
  readonly #seen: Float64Array
  readonly #series = new Map<string, Float32Array>()
  readonly #changed = new Set<number>()

  constructor(range: Range) {
    this.#range = range
    this.#seen = new Float64Array(range.steps).fill(-1)
  }

  stepOf(at: number): number {
    return Math.floor(at / this.#range.stepMs)
  }

  /** A step is over. */
  put(step: number, points: Iterable<readonly [name: string, point: Point]>): void {
    this.#clear(step)
    for (const [name, point] of points) {
      if (FIELDS.every((field) => point[field] === 0)) continue // H1
      const series = this.#seriesOf(name)
      series?.set(
        FIELDS.map((field) => point[field]),
        this.#place(step),
      )
    }
    this.#changed.add(Math.floor(step / this.#range.chunk))
  }

  /** Of the steps up to `now`, oldest first. */
  view(name: string, now: number): View {
    const { stepMs, steps } = this.#range
    const last = this.stepOf(now) - 1
    const points = Array.from({ length: steps }, (_, i) => this.#point(name, last - steps + 1 + i))
    return { name, stepMs, points }
  }

  /** One field of the last `n` steps, 0 where nothing was seen. */
  recent(name: string, field: 'rate' | 'errorRate', now: number, n: number): number[] {
    const series = this.#series.get(name)
    const last = this.stepOf(now) - 1
    const offset = FIELDS.indexOf(field)
    return Array.from({ length: n }, (_, i) => {
      const step = last - n + 1 + i
      return series && this.#isSeen(step) ? rounded(series[this.#place(step) + offset] ?? 0) : 0
    })
  }

  /** The chunks with steps that are not kept yet, by key. */
  changedChunks(): Map<string, number> {
    return new Map([...this.#changed].map((chunk) => [`${this.#range.key}.${chunk}`, chunk]))
  }

  kept(chunk: number): void {
    this.#changed.delete(chunk)
  }

  /** A chunk as it is to be kept, over what is kept of it (H2). */
  write(chunk: number, stored: Chunk | undefined): Chunk {
    if (stored) this.read(chunk, stored)
    const { chunk: length } = this.#range
    const first = chunk * length
    const seen = Uint8Array.from({ length }, (_, i) => (this.#isSeen(first + i) ? 1 : 0))
    const rows: [string, Float32Array][] = []
    for (const [name, series] of this.#series) {
      const row = new Float32Array(length * FIELDS.length)
      for (let i = 0; i < length; i++) {
        const place = this.#place(first + i)
        if (seen[i]) row.set(series.subarray(place, place + FIELDS.length), i * FIELDS.length)
      }
      if (row.some((value) => value !== 0)) rows.push([name, row])
    }
    const data = new Float32Array(rows.length * length * FIELDS.length)
    for (const [i, [, row]] of rows.entries()) data.set(row, i * row.length)
    return { seen, names: rows.map(([name]) => name), data: new Uint8Array(data.buffer) }
  }

  /** Takes over what is kept of the steps that were not seen here. */
  read(chunk: number, { seen, names, data }: Chunk): void {
    const { chunk: length, steps } = this.#range
    const first = chunk * length
    const newest = Math.max(-1, ...this.#seen)
    const floats = new Float32Array(data.slice().buffer) // from the bus it may begin anywhere
    const missing = [...seen.keys()].filter((i) => seen[i] === 1 && !this.#isSeen(first + i) && first + i > newest - steps)
    for (const i of missing) this.#clear(first + i)
    names.forEach((name, n) => {
      const series = missing.length > 0 ? this.#seriesOf(name) : undefined
      for (const i of missing) {
        const at = (n * length + i) * FIELDS.length
        series?.set(floats.subarray(at, at + FIELDS.length), this.#place(first + i))
      }
    })
  }

  #point(name: string, step: number): View['points'][number] {
    if (!this.#isSeen(step)) return null
    const series = this.#series.get(name)
    const value = (i: number): number => (series ? rounded(series[this.#place(step) + i] ?? 0) : 0)
    return { at: step * this.#range.stepMs, rate: value(0), errorRate: value(1), p50: value(2), p95: value(3), p99: value(4) }
  }

  #isSeen(step: number): boolean {
    return this.#seen[step % this.#range.steps] === step
  }

  #clear(step: number): void {
    const place = this.#place(step)
    for (const series of this.#series.values()) series.fill(0, place, place + FIELDS.length)
    this.#seen[step % this.#range.steps] = step
  }

  #place(step: number): number {
    return (step % this.#range.steps) * FIELDS.length
  }

  /** H3. */
  #seriesOf(name: string): Float32Array | undefined {
    let series = this.#series.get(name)
    if (!series && this.#series.size < SERIES) {
      series = new Float32Array(this.#range.steps * FIELDS.length)
      this.#series.set(name, series)
    }
    return series
  }
}

/** Three digits: nobody sees more in a chart. Pure. */
export function rounded(value: number): number {
  return value === 0 ? 0 : Number(value.toPrecision(3))
}
