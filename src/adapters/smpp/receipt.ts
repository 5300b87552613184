/**
 * Delivery receipts, as nearly all servers write them (SMPP 3.4, appendix B, which calls it an example). Pure.
 * B1. What TLVs say (receipted_message_id, message_state) counts more than the text.
 * B2. A field that is not there is undefined: every server leaves out others.
 *
 *   id:0A1B sub:001 dlvrd:001 submit date:2611240500 done date:2611240501 stat:DELIVRD err:000 text:Hello
 */

import type { SmppReceipt } from './api.ts'
import { bytesOf, numberOf, type Pdu, textOf } from './pdu.ts'

/** 5.2.28. */
export const STATES: readonly string[] = [
  ...['SCHEDULED', 'ENROUTE', 'DELIVERED', 'EXPIRED', 'DELETED', 'UNDELIVERABLE', 'ACCEPTED', 'UNKNOWN', 'REJECTED'],
]
/** As they are written in the text. */
const WORDS: Readonly<Record<string, string>> = {
  ENROUTE: 'ENROUTE',
  DELIVRD: 'DELIVERED',
  EXPIRED: 'EXPIRED',
  DELETED: 'DELETED',
  UNDELIV: 'UNDELIVERABLE',
  ACCEPTD: 'ACCEPTED',
  UNKNOWN: 'UNKNOWN',
  REJECTD: 'REJECTED',
}

/** esm_class, bits 5 to 2: a receipt of the server, or its intermediate notification. */
export function isReceipt(pdu: Pdu): boolean {
  const type = (numberOf(pdu, 'esm_class') ?? 0) & 0x3c
  return type === 0x04 || type === 0x20
}

export function parseReceipt(pdu: Pdu, text: string): SmppReceipt {
  const field = (name: string): string | undefined => new RegExp(`(?:^|\\s)${name}:(\\S*)`, 'i').exec(text)?.[1]
  const count = (name: string): number | undefined => (/^\d+$/.test(field(name) ?? '') ? Number(field(name)) : undefined)
  const word = field('stat')?.toUpperCase() ?? ''
  const network = bytesOf(pdu, 'network_error_code')
  return {
    messageId: textOf(pdu, 'receipted_message_id') || (field('id') ?? ''), // B1
    state: STATES[numberOf(pdu, 'message_state') ?? -1] ?? WORDS[word] ?? (word || 'UNKNOWN'),
    error: field('err'),
    submitted: count('sub'),
    delivered: count('dlvrd'),
    submitDate: field('submit date'),
    doneDate: field('done date'),
    text: /(?:^|\s)text:([\s\S]*)$/i.exec(text)?.[1],
    networkError: network?.length === 3 ? { network: network.readUInt8(0), code: network.readUInt16BE(1) } : undefined,
  }
}

/** The text of a receipt, as we write it. */
export function receiptText({ messageId, state, error, text }: SmppReceipt, now: Date): string {
  const date = now.toISOString().replaceAll(/[-:T]/g, '').slice(2, 12)
  const word = Object.keys(WORDS).find((known) => WORDS[known] === state) ?? 'UNKNOWN'
  const delivered = state === 'DELIVERED' ? '001' : '000'
  const begin = `id:${messageId} sub:001 dlvrd:${delivered} submit date:${date} done date:${date}`
  return `${begin} stat:${word} err:${error ?? '000'} text:${(text ?? '').slice(0, 20)}`
}
