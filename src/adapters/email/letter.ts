/**
 * Letter: the bytes of a message → plain data (RFC 5322, MIME), as it crosses the bus.
 * L1. Nothing in it is believed: names are names, HTML is text, and what cannot be read is INVALID_ARGUMENT.
 * L2. It holds nobody up for long: HTML that is longer than LONGEST_HTML is not made into text.
 */
import { createHash } from 'node:crypto'
import { type AddressObject, type EmailAddress, simpleParser } from 'mailparser'
import { CageError } from '../../errors.ts'
import type { Letter, MailAddress } from './api.ts'

const LONGEST_HTML = 500_000

/** Parses a message. */
export async function parseLetter(raw: Buffer): Promise<Letter> {
  const options = {
    maxHtmlLengthToParse: LONGEST_HTML,
    keepCidLinks: true,
    skipTextToHtml: true,
    skipTextLinks: true,
    checksumAlgo: false,
  } as const
  const mail = await simpleParser(raw, options as Parameters<typeof simpleParser>[1]).catch((cause: unknown) => {
    throw new CageError('INVALID_ARGUMENT', 'the message cannot be read', { cause }) // L1
  })
  const headers = headersOf(mail.headerLines)
  return {
    from: addressesOf(mail.from),
    to: addressesOf(mail.to),
    cc: addressesOf(mail.cc),
    replyTo: addressesOf(mail.replyTo),
    subject: mail.subject ?? '',
    date: dateOf(headers.date?.[0]),
    messageId: mail.messageId,
    inReplyTo: mail.inReplyTo,
    references: typeof mail.references === 'string' ? [mail.references] : (mail.references ?? []),
    text: mail.text ?? '',
    html: mail.html === false ? undefined : mail.html,
    headers,
    attachments: mail.attachments.map(({ filename, contentType, content, cid, related }) => ({
      filename,
      contentType,
      content,
      cid,
      inline: related ?? false,
    })),
    size: raw.length,
  }
}

/** A message's name for the queue: its Message-ID, which the sender chooses, and its bytes, so that no other message is taken for it. */
export function callIdOf({ messageId = '' }: Letter, raw: Buffer): string {
  const name = /^<?([\w.@+=-]{1,60})>?$/.exec(messageId)?.[1] ?? 'mail'
  return `${name}/${createHash('sha256').update(raw).digest('hex').slice(0, 24)}`
}

/** The parser would make of what is no date the time of now. */
function dateOf(line = ''): Date | undefined {
  const date = new Date(line)
  return Number.isNaN(date.getTime()) ? undefined : date
}

function addressesOf(given: AddressObject | AddressObject[] | undefined): MailAddress[] {
  return [given ?? []].flat().flatMap(({ value }) => flatten(value))
}

/** Groups are their members. RFC 5322, 3.4 */
function flatten(addresses: readonly EmailAddress[]): MailAddress[] {
  return addresses.flatMap(({ name, address, group }) => (group ? flatten(group) : address ? [{ name, address }] : []))
}

function headersOf(lines: readonly { key: string; line: string }[]): Record<string, string[]> {
  const headers = new Map<string, string[]>()
  for (const { key, line } of lines) {
    const value = line
      .slice(line.indexOf(':') + 1)
      .replace(/\r?\n(?=[ \t])/g, '')
      .trim()
    const known = headers.get(key)
    if (known) known.push(value)
    else if (key !== '__proto__') headers.set(key, [value])
  }
  return Object.fromEntries(headers)
}
