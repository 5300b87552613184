/** Who makes room in a full cache. Pure: chance comes in. */
import type { CachePolicy } from './contract.ts'

/** What is known of a kept result. */
export interface Kept {
  readonly group: string
  /** What it would cost to get it again. */
  readonly weight: number
  hits: number
}

/** One that may have to go. */
export interface Candidate<K> {
  key: K
  kept: Kept
  /** Infinite if it does not expire, ms. */
  remainingMs: number
}

/** The key that goes: of the poorest group, where groups count, the lowest by the policy; of equals, the first: they come in the order of their last use. */
export function victim<K>(
  candidates: Iterable<Candidate<K>>,
  policy: CachePolicy,
  random: () => number,
  worthOf: (group: string) => number,
): K | undefined {
  let lowest: { key: K; worth: number; score: number } | undefined
  for (const { key, kept, remainingMs } of candidates) {
    const worth = worthOf(kept.group)
    const score = scoreOf(policy, kept, remainingMs, random)
    if (!lowest || worth < lowest.worth || (worth === lowest.worth && score < lowest.score)) lowest = { key, worth, score }
  }
  return lowest?.key
}

function scoreOf(policy: CachePolicy, { weight, hits }: Kept, remainingMs: number, random: () => number): number {
  switch (policy) {
    case 'lru':
      return 0
    case 'lfu':
      return hits
    case 'weight':
      return weight
    case 'useless':
      return weight * hits
    case 'old':
      return remainingMs
    case 'random':
      return random()
  }
}
