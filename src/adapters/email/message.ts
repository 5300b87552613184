/**
 * Message: what a module wants sent → envelope and bytes (RFC 5322, MIME, DKIM: RFC 6376).
 * M1. Everything comes with the call: nothing in it names a file or an address to fetch from. A key that nobody knows is INVALID_ARGUMENT.
 * M2. The Message-ID is the caller's; or made of its `id` or of the transaction's branch, always the same one; or new.
 */
import { createHash, createPrivateKey, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import DKIM from 'nodemailer/lib/dkim'
import MailComposer from 'nodemailer/lib/mail-composer'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import type { Mail } from './api.ts'
import type { EmailOptions } from './options.ts'

/** A message as it is sent. */
export interface Message {
  envelope: { from: string; to: string[] }
  bytes: Buffer
  messageId: string
  everyRecipient: boolean
}

/** What all messages of a resource have in common. */
export interface MessageDefaults {
  /** The resource's name, for errors. */
  resource: string
  cage: string
  options: EmailOptions
}

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string'
const isLine: Check = (value) => typeof value === 'string' && !/[\r\n]/.test(value)
const isContent: Check = (value) => typeof value === 'string' || value instanceof Uint8Array
const isList =
  (of: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(of)
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
const has =
  (fields: Record<string, Check>, required: readonly string[]): Check =>
  (value) =>
    isRecord(value) &&
    required.every((key) => value[key] !== undefined) &&
    Object.entries(value).every(([key, given]) => given === undefined || fields[key]?.(given) === true)
const isAddress: Check = (value) => isLine(value) || has({ name: isLine, address: isLine }, ['address'])(value)
const isAddresses: Check = (value) => isAddress(value) || isList(isAddress)(value)
const isMessageId: Check = (value) => typeof value === 'string' && /^<[^<>\s@]+@[^<>\s@]+>$/.test(value)

/** M1. */
const FIELDS: Readonly<Record<keyof Mail, Check>> = {
  from: isAddresses,
  to: isAddresses,
  cc: isAddresses,
  bcc: isAddresses,
  replyTo: isAddresses,
  subject: isText,
  text: isText,
  html: isText,
  attachments: isList(has({ filename: isLine, content: isContent, contentType: isLine, cid: isLine }, ['content'])),
  alternatives: isList(has({ contentType: isLine, content: isContent }, ['contentType', 'content'])),
  headers: (value) =>
    isRecord(value) && Object.entries(value).every(([name, given]) => /^[!-9;-~]+$/.test(name) && (isText(given) || isList(isText)(given))),
  date: (value) => value instanceof Date && !Number.isNaN(value.getTime()),
  inReplyTo: isMessageId,
  references: isList(isMessageId),
  id: (value) => typeof value === 'string' && value !== '',
  messageId: isMessageId,
  envelope: has({ from: isLine, to: isList(isLine) }, ['from', 'to']),
  everyRecipient: (value) => typeof value === 'boolean',
}

/** INVALID_ARGUMENT, PAYLOAD_TOO_LARGE. */
export async function composeMessage(
  given: unknown,
  branch: string | undefined,
  defaults: MessageDefaults,
  traceparent?: string,
): Promise<Message> {
  const { resource, options } = defaults
  const mail = parseMail(given, resource)
  const from = mail.from ?? options.from
  if (from === undefined) throw new CageError('INVALID_ARGUMENT', `${resource}: the message names no sender, nor does the resource (from)`)
  const { id, messageId, everyRecipient = false, envelope, attachments = [], alternatives = [], ...head } = mail
  const node = new MailComposer({
    ...(structuredClone(head) as object), // the composer changes what it is given
    from: structuredClone(from) as string,
    attachments: attachments.map((each) => ({ ...each, content: contentOf(each.content) })),
    alternatives: alternatives.map((each) => ({ ...each, content: contentOf(each.content) })),
    disableFileAccess: true,
    disableUrlAccess: true,
    newline: 'win',
  }).compile()
  const own = node.getEnvelope()
  const sender = envelope?.from.trim() ?? (own.from || '')
  const recipients = envelope ? envelope.to.map((address) => address.trim()) : own.to // as nodemailer names them in its answers
  if (recipients.length === 0) throw new CageError('INVALID_ARGUMENT', `${resource}: the message has no recipient`)
  const name = messageId ?? messageIdOf(id ?? branch, sender, defaults) // M2
  node.setHeader('Message-ID', name)
  if (traceparent !== undefined && !node.getHeader('traceparent')) node.setHeader('traceparent', traceparent)
  const built = await node.build()
  const bytes = options.dkim ? await sign(built, options.dkim, resource) : built
  if (bytes.length > options.maxMessageBytes)
    throw new CageError('PAYLOAD_TOO_LARGE', `${resource}: the message has ${bytes.length} bytes, ${options.maxMessageBytes} are allowed`)
  return { envelope: { from: sender, to: recipients }, bytes, messageId: name, everyRecipient }
}

function parseMail(given: unknown, resource: string): Mail {
  if (!isRecord(given)) throw new CageError('INVALID_ARGUMENT', `${resource}: send takes a message`)
  for (const [key, value] of Object.entries(given)) {
    if (!Object.hasOwn(FIELDS, key))
      throw new CageError('INVALID_ARGUMENT', `${resource}: a message has no ${key}${didYouMean(key, Object.keys(FIELDS))}`)
    if (value !== undefined && !FIELDS[key as keyof Mail](value))
      throw new CageError('INVALID_ARGUMENT', `${resource}: ${key} of the message is not what it should be`)
  }
  return given // each field was checked
}

function contentOf(content: string | Uint8Array): string | Buffer {
  return typeof content === 'string' ? content : Buffer.from(content.buffer, content.byteOffset, content.byteLength)
}

/** M2. Two cages, and two resources of one, may use the same id for different messages. */
function messageIdOf(id: string | undefined, sender: string, { cage, resource }: MessageDefaults): string {
  const domain = /@([A-Za-z0-9.-]+)$/.exec(sender)?.[1] ?? 'menagerie.invalid'
  const local =
    id === undefined
      ? randomUUID()
      : createHash('sha256')
          .update(JSON.stringify([cage, resource, id]))
          .digest('hex')
          .slice(0, 40)
  return `<${local}@${domain}>`
}

/** The file is read each time, so that a renewed key is taken up. Without a good key nodemailer would send the message unsigned. */
async function sign(bytes: Buffer, { domain, selector, keyFile }: NonNullable<EmailOptions['dkim']>, resource: string): Promise<Buffer> {
  let privateKey: string
  try {
    privateKey = readFileSync(keyFile, 'utf8')
    if (createPrivateKey(privateKey).asymmetricKeyType !== 'rsa') throw new Error('it is no RSA key')
  } catch (cause) {
    throw new CageError('UNAVAILABLE', `${resource}: ${keyFile} holds no RSA key for DKIM`, { cause })
  }
  const chunks: Buffer[] = []
  for await (const chunk of new DKIM({ domainName: domain, keySelector: selector, privateKey }).sign(bytes)) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks)
}
