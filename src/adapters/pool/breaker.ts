/**
 * Breaker: whether a resource is taken for broken, and when it is tried again. Pure: time and chance come in.
 * B1. closed → open: an attempt to connect fails, or LOSSES connections in a row were lost at their work.
 * B2. open → half-open: at `retryAt`, when somebody asks. One attempt is made then, for all (pool.ts sees to it).
 * B3. half-open → closed if that attempt succeeds, else open again, for about twice as long, up to `maxMs`.
 */
import { backOffMs } from '../../pause.ts'
import type { PoolSettings } from './contract.ts'

export type Breaker =
  | { readonly state: 'closed'; readonly losses: number }
  | { readonly state: 'open'; readonly failures: number; readonly retryAt: number }
  | { readonly state: 'half-open'; readonly failures: number }

/** One lost connection says little of the others: a server may end a session for reasons of its own. */
export const LOSSES = 3

export const CLOSED: Breaker = { state: 'closed', losses: 0 }

/** B1, B3. */
export function afterFailure(breaker: Breaker, now: number, backoff: PoolSettings['backoff'], random: number): Breaker {
  const failures = breaker.state === 'closed' ? 1 : breaker.failures + 1
  return { state: 'open', failures, retryAt: now + backOffMs(failures, backoff, random) }
}

/** B1. A connection was lost at its work. */
export function afterLoss(breaker: Breaker, now: number, backoff: PoolSettings['backoff'], random: number): Breaker {
  if (breaker.state !== 'closed') return breaker
  const losses = breaker.losses + 1
  return losses < LOSSES ? { state: 'closed', losses } : afterFailure(breaker, now, backoff, random)
}

/** B2. */
export function whenAsked(breaker: Breaker, now: number): Breaker {
  if (breaker.state !== 'open' || now < breaker.retryAt) return breaker
  return { state: 'half-open', failures: breaker.failures }
}
