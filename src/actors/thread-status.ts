/** What a copy tells of the thread and the process that it runs in: it measures the event loop from its making on. */
import { type IntervalHistogram, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { getHeapStatistics } from 'node:v8'
import type { ThreadStatus } from '../bus/survey/contract.ts'
import type { WorkerPast } from './thread.ts'

/** The loop is looked at so often, ms: what the histogram tells has it in it. */
const RESOLUTION_MS = 20
/** Two halves make a minute. */
const HALF_MS = 30_000

interface Lag {
  count: number
  mean: number
  p99: number
  max: number
}

const NO_LAG: Lag = { count: 0, mean: 0, p99: 0, max: 0 }

export class ThreadWatch {
  readonly #past: WorkerPast
  readonly #delay: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  #before: Lag = NO_LAG
  #loop = performance.eventLoopUtilization()
  #utilization = 0
  #askedAt = 0
  readonly #timer: NodeJS.Timeout

  constructor(past: WorkerPast) {
    this.#past = past
    this.#delay.enable()
    this.#timer = setInterval(() => {
      this.#before = lagOf(this.#delay)
      this.#delay.reset()
    }, HALF_MS).unref()
  }

  status(): ThreadStatus {
    const heap = getHeapStatistics()
    return {
      processCpuMs: cpuMs(process.cpuUsage()),
      threadCpuMs: threadCpuMs(),
      rss: process.memoryUsage.rss(),
      heapUsed: heap.used_heap_size,
      heapLimit: heap.heap_size_limit,
      loopLag: together(this.#before, lagOf(this.#delay)),
      utilization: this.#utilized(),
      ...this.#past,
    }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#delay.disable()
  }

  /** Several may ask at nearly the same time: they hear the same. */
  #utilized(): number {
    const now = performance.now()
    if (now - this.#askedAt < 500) return this.#utilization
    const loop = performance.eventLoopUtilization()
    this.#utilization = performance.eventLoopUtilization(loop, this.#loop).utilization
    this.#loop = loop
    this.#askedAt = now
    return this.#utilization
  }
}

/** ms beyond the interval at which it looks. */
function lagOf(delay: IntervalHistogram): Lag {
  if (delay.count === 0) return NO_LAG
  const ms = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS)
  return { count: delay.count, mean: ms(delay.mean), p99: ms(delay.percentile(99)), max: ms(delay.max) }
}

/** The p99 is the worse of the two: never too good. */
function together(a: Lag, b: Lag): ThreadStatus['loopLag'] {
  const count = a.count + b.count
  const mean = count === 0 ? 0 : (a.mean * a.count + b.mean * b.count) / count
  return { mean, p99: Math.max(a.p99, b.p99), max: Math.max(a.max, b.max) }
}

/** Node 23.9 and later. */
function threadCpuMs(): number | undefined {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage }
  return threadCpuUsage && cpuMs(threadCpuUsage.call(process))
}

function cpuMs({ user, system }: NodeJS.CpuUsage): number {
  return (user + system) / 1_000
}
