/**
 * Rate: at most so many sendings in a second, evenly.
 * T1. First come, first served. T2. Who would be late anyway is refused at once: OVERLOADED, and nothing was sent.
 */
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'

export class Rate {
  readonly #gapMs: number
  readonly #name: string
  #nextAt = 0

  constructor(perSecond: number, name: string) {
    this.#gapMs = 1000 / perSecond
    this.#name = name
  }

  /** Resolves when it may be sent. */
  async turn(scope: Scope): Promise<void> {
    const now = Date.now()
    const at = Math.max(now, this.#nextAt)
    if (at >= scope.deadline)
      throw new CageError('OVERLOADED', `${this.#name}: more is to be sent than maxPerSecond allows until the deadline`)
    this.#nextAt = at + this.#gapMs
    if (at > now) await rest(at - now, scope, this.#name)
  }
}

/** Waits, but not past the scope: then it rejects. */
export async function rest(ms: number, scope: Scope, name: string): Promise<void> {
  const woken = new AbortController()
  const off = whenEnded(scope, name, () => woken.abort())
  await pause(ms, woken.signal)
  off()
  const ended = endOf(scope, Date.now(), name)
  if (ended) throw ended
}
