/**
 * Tally: what has become of calls of one kind: how many, errors by code, how long they took.
 * T1. What callers and modules choose grows nothing without bound: codes beyond `CODES_KEPT`, and those that are no words, are counted as OTHER.
 */
import type { Durations } from '../bus/survey/contract.ts'
import { Histogram } from '../histogram.ts'

/** Different codes that are told apart: the runtime has eleven. */
const CODES_KEPT = 32
const OTHER = 'OTHER'
/** A code is a word of the program's, not somebody's data. */
const WORD = /^[A-Za-z][A-Za-z_]{0,39}$/

/** What a tally tells. */
export interface Tallied {
  calls: number
  errors: Record<string, number>
  durations: Durations
}

export class Tally {
  calls = 0
  readonly durations: Histogram = new Histogram()
  #errors: Map<string, number> | undefined

  /** A call ended after so long; `code` tells in which error. */
  count(ms: number, code?: string): void {
    this.calls++
    this.durations.add(ms)
    if (code !== undefined) this.countError(code)
  }

  /** A call was not begun. */
  refuse(code: string): void {
    this.calls++
    this.countError(code)
  }

  countError(code: string): void {
    this.#errors ??= new Map()
    const known = this.#errors.get(code)
    if (known !== undefined) return void this.#errors.set(code, known + 1)
    const name = WORD.test(code) && this.#errors.size < CODES_KEPT ? code : OTHER
    this.#errors.set(name, (this.#errors.get(name) ?? 0) + 1)
  }

  /** All errors. */
  get failed(): number {
    let sum = 0
    for (const count of this.#errors?.values() ?? []) sum += count
    return sum
  }

  read(): Tallied {
    return { calls: this.calls, errors: Object.fromEntries(this.#errors ?? []), durations: this.durations.read() }
  }
}
