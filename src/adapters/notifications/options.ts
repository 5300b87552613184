/**
 * Options of rules for notifications. docs/adapters/notifications.md explains each.
 *
 *   onCall: { kind: 'notifications', level: 'error', call: 'monitor.alerts.mail', args: ['mail', { to: 'ops@shop.test' }], queue: 'retry' },
 */
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'
import { LONGEST_TIMER_MS } from '../../pause.ts'
import type { NotificationLevel } from '../adapter.ts'

/** Checked and complete. */
export interface NotificationsOptions {
  level: NotificationLevel
  cages?: string[] | undefined
  modules?: string[] | undefined
  kinds?: string[] | undefined
  call: string
  args: unknown[]
  queue?: string | undefined
  timeoutMs?: number | undefined
  sameEveryMs: number
  perMinute: number
}

const names = z.array(z.string().min(1)).min(1).optional()

export const notificationsOptions: z.ZodType<NotificationsOptions> = z
  .strictObject({
    level: z.enum(['info', 'warn', 'error', 'alert']).default('error'),
    cages: names,
    modules: names,
    kinds: names,
    call: z.string().refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` }),
    args: z.array(z.unknown()).default([]),
    queue: z
      .string()
      .refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a queue` })
      .optional(),
    timeoutMs: z.number().int().min(1).max(LONGEST_TIMER_MS).optional(),
    sameEveryMs: z.number().int().nonnegative().max(LONGEST_TIMER_MS).default(600_000),
    perMinute: z.number().int().min(1).max(1_000).default(10),
  })
  .superRefine(({ queue, timeoutMs }, context) => {
    if (queue !== undefined && timeoutMs !== undefined)
      context.addIssue({ code: 'custom', path: ['timeoutMs'], message: 'is for direct calls: the queue has a timeoutMs of its own' })
  })
