/**
 * A branch's id as XA has it: two parts of at most 64 bytes, and a number, in which we keep who has prepared it. Pure. MySQL 8.4, 15.3.8.1.
 * X1. An id of up to 128 characters is itself, so that people find it; a longer one is packed, and begins with a byte that no id has.
 */
import { CageError } from '../../errors.ts'

/** As XA RECOVER lists it. */
export interface Branched {
  id: string
  /** CONNECTION_ID() of the session that has prepared it. */
  session: number
}

const PART = 64
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-/.'
const ID = /^[\w/.-]{1,150}$/
const BASE = BigInt(ALPHABET.length + 1) // 0 is no letter, so that leading ones are kept
const PACKED = 0

/** The words after XA START, END, PREPARE ... INVALID_ARGUMENT. */
export function xidOf(id: string, session: number): string {
  if (!ID.test(id)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(id)} is no id of a branch`)
  const bytes = id.length <= 2 * PART ? Buffer.from(id) : packed(id)
  const hex = (part: Buffer): string => (part.length === 0 ? `''` : `x'${part.toString('hex')}'`)
  return `${hex(bytes.subarray(0, PART))},${hex(bytes.subarray(PART))},${formatOf(session)}`
}

/** One row of XA RECOVER: hexadecimal as MySQL has it (0x...), or two literals as MariaDB has them; undefined if it is nobody's of ours. */
export function branchedOf(listed: string, session: number): Branched | undefined {
  const data = listed.startsWith('0x') ? Buffer.from(listed.slice(2), 'hex') : Buffer.concat([...listed.matchAll(LITERAL)].map(bytesOf))
  const id = data[0] === PACKED ? unpacked(data) : data.toString('latin1')
  return ID.test(id) ? { id, session } : undefined
}

const LITERAL = /(x?)'([^']*)'/gi

function bytesOf([, hex, text = '']: RegExpMatchArray): Buffer {
  return Buffer.from(text, hex ? 'hex' : 'latin1')
}

/** The number of 31 bits that a session has in an xid. */
export function formatOf(session: number): number {
  return session % 2 ** 31
}

function packed(id: string): Buffer {
  let number = 0n
  for (const letter of id) number = number * BASE + BigInt(ALPHABET.indexOf(letter) + 1)
  const hex = number.toString(16)
  return Buffer.concat([Buffer.from([PACKED]), Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')])
}

function unpacked(data: Buffer): string {
  let id = ''
  for (let number = BigInt(`0x0${data.toString('hex')}`); number > 0n; number /= BASE)
    id = (ALPHABET[Number(number % BASE) - 1] ?? ' ') + id
  return id
}
