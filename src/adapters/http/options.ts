/**
 * Options of an HTTP or HTTPS interface. docs/adapters/http.md explains each.
 *
 *   web: {
 *     kind: 'http',
 *     port: 8080,
 *     routes: { 'GET /orders/:id?fields': 'orders.get', 'POST /orders': 'orders.create' },
 *     events: { 'GET /live': 'orders.next' },
 *     handler: 'pages.serve',
 *   }
 */
import { isIP } from 'node:net'
import { z } from 'zod'
import { isTarget } from '../../names.ts'
import { parseRoute, shapeOf } from './routes.ts'

/** Of whatever listens and speaks HTTP, checked and complete. */
export interface ListenOptions {
  host: string
  port: number
  tls?: TlsOptions | undefined
  timeoutMs?: number | undefined
  maxBodyBytes: number
  maxHeaderBytes: number
  maxConnections: number
  headersTimeoutMs: number
  requestTimeoutMs: number
  keepAliveTimeoutMs: number
  trustedProxies: string[]
  gzip: boolean
  accessLog: boolean
}

/** Checked and complete. */
export interface HttpOptions extends ListenOptions {
  routes: Record<string, string>
  /** Routes whose answer is a stream of events (events.ts). */
  events: Record<string, string>
  handler?: string | undefined
  statuses: Record<string, number>
  cors?: { origins: string[]; credentials: boolean; maxAgeS: number } | undefined
}

export interface TlsOptions {
  selfSigned: boolean
  keyFile?: string | undefined
  certFile?: string | undefined
  clientCaFile?: string | undefined
}

/** Node's timers count no further. */
export const LONGEST_MS: number = 2 ** 31 - 1

const timeoutMs = z.number().int().min(1).max(LONGEST_MS)
const positive = z.number().int().positive()
const file = z.string().min(1)

const target = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })

const proxy = z
  .string()
  .refine(isProxy, { error: ({ input }) => `${JSON.stringify(input)} is no address, no network (10.0.0.0/8), and not loopback` })

/** TLS of an interface that listens; TCP's too. */
export const serverTls: z.ZodType<TlsOptions> = z
  .strictObject({
    selfSigned: z.boolean().default(false),
    keyFile: file.optional(),
    certFile: file.optional(),
    clientCaFile: file.optional(),
  })
  .refine(({ selfSigned, keyFile, certFile }) => (selfSigned ? !keyFile && !certFile : keyFile && certFile), {
    error: 'either keyFile and certFile are needed, or selfSigned: true',
  })

const cors = z
  .strictObject({
    origins: z.array(z.string().min(1)).min(1),
    credentials: z.boolean().default(false),
    maxAgeS: z.number().int().nonnegative().default(600),
  })
  .refine(({ origins, credentials }) => !(credentials && origins.includes('*')), { error: 'credentials need origins by name, not *' })

const routes = z.record(z.string(), target).superRefine((given, context) => {
  const known = new Map<string, string>()
  for (const text of Object.keys(given)) {
    const route = parseRoute(text)
    const shape = typeof route === 'string' ? undefined : shapeOf(route)
    const other = shape === undefined ? undefined : known.get(shape)
    const mistake = typeof route === 'string' ? route : other && `${other} takes the same requests`
    if (mistake) context.addIssue({ code: 'custom', path: [text], message: mistake })
    if (shape !== undefined) known.set(shape, text)
  }
})

/** The fields of ListenOptions, for a schema that has others besides. */
export const listenFields: { [Field in keyof ListenOptions]-?: z.ZodType<ListenOptions[Field]> } = {
  host: z.string().min(1).default('127.0.0.1'),
  port: z.number().int().min(0).max(65_535),
  tls: serverTls.optional(),
  timeoutMs: timeoutMs.optional(),
  maxBodyBytes: positive.default(1_000_000),
  maxHeaderBytes: positive.default(16_384),
  maxConnections: positive.default(10_000),
  headersTimeoutMs: timeoutMs.default(10_000),
  requestTimeoutMs: timeoutMs.default(30_000),
  keepAliveTimeoutMs: timeoutMs.default(5_000),
  trustedProxies: z.array(proxy).default([]),
  gzip: z.boolean().default(false),
  accessLog: z.boolean().default(false),
}

export const httpOptions: z.ZodType<HttpOptions> = z
  .strictObject({
    ...listenFields,
    routes: routes.default({}),
    events: routes.default({}),
    handler: target.optional(),
    statuses: z.record(z.string(), z.number().int().min(400).max(599)).default({}),
    cors: cors.optional(),
  })
  .refine(({ routes: given, events, handler }) => handler !== undefined || Object.keys({ ...given, ...events }).length > 0, {
    error: 'routes, events or a handler are needed, there is nothing to serve',
  })
  .superRefine((options, context) => {
    const taken = new Map(Object.keys(options.routes).map((text) => [shapeAt(text), text]))
    for (const text of Object.keys(options.events)) {
      const other = taken.get(shapeAt(text))
      const mistake = text.startsWith('GET ') ? other && `${other} takes the same requests` : 'events are read with GET'
      if (mistake) context.addIssue({ code: 'custom', path: ['events', text], message: mistake })
    }
  })

function shapeAt(text: string): string {
  const route = parseRoute(text)
  return typeof route === 'string' ? text : shapeOf(route)
}

function isProxy(text: string): boolean {
  if (text === 'loopback') return true
  const [address = '', bits, ...rest] = text.split('/')
  const version = isIP(address)
  if (version === 0 || rest.length > 0) return false
  return bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128))
}
