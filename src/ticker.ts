/**
 * Ticker: one timer for many deadlines. It runs `sweep` every 10 ms for as long as `sweep` says that there is something to watch.
 * T1. An idle ticker has no timer. T2. A deadline is noticed at most one tick late.
 */
export const TICK_MS = 10

export class Ticker {
  readonly #sweep: (now: number) => boolean
  #timer: NodeJS.Timeout | undefined

  /** `sweep(now)` returns whether anything is still to be watched. */
  constructor(sweep: (now: number) => boolean) {
    this.#sweep = sweep
  }

  /** Called whenever something to watch was added. */
  wake(): void {
    if (this.#timer === undefined) this.#timer = setInterval(this.#tick, TICK_MS)
  }

  #tick = (): void => {
    if (this.#sweep(Date.now())) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
