/**
 * Supervisor: keeps children of one shape running, one for one, with OTP's words and defaults (supervisor.erl).
 * V1. A start that fails is tried again for ever, with back-off and jitter: the rest goes on meanwhile.
 * V2. A running child that dies is restarted as its `restart` says; more than `intensity` deaths in `periodMs` escalate.
 * V3. stop() ends the children in the reverse order of their start; it is idempotent.
 */

import type { Log } from '../log.ts'
import { pause } from '../pause.ts'

/** One supervised thing. */
export interface Child {
  readonly id: string
  /** permanent: always restarted; transient: unless it ended well; temporary: never. */
  readonly restart: 'permanent' | 'transient' | 'temporary'
  start(): Promise<void>
  stop(): Promise<void>
  /** Of the latest start: settles when the child ends, rejects if it died. */
  readonly done: Promise<void>
}

export interface Intensity {
  /** Deaths allowed in `periodMs`. */
  intensity: number
  periodMs: number
}

/** OTP's defaults, with a period that suits processes rather than Erlang processes. */
export const DEFAULT_INTENSITY: Intensity = { intensity: 5, periodMs: 10_000 }

const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 2_000

/** Whether a child that died at `deaths` (epoch ms, the last one now) may be restarted. Pure. */
export function shouldRestart(deaths: readonly number[], now: number, limits: Intensity): boolean {
  return deaths.filter((time) => now - time < limits.periodMs).length <= limits.intensity
}

/** Delay before the n-th try (n from 1), ms: doubles from 100 ms to 2 s, with half of it at random. Pure. */
export function backOffMs(tries: number, random: number): number {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (tries - 1)) * (0.5 + random / 2)
}

export class Supervisor {
  readonly #log: Log
  readonly #limits: Intensity
  readonly #escalate: (error: Error) => void
  readonly #kept: Kept[] = []

  /** `escalate` is called when a child cannot be kept up. */
  constructor(log: Log, escalate: (error: Error) => void, limits: Intensity = DEFAULT_INTENSITY) {
    this.#log = log
    this.#escalate = escalate
    this.#limits = limits
  }

  /** Keeps the child running from now on. Resolves after its first try, whether it succeeded or not. */
  async keep(child: Child): Promise<void> {
    const kept: Kept = { child, stopping: new AbortController(), ended: Promise.resolve() }
    this.#kept.push(kept)
    await new Promise<void>((tried) => {
      kept.ended = this.#run(kept, tried)
    })
  }

  /** Stops one child and forgets it. */
  async release(id: string): Promise<void> {
    const index = this.#kept.findIndex((kept) => kept.child.id === id)
    const [kept] = index < 0 ? [] : this.#kept.splice(index, 1)
    if (kept) await end(kept)
  }

  /** Those that are kept, in the order of their start. */
  get children(): Child[] {
    return this.#kept.map(({ child }) => child)
  }

  has(id: string): boolean {
    return this.#kept.some((kept) => kept.child.id === id)
  }

  async stop(): Promise<void> {
    for (let kept = this.#kept.pop(); kept; kept = this.#kept.pop()) await end(kept)
  }

  async #run({ child, stopping }: Kept, tried: () => void): Promise<void> {
    const { signal } = stopping
    const deaths: number[] = []
    let failures = 0
    let lastReason = ''
    while (!signal.aborted) {
      try {
        await child.start()
        if (failures > 0) this.#log.info({ child: child.id, tries: failures + 1 }, 'child has started at last')
        failures = 0
        lastReason = ''
      } catch (error) {
        const delayMs = backOffMs(++failures, Math.random())
        const reason = error instanceof Error ? error.message : String(error)
        this.#log[reason === lastReason ? 'debug' : 'warn'](
          { child: child.id, err: error, tries: failures },
          'child cannot start, trying again',
        )
        lastReason = reason
        tried()
        await pause(delayMs, signal)
        continue
      }
      tried()
      const death = await child.done.then(
        () => undefined,
        (error: unknown) => ({ error }),
      )
      if (signal.aborted || child.restart === 'temporary' || (child.restart === 'transient' && !death)) return
      const now = Date.now()
      deaths.push(now)
      if (!shouldRestart(deaths, now, this.#limits)) {
        const { intensity, periodMs } = this.#limits
        this.#escalate(new Error(`${child.id} died more than ${intensity} times in ${periodMs / 1000} s`, { cause: death?.error }))
        return
      }
      while (deaths.length > 0 && now - (deaths[0] ?? now) >= this.#limits.periodMs) deaths.shift()
      this.#log.error({ child: child.id, err: death?.error, deaths: deaths.length }, 'child died, restarting it')
      await pause(backOffMs(deaths.length, Math.random()), signal)
    }
  }
}

interface Kept {
  readonly child: Child
  readonly stopping: AbortController
  ended: Promise<void>
}

async function end(kept: Kept): Promise<void> {
  kept.stopping.abort()
  await kept.child.stop()
  await kept.ended
}
