/** Calls from this process at a steady rate, open loop: a slow answer holds nothing back. */
import { setInterval } from 'node:timers/promises'
import type { Bus } from '../../src/bus/bus.ts'

const TICK_MS = 5

export interface Failure {
  /** performance.now() of the call. */
  startedAt: number
  code: string
  message: string
}

export interface Load {
  /** Calls made so far. */
  readonly calls: number
  readonly failures: Failure[]
  /** How long each answered call took, ms. */
  readonly durations: number[]
  /** How long each call that was answered with OVERLOADED took, ms. */
  readonly refusalsMs: number[]
  /** Makes no more calls; resolves when all have ended. */
  stop(): Promise<void>
}

/** Calls `cage.module.method` with `args(n)`. */
export function startLoad(bus: Bus, perSecond: number, timeoutMs: number, target: string, args: (n: number) => unknown[]): Load {
  const [cage = '', module = '', method = ''] = target.split('.')
  const ending = new AbortController()
  const failures: Failure[] = []
  const durations: number[] = []
  const refusalsMs: number[] = []
  const running = new Set<Promise<void>>()
  let calls = 0
  const pacing = pace()
  return {
    get calls() {
      return calls
    },
    failures,
    durations,
    refusalsMs,
    stop: async () => {
      ending.abort()
      await pacing
      await Promise.all(running)
    },
  }

  async function pace(): Promise<void> {
    const begun = performance.now()
    for await (const _ of setInterval(TICK_MS)) {
      if (ending.signal.aborted) return
      for (const due = ((performance.now() - begun) / 1000) * perSecond; calls < due; ) {
        const done = callOnce(calls++)
        running.add(done)
        void done.then(() => running.delete(done))
      }
    }
  }

  async function callOnce(n: number): Promise<void> {
    const startedAt = performance.now()
    try {
      await bus.call(cage, module, method, args(n), { deadline: Date.now() + timeoutMs, request: { id: String(n) } })
      durations.push(performance.now() - startedAt)
    } catch (error) {
      const { code = 'none', message } = error as { code?: string; message: string }
      if (code === 'OVERLOADED') refusalsMs.push(performance.now() - startedAt)
      failures.push({ startedAt, code, message })
    }
  }
}
