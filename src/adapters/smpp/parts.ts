/**
 * Parts: a long message in several short ones, and what tells that a short one is such a part. Pure.
 * L1. Nothing is cut through: no pair of surrogates, no escaped character.
 * L2. A part's header or TLVs are all that distinguishes it: what cannot be a part (number 0, more than the total) is a message of its own.
 *
 * GSM 03.40: 9.2.3.24.1 and .8 (user data headers). SMPP 3.4: 5.2.12 (esm_class), 5.3.2.22 to 24 (sar_*), 5.3.2.32 (message_payload).
 */
import { CageError } from '../../errors.ts'
import type { SmppSplit } from './api.ts'
import { type Coded, mayCut, onWire, roomFor } from './coding.ts'
import { bytesOf, type Fields, numberOf, type Pdu } from './pdu.ts'

/** esm_class: user data header indicator. */
const UDHI = 0x40
const UDH8_OCTETS = 6
const UDH16_OCTETS = 7
const MAX_PARTS = 255

/** Which part of which message; messages of one sender to one destination have different keys as long as their references do not repeat. */
export interface PartOf {
  readonly key: string
  readonly total: number
  readonly number: number
}

/** What a PDU carries besides its addresses. */
export interface Content {
  /** Without a header. */
  readonly octets: Buffer
  /** The user data header, its length octet included. */
  readonly header: Buffer
  readonly part: PartOf | undefined
}

/** The fields of each PDU that the message takes: short_message or message_payload, esm_class, sar_*. `reference` goes up by one with each message. */
export function split(coded: Coded, how: SmppSplit, packed: boolean, reference: number): Fields[] {
  const { coding, octets } = coded
  if (octets.length <= roomFor(coding, 0)) return [{ esm_class: 0, short_message: onWire(coding, octets, packed, 0) }]
  if (how === 'payload') return [{ esm_class: 0, message_payload: onWire(coding, octets, packed, 0) }]
  if (how === 'none') throw new CageError('PAYLOAD_TOO_LARGE', 'the message is too long for one part, and split is none')
  const parts = cut(coded, roomFor(coding, how === 'udh8' ? UDH8_OCTETS : UDH16_OCTETS)) // sar: the server makes such a header of it
  const total = parts.length
  if (total > MAX_PARTS) throw new CageError('PAYLOAD_TOO_LARGE', `the message takes ${total} parts, at most ${MAX_PARTS}`)
  return parts.map((part, n) => {
    if (how === 'sar') {
      const sar = { sar_msg_ref_num: reference & 0xffff, sar_total_segments: total, sar_segment_seqnum: n + 1 }
      return { esm_class: 0, short_message: onWire(coding, part, packed, 0), ...sar }
    }
    const [high, low] = [(reference >> 8) & 0xff, reference & 0xff]
    const header = Buffer.from(how === 'udh8' ? [5, 0, 3, low, total, n + 1] : [6, 8, 4, high, low, total, n + 1])
    return { esm_class: UDHI, short_message: Buffer.concat([header, onWire(coding, part, packed, header.length)]) }
  })
}

/** L2. */
export function contentOf(pdu: Pdu): Content {
  const short = bytesOf(pdu, 'short_message') ?? Buffer.alloc(0)
  const all = short.length > 0 ? short : (bytesOf(pdu, 'message_payload') ?? short)
  const length = (numberOf(pdu, 'esm_class') ?? 0) & UDHI && all.length > 0 ? (all[0] ?? 0) + 1 : 0
  const header = all.subarray(0, length)
  return { header, octets: all.subarray(length), part: partOf(header) ?? sarOf(pdu) }
}

/** L1. */
function cut(coded: Coded, room: number): Buffer[] {
  const { octets } = coded
  const parts: Buffer[] = []
  for (let at = 0; at < octets.length; ) {
    let end = Math.min(at + room, octets.length)
    while (end < octets.length && !mayCut(coded, end)) end--
    parts.push(octets.subarray(at, end))
    at = end
  }
  return parts
}

/** Elements of the header: identifier, length, data. */
function partOf(header: Buffer): PartOf | undefined {
  for (let at = 1; at + 1 < header.length; at += 2 + (header[at + 1] ?? 0)) {
    const data = header.subarray(at + 2, at + 2 + (header[at + 1] ?? 0))
    if (header[at] === 0x00 && data.length === 3) return checked(`8-${data[0]}`, data[1], data[2])
    if (header[at] === 0x08 && data.length === 4) return checked(`16-${data.readUInt16BE(0)}`, data[2], data[3])
  }
  return undefined
}

function sarOf(pdu: Pdu): PartOf | undefined {
  const [reference, total, number] = ['sar_msg_ref_num', 'sar_total_segments', 'sar_segment_seqnum'].map((name) => numberOf(pdu, name))
  return reference === undefined ? undefined : checked(`sar-${reference}`, total, number)
}

function checked(reference: string, total: number = 0, number: number = 0): PartOf | undefined {
  return number >= 1 && number <= total && total > 1 ? { key: `${reference}-${total}`, total, number } : undefined
}
