/**
 * Where a server is and who we are there: a URL, with what is given besides it laid over.
 * U1. No message repeats a URL: it may hold the password.
 * U2. TLS is on for every other machine and off for this one, unless URL or options say otherwise.
 */
import { z } from 'zod'
import type { ClientTls } from './tls.ts'
import { clientTls, isLocal } from './tls-options.ts'

/** Checked and complete. */
export interface ServerOptions {
  /** A name, an address, or the path of a local socket. */
  host: string
  port: number
  user?: string | undefined
  password?: string | undefined
  database?: string | undefined
  /** False: not encrypted. */
  tls: false | ClientTls
}

/** Schemes of a kind's URLs → whether they ask for TLS; undefined: U2 decides. */
export type Schemes = Readonly<Record<string, boolean | undefined>>

const text = z.string().min(1)

/** The fields of a schema. */
export const serverFields: {
  url: z.ZodOptional<z.ZodString>
  host: z.ZodOptional<z.ZodString>
  port: z.ZodOptional<z.ZodNumber>
  user: z.ZodOptional<z.ZodString>
  password: z.ZodOptional<z.ZodString>
  database: z.ZodOptional<z.ZodString>
  tls: z.ZodOptional<z.ZodUnion<readonly [z.ZodBoolean, typeof clientTls]>>
} = {
  url: text.optional(),
  host: text.optional(),
  port: z.number().int().min(1).max(65_535).optional(),
  user: text.optional(),
  password: z.string().optional(),
  database: text.optional(),
  tls: z.union([z.boolean(), clientTls]).optional(),
}

type Given = { [F in keyof typeof serverFields]?: z.infer<(typeof serverFields)[F]> }
type UrlParts = Omit<Partial<ServerOptions>, 'tls'> & { tls?: boolean | undefined }

/** A check of a schema of `serverFields`. */
export function checkServer(schemes: Schemes): (given: Given, context: z.RefinementCtx) => void {
  return ({ url, host }, context) => {
    const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    const parsed = url === undefined ? {} : parseUrl(url, schemes)
    if (typeof parsed === 'string') return mistake('url', parsed)
    if ((host ?? parsed.host) === undefined) mistake(url === undefined ? 'host' : 'url', 'a host is needed')
  }
}

/** What `checkServer` has passed, complete. */
export function completeServer(given: Given, schemes: Schemes, defaultPort: number): ServerOptions {
  const parsed = given.url === undefined ? {} : parseUrl(given.url, schemes)
  const fromUrl = typeof parsed === 'string' ? {} : parsed // mistakes were told before
  const host = given.host ?? fromUrl.host ?? ''
  const wished = given.tls ?? fromUrl.tls ?? !isLocal(host)
  return {
    host,
    port: given.port ?? fromUrl.port ?? defaultPort,
    user: given.user ?? fromUrl.user,
    password: given.password ?? fromUrl.password,
    database: given.database ?? fromUrl.database,
    tls: wished === true ? { verify: true } : wished,
  }
}

/** The parts, or what is wrong with it (U1). */
function parseUrl(given: string, schemes: Schemes): UrlParts | string {
  const known = Object.keys(schemes).map((scheme) => `${scheme}://`)
  const scheme = given.slice(0, given.indexOf(':'))
  if (!Object.hasOwn(schemes, scheme)) return `is no ${known.join(' or ')} URL`
  if (!URL.canParse(given)) return 'is no URL that can be read'
  const { hostname, port, pathname, username, password, search } = new URL(given)
  if (search !== '') return 'has parameters, which are options of their own here'
  const parts: UrlParts = { tls: schemes[scheme] }
  try {
    if (hostname !== '') parts.host = decodeURIComponent(hostname).replace(/^\[(.*)\]$/, '$1')
    if (port !== '') parts.port = Number(port)
    if (pathname.length > 1) parts.database = decodeURIComponent(pathname.slice(1))
    if (username !== '') parts.user = decodeURIComponent(username)
    if (password !== '') parts.password = decodeURIComponent(password)
  } catch {
    return 'has a % that begins no escape' // decodeURIComponent's only complaint
  }
  return parts
}
