/**
 * Steps: what a worker has done for requests, the latest of it, in memory; it is found by a request, a call, or a word of its arguments.
 * S1. It is bounded: LATEST that went well and LATEST_FAILED that did not, so that a flood of the ones does not hide the others.
 * S2. It costs next to nothing: what is told of a step is made when somebody asks, and listeners are there only while somebody follows.
 */
import type { Step } from '../bus/survey/contract.ts'
import type { CageError } from '../errors.ts'
import { holds, type Word } from '../words.ts'

const LATEST = 4_096
const LATEST_FAILED = 1_024
const LONGEST_MESSAGE = 300
/** By more than this somebody has set the clock. */
const CLOCK_MS = 5

/** A step as it is remembered: of what is already there, so that next to nothing is made for it. */
export interface Done {
  kind: Step['kind']
  /** performance.now(), which is not put back as the clock may be. */
  startedAt: number
  endedAt: number
  /** `module.method` or the interface; `to`: what it called. */
  by: string
  to: string | undefined
  request: string
  queue: string | undefined
  callId: string | undefined
  attempt: number | undefined
  words: readonly Word[]
  /** Undefined: it went well. */
  error: CageError | undefined
}

export class Steps {
  readonly #cage: string
  readonly #node: string
  readonly #good = new Ring<Done>(LATEST)
  readonly #failed = new Ring<Done>(LATEST_FAILED)
  readonly #listeners = new Set<(step: Step) => void>()
  #began = performance.timeOrigin

  constructor(node: string, cage: string) {
    this.#node = node
    this.#cage = cage
  }

  add(done: Done): void {
    if (done.error === undefined) this.#good.push(done)
    else this.#failed.push(done)
    if (this.#listeners.size > 0) this.#tell(done)
  }

  /** Oldest first. */
  find(text: string): Step[] {
    const began = this.#beginning() // for all the same, so that they stay in their order
    const found = [...this.#good, ...this.#failed].filter((step) => holds(step, text))
    return found.sort((a, b) => a.endedAt - b.endedAt).map((step) => this.#shown(step, began))
  }

  /** Tells every step from now on; returns what stops that. */
  onStep(listener: (step: Step) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * When performance.now() was 0: the same each time, so that a step that is found twice is the same, and finer than Date.now(), so that those of
   * the copies in one process stay in their order.
   */
  #beginning(): number {
    const now = Date.now() - performance.now()
    if (Math.abs(now - this.#began) > CLOCK_MS) this.#began = now
    return this.#began
  }

  #tell(step: Done): void {
    const shown = this.#shown(step, this.#beginning())
    for (const listener of this.#listeners) listener(shown)
  }

  #shown({ kind, startedAt, endedAt, by, to, request, queue, callId, attempt, words, error }: Done, began: number): Step {
    return {
      ...{ at: Math.round(began + startedAt), ms: Math.round((endedAt - startedAt) * 1_000) / 1_000 },
      ...{ kind, cage: this.#cage, node: this.#node, what: to === undefined ? by : `${by} > ${to}`, request },
      ...{ code: error?.code, message: error?.message.slice(0, LONGEST_MESSAGE) },
      ...{ queue, callId, attempt, words: words.map(String) },
    }
  }
}

/** The latest so many. */
class Ring<T> {
  readonly #size: number
  readonly #items: T[] = []
  #next = 0

  constructor(size: number) {
    this.#size = size
  }

  push(item: T): void {
    this.#items[this.#next] = item
    this.#next = this.#next + 1 === this.#size ? 0 : this.#next + 1
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#items.values()
  }
}
