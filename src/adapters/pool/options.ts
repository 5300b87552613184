/**
 * `pool` and `cache` of a resource's configuration. docs/resources.md explains each option.
 *
 *   ledger: { kind: 'postgresql', url: env('LEDGER_URL'), pool: { size: 20, standby: 2, maxCallMs: 5_000 }, cache: { size: 500, ttlMs: 60_000 } },
 */
import { z } from 'zod'
import { LONGEST_TIMER_MS } from '../../pause.ts'
import type { CacheSettings, PoolSettings } from './contract.ts'

const ms = z.number().positive().max(LONGEST_TIMER_MS)

export const poolOptions: z.ZodType<PoolSettings> = z
  .strictObject({
    size: z.number().int().min(1).max(10_000).default(10),
    standby: z.number().int().nonnegative().default(0),
    idleMs: ms.default(30_000),
    maxAgeMs: ms.default(300_000),
    minRemainingMs: z.number().nonnegative().max(LONGEST_TIMER_MS).default(0),
    maxCallMs: ms.optional(),
    connectMs: ms.default(5_000),
    backoff: z
      .strictObject({ firstMs: ms.default(100), maxMs: ms.default(3_000) })
      .refine(({ firstMs, maxMs }) => firstMs <= maxMs, { error: 'firstMs is more than maxMs' })
      .prefault({}),
  })
  .refine(({ size, standby }) => standby <= size, { error: 'standby is more than size', path: ['standby'] })

export const cacheOptions: z.ZodType<CacheSettings> = z.strictObject({
  size: z.number().int().min(1).max(1_000_000).default(1_000),
  ttlMs: ms.optional(),
  policy: z.enum(['lru', 'lfu', 'weight', 'useless', 'old', 'random']).default('lru'),
  groupIntervalMs: ms.optional(),
  always: z.boolean().default(false),
})
