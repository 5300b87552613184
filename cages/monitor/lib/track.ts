/**
 * Track: one counter over time, fed with what has come since the survey before: its rate now, its durations of the last minute, its points in the history.
 * K1. A rate is a moving average over about RATE_MS, so that a call a minute does not flicker.
 */
import { addDurations, type Durations, NO_DURATIONS, quantile } from 'menagerie'

const RATE_MS = 5_000
/** Steps of 5 s that make the last minute. */
const MINUTE = 12

export interface Point {
  rate: number
  errorRate: number
  p50: number
  p95: number
  p99: number
}

export class Track {
  /** Per second (K1). */
  rate = 0
  errorRate = 0
  #isNew = true
  /** Of this survey, until it is over. */
  #requests = 0
  #errors = 0
  /** Of the step that goes on. */
  #stepRequests = 0
  #stepErrors = 0
  #step: Durations[] = []
  /** Of the steps of the last minute, newest last. */
  #minute: { requests: number; errors: number; ms: number; durations: Durations }[] = []

  add(requests: number, errors: number, durations: Durations): void {
    this.#requests += requests
    this.#errors += errors
    if (durations.count > 0) this.#step.push(durations)
  }

  /** A survey is complete, `ms` after the one before. */
  surveyed(ms: number): void {
    const weight = this.#isNew ? 1 : 1 - Math.exp(-ms / RATE_MS)
    const per = (n: number, before: number): number => settled(before + ((n * 1_000) / ms - before) * weight)
    this.rate = per(this.#requests, this.rate)
    this.errorRate = per(this.#errors, this.errorRate)
    this.#stepRequests += this.#requests
    this.#stepErrors += this.#errors
    this.#requests = 0
    this.#errors = 0
    this.#isNew = false
  }

  /** A step is over, of which `ms` were seen: its point. */
  endStep(ms: number): Point {
    const durations = addDurations(this.#step)
    const step = { requests: this.#stepRequests, errors: this.#stepErrors, ms, durations }
    this.#minute.push(step)
    if (this.#minute.length > MINUTE) this.#minute.shift()
    this.#stepRequests = 0
    this.#stepErrors = 0
    this.#step = []
    return pointOf([step])
  }

  /** The point of the last `steps` steps. */
  pointOf(steps: number): Point {
    return pointOf(this.#minute.slice(-steps))
  }

  /** Those of the last minute. */
  durations(): Durations {
    const parts = [...this.#minute.map(({ durations }) => durations), ...this.#step].filter(({ count }) => count > 0)
    const [only] = parts
    return parts.length === 0 ? NO_DURATIONS : parts.length === 1 && only ? only : addDurations(parts)
  }

  /** Of the last minute, with what has come since. */
  sums(): { requests: number; errors: number } {
    const sum = (of: 'requests' | 'errors'): number => this.#minute.reduce((total, step) => total + step[of], 0)
    return { requests: sum('requests') + this.#stepRequests, errors: sum('errors') + this.#stepErrors }
  }
}

function pointOf(steps: readonly { requests: number; errors: number; ms: number; durations: Durations }[]): Point {
  const sum = (of: 'requests' | 'errors' | 'ms'): number => steps.reduce((total, step) => total + step[of], 0)
  const durations = addDurations(steps.map((step) => step.durations))
  const seconds = Math.max(1, sum('ms')) / 1_000
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => quantile(durations, q)) as [number, number, number] // as many as went in
  return { rate: sum('requests') / seconds, errorRate: sum('errors') / seconds, p50, p95, p99 }
}

/** What has nearly faded away is nothing. */
function settled(rate: number): number {
  return rate < 0.001 ? 0 : rate
}

/** What a counter has grown by; one that is less than before began anew. Pure. */
export function grown(now: number, before: number): number {
  return now < before ? now : now - before
}
