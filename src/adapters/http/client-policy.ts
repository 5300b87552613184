/**
 * What follows a request that was answered otherwise, or not at all. Pure.
 * L1. Repeated is only what does no harm twice: an idempotent method, or one with an idempotency key; or what was never sent.
 * L2. Redirects stay at the origin; POST becomes GET where the specification allows it, else method and body stay. RFC 9110, 15.4.
 */
import { Readable } from 'node:stream'
import type { OutgoingRequest } from './client-request.ts'

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']) // RFC 9110, 9.2.2
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']) // RFC 9110, 9.2.1
const REDIRECTS = new Set([301, 302, 303, 307, 308])
const OF_THE_BODY = ['content-type', 'content-encoding', 'content-language', 'content-location']
/** A server that asks for more patience is asked again by the caller, or its queue, ms. */
export const LONGEST_PAUSE_MS = 5_000

/** L1. */
export function isRepeatable({ method, headers, body }: OutgoingRequest, wasSent: boolean): boolean {
  if (body instanceof Readable) return !wasSent && !body.readableDidRead && !body.destroyed
  return !wasSent || IDEMPOTENT.has(method) || headers['idempotency-key'] !== undefined
}

/** L2. The request that follows; undefined if there is none. */
export function redirected(request: OutgoingRequest, status: number, location: unknown): OutgoingRequest | undefined {
  if (!REDIRECTS.has(status) || typeof location !== 'string' || !URL.canParse(location, request.url.href)) return undefined
  const url = new URL(location, request.url)
  if (url.origin !== request.url.origin) return undefined
  url.hash = ''
  if (status === 307 || status === 308 || SAFE.has(request.method))
    return request.body instanceof Readable ? undefined : { ...request, url }
  const isPost = request.method === 'POST'
  if (status !== 303 && !isPost) return request.body instanceof Readable ? undefined : { ...request, url }
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !OF_THE_BODY.includes(name) && name !== 'idempotency-key'),
  )
  return { method: 'GET', url, headers, body: undefined }
}

/** `Retry-After`, ms; undefined if there is none that can be read. RFC 9110, 10.2.3. */
export function retryAfterMs(header: unknown, now: number): number | undefined {
  if (typeof header !== 'string') return undefined
  if (/^\d{1,9}$/.test(header)) return Number(header) * 1_000
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - now)
}
