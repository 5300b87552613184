/**
 * Options of an HTTP or HTTPS resource: one origin. docs/adapters/http.md explains each.
 *
 *   resources: { rates: { kind: 'http', url: 'https://rates.example/v1', headers: { authorization: env('RATES_TOKEN') } } },
 */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { z } from 'zod'
import { isEncoded } from '../client/escapes.ts'
import type { ClientTls } from '../client/tls.ts'
import { clientTls } from '../client/tls-options.ts'

/** Checked and complete. */
export interface HttpClientOptions {
  /** The origin, and the path that all others are below. */
  url: string
  /** Sent with each request. */
  headers: Record<string, string>
  tls: ClientTls
  /** With user and password, if it wants them. */
  proxy?: string | undefined
  maxRequestBytes: number
  /** Of a body that is not streamed, decompressed. */
  maxResponseBytes: number
  maxHeaderBytes: number
  maxRedirects: number
  maxRetries: number
  /** The server does the same only once for one key: POST and PATCH get one, and may be repeated. */
  idempotencyKeys: boolean
}

const count = z.number().int().nonnegative()
const bytes = z.number().int().positive()

const headers = z.record(z.string(), z.string()).superRefine((given, context) => {
  for (const [name, value] of Object.entries(given)) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch {
      context.addIssue({ code: 'custom', path: [name], message: 'is no header that can be sent' }) // never the value: it may be a secret
    }
  }
})

export const httpClientOptions: z.ZodType<HttpClientOptions> = z.strictObject({
  url: z.string().superRefine(checkUrl),
  headers: headers.default({}),
  tls: clientTls.default({ verify: true }),
  proxy: z.string().superRefine(checkProxy).optional(),
  maxRequestBytes: bytes.default(16_777_216),
  maxResponseBytes: bytes.default(16_777_216),
  maxHeaderBytes: bytes.default(16_384),
  maxRedirects: count.max(20).default(5),
  maxRetries: count.max(10).default(2),
  idempotencyKeys: z.boolean().default(false),
})

/** The messages do not repeat it: it may hold a password. */
function checkUrl(text: string, context: z.RefinementCtx): void {
  const mistake = (message: string): void => context.addIssue({ code: 'custom', message })
  if (!URL.canParse(text)) return mistake('is no URL')
  const url = new URL(text)
  if (!/^https?:$/.test(url.protocol)) mistake('is no http:// or https:// URL')
  if (url.username !== '' || url.password !== '') mistake('has a user or a password: give headers.authorization')
  if (url.search !== '' || url.hash !== '') mistake('has a query or a fragment: they belong to a call')
}

/** Neither do these. */
function checkProxy(text: string, context: z.RefinementCtx): void {
  const mistake = (message: string): void => context.addIssue({ code: 'custom', message })
  if (!URL.canParse(text) || !/^https?:/.test(text)) return mistake('is no http:// or https:// URL')
  const { username, password } = new URL(text)
  if (!isEncoded(username) || !isEncoded(password)) mistake('has a user or a password with a % that begins no escape: write it as %25')
}
