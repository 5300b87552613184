/**
 * Options of PostgreSQL. docs/adapters/postgresql.md explains each.
 *
 *   resources: { ledger: { kind: 'postgresql', url: env('LEDGER_URL'), pool: { size: 20 } } },
 *   interfaces: { changes: { kind: 'postgresql', url: env('LEDGER_URL'), channels: { orders: 'orders.changed' } } },
 */
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'
import { LONGEST_TIMER_MS } from '../../pause.ts'
import type { ClientTls } from '../client/tls.ts'
import { clientTls, isLocal } from '../client/tls-options.ts'
import { parseUrl } from './url.ts'

/** Where the server is, and who we are; checked and complete. */
export interface PostgresOptions {
  host: string
  port: number
  database: string
  user: string
  password?: string | undefined
  /** False: not encrypted. */
  tls: false | ClientTls
  applicationName: string
  /** Run-time parameters of each session, e.g. `search_path`. */
  settings: Record<string, string>
}

/** Of the interface that listens to notifications. */
export interface PostgresListenOptions extends PostgresOptions {
  channels: Record<string, string>
  onConnect?: string | undefined
  queue?: string | undefined
  timeoutMs?: number | undefined
  concurrency: number
}
const text = z.string().min(1)
const target = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })

const server = {
  url: text.optional(),
  host: text.optional(),
  port: z.number().int().min(1).max(65_535).optional(),
  database: text.optional(),
  user: text.optional(),
  password: z.string().optional(),
  tls: z.union([z.boolean(), clientTls]).optional(),
  applicationName: text.max(63).default('menagerie'),
  settings: z
    .record(z.string().regex(/^[A-Za-z_][\w.]*$/, 'is no name of a run-time parameter'), z.union([z.string(), z.number(), z.boolean()]))
    .default({}),
}

type Server = z.infer<z.ZodObject<typeof server>>

export const postgresOptions: z.ZodType<PostgresOptions> = z.strictObject(server).superRefine(checkServer).transform(complete)

export const postgresListenOptions: z.ZodType<PostgresListenOptions> = z
  .strictObject({
    ...server,
    channels: z
      .record(text.max(63), target)
      .refine((channels) => Object.keys(channels).length > 0, { error: 'a channel is needed, there is nothing to listen to' }),
    onConnect: target.optional(),
    queue: z
      .string()
      .refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a queue` })
      .optional(),
    timeoutMs: z.number().int().min(1).max(LONGEST_TIMER_MS).optional(),
    concurrency: z.number().int().min(1).max(10_000).default(64),
  })
  .superRefine(checkServer)
  .transform((given) => {
    const { channels, onConnect, queue, timeoutMs, concurrency } = given
    return { ...complete(given), channels, onConnect, queue, timeoutMs, concurrency }
  })

function checkServer({ url, host, user }: Server, context: z.RefinementCtx): void {
  const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
  if (url === undefined) {
    if (host === undefined) mistake('host', 'a host or a url is needed')
    if (user === undefined) mistake('user', 'a user or a url is needed')
    return
  }
  const parsed = parseUrl(url)
  if (typeof parsed === 'string') return mistake('url', parsed) // never the url itself: it holds the password
  if ((host ?? parsed.host) === undefined) mistake('host', 'the url names no host')
  if ((user ?? parsed.user) === undefined) mistake('user', 'the url names no user')
}

/** The url, with what is given besides it laid over. */
function complete(given: Server): PostgresOptions {
  const parsed = given.url === undefined ? {} : parseUrl(given.url)
  const fromUrl = typeof parsed === 'string' ? {} : parsed // mistakes were told above
  const host = given.host ?? fromUrl.host ?? ''
  const user = given.user ?? fromUrl.user ?? ''
  const wished = given.tls ?? fromUrl.tls ?? !isLocal(host)
  return {
    host,
    port: given.port ?? fromUrl.port ?? 5432,
    database: given.database ?? fromUrl.database ?? user,
    user,
    password: given.password ?? fromUrl.password,
    tls: wished === true ? { verify: true } : wished,
    applicationName: given.applicationName,
    settings: Object.fromEntries(Object.entries(given.settings).map(([name, value]) => [name, String(value)])),
  }
}
