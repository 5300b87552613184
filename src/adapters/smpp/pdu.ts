/**
 * PDUs: their octets and what they say. Pure. The tables (commands, parameters, TLVs) are those of the package `smpp`; its sessions and its
 * parser are not used, because they stay deaf after a bad PDU, read past its end, and take a truncated one for whole.
 * P1. Nothing is read past the end of a PDU, and what is missing in a request is an error with the status that the sender is to get.
 * P2. A response is read as far as it goes: servers leave out what they think is not needed. A status other than 0 needs no body (3.2, note).
 * P3. TLVs that nobody knows are kept by their number; those that cannot be read make the PDU malformed.
 * P4. Text that does not fit its parameter (not ASCII, a NUL in it, too many octets) is never sent.
 *
 * SMPP 3.4, issue 1.2: 3 (layout), 4 (commands), 5.3 (TLVs).
 */
import smpp from 'smpp'
import { CageError } from '../../errors.ts'

/** One destination of submit_multi; one that was refused has its status. */
export interface Destination {
  ton: number
  npi: number
  address: string
  status?: number
}

export type Value = number | string | Buffer | readonly Destination[]

/** Parameters and TLVs, by the names of the specification; a TLV that is not in it by its number, `0x1400`. */
export type Fields = Readonly<Record<string, Value>>

export interface Pdu {
  readonly command: string
  readonly status: number
  readonly sequence: number
  readonly fields: Fields
}

/** What cannot be read; the sender is told by a response of `status`, or by generic_nack if there is no such command. */
export class MalformedPdu extends Error {
  readonly status: number
  readonly sequence: number
  readonly command: string | undefined

  constructor(status: number, sequence: number, command?: string) {
    super(`malformed PDU${command === undefined ? '' : `: ${command}`}`)
    this.status = status
    this.sequence = sequence
    this.command = command
  }
}

export const HEADER_BYTES = 16
const RESPONSE = 0x80000000
/** Commands of 5.0 that the package has too. */
const COMMANDS = Object.entries(smpp.commands).filter(([name]) => !name.includes('broadcast'))
const NAMES: ReadonlyMap<number, string> = new Map(COMMANDS.map(([name, { id }]) => [id, name]))
const TAGS: ReadonlyMap<number, string> = new Map(Object.values(smpp.tlvs).map(({ id, tag }) => [id, tag]))

type Kind = 'int8' | 'int16' | 'int32' | 'cstring' | 'counted' | 'rest' | 'destinations' | 'refused'
const { types } = smpp
const KINDS: ReadonlyMap<object | undefined, Kind> = new Map<object | undefined, Kind>([
  [types.int8, 'int8'],
  [types.int16, 'int16'],
  [types.int32, 'int32'],
  [types.cstring, 'cstring'],
  [types.buffer, 'counted'],
  [types.dest_address_array, 'destinations'],
  [types.unsuccess_sme_array, 'refused'],
  [types.tlv.buffer, 'rest'],
  [types.tlv.string, 'rest'],
])
const SIZES: Readonly<Partial<Record<Kind, number>>> = { int8: 1, int16: 2, int32: 4 }
const { ESME_RINVCMDLEN = 0x02, ESME_RINVCMDID = 0x03, ESME_RINVTLVSTREAM = 0xc0, ESME_RINVTLVLEN = 0xc2 } = smpp.errors

/** The parameters of each command, in their order. */
const PARAMETERS: ReadonlyMap<string, readonly (readonly [name: string, kind: Kind])[]> = new Map(
  COMMANDS.map(([command, { params = {} }]) => [
    command,
    Object.entries(params).map(([name, { type }]) => [name, KINDS.get(type) ?? 'cstring']),
  ]),
)

export function isResponse({ command }: Pdu): boolean {
  return command.endsWith('_resp') || command === 'generic_nack'
}

/** Throws INVALID_ARGUMENT (P4). */
export function encode({ command, status, sequence, fields }: Pdu): Buffer {
  const writer = new Writer()
  writer.integer('command_length', 0, 4)
  writer.integer('command_id', smpp.commands[command]?.id ?? RESPONSE, 4)
  writer.integer('command_status', status, 4)
  writer.integer('sequence_number', sequence, 4)
  if (status === 0) {
    const parameters = PARAMETERS.get(command) ?? []
    for (const [name, kind] of parameters) writer.value(name, kind, fields[name])
    for (const name in fields) {
      const value = fields[name]
      if (value !== undefined && !parameters.some(([known]) => known === name)) writer.tlv(name, value)
    }
  }
  return writer.finish()
}

/** One whole PDU; throws MalformedPdu. */
export function decode(bytes: Buffer): Pdu {
  const id = bytes.readUInt32BE(4)
  const status = bytes.readUInt32BE(8)
  const sequence = bytes.readUInt32BE(12)
  const command = NAMES.get(id)
  if (command === undefined) throw new MalformedPdu(ESME_RINVCMDID, sequence)
  const lenient = id >= RESPONSE // P2
  const fields: Record<string, Value> = Object.create(null)
  const reader = new Reader(bytes, HEADER_BYTES, (problem) => new MalformedPdu(problem, sequence, command))
  for (const [name, kind] of PARAMETERS.get(command) ?? []) {
    if (lenient && reader.left === 0) break
    fields[name] = reader.value(kind)
  }
  while (reader.left > 0 && !(lenient && status !== 0)) {
    if (reader.left < 4) throw new MalformedPdu(ESME_RINVTLVSTREAM, sequence, command)
    const tag = reader.integer(2)
    const length = reader.integer(2)
    const name = TAGS.get(tag)
    const kind = name === undefined ? 'rest' : KINDS.get(smpp.tlvs[name]?.type)
    fields[name ?? `0x${tag.toString(16).padStart(4, '0')}`] = reader.tlv(kind, length)
  }
  return { command, status, sequence, fields }
}

/** The parameter as text, or ''. */
export function textOf({ fields }: Pdu, name: string): string {
  const value = fields[name]
  return typeof value === 'string' ? value : Buffer.isBuffer(value) ? value.toString('latin1') : ''
}

/** The parameter as a number, or undefined. */
export function numberOf({ fields }: Pdu, name: string): number | undefined {
  const value = fields[name]
  return typeof value === 'number' ? value : undefined
}

/** The parameter as octets, or undefined. */
export function bytesOf({ fields }: Pdu, name: string): Buffer | undefined {
  const value = fields[name]
  return Buffer.isBuffer(value) ? value : undefined
}

/** P1. */
class Reader {
  readonly #bytes: Buffer
  readonly #malformed: (status: number) => MalformedPdu
  #at: number

  constructor(bytes: Buffer, at: number, malformed: (status: number) => MalformedPdu) {
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
    if (length > this.left) throw this.#malformed(ESME_RINVTLVSTREAM)
    if (kind === 'cstring')
      return this.#take(length)
        .toString('latin1')
        .replace(/\0[\s\S]*$/, '')
    if (kind === undefined || SIZES[kind] === undefined) return this.#take(length)
    if (length < 1 || length > 4) throw this.#malformed(ESME_RINVTLVLEN)
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
    if (end < 0) throw this.#malformed(ESME_RINVCMDLEN)
    const text = this.#bytes.toString('latin1', this.#at, end)
    this.#at = end + 1
    return text
  }

  #take(size: number): Buffer {
    if (size > this.left) throw this.#malformed(ESME_RINVCMDLEN)
    this.#at += size
    return this.#bytes.subarray(this.#at - size, this.#at)
  }
}

/** P4. */
class Writer {
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

  tlv(name: string, value: Value): void {
    const known = smpp.tlvs[name]
    const id = known?.id ?? (/^0x[0-9a-f]{4}$/i.test(name) ? Number(name) : undefined)
    if (id === undefined) throw new CageError('INVALID_ARGUMENT', `there is no TLV ${name}`)
    const kind = KINDS.get(known?.type)
    this.integer('tag', id, 2)
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

const NOTHING = Buffer.alloc(0)

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
