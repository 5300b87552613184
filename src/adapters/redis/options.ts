/**
 * Options of Redis. docs/adapters/redis.md explains each.
 *
 *   resources: { cache: { kind: 'redis', url: env('REDIS_URL') } },
 *   interfaces: { news: { kind: 'redis', url: env('REDIS_URL'), channels: { 'orders.*': 'orders.told' } } },
 */
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'
import { checkServer, completeServer, type Schemes, type ServerOptions, serverFields } from '../client/server-options.ts'

/** Checked and complete. */
export interface RedisOptions extends Omit<ServerOptions, 'database'> {
  database: number
  clientName: string
}

/** Of the interface that listens to messages and to what becomes of keys. */
export interface RedisListenOptions extends RedisOptions {
  /** Pattern of channels → what is called with (message, channel). */
  channels: Record<string, string>
  /** Pattern of keys → what is called with (key, event). */
  keys: Record<string, string>
  onConnect?: string | undefined
  queue?: string | undefined
  timeoutMs?: number | undefined
  concurrency: number
  maxPending: number
}

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const SCHEMES: Schemes = { redis: undefined, rediss: true }
const PORT = 6379
const count = z.number().int().positive()
const target = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })
const patterns = z.record(z.string().min(1), target)

const fields = {
  ...serverFields,
  database: z.number().int().min(0).optional(),
  clientName: z.string().regex(/^\S+$/, 'has spaces').default('menagerie'),
}
type Given = z.infer<z.ZodObject<typeof fields>>

export const redisOptions: z.ZodType<RedisOptions> = z.strictObject(fields).superRefine(check).transform(complete)

export const redisListenOptions: z.ZodType<RedisListenOptions> = z
  .strictObject({
    ...fields,
    channels: patterns.default({}),
    keys: patterns.default({}),
    onConnect: target.optional(),
    queue: z
      .string()
      .refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a queue` })
      .optional(),
    timeoutMs: z.number().int().min(1).max(LONGEST_MS).optional(),
    concurrency: count.max(10_000).default(64),
    maxPending: count.default(10_000),
  })
  .superRefine(check)
  .refine(({ channels, keys }) => Object.keys(channels).length + Object.keys(keys).length > 0, {
    error: 'channels or keys are needed, there is nothing to listen to',
  })
  .transform((given) => {
    const { channels, keys, onConnect, queue, timeoutMs, concurrency, maxPending } = given
    return { ...complete(given), channels, keys, onConnect, queue, timeoutMs, concurrency, maxPending }
  })

function check({ database: _, ...given }: Given, context: z.RefinementCtx): void {
  checkServer(SCHEMES)(given, context)
  const { database } = completeServer(given, SCHEMES, PORT)
  if (database !== undefined && !/^\d+$/.test(database))
    context.addIssue({ code: 'custom', path: ['url'], message: 'has a database that is no number' })
}

function complete({ database, ...given }: Given): RedisOptions {
  const { database: fromUrl = '0', ...server } = completeServer(given, SCHEMES, PORT)
  return { ...server, database: database ?? Number(fromUrl), clientName: given.clientName }
}
