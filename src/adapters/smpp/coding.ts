/**
 * Codings: which octets a text is, and which text octets are. Pure.
 * C1. A text is coded by its content: GSM 03.38 if that has all its characters, else Latin-1, else UCS-2 (in fact UTF-16, as all phones take it).
 * C2. GSM 03.38 is data_coding 0, one septet in each octet, or packed where the server wants it so.
 *
 * SMPP 3.4, 5.2.19 (data_coding); GSM 03.38, 4 (its values from 0xC0 on).
 */
import { CageError } from '../../errors.ts'
import type { SmppCoding } from './api.ts'
import { ESCAPE, fromSeptets, pack, toSeptets, unpack } from './gsm.ts'

export const DATA_CODINGS: Readonly<Record<SmppCoding, number>> = { gsm: 0, latin1: 3, ucs2: 8, binary: 4 }

/** Octets in a short message (GSM 03.40, 9.2.3.24). */
const MESSAGE_OCTETS = 140

/** What is sent: octets, of GSM 03.38 with one septet in each. */
export interface Coded {
  readonly coding: SmppCoding
  readonly octets: Buffer
}

/** C1; `wished` must fit. Throws INVALID_ARGUMENT. */
export function encodeText(text: string, wished?: SmppCoding): Coded {
  if (wished === undefined || wished === 'gsm') {
    const octets = toSeptets(text)
    if (octets) return { coding: 'gsm', octets }
  }
  if (wished === undefined || wished === 'latin1') {
    const octets = Buffer.from(text, 'latin1')
    if (octets.toString('latin1') === text) return { coding: 'latin1', octets }
  }
  if (wished !== undefined && wished !== 'ucs2') throw new CageError('INVALID_ARGUMENT', `text has characters that ${wished} has not`)
  return { coding: 'ucs2', octets: Buffer.from(text, 'utf16le').swap16() }
}

/** How many octets, as Coded has them, fit into a short message besides a header of so many octets. */
export function roomFor(coding: SmppCoding, header: number): number {
  const octets = MESSAGE_OCTETS - header
  if (coding === 'gsm') return Math.floor((octets * 8) / 7)
  return coding === 'ucs2' ? octets - (octets % 2) : octets
}

/** Whether a message may be cut before this octet: neither an escaped character nor a pair of surrogates is cut through. */
export function mayCut({ coding, octets }: Coded, at: number): boolean {
  if (coding === 'gsm') return octets[at - 1] !== ESCAPE
  return coding !== 'ucs2' || (at % 2 === 0 && ((octets[at - 2] ?? 0) & 0xfc) !== 0xd8)
}

/** C2. Octets as they are sent, after a header of so many. */
export function onWire(coding: SmppCoding, octets: Buffer, packed: boolean, header: number): Buffer {
  return coding === 'gsm' && packed ? pack(octets, header) : octets
}

/** The text, or undefined if the octets are none that we can read. `header`: so many octets stood before them in the short message. */
export function decodeText(octets: Buffer, dataCoding: number, packed: boolean, header: number): string | undefined {
  switch (alphabetOf(dataCoding)) {
    case 'gsm':
      return fromSeptets(packed ? unpack(octets, header) : octets)
    case 'latin1':
      return octets.toString('latin1')
    case 'ucs2':
      return octets.length % 2 === 0 ? Buffer.from(octets).swap16().toString('utf16le') : undefined
    default:
      return undefined
  }
}

/** What the octets of a data_coding are, or undefined if we cannot tell. */
export function alphabetOf(dataCoding: number): SmppCoding | undefined {
  if (dataCoding === 0) return 'gsm'
  if (dataCoding === 1 || dataCoding === 3) return 'latin1' // IA5 is a part of it
  if (dataCoding === 8) return 'ucs2'
  if (dataCoding >= 0xf0) return dataCoding & 0x04 ? 'binary' : 'gsm' // message class
  if (dataCoding >= 0xe0) return 'ucs2' // message waiting, as the next
  return dataCoding >= 0xc0 ? 'gsm' : undefined
}
