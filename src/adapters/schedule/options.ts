/**
 * Options of a schedule. docs/adapters/schedule.md explains each.
 *
 *   nightly: { kind: 'schedule', cron: '0 3 * * *', timezone: 'America/Montevideo', call: 'reports.build', queue: 'retry' },
 */
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'
import { LONGEST_TIMER_MS } from '../../pause.ts'
import { type Missed, type Timing, timetable } from './ticks.ts'

/** Checked and complete. */
export interface ScheduleOptions extends Timing {
  call: string
  args: unknown[]
  queue?: string | undefined
  expiresMs?: number | undefined
  timeoutMs?: number | undefined
  missed: Missed
  overlap?: boolean | undefined
}

export const scheduleOptions: z.ZodType<ScheduleOptions> = z
  .strictObject({
    cron: z.string().optional(),
    everyMs: z.number().int().min(1_000).optional(),
    at: z.string().optional(),
    timezone: z
      .string()
      .refine(isTimezone, { error: ({ input }) => `${JSON.stringify(input)} is no time zone like Europe/Berlin or UTC` })
      .default('UTC'),
    call: z.string().refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` }),
    args: z.array(z.unknown()).default([]),
    queue: z
      .string()
      .refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a queue` })
      .optional(),
    expiresMs: z.number().positive().optional(),
    timeoutMs: z.number().int().min(1).max(LONGEST_TIMER_MS).optional(),
    missed: z.enum(['skip', 'once', 'all']).default('skip'),
    overlap: z.boolean().optional(),
  })
  .superRefine((options, context) => {
    const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    const given = (['cron', 'everyMs', 'at'] as const).filter((key) => options[key] !== undefined)
    const [key] = given
    if (given.length !== 1 || key === undefined)
      context.addIssue({ code: 'custom', message: 'exactly one of cron, everyMs and at is needed' })
    else if (isTimezone(options.timezone)) {
      try {
        timetable(options)
      } catch (error) {
        mistake(key, (error as Error).message) // a CageError of ticks.ts
      }
    }
    if (options.queue === undefined && options.expiresMs !== undefined)
      mistake('expiresMs', 'is for queued calls: name a queue, or a timeoutMs')
    if (options.queue !== undefined && options.timeoutMs !== undefined)
      mistake('timeoutMs', 'is for direct calls: the queue has a timeoutMs of its own')
    if (options.queue !== undefined && options.overlap !== undefined)
      mistake('overlap', 'is for direct calls: the concurrency of the queue decides whether queued ones overlap')
  })

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name })
    return true
  } catch {
    return false
  }
}
