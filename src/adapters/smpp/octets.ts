/**
 * Octets: parameters and TLVs as they are written and read. Pure. pdu.ts knows which a PDU has, and has the letters of the rules.
 *
 * SMPP 3.4: 3.1 (types), 5.2 (parameters), 5.3 (TLVs).
 */
import { CageError } from '../../errors.ts'

/** One destination of submit_multi; one that was refused has its status. */
export interface Destination {
  ton: number
  npi: number
  address: string
  status?: number
}

export type Value = number | string | Buffer | readonly Destination[]

/** counted: octets after their number. rest: all that there are. destinations, refused: the lists of submit_multi and its answer. */
export type Kind = 'int8' | 'int16' | 'int32' | 'cstring' | 'counted' | 'rest' | 'destinations' | 'refused'

/** What the length of a PDU does not allow, and what is wrong with a TLV. */
export type Problem = 'RINVCMDLEN' | 'RINVTLVSTREAM' | 'RINVTLVLEN'

const SIZES: Readonly<Partial<Record<Kind, number>>> = { int8: 1, int16: 2, int32: 4 }
const NOTHING = Buffer.alloc(0)

/** P1. What cannot be read is thrown, as `malformed` makes it. */
export class Reader {
  readonly #bytes: Buffer
  readonly #malformed: (problem: Problem) => Error
  #at: number

  constructor(bytes: Buffer, at: number, malformed: (problem: Problem) => Error) {
    this.#bytes = bytes
    this.#at = at
    this.#malformed = malformed
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  integer(size: number): number {
    return this.#take(size).readUIntBE(0, size)
  }

  value(kind: Kind): Value {
    switch (kind) {
      case 'int8':
      case 'int16':
      case 'int32':
        return this.integer(SIZES[kind] ?? 1)
      case 'cstring':
        return this.#cstring()
      case 'counted':
        return this.#take(this.integer(1))
      case 'destinations':
        return this.#list(() => (this.integer(1) === 1 ? this.#address() : { ton: 0, npi: 0, address: this.#cstring() })) // 2: a distribution list
      case 'refused':
        return this.#list(() => ({ ...this.#address(), status: this.integer(4) }))
      default:
        return this.#take(this.left)
    }
  }

  /** Numbers are taken in any length, text with or without its NUL: servers differ. */
  tlv(kind: Kind | undefined, length: number): Value {
    if (length > this.left) throw this.#malformed('RINVTLVSTREAM')
    if (kind === 'cstring')
      return this.#take(length)
        .toString('latin1')
        .replace(/\0[\s\S]*$/, '')
    if (kind === undefined || SIZES[kind] === undefined) return this.#take(length)
    if (length < 1 || length > 4) throw this.#malformed('RINVTLVLEN')
    return this.integer(length)
  }

  #list(read: () => Destination): Destination[] {
    return Array.from({ length: this.integer(1) }, read)
  }

  #address(): Destination {
    return { ton: this.integer(1), npi: this.integer(1), address: this.#cstring() }
  }

  #cstring(): string {
    const end = this.#bytes.indexOf(0, this.#at)
    if (end < 0) throw this.#malformed('RINVCMDLEN')
    const text = this.#bytes.toString('latin1', this.#at, end)
    this.#at = end + 1
    return text
  }

  #take(size: number): Buffer {
    if (size > this.left) throw this.#malformed('RINVCMDLEN')
    this.#at += size
    return this.#bytes.subarray(this.#at - size, this.#at)
  }
}

/** P4. Throws INVALID_ARGUMENT. */
export class Writer {
  #bytes = Buffer.allocUnsafe(512)
  #at = 0

  value(name: string, kind: Kind, value: Value | undefined): void {
    switch (kind) {
      case 'int8':
      case 'int16':
      case 'int32':
        return this.integer(name, typeof value === 'number' ? value : 0, SIZES[kind] ?? 1)
      case 'counted': {
        const bytes = Buffer.isBuffer(value) ? value : NOTHING
        if (bytes.length > 254) throw tooLong(name, bytes.length, 254) // 5.2.21
        this.integer(name, bytes.length, 1)
        return this.#put(bytes)
      }
      case 'destinations':
      case 'refused': {
        const list = (Array.isArray(value) ? value : []) as readonly Destination[] // nothing else in Value is an array
        if (list.length > 254) throw tooLong(name, list.length, 254) // 5.2.24
        this.integer(name, list.length, 1)
        for (const each of list) this.#destination(each, kind === 'refused')
        return
      }
      default:
        return this.#cstring(name, typeof value === 'string' ? value : '')
    }
  }

  tlv(name: string, tag: number, kind: Kind | undefined, value: Value): void {
    this.integer('tag', tag, 2)
    this.integer('length', 0, 2)
    const begin = this.#at
    if (typeof value === 'number') this.integer(name, value, (kind && SIZES[kind]) ?? 1)
    else if (typeof value === 'string' && kind === 'cstring') this.#cstring(name, value)
    else if (typeof value === 'string') this.#put(Buffer.from(value, 'latin1'))
    else if (Buffer.isBuffer(value)) this.#put(value)
    else throw new CageError('INVALID_ARGUMENT', `TLV ${name} is neither a number, text nor bytes`)
    const length = this.#at - begin
    if (length > 0xffff) throw tooLong(name, length, 0xffff)
    this.#bytes.writeUInt16BE(length, begin - 2)
  }

  integer(name: string, value: number, size: number): void {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * size))
      throw new CageError('INVALID_ARGUMENT', `${name} is no integer of ${8 * size} bits: ${value}`)
    this.#room(size)
    this.#at = this.#bytes.writeUIntBE(value, this.#at, size)
  }

  finish(): Buffer {
    this.#bytes.writeUInt32BE(this.#at, 0)
    return this.#bytes.subarray(0, this.#at)
  }

  #destination({ ton, npi, address, status = 0 }: Destination, refused: boolean): void {
    if (!refused) this.integer('dest_flag', 1, 1)
    this.integer('dest_addr_ton', ton, 1)
    this.integer('dest_addr_npi', npi, 1)
    this.#cstring('destination_addr', address)
    if (refused) this.integer('error_status_code', status, 4)
  }

  #cstring(name: string, text: string): void {
    const longest = LONGEST[name] ?? 64
    if (text.length > longest) throw tooLong(name, text.length, longest)
    this.#room(text.length + 1)
    for (let n = 0; n < text.length; n++) {
      const character = text.charCodeAt(n)
      if (character === 0 || character > 0x7f)
        throw new CageError('INVALID_ARGUMENT', `${name} has characters that are not ASCII, or a NUL`)
      this.#bytes[this.#at++] = character
    }
    this.#bytes[this.#at++] = 0
  }

  #put(bytes: Buffer): void {
    this.#room(bytes.length)
    this.#at += bytes.copy(this.#bytes, this.#at)
  }

  #room(size: number): void {
    if (this.#at + size <= this.#bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#at + size))
    this.#bytes.copy(larger, 0, 0, this.#at)
    this.#bytes = larger
  }
}

/** Octets of the longest text of a parameter, without its NUL (4 and 5.2). Longer passwords than the specification's 8 are in use. */
const LONGEST: Readonly<Record<string, number>> = {
  system_id: 15,
  password: 64,
  system_type: 12,
  address_range: 40,
  service_type: 5,
  source_addr: 20,
  destination_addr: 20,
  schedule_delivery_time: 16,
  validity_period: 16,
  final_date: 16,
}

function tooLong(name: string, length: number, longest: number): CageError {
  return new CageError('INVALID_ARGUMENT', `${name} is too long: ${length}, at most ${longest}`)
}
