/**
 * Values: JavaScript ↔ XML-RPC's types (xmlrpc.com/spec, and the common extensions i8 and nil). Pure.
 * V1. The type alone decides what a value becomes, never its size: int and i4 are numbers, i8 is a bigint.
 * V2. A text that its type does not have is refused, and so is a value that XML-RPC cannot say.
 * V3. Dates have no zone in XML-RPC: they are read and written as UTC, to the second; a zone that stands there nevertheless counts.
 */
import { CageError } from '../../errors.ts'
import type { Double } from './api.ts'
import { FAULTS, refusal } from './faults.ts'
import { type Element, escapeText } from './xml.ts'

/** What may be written. */
export interface Dialect {
  /** Whether i8 and nil are known, which the specification lacks. */
  extensions: boolean
  /** Arrays and structs within each other. */
  maxDepth: number
}

const INT = /^[+-]?\d{1,10}$/
const LONG = /^[+-]?\d{1,19}$/
const DOUBLE = /^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$/
const BASE64 = /^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/
const DATE = /^(\d{4})-?(\d\d)-?(\d\d)T(\d\d):?(\d\d):?(\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?$/ // ISO 8601
const LARGEST_INT = 2 ** 31 - 1
const LARGEST_LONG = 2n ** 63n - 1n

const SCALARS: ReadonlyMap<string, (text: string) => unknown> = new Map<string, (text: string) => unknown>([
  ['int', intOf],
  ['i4', intOf],
  ['i8', longOf],
  ['ex:i8', longOf], // as Apache writes it
  ['boolean', (text) => (text === '1' ? true : text === '0' ? false : undefined)],
  ['double', (text) => (DOUBLE.test(text) && Number.isFinite(Number(text)) ? Number(text) : undefined)],
  ['dateTime.iso8601', dateOf],
  ['base64', bytesOf],
  ['nil', nilOf],
  ['ex:nil', nilOf],
])

/** The value of a `<value>`; throws with the fault's code for what is none (V2). */
export function decodeValue(value: Element, maxDepth: number): unknown {
  const [type, ...others] = value.children
  if (type === undefined) return value.text // without a type it is a string
  if (others.length > 0 || !isBlank(value.text)) throw notConforming('a value is one element of its type')
  if (type.name === 'array' || type.name === 'struct') {
    if (maxDepth === 0) throw notConforming('arrays and structs are nested too deeply')
    if (!isBlank(type.text)) throw notConforming(`a ${type.name} has no text of its own`)
    return type.name === 'array' ? arrayOf(type, maxDepth - 1) : structOf(type, maxDepth - 1)
  }
  if (type.children.length > 0) throw notConforming(`a value of type ${type.name} has no elements`)
  if (type.name === 'string') return type.text
  const scalar = SCALARS.get(type.name)
  if (scalar === undefined) throw notConforming(`there is no type ${type.name}`)
  const decoded = scalar(type.text.trim())
  if (decoded === undefined) throw refusal(FAULTS.invalidParameters, `a value is no ${type.name}`)
  return decoded
}

/** A value as `<value>`; throws INVALID_ARGUMENT for what XML-RPC cannot say (V2). */
export function encodeValue(value: unknown, dialect: Dialect, depth: number = dialect.maxDepth): string {
  switch (typeof value) {
    case 'string':
      return `<value><string>${escaped(value)}</string></value>`
    case 'boolean':
      return `<value><boolean>${value ? 1 : 0}</boolean></value>`
    case 'number':
      if (Number.isInteger(value) && !Object.is(value, -0)) {
        if (value <= LARGEST_INT && value >= -LARGEST_INT - 1) return `<value><int>${value}</int></value>`
        if (Number.isSafeInteger(value) && dialect.extensions) return `<value><i8>${value}</i8></value>`
      }
      return double(value)
    case 'bigint':
      if (value > LARGEST_LONG || value < -LARGEST_LONG - 1n) throw unsayable('integers of more than 64 bits')
      if (dialect.extensions) return `<value><i8>${value}</i8></value>`
      if (value > LARGEST_INT || value < -LARGEST_INT - 1) throw unsayable('integers of more than 32 bits, without its extensions')
      return `<value><int>${value}</int></value>`
    case 'undefined':
      return nil(dialect)
    case 'object':
      return value === null ? nil(dialect) : encodeObject(value, dialect, depth)
    default:
      throw unsayable(`a ${typeof value}`)
  }
}

function encodeObject(value: object, dialect: Dialect, depth: number): string {
  if (value instanceof Date) return `<value><dateTime.iso8601>${dateText(value)}</dateTime.iso8601></value>`
  if (value instanceof Uint8Array) {
    return `<value><base64>${Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64')}</base64></value>`
  }
  if (isDouble(value)) return double(value.$double)
  if (depth === 0) throw unsayable('arrays and structs nested so deeply, or within themselves')
  const inner = (item: unknown): string => encodeValue(item, dialect, depth - 1)
  if (Array.isArray(value) || value instanceof Set) {
    return `<value><array><data>${Array.from(value, inner).join('')}</data></array></value>`
  }
  const members = [...(value instanceof Map ? value : Object.entries(value))].map(([name, item]) => {
    if (typeof name !== 'string') throw unsayable(`members with a ${typeof name} for a name`)
    return item === undefined ? '' : `<member><name>${escaped(name)}</name>${inner(item)}</member>`
  })
  return `<value><struct>${members.join('')}</struct></value>`
}

function nil({ extensions }: Dialect): string {
  if (!extensions) throw unsayable('null and undefined, without its extensions')
  return '<value><nil/></value>'
}

function double(value: number): string {
  if (!Number.isFinite(value)) throw unsayable(String(value))
  return `<value><double>${decimal(value)}</double></value>`
}

/** Sign, digits, point, digits: the specification has no exponent. Every digit that tells the number from its neighbours stands there. */
function decimal(value: number): string {
  const [digits = '', exponent = '0'] = Math.abs(value).toExponential().split('e')
  const [first = '0', rest = ''] = digits.split('.')
  const all = first + rest
  const point = 1 + Number(exponent)
  const sign = value < 0 || Object.is(value, -0) ? '-' : ''
  if (point <= 0) return `${sign}0.${'0'.repeat(-point)}${all}`
  return `${sign}${all.slice(0, point).padEnd(point, '0')}.${all.slice(point) || '0'}`
}

function isDouble(value: object): value is Double {
  return '$double' in value && typeof value.$double === 'number' && Object.keys(value).length === 1
}

function arrayOf(array: Element, maxDepth: number): unknown[] {
  const [data, ...others] = array.children
  if (data?.name !== 'data' || others.length > 0 || !isBlank(data.text)) throw notConforming('an array is one element data')
  return data.children.map((item) => {
    if (item.name !== 'value') throw notConforming('an array holds values')
    return decodeValue(item, maxDepth)
  })
}

function structOf(struct: Element, maxDepth: number): Record<string, unknown> {
  const members = new Map<string, unknown>()
  for (const member of struct.children) {
    const [name, value, ...others] = member.children
    if (member.name !== 'member' || name?.name !== 'name' || value?.name !== 'value' || others.length > 0 || !isBlank(member.text)) {
      throw notConforming('a struct holds members, each of a name and a value')
    }
    if (name.children.length > 0 || name.text === '__proto__') throw notConforming('a member’s name is text, and not __proto__')
    if (members.has(name.text)) throw notConforming('a struct has a member twice')
    members.set(name.text, decodeValue(value, maxDepth))
  }
  return Object.fromEntries(members)
}

function intOf(text: string): number | undefined {
  const value = INT.test(text) ? Number(text) : Number.NaN
  return value <= LARGEST_INT && value >= -LARGEST_INT - 1 ? value + 0 : undefined // + 0: there is no -0
}

function longOf(text: string): bigint | undefined {
  if (!LONG.test(text)) return undefined
  const value = BigInt(text.replace('+', ''))
  return value <= LARGEST_LONG && value >= -LARGEST_LONG - 1n ? value : undefined
}

function bytesOf(text: string): Buffer | undefined {
  const dense = text.replace(/\s+/g, '') // RFC 2045, 6.8: lines are broken
  return BASE64.test(dense) ? Buffer.from(dense, 'base64') : undefined
}

function nilOf(text: string): null | undefined {
  return text === '' ? null : undefined
}

/** V3. */
function dateOf(text: string): Date | undefined {
  const [all, year, month, day, hours, minutes, seconds, fraction = '', zone = 'Z'] = DATE.exec(text) ?? []
  if (all === undefined) return undefined
  const date = `${year}-${month}-${day}T${hours}:${minutes}:${seconds}.${fraction.slice(0, 3).padEnd(3, '0')}`
  const local = new Date(`${date}Z`)
  if (Number.isNaN(local.getTime()) || local.toISOString() !== `${date}Z`) return undefined // no such day
  return zone === 'Z' ? local : new Date(`${date}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`)
}

function dateText(date: Date): string {
  const text = Number.isNaN(date.getTime()) ? '' : date.toISOString()
  if (text.length !== 24) throw unsayable('dates before the year 0 or after 9999, or that are none') // those have six digits and a sign
  return text.slice(0, 19).replaceAll('-', '')
}

function escaped(text: string): string {
  const safe = escapeText(text)
  if (safe === undefined) throw unsayable('text with control characters or half a surrogate pair: send it as bytes')
  return safe
}

/** Whether only white space stands between the elements. */
export function isBlank(text: string): boolean {
  return !/[^ \t\r\n]/.test(text)
}

function notConforming(message: string): CageError {
  return refusal(FAULTS.notConforming, message)
}

function unsayable(what: string): CageError {
  return new CageError('INVALID_ARGUMENT', `XML-RPC cannot say ${what}`)
}
