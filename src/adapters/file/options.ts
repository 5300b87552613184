/**
 * Options of files. docs/adapters/file.md explains each.
 *
 *   interfaces: { orders: { kind: 'file', dir: '/srv/in', pattern: '*.csv', call: 'orders.load', doneDir: '/srv/in/done' } },
 *   resources: { out: { kind: 'file', dir: '/srv/out' } },
 */
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'

/** Of the drop folder; checked and complete. */
export interface FileListenOptions {
  dir: string
  pattern: string
  call: string
  queue?: string | undefined
  /** What the method gets of a file besides its name: `path` leaves it to the method to read it. */
  content: 'bytes' | 'utf8' | 'latin1' | 'path'
  maxBytes: number
  settleMs: number
  scanMs: number
  concurrency: number
  timeoutMs?: number | undefined
  attempts: number
  retry: { firstMs: number; maxMs: number }
  doneDir?: string | undefined
  /** Default: `failed` in `dir`. */
  failedDir?: string | undefined
}

/** Of the resource; checked and complete. */
export interface FileOptions {
  dir: string
  maxBytes: number
  /** Of files that are made here. */
  fileMode: number
}

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const ms = z.number().int().min(1).max(LONGEST_MS)
const positive = z.number().int().positive()
const folder = z.string().min(1)

export const fileListenOptions: z.ZodType<FileListenOptions> = z
  .strictObject({
    dir: folder,
    pattern: z
      .string()
      .min(1)
      .refine((text) => !text.includes('/'), { error: 'is of names, not of paths' })
      .default('*'),
    call: z.string().refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` }),
    queue: z
      .string()
      .refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a queue` })
      .optional(),
    content: z.enum(['bytes', 'utf8', 'latin1', 'path']).default('bytes'),
    maxBytes: positive.default(900_000),
    settleMs: ms.default(1_000),
    scanMs: ms.default(10_000),
    concurrency: positive.max(1_000).default(1),
    timeoutMs: ms.optional(),
    attempts: positive.default(5),
    retry: z.strictObject({ firstMs: ms.default(1_000), maxMs: ms.default(60_000) }).prefault({}),
    doneDir: folder.optional(),
    failedDir: folder.optional(),
  })
  .superRefine(({ queue, content, timeoutMs }, context) => {
    const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    if (queue === undefined) return
    if (content === 'path') mistake('content', 'a queued call cannot read the file by its path: it is gone by then')
    if (timeoutMs !== undefined) mistake('timeoutMs', 'is for direct calls: the queue has a timeoutMs of its own')
  })

export const fileOptions: z.ZodType<FileOptions> = z.strictObject({
  dir: folder,
  maxBytes: positive.max(2 ** 31 - 1).default(16_000_000),
  fileMode: z.number().int().min(0).max(0o777).default(0o640),
})
