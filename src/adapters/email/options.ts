/**
 * Options of e-mail: a mailbox as an interface (IMAP, POP3), a mail server as a resource (SMTP). docs/adapters/email.md explains each.
 *
 *   interfaces: { orders: { kind: 'email', protocol: 'imap', host: 'mail.shop.test', user: 'orders', password: env('MAIL_PASSWORD'), call: 'orders.mailed' } },
 *   resources: { mail: { kind: 'email', host: 'mail.shop.test', user: 'shop', password: env('MAIL_PASSWORD'), from: 'shop@shop.test' } },
 */
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'
import type { ClientTls } from '../client/tls.ts'
import { clientTls, isLocal } from '../client/tls-options.ts'

/** How the connection is encrypted: from its first byte, by STARTTLS (never without), or not. */
export type Encryption = 'tls' | 'starttls' | 'none'

/** Where a server is, and who we are; checked and complete. */
export interface MailServer {
  host: string
  port: number
  encryption: Encryption
  tls: ClientTls
  user?: string | undefined
  password?: string | undefined
}

/** What becomes of a message at an IMAP server. */
export type Disposal = 'delete' | { folder: string } | { flag: string }

/** Of both kinds of mailbox. */
interface Reading extends MailServer {
  call: string
  queue?: string | undefined
  timeoutMs?: number | undefined
  concurrency: number
  /** Handled so often without success, a message is set aside. */
  attempts: number
  /** A failed message is tried again after so long, then twice as long, and so on up to an hour. */
  retryMs: number
  pollMs: number
  /** A server that does not answer for so long is lost; a message may take ten times as long. */
  answerMs: number
  maxMessageBytes: number
}

export interface ImapOptions extends Reading {
  protocol: 'imap'
  folder: string
  /** The server tells of new mail by itself (IDLE), if it can. */
  idle: boolean
  done: Disposal
  setAside: Exclude<Disposal, 'delete'>
}

export interface Pop3Options extends Reading {
  protocol: 'pop3'
}

export type EmailListenOptions = ImapOptions | Pop3Options

/** Of the resource. */
export interface EmailOptions extends MailServer {
  /** The sender of messages that name none. */
  from?: string | undefined
  /** How we introduce ourselves (EHLO). Default: the machine's name. */
  clientName?: string | undefined
  dkim?: { domain: string; selector: string; keyFile: string } | undefined
  maxMessageBytes: number
}

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const LARGEST_BYTES = 256 * 1024 * 1024 // a message is held in memory

const text = z.string().min(1)
const line = text.regex(/^\P{Cc}*$/u, 'holds a control character')
const bytes = z.number().int().min(1).max(LARGEST_BYTES)
const ms = z.number().int().min(1).max(LONGEST_MS)

const server = {
  host: line,
  port: z.number().int().min(1).max(65_535).optional(),
  encryption: z.enum(['tls', 'starttls', 'none']).optional(),
  tls: clientTls.default({ verify: true }),
  user: line.optional(),
  password: line.optional(),
}

const reading = {
  ...server,
  user: line,
  password: line,
  call: z.string().refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` }),
  queue: z
    .string()
    .refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a queue` })
    .optional(),
  timeoutMs: ms.optional(),
  concurrency: z.number().int().min(1).max(1_000).default(4),
  attempts: z.number().int().min(1).max(1_000).default(3),
  retryMs: ms.default(60_000),
  pollMs: ms.default(60_000),
  answerMs: ms.max(3_600_000).default(30_000),
  maxMessageBytes: bytes.default(10 * 1024 * 1024),
}

const flag = z.string().regex(/^\\?[A-Za-z$][\w$-]*$/, 'is no flag like \\Seen or $Done') // RFC 9051, 2.3.2
const toFolder = z.strictObject({ folder: line })
const toFlag = z.strictObject({ flag })

const imap = z
  .strictObject({
    protocol: z.literal('imap'),
    ...reading,
    folder: line.default('INBOX'),
    idle: z.boolean().default(true),
    done: z.union([z.literal('delete'), toFolder, toFlag]).default('delete'),
    setAside: z.union([toFolder, toFlag]).default({ flag: '\\Flagged' }),
  })
  .superRefine(({ folder, done, setAside }, context) => {
    const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    for (const [path, disposal] of Object.entries({ done, setAside }))
      if (typeof disposal === 'object' && 'folder' in disposal && disposal.folder === folder)
        mistake(path, 'the message would come back: name another folder')
    if (JSON.stringify(done).toLowerCase() === JSON.stringify(setAside).toLowerCase())
      mistake('setAside', 'nobody could tell what was done from what was set aside')
  })

const pop3 = z.strictObject({ protocol: z.literal('pop3'), ...reading })

export const emailListenOptions: z.ZodType<EmailListenOptions> = z
  .discriminatedUnion('protocol', [imap, pop3])
  .superRefine(({ queue, timeoutMs }, context) => {
    if (queue !== undefined && timeoutMs !== undefined)
      context.addIssue({ code: 'custom', path: ['timeoutMs'], message: 'is for direct calls: the queue has a timeoutMs of its own' })
  })
  .transform((given): EmailListenOptions => ({ ...given, ...reached(given, given.protocol) }))

export const emailOptions: z.ZodType<EmailOptions> = z
  .strictObject({
    ...server,
    from: line.optional(),
    clientName: line.optional(),
    dkim: z.strictObject({ domain: line, selector: line, keyFile: text }).optional(),
    maxMessageBytes: bytes.default(25 * 1024 * 1024),
  })
  .refine(({ user, password }) => (user === undefined) === (password === undefined), { error: 'user and password are needed together' })
  .transform((given): EmailOptions => ({ ...given, ...reached(given, 'smtp') }))

/** Well-known ports: of a connection that is encrypted from its first byte, and of one that is not. RFC 8314, 3. */
const PORTS = {
  smtp: { tls: 465, starttls: 587, none: 25 },
  imap: { tls: 993, starttls: 143, none: 143 },
  pop3: { tls: 995, starttls: 110, none: 110 },
} as const

/** Never in clear to another machine, unless told so. */
function reached(
  { host, port, encryption }: { host: string; port?: number | undefined; encryption?: Encryption | undefined },
  protocol: keyof typeof PORTS,
): { port: number; encryption: Encryption } {
  const ports = PORTS[protocol]
  const usual = protocol === 'smtp' || (port !== undefined && port === ports.starttls) ? 'starttls' : 'tls'
  const chosen = encryption ?? (port === ports.tls ? 'tls' : isLocal(host) ? 'none' : usual)
  return { port: port ?? ports[chosen], encryption: chosen }
}
