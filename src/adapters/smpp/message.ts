/**
 * Messages as modules write and read them, and as PDUs carry them. Pure.
 * M1. What a caller has written wrongly is INVALID_ARGUMENT, before anything is sent; a name that is not known too.
 * M2. What is received says what was in it: text if its coding is known, else its bytes; nothing is guessed.
 */
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { addressOf, destinationFields, destinationOf, sourceFields, sourceOf } from './address.ts'
import type { SmppCoding, SmppReceived, SmppSplit, SmppTlvs } from './api.ts'
import { type Coded, DATA_CODINGS, decodeText, encodeText } from './coding.ts'
import { type Content, split } from './parts.ts'
import { type Fields, numberOf, type Pdu, textOf, type Value } from './pdu.ts'
import { absoluteTime, parseTime, relativeTime } from './time.ts'

/** What the configuration says of all messages. */
export interface MessageDefaults {
  from?: string | undefined
  serviceType: string
  split: SmppSplit
  packed: boolean
  receipt: boolean
  validity?: number | 'deadline' | undefined
}

/** What is common to the PDUs of a message, and what each has of its own. */
export interface Composed {
  readonly coding: SmppCoding
  readonly common: Record<string, Value>
  readonly parts: readonly Fields[]
}

const KNOWN = [
  'to',
  'from',
  'text',
  'data',
  'coding',
  'split',
  'receipt',
  'validity',
  'scheduleAt',
  'serviceType',
  'priority',
  'protocolId',
]
const ALL = new Set([...KNOWN, 'replaceIfPresent', 'tlvs'])
const LONGEST_VALIDITY_MS = 30 * 86_400_000

/** M1. `deadline`: of the call, epoch ms; `reference`: of the message, should it take several parts. Its destination is not looked at. */
export function compose(given: unknown, defaults: MessageDefaults, deadline: number, reference: number): Composed {
  const message = recordOf(given, 'message')
  for (const key in message) {
    if (!ALL.has(key)) throw new CageError('INVALID_ARGUMENT', `a message has no ${key}${didYouMean(key, ALL)}`)
  }
  const coded = codedOf(message)
  const how = choice(message, 'split', ['udh8', 'udh16', 'sar', 'payload', 'none']) ?? defaults.split
  const {
    from = defaults.from,
    serviceType = defaults.serviceType,
    receipt = defaults.receipt,
    scheduleAt,
    priority = 0,
    protocolId = 0,
  } = message
  if (scheduleAt !== undefined && !(scheduleAt instanceof Date && !Number.isNaN(scheduleAt.getTime()))) throw wrong('scheduleAt', 'a Date')
  if (typeof serviceType !== 'string') throw wrong('serviceType', 'text')
  if (typeof priority !== 'number' || typeof protocolId !== 'number') throw wrong('priority or protocolId', 'a number')
  const common: Record<string, Value> = {
    service_type: serviceType,
    protocol_id: protocolId,
    priority_flag: priority,
    schedule_delivery_time: scheduleAt instanceof Date ? absoluteTime(scheduleAt) : '',
    validity_period: validityOf(message.validity ?? defaults.validity, deadline),
    registered_delivery: receipt === true ? 1 : 0,
    replace_if_present_flag: message.replaceIfPresent === true ? 1 : 0,
    data_coding: DATA_CODINGS[coded.coding],
  }
  if (from !== undefined) Object.assign(common, sourceFields(addressOf(from, 'from')))
  if (message.tlvs !== undefined) Object.assign(common, tlvsOf(message.tlvs))
  return { coding: coded.coding, common, parts: split(coded, how, defaults.packed, reference) }
}

/** The fields of a destination. */
export function destination(given: unknown): Fields {
  return destinationFields(addressOf(given, 'to'))
}

/** M2. Of submit_sm, deliver_sm and data_sm. */
export function received(pdu: Pdu, { octets, header }: Pick<Content, 'octets' | 'header'>, packed: boolean, now: number): SmppReceived {
  const dataCoding = numberOf(pdu, 'data_coding') ?? 0
  const text = decodeText(octets, dataCoding, packed, header.length)
  return {
    from: sourceOf(pdu),
    to: destinationOf(pdu),
    ...(text === undefined ? { data: new Uint8Array(octets) } : { text }),
    dataCoding,
    esmClass: numberOf(pdu, 'esm_class') ?? 0,
    serviceType: textOf(pdu, 'service_type'),
    protocolId: numberOf(pdu, 'protocol_id') ?? 0,
    priority: numberOf(pdu, 'priority_flag') ?? 0,
    receipt: ((numberOf(pdu, 'registered_delivery') ?? 0) & 0x03) !== 0,
    scheduleAt: parseTime(textOf(pdu, 'schedule_delivery_time'), now),
    validUntil: parseTime(textOf(pdu, 'validity_period'), now),
    tlvs: receivedTlvs(pdu),
  }
}

export function recordOf(given: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw wrong(what, 'an object')
  return given as Record<string, unknown> // an object is one
}

function codedOf(message: Readonly<Record<string, unknown>>): Coded {
  const { text, data } = message
  const coding = choice(message, 'coding', ['gsm', 'latin1', 'ucs2', 'binary'])
  if (data !== undefined) {
    if (!(data instanceof Uint8Array) || text !== undefined) throw wrong('data', 'a Uint8Array without a text')
    return { coding: 'binary', octets: Buffer.from(data) }
  }
  if (typeof text !== 'string') throw wrong('text', 'text')
  return encodeText(text, coding)
}

function validityOf(validity: unknown, deadline: number): string {
  if (validity === undefined) return ''
  if (validity === 'deadline') return relativeTime(Math.min(LONGEST_VALIDITY_MS, deadline - Date.now()))
  if (typeof validity === 'number' && validity > 0 && validity <= LONGEST_VALIDITY_MS) return relativeTime(validity)
  throw wrong('validity', "'deadline' or from 1 to 2,592,000,000 ms")
}

function tlvsOf(given: unknown): Fields {
  const fields: Record<string, Value> = {}
  for (const [name, value] of Object.entries(recordOf(given, 'tlvs') as SmppTlvs)) {
    if (MANDATORY.has(name)) throw new CageError('INVALID_ARGUMENT', `${name} is no TLV`)
    fields[name] = value instanceof Uint8Array ? Buffer.from(value) : value // pdu.ts looks at the rest
  }
  return fields
}

/** What a receiver makes use of itself is not told again. */
const OWN = new Set([
  'message_payload',
  'sar_msg_ref_num',
  'sar_total_segments',
  'sar_segment_seqnum',
  'short_message',
  'sm_default_msg_id',
])

function receivedTlvs({ fields }: Pdu): SmppReceived['tlvs'] {
  const tlvs: SmppReceived['tlvs'] = {}
  for (const [name, value] of Object.entries(fields)) {
    if (OWN.has(name) || MANDATORY.has(name)) continue
    if (Buffer.isBuffer(value)) tlvs[name] = new Uint8Array(value)
    else if (typeof value === 'number' || typeof value === 'string') tlvs[name] = value
  }
  return tlvs
}

const MANDATORY = new Set([
  ...[
    'service_type',
    'source_addr_ton',
    'source_addr_npi',
    'source_addr',
    'dest_addr_ton',
    'dest_addr_npi',
    'destination_addr',
    'dest_address',
  ],
  ...['esm_class', 'protocol_id', 'priority_flag', 'schedule_delivery_time', 'validity_period', 'registered_delivery'],
  ...['replace_if_present_flag', 'data_coding', 'short_message', 'sm_default_msg_id'],
])

function choice<T extends string>(message: Readonly<Record<string, unknown>>, key: string, all: readonly T[]): T | undefined {
  const wished = message[key]
  const found = all.find((each) => each === wished)
  if (wished !== undefined && found === undefined) throw wrong(key, `one of ${all.join(', ')}`)
  return found
}

function wrong(what: string, needed: string): CageError {
  return new CageError('INVALID_ARGUMENT', `${what} must be ${needed}`)
}
