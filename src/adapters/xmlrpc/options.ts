/**
 * Options of XML-RPC. docs/adapters/xmlrpc.md explains each.
 *
 *   interfaces: { rpc: { kind: 'xmlrpc', port: 8081, modules: ['orders'], methods: { 'Stock.count': 'shop.stock.count' } } },
 *   resources: { partner: { kind: 'xmlrpc', url: 'https://partner.example/RPC2', user: 'shop', password: env('PARTNER_PASSWORD') } },
 */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'
import { isEncoded } from '../client/escapes.ts'
import type { ClientTls } from '../client/tls.ts'
import { clientTls } from '../client/tls-options.ts'
import { type ListenOptions, listenFields } from '../http/options.ts'

/** Of the interface, checked and complete. */
export interface XmlrpcListenOptions extends ListenOptions {
  /** Where it answers. */
  paths: string[]
  /** Every method of these is served by the name `module.method`. */
  modules: string[]
  /** Name outside → what it calls. */
  methods: Record<string, XmlrpcMethod>
  /** Codes of the modules → their faults'. */
  faults: Record<string, number>
  extensions: boolean
  maxDepth: number
}

/** A method by a name of its own. */
export interface XmlrpcMethod {
  target: string
  /** For system.methodSignature: the type of the result, then those of the arguments. */
  signatures: string[][]
  help: string
}

/** Of the resource, checked and complete. */
export interface XmlrpcOptions {
  /** Without user and password. */
  url: string
  user?: string | undefined
  password?: string | undefined
  headers: Record<string, string>
  tls: ClientTls
  faults: Record<string, number>
  extensions: boolean
  maxDepth: number
  maxResponseBytes: number
  /** Whether a new connection is tried with HEAD. */
  probe: boolean
}

const TYPES = ['int', 'i4', 'i8', 'boolean', 'string', 'double', 'dateTime.iso8601', 'base64', 'nil', 'array', 'struct'] as const
const OURS = new Set(['host', 'connection', 'content-length', 'content-type', 'transfer-encoding', 'authorization'])
const target = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })
const faults = z
  .record(
    z.string(),
    z
      .number()
      .int()
      .min(-(2 ** 31))
      .max(2 ** 31 - 1),
  )
  .default({})
const codec = { faults, extensions: z.boolean().default(true), maxDepth: z.number().int().min(1).max(100).default(32) }

const method = z.union([
  target.transform((named): XmlrpcMethod => ({ target: named, signatures: [], help: '' })),
  z.strictObject({ target, signatures: z.array(z.array(z.enum(TYPES)).min(1)).default([]), help: z.string().default('') }),
])

const methodName = z
  .string()
  .regex(/^[\w.:/]+$/, 'has other characters than letters, digits and _ . : /') // xmlrpc.com/spec, methodName
  .refine((name) => !name.startsWith('system.'), { error: 'names that begin with system. are those of introspection' })

export const xmlrpcListenOptions: z.ZodType<XmlrpcListenOptions> = z
  .strictObject({
    ...listenFields,
    paths: z
      .array(z.string().regex(/^\/[\w.~!$&'+,;=@/-]*$/, 'is no path'))
      .min(1)
      .default(['/', '/RPC2']),
    modules: z.array(z.string().refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a module` })).default([]),
    methods: z.record(methodName, method).default({}),
    ...codec,
  })
  .refine(({ modules, methods }) => modules.length + Object.keys(methods).length > 0, {
    error: 'modules or methods are needed, there is nothing to serve',
  })

export const xmlrpcOptions: z.ZodType<XmlrpcOptions> = z
  .strictObject({
    url: z.string().refine(isHttp, { error: 'the url is none of http: or https:' }), // never the url itself: it may hold the password
    user: z
      .string()
      .regex(/^[^:]+$/, 'has a colon')
      .optional(), // RFC 7617, 2
    password: z.string().optional(),
    headers: z.record(z.string(), z.string()).superRefine(checkHeaders).default({}),
    tls: clientTls.default({ verify: true }),
    ...codec,
    maxResponseBytes: z.number().int().positive().default(1_000_000),
    probe: z.boolean().default(true),
  })
  .transform((given) => {
    const url = new URL(given.url)
    const user = given.user ?? (url.username === '' ? undefined : decodeURIComponent(url.username))
    const password = given.password ?? (url.password === '' ? undefined : decodeURIComponent(url.password))
    url.username = url.password = url.hash = ''
    if (!/^\w+:\/\/[^/]+\//.test(given.url)) url.pathname = '/RPC2' // where servers are by custom
    return { ...given, url: url.href, user, password }
  })

function isHttp(given: string): boolean {
  if (!URL.canParse(given)) return false
  const { protocol, username, password } = new URL(given)
  return /^https?:$/.test(protocol) && isEncoded(username) && isEncoded(password)
}

function checkHeaders(headers: Record<string, string>, context: z.RefinementCtx): void {
  for (const [name, value] of Object.entries(headers)) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
      if (OURS.has(name.toLowerCase())) throw new TypeError('is not for you to set')
    } catch (error) {
      context.addIssue({ code: 'custom', path: [name], message: error instanceof Error ? error.message : 'is no header' })
    }
  }
}
