/**
 * Mailbox: runs at most `concurrency` jobs at once; the rest wait, earliest deadline first.
 * M1. A job that cannot make its deadline is refused when it is posted, not when it is late.
 * M2. Posting beyond `maxQueued` is refused at once; it never waits.
 * M3. Free slots are used at once. What arrives in the same turn of the event loop takes the slots that are freed in it, in
 *     the order it came; only what must wait longer goes to p-queue.
 */
import PQueue from 'p-queue'
import { CageError } from '../errors.ts'

/** Something that waits for a slot and then takes it. */
export interface Job {
  /** Epoch ms. */
  readonly deadline: number
  /** How long it is expected to run, ms; 0 if unknown. The same from its posting to its run. */
  readonly expectedMs: number
  /** Called when it has its slot; must lead to one `release()`. */
  run(): void
}

export interface MailboxLimits {
  concurrency: number
  maxQueued: number
}

/**
 * The share of a job's remaining time that waiting and running may be predicted to take. The prediction is a mean;
 * what is accepted must make it on a machine that has just become slower.
 */
const HEADROOM = 0.75

export class Mailbox {
  #limits: MailboxLimits
  #running = 0
  #held = false
  #waitingMs = 0
  /** Jobs of this turn of the event loop, from `#nextArrival` on (M3). */
  readonly #arrivals: Job[] = []
  #nextArrival = 0
  #queue: PQueue | undefined

  constructor(limits: MailboxLimits) {
    this.#limits = limits
  }

  get running(): number {
    return this.#running
  }

  get waiting(): number {
    return this.#arrivals.length - this.#nextArrival + (this.#queue?.size ?? 0)
  }

  /** Runs the job now or later, or refuses it with OVERLOADED. */
  post(job: Job, now: number): CageError | undefined {
    const { concurrency, maxQueued } = this.#limits
    if (this.#running < concurrency && this.waiting === 0 && !this.#held) {
      this.#running++
      job.run()
      return undefined
    }
    if (this.waiting >= maxQueued) return new CageError('OVERLOADED', `${this.waiting} calls wait already`)
    const waitMs = (this.#waitingMs + job.expectedMs * concurrency) / concurrency
    if (waitMs + job.expectedMs > (job.deadline - now) * HEADROOM) {
      return new CageError('OVERLOADED', `the call would wait ${Math.round(waitMs)} ms and miss its deadline`)
    }
    this.#waitingMs += job.expectedMs
    if (this.#arrivals.push(job) === 1) setImmediate(this.#queueArrivals)
    return undefined
  }

  /** Gives a slot back. */
  release(): void {
    this.#running--
    this.#next()
  }

  /** Holds all new jobs in the queue until resume(). */
  hold(): void {
    this.#held = true
    this.#queue?.pause()
  }

  resume(): void {
    this.#held = false
    this.#next()
  }

  setLimits(limits: MailboxLimits): void {
    this.#limits = limits
    this.#next()
  }

  /** The turn is over: what could not run in it waits by its deadline. */
  #queueArrivals = (): void => {
    this.#queue ??= new PQueue({ concurrency: Number.POSITIVE_INFINITY, autoStart: false })
    for (const job of this.#arrivals.slice(this.#nextArrival)) void this.#queue.add(() => this.#begin(job), { priority: -job.deadline })
    this.#arrivals.length = this.#nextArrival = 0
    this.#next()
  }

  /** Called by p-queue, synchronously from start(), while the queue is not paused: so there is a slot. */
  #begin(job: Job): void {
    this.#waitingMs -= job.expectedMs
    this.#running++
    if (this.#running >= this.#limits.concurrency) this.#queue?.pause()
    job.run()
  }

  #next(): void {
    const { concurrency } = this.#limits
    if (this.#queue && this.#queue.size > 0) {
      if (!this.#held && this.#running < concurrency) this.#queue.start()
      if (this.#held || this.#running >= concurrency) this.#queue.pause()
    }
    while (!this.#held && this.#running < concurrency && this.#nextArrival < this.#arrivals.length) {
      const job = this.#arrivals[this.#nextArrival++]
      if (job) this.#begin(job)
    }
  }
}
