/** What a cage says of one of its queues (config/<cage>.ts, `queues.<name>`), checked and complete. Defaults stand in config.ts. */
export interface QueuePolicy {
  /** Calls at once in each copy of the cage. */
  concurrency: number
  /** Calls at once in all copies together. */
  totalConcurrency?: number | undefined
  /** A call that has failed so often is dead. Without it, calls are tried until they expire. */
  maxAttempts?: number | undefined
  /** A call that is older is dead; its caller may say less or more. */
  expiresMs: number
  /** Limit of one attempt. */
  timeoutMs: number
  backoff: Backoff
  /** How long the id of a call is remembered after its success. */
  dedupMs: number
  /** One after the other in the order of their enqueueing: all of the cage, or those of one key. */
  ordered?: 'cage' | 'key' | undefined
  limits?: QueueLimits | undefined
  /** What all waiting calls together may take; more are refused with OVERLOADED. */
  maxBytes?: number | undefined
}

/** Delay before the n-th further attempt: `firstMs` times `factor` to the n-1, at most `maxMs`, of which the share `jitter` is at random. */
export interface Backoff {
  firstMs: number
  maxMs: number
  factor: number
  jitter: number
}

/** Limits over all copies of the cage, for each value of what `key` names. */
export interface QueueLimits {
  /** `key`: the calls' own; `method`; or one for the whole queue. */
  key: 'key' | 'method' | 'queue'
  ratePerSecond?: number | undefined
  concurrency?: number | undefined
}

/** Whether one copy hands out all calls of the queue, because their order or number over all copies matters. */
export function isSequenced(policy: QueuePolicy): boolean {
  return policy.ordered !== undefined || policy.limits !== undefined
}
