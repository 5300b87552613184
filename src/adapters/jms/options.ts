/**
 * Options of JMS over STOMP. docs/adapters/jms.md explains each.
 *
 *   resources: { broker: { kind: 'jms', url: env('BROKER_URL'), pool: { size: 10 } } },
 *   interfaces: { orders: { kind: 'jms', url: env('BROKER_URL'), destination: '/queue/orders', handler: 'orders.take', concurrency: 8 } },
 */
import { z } from 'zod'
import { isTarget } from '../../names.ts'
import type { ClientTls } from '../client/tls.ts'
import { clientTls, isLocal } from '../client/tls-options.ts'
import { parseUrl } from './url.ts'

/** Where the broker is, and who we are; checked and complete. */
export interface JmsServer {
  host: string
  port: number
  user?: string | undefined
  password?: string | undefined
  virtualHost: string
  /** False: not encrypted. */
  tls: false | ClientTls
  /** Both sides say something at least so often; 0: they need not. */
  heartbeatMs: number
  maxBodyBytes: number
}

/** Of the resource. */
export interface JmsOptions extends JmsServer {
  /** Default of each message. */
  persistent: boolean
  /** Where replies are awaited, instead of in a temporary queue. */
  replyQueue?: string | undefined
}

/** Of the interface. */
export interface JmsListenOptions extends JmsServer {
  destination: string
  handler: string
  selector?: string | undefined
  /** Name of a durable subscription to a topic. */
  durable?: string | undefined
  /** Who subscribes durably. */
  clientId?: string | undefined
  concurrency: number
  timeoutMs?: number | undefined
  onFailure: 'nack' | 'leave'
  errorReplies: boolean
}

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const text = z.string().min(1)
/** What goes into a CONNECT frame, which has no escapes (STOMP 1.2, Value Encoding). */
const plain = z.string().regex(/^[^\r\n\0]*$/, 'has a line break or a NUL')
const target = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })

const server = {
  url: text.optional(),
  host: text.optional(),
  port: z.number().int().min(1).max(65_535).optional(),
  user: plain.optional(),
  password: plain.optional(),
  virtualHost: plain.optional(),
  tls: z.union([z.boolean(), clientTls]).optional(),
  heartbeatMs: z.number().int().min(0).max(600_000).default(10_000),
  maxBodyBytes: z.number().int().positive().default(10_000_000),
}

type Server = z.infer<z.ZodObject<typeof server>>

export const jmsOptions: z.ZodType<JmsOptions> = z
  .strictObject({ ...server, persistent: z.boolean().default(true), replyQueue: text.optional() })
  .superRefine(checkServer)
  .transform((given) => ({ ...complete(given), persistent: given.persistent, replyQueue: given.replyQueue }))

export const jmsListenOptions: z.ZodType<JmsListenOptions> = z
  .strictObject({
    ...server,
    destination: text,
    handler: target,
    selector: text.optional(),
    durable: text.optional(),
    clientId: plain.min(1).optional(),
    concurrency: z.number().int().min(1).max(10_000).default(16),
    timeoutMs: z.number().int().min(1).max(LONGEST_MS).optional(),
    onFailure: z.enum(['nack', 'leave']).default('nack'),
    errorReplies: z.boolean().default(false),
  })
  .superRefine(checkServer)
  .refine(({ durable, destination }) => durable === undefined || !destination.startsWith('/queue/'), {
    path: ['durable'],
    error: 'is for topics: a queue keeps its messages anyway',
  })
  .transform((given) => {
    const { destination, handler, selector, durable, clientId, concurrency, timeoutMs, onFailure, errorReplies } = given
    return {
      ...complete(given),
      ...{ destination, handler, selector, durable, clientId, concurrency, timeoutMs, onFailure, errorReplies },
    }
  })

function checkServer({ url, host }: Server, context: z.RefinementCtx): void {
  const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
  if (url === undefined) {
    if (host === undefined) mistake('host', 'a host or a url is needed')
    return
  }
  const parsed = parseUrl(url)
  if (typeof parsed === 'string') mistake('url', parsed) // never the url itself: it holds the password
}

/** The url, with what is given besides it laid over. */
function complete(given: Server): JmsServer {
  const parsed = given.url === undefined ? {} : parseUrl(given.url)
  const fromUrl = typeof parsed === 'string' ? {} : parsed // mistakes were told above
  const host = given.host ?? fromUrl.host ?? ''
  const wished = given.tls ?? fromUrl.tls ?? !isLocal(host)
  return {
    host,
    port: given.port ?? fromUrl.port ?? (wished === false ? 61_613 : 61_614),
    user: given.user ?? fromUrl.user,
    password: given.password ?? fromUrl.password,
    virtualHost: given.virtualHost ?? fromUrl.virtualHost ?? '/',
    tls: wished === true ? { verify: true } : wished,
    heartbeatMs: given.heartbeatMs,
    maxBodyBytes: given.maxBodyBytes,
  }
}
