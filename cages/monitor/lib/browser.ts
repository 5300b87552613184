/**
 * Browser: what keeps other sites' pages from using the one that shows the monitor. Pure.
 * B1. Only names that are ours reach it: a foreign name that leads to this machine (DNS rebinding) is refused.
 * B2. What acts is asked by our own page: a header that no form can send, and the origin that the browser tells.
 * B3. Nothing but our own files runs or is shown; nobody shows us in a frame.
 */
import { CageError, type HttpRequest } from 'menagerie'

const LOCAL = ['localhost', '127.0.0.1', '[::1]']

export const SECURITY: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

/** FORBIDDEN if the request is not for us, or of another site's page (B1). */
export function checkRequest({ host, headers }: HttpRequest, config: Readonly<Record<string, unknown>>): void {
  const name = host.replace(/:\d+$/, '').toLowerCase()
  const names = Array.isArray(config.hosts) ? config.hosts.map((one) => String(one).toLowerCase()) : []
  if (!LOCAL.includes(name) && !names.includes(name))
    throw new CageError(
      'FORBIDDEN',
      `the monitor is not called ${JSON.stringify(name)}: values.hosts of config/monitor.ts names what it is called`,
    )
  const site = headers['sec-fetch-site'] ?? 'none'
  if (site !== 'none' && site !== 'same-origin' && headers['sec-fetch-mode'] !== 'navigate')
    throw new CageError('FORBIDDEN', "another site's page asks for it")
}

/** FORBIDDEN if it may not be our own page that acts (B2). */
export function checkAct({ host, headers, body }: HttpRequest): Record<string, unknown> {
  const { origin } = headers
  const site = headers['sec-fetch-site'] ?? 'same-origin'
  if (headers['x-menagerie'] !== 'act') throw new CageError('FORBIDDEN', 'the header x-menagerie: act is missing')
  if (site !== 'same-origin' || (origin !== undefined && hostOf(origin) !== host))
    throw new CageError('FORBIDDEN', "another site's page asks for it")
  if (typeof body !== 'object' || body === null || Array.isArray(body) || body instanceof Uint8Array)
    throw new CageError('INVALID_ARGUMENT', 'the body must be an object, as JSON')
  return body as Record<string, unknown>
}

/** The value of a cookie. */
export function cookieOf({ headers }: HttpRequest, name: string): string | undefined {
  const cookies = [headers.cookie ?? []].flat().flatMap((line) => line.split(';'))
  return cookies
    .map((one) => one.trim())
    .find((one) => one.startsWith(`${name}=`))
    ?.slice(name.length + 1)
}

function hostOf(origin: string | string[]): string | undefined {
  return typeof origin === 'string' && URL.canParse(origin) ? new URL(origin).host : undefined
}
