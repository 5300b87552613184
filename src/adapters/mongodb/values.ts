/**
 * BSON's values as plain data that crosses the bus, the journal and JSON unchanged, and back. Pure.
 * V1. What JavaScript has is that: Date, bigint (64 bits), Buffer (binary, subtype 0), RegExp to MongoDB. The rest is written as MongoDB writes it in
 *     JSON: { $oid }, { $numberDecimal }, { $binary }, { $timestamp }, { $regularExpression } ... What was read can be written back as it is.
 * V2. What BSON would change silently is refused, by the path to it and never by its value: Set, functions, instances of classes, invalid dates,
 *     bigints of more than 64 bits.
 * MongoDB Extended JSON (v2), canonical.
 */
import { BSON } from 'mongodb'
import { CageError } from '../../errors.ts'

const { EJSON } = BSON

/** Of an object that stands for one value of BSON: none of them is an operator of queries, updates or pipelines. */
const WRAPPERS = new Set([
  ...['$oid', '$numberDecimal', '$numberLong', '$numberInt', '$numberDouble', '$binary', '$uuid', '$date', '$timestamp'],
  ...['$regularExpression', '$code', '$symbol', '$minKey', '$maxKey'],
])
const LONGEST = 2n ** 63n

/** What a caller gave, as the driver takes it; the caller's is left as it is. INVALID_ARGUMENT. */
export function toBson(value: unknown, path: string): unknown {
  if (value === null || value === undefined) return null
  switch (typeof value) {
    case 'string':
    case 'number':
    case 'boolean':
      return value
    case 'bigint':
      if (value >= LONGEST || value < -LONGEST) throw refused(path, 'a bigint of more than 64 bits')
      return value
    case 'object':
      return objectToBson(value, path)
  }
  throw refused(path, `a ${typeof value}`)
}

function objectToBson(value: object, path: string): unknown {
  if (Array.isArray(value)) return value.map((item: unknown, n) => toBson(item, `${path}[${n}]`))
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw refused(path, 'an invalid date')
    return value
  }
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof RegExp) return value
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    const kind = value.constructor?.name ?? 'class'
    throw refused(path, kind === 'ObjectId' ? "an ObjectId: give { $oid: '...' }" : `an instance of ${kind}`)
  }
  const keys = Object.keys(value)
  if (keys[0] !== undefined && WRAPPERS.has(keys[0])) return unwrapped(value, path)
  const entries = Object.entries(value).map(([key, item]) => [key, toBson(item, `${path}.${key}`)])
  return Object.fromEntries(entries)
}

function unwrapped(value: object, path: string): unknown {
  try {
    const made = EJSON.deserialize(value as BSON.Document, { relaxed: false }) as unknown
    if (typeof made !== 'object' || made === null || !('_bsontype' in made || made instanceof Date)) throw refused(path, 'no value of BSON')
    if (made instanceof Date && Number.isNaN(made.getTime())) throw refused(path, 'an invalid date')
    return made
  } catch (error) {
    if (error instanceof CageError) throw error
    throw refused(path, `no ${Object.keys(value).join(', ')} of BSON`) // what it says of itself may hold the value
  }
}

function refused(path: string, what: string): CageError {
  return new CageError('INVALID_ARGUMENT', `${path} is ${what}`)
}

/** What the driver has read, as plain data; changed in place, for nobody else has it. */
export function fromBson(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (let n = 0; n < value.length; n++) value[n] = fromBson(value[n])
    return value
  }
  if (value instanceof BSON.ObjectId) return { $oid: value.toHexString() }
  if (value instanceof BSON.Binary && value.sub_type === BSON.Binary.SUBTYPE_DEFAULT) return Buffer.from(value.value())
  if ('_bsontype' in value && typeof value._bsontype === 'string') return EJSON.serialize(value, { relaxed: false })
  if (value instanceof Date || value instanceof Uint8Array) return value
  const document = value as Record<string, unknown>
  for (const key in document) {
    const item = document[key]
    if (typeof item !== 'object' || item === null) continue
    const plain = fromBson(item)
    if (plain !== item) document[key] = plain
  }
  return document
}
