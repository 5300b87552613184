/**
 * Options of SMPP. docs/adapters/smpp.md explains each.
 *
 *   resources: { sms: { kind: 'smpp', url: env('SMSC_URL'), from: 'Shop', window: 20, maxPerSecond: 50 } },
 *   interfaces: {
 *     inbox: { kind: 'smpp', mode: 'esme', url: env('SMSC_URL'), messages: 'sms.received', receipts: 'sms.delivered' },
 *     smsc: { kind: 'smpp', mode: 'smsc', port: 2775, accounts: { shop: env('SHOP_PASSWORD') }, submit: 'sms.submit' },
 *   },
 */
import { z } from 'zod'
import { isTarget } from '../../names.ts'
import type { ClientTls } from '../client/tls.ts'
import { clientTls } from '../client/tls-options.ts'
import type { SmppSplit } from './api.ts'
import { parseUrl } from './url.ts'

/** As a client of a server: where it is, and who we are; checked and complete. */
export interface EsmeOptions {
  host: string
  port: number
  /** False: not encrypted. */
  tls: false | ClientTls
  systemId: string
  password: string
  systemType: string
  bindAs: 'transmitter' | 'receiver' | 'transceiver'
  addressRange: { ton: number; npi: number; pattern: string }
  /** GSM 03.38 is packed, seven bits to a character. */
  packed: boolean
  window: number
  /** Requests of the server that run at once. */
  concurrency: number
  maxPduBytes: number
  responseTimeoutMs: number
  enquireLinkMs: number
  inactivityMs?: number | undefined
}

/** Of the resource. */
export interface SmppOptions extends EsmeOptions {
  binds: number
  maxPerSecond?: number | undefined
  from?: string | undefined
  serviceType: string
  split: SmppSplit
  receipt: boolean
  validity?: number | 'deadline' | undefined
}

/** Of the interface that binds to a server. */
export interface SmppReceiverOptions extends EsmeOptions {
  mode: 'esme'
  messages: string
  receipts?: string | undefined
  alerts?: string | undefined
  timeoutMs?: number | undefined
  partsTimeoutMs: number
  maxPartialMessages: number
}

/** Of the interface that is a server. */
export interface SmppServerOptions {
  mode: 'smsc'
  host: string
  port: number
  tls?: { keyFile: string; certFile: string; clientCaFile?: string | undefined } | undefined
  systemId: string
  accounts: Record<string, string>
  bind?: string | undefined
  submit: string
  query?: string | undefined
  cancel?: string | undefined
  replace?: string | undefined
  outbox?: { fetch: string; settle: string; pollMs: number } | undefined
  timeoutMs?: number | undefined
  statuses: Record<string, number>
  packed: boolean
  split: SmppSplit
  maxConnections: number
  window: number
  peerWindow: number
  maxPduBytes: number
  bindTimeoutMs: number
  responseTimeoutMs: number
  enquireLinkMs: number
  inactivityMs?: number | undefined
}

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const text = z.string().min(1)
const ms = z.number().int().min(1).max(LONGEST_MS)
const count = z.number().int().min(1).max(100_000)
const octet = z.number().int().min(0).max(255)
const port = z.number().int().max(65_535)
const target = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })
const split = z.enum(['udh8', 'udh16', 'sar', 'payload', 'none'])

const session = {
  packed: z.boolean().default(false),
  window: count.default(10),
  maxPduBytes: z.number().int().min(256).max(1_000_000).default(70_000),
  responseTimeoutMs: ms.default(10_000),
  enquireLinkMs: ms.default(30_000),
  inactivityMs: ms.optional(),
}

const esme = {
  ...session,
  url: text.optional(),
  host: text.optional(),
  port: port.min(1).optional(),
  tls: z.union([z.boolean(), clientTls]).optional(),
  systemId: text.max(15).optional(),
  password: z.string().max(64).optional(),
  systemType: z.string().max(12).default(''),
  addressRange: z.strictObject({ ton: octet.default(0), npi: octet.default(0), pattern: z.string().max(40).default('') }).prefault({}),
  concurrency: count.default(64),
}

type Esme = z.infer<z.ZodObject<typeof esme>> & Pick<EsmeOptions, 'bindAs'>

export const smppOptions: z.ZodType<SmppOptions> = z
  .strictObject({
    ...esme,
    bindAs: z.enum(['transmitter', 'transceiver']).default('transmitter'),
    binds: z.number().int().min(1).max(100).default(1),
    maxPerSecond: z.number().positive().max(100_000).optional(),
    from: text.max(21).optional(),
    serviceType: z.string().max(5).default(''),
    split: split.default('udh8'),
    receipt: z.boolean().default(false),
    validity: z.union([ms.max(30 * 86_400_000), z.literal('deadline')]).optional(),
  })
  .superRefine(checkServer)
  .transform((given) => {
    const { binds, maxPerSecond, from, serviceType, split, receipt, validity } = given
    return { ...complete(given), binds, maxPerSecond, from, serviceType, split, receipt, validity }
  })

const receiverOptions = z
  .strictObject({
    ...esme,
    mode: z.literal('esme'),
    bindAs: z.enum(['receiver', 'transceiver']).default('receiver'),
    messages: target,
    receipts: target.optional(),
    alerts: target.optional(),
    timeoutMs: ms.optional(),
    partsTimeoutMs: ms.default(300_000),
    maxPartialMessages: count.default(200),
  })
  .superRefine(checkServer)
  .transform((given): SmppReceiverOptions => {
    const { mode, messages, receipts, alerts, timeoutMs, partsTimeoutMs, maxPartialMessages } = given
    return { ...complete(given), mode, messages, receipts, alerts, timeoutMs, partsTimeoutMs, maxPartialMessages }
  })

const serverOptions = z
  .strictObject({
    ...session,
    mode: z.literal('smsc'),
    host: text.default('127.0.0.1'),
    port: port.min(0).default(2775),
    tls: z.strictObject({ keyFile: text, certFile: text, clientCaFile: text.optional() }).optional(),
    systemId: text.max(15).default('menagerie'),
    accounts: z.record(text.max(15), text.max(64)).default({}),
    bind: target.optional(),
    submit: target,
    query: target.optional(),
    cancel: target.optional(),
    replace: target.optional(),
    outbox: z.strictObject({ fetch: target, settle: target, pollMs: ms.default(1_000) }).optional(),
    timeoutMs: ms.optional(),
    statuses: z.record(z.string(), z.number().int().min(1).max(0xffffffff)).default({}),
    split: split.default('udh8'),
    maxConnections: count.default(1_000),
    peerWindow: count.default(100),
    bindTimeoutMs: ms.default(10_000),
  })
  .refine(({ bind, accounts }) => bind !== undefined || Object.keys(accounts).length > 0, {
    error: 'accounts or a method to bind are needed, nobody could bind',
    path: ['accounts'],
  })

export const smppListenOptions: z.ZodType<SmppReceiverOptions | SmppServerOptions> = z.discriminatedUnion('mode', [
  receiverOptions,
  serverOptions,
])

function checkServer({ url, host, systemId }: Pick<Esme, 'url' | 'host' | 'systemId'>, context: z.RefinementCtx): void {
  const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
  const parsed = url === undefined ? {} : parseUrl(url)
  if (typeof parsed === 'string') return mistake('url', parsed) // never the url itself: it holds the password
  if ((host ?? parsed.host) === undefined) mistake('host', 'a host or a url is needed')
  if ((systemId ?? parsed.systemId) === undefined) mistake('systemId', 'a systemId or a url with one is needed')
}

/** The url, with what is given besides it laid over. */
function complete(given: Esme): EsmeOptions {
  const { url, ...rest } = given
  const parsed = url === undefined ? {} : parseUrl(url)
  const fromUrl = typeof parsed === 'string' ? {} : parsed // mistakes were told above
  const wished = given.tls ?? fromUrl.tls ?? false
  const { systemType, bindAs, addressRange, concurrency, packed, window, maxPduBytes, responseTimeoutMs, enquireLinkMs, inactivityMs } =
    rest
  return {
    host: given.host ?? fromUrl.host ?? '',
    port: given.port ?? fromUrl.port ?? (wished ? 3550 : 2775),
    tls: wished === true ? { verify: true } : wished,
    systemId: given.systemId ?? fromUrl.systemId ?? '',
    password: given.password ?? fromUrl.password ?? '',
    ...{ systemType, bindAs, addressRange, concurrency, packed, window, maxPduBytes, responseTimeoutMs, enquireLinkMs, inactivityMs },
  }
}
