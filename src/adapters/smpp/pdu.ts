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
import { type Kind, Reader, type Value, Writer } from './octets.ts'

export type { Destination, Value } from './octets.ts'

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

  /** `problem`: the status without ESME_. */
  constructor(problem: string, sequence: number, command?: string) {
    super(`malformed PDU${command === undefined ? '' : `: ${command}`}`)
    this.status = smpp.errors[`ESME_${problem}`] ?? 0
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
      if (value !== undefined && !parameters.some(([known]) => known === name)) writer.tlv(name, tagOf(name), kindOf(name), value)
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
  if (command === undefined) throw new MalformedPdu('RINVCMDID', sequence)
  const lenient = id >= RESPONSE // P2
  const fields: Record<string, Value> = Object.create(null)
  const reader = new Reader(bytes, HEADER_BYTES, (problem) => new MalformedPdu(problem, sequence, command))
  for (const [name, kind] of PARAMETERS.get(command) ?? []) {
    if (lenient && reader.left === 0) break
    fields[name] = reader.value(kind)
  }
  while (reader.left > 0 && !(lenient && status !== 0)) {
    if (reader.left < 4) throw new MalformedPdu('RINVTLVSTREAM', sequence, command)
    const tag = reader.integer(2)
    const length = reader.integer(2)
    const name = TAGS.get(tag)
    fields[name ?? `0x${tag.toString(16).padStart(4, '0')}`] = reader.tlv(name === undefined ? 'rest' : kindOf(name), length)
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

/** Throws INVALID_ARGUMENT. */
function tagOf(name: string): number {
  const tag = smpp.tlvs[name]?.id ?? (/^0x[0-9a-f]{4}$/i.test(name) ? Number(name) : undefined)
  if (tag === undefined) throw new CageError('INVALID_ARGUMENT', `there is no TLV ${name}`)
  return tag
}

function kindOf(name: string): Kind | undefined {
  return KINDS.get(smpp.tlvs[name]?.type)
}
