/**
 * Values between JavaScript and Oracle: binds, columns, OUT binds. Pure, but for reading large objects and cursors.
 * V1. No digit is lost: a NUMBER of at most 15 digits without decimals is a number, any other is text. A bigint can be bound.
 * V2. What cannot be bound is told by its name, its value never.
 * node-oracledb: "Binding Data", "Fetching Numbers and Dates as String", "Working with CLOB, NCLOB and BLOB Data", "REF CURSOR Bind Parameters".
 */
import oracledb from 'oracledb'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import type { OutType } from './api.ts'
import type { DriverCursor, DriverLob } from './driver.ts'

const SAFE_DIGITS = 15
const MAX_SIZE = 4_000
/** The longest text of a NUMBER: 40 digits, a sign, a point, an exponent. */
const NUMBER_SIZE = 64

const TYPES: Readonly<Record<OutType, oracledb.DbType>> = {
  text: oracledb.DB_TYPE_VARCHAR,
  number: oracledb.DB_TYPE_VARCHAR, // the session's NLS_NUMERIC_CHARACTERS are ours (session.ts)
  date: oracledb.DB_TYPE_TIMESTAMP_TZ,
  bytes: oracledb.DB_TYPE_RAW,
  boolean: oracledb.DB_TYPE_BOOLEAN,
  clob: oracledb.DB_TYPE_CLOB,
  blob: oracledb.DB_TYPE_BLOB,
  cursor: oracledb.DB_TYPE_CURSOR,
}
const OUT_TYPES = Object.keys(TYPES)

/** How columns are fetched. */
export const fetchTypeHandler: NonNullable<oracledb.ExecuteOptions['fetchTypeHandler']> = ({ dbType, precision, scale }) => {
  switch (dbType) {
    case oracledb.DB_TYPE_NUMBER:
      return scale === 0 && precision !== undefined && precision > 0 && precision <= SAFE_DIGITS
        ? undefined
        : { type: oracledb.DB_TYPE_VARCHAR }
    case oracledb.DB_TYPE_CLOB:
    case oracledb.DB_TYPE_NCLOB:
      return { type: oracledb.DB_TYPE_VARCHAR }
    case oracledb.DB_TYPE_BLOB:
      return { type: oracledb.DB_TYPE_RAW }
  }
  return undefined
}

/** What a caller gave, as the driver takes it. INVALID_ARGUMENT. */
export function bindsOf(given: unknown, outs: 'with OUT binds' | 'values only'): oracledb.BindParameters {
  const bind = outs === 'values only' ? plainValue : bindOf
  if (given === undefined) return []
  if (Array.isArray(given)) return given.map((value: unknown, n) => bind(value, `:${n + 1}`)) as oracledb.BindParameters
  if (!isPlain(given)) throw new CageError('INVALID_ARGUMENT', 'binds are a list, or an object by their names')
  return Object.fromEntries(Object.entries(given).map(([name, value]) => [name, bind(value, `:${name}`)])) as oracledb.BindParameters
}

/** Cursors and large objects are read to their end, and closed. */
export async function outBindsOf(given: unknown): Promise<unknown> {
  if (given === undefined || given === null) return {}
  const entries: [string, unknown][] = []
  for (const [name, value] of Object.entries(given)) entries.push([name, await readOut(value)]) // one at a time: it is one connection
  return Array.isArray(given) ? entries.map(([, value]) => value) : Object.fromEntries(entries)
}

async function readOut(value: unknown): Promise<unknown> {
  if (isCursor(value)) {
    try {
      return await value.getRows()
    } finally {
      await value.close()
    }
  }
  return isLob(value) ? await value.getData() : value
}

function bindOf(value: unknown, name: string): unknown {
  if (!isPlain(value)) return plainValue(value, name)
  const { out, inout, value: given, maxSize, ...rest } = value
  const unknown = Object.keys(rest)[0]
  if (unknown !== undefined)
    throw new CageError('INVALID_ARGUMENT', `bind ${name} has no ${unknown}${didYouMean(unknown, ['out', 'inout', 'value', 'maxSize'])}`)
  const type = typeOf(out ?? inout, name)
  const sized = type === 'text' || type === 'bytes' ? { maxSize: sizeOf(maxSize, name) } : type === 'number' ? { maxSize: NUMBER_SIZE } : {}
  if (inout === undefined) return { dir: oracledb.BIND_OUT, type: TYPES[type], ...sized }
  if (type === 'cursor') throw new CageError('INVALID_ARGUMENT', `bind ${name}: a cursor only comes out`)
  const val = type === 'number' && (typeof given === 'number' || typeof given === 'bigint') ? String(given) : plainValue(given, name)
  return { dir: oracledb.BIND_INOUT, type: TYPES[type], val, ...sized }
}

function plainValue(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return null
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'bigint') return value
  if (typeof value === 'number') {
    if (Number.isNaN(value)) throw new CageError('INVALID_ARGUMENT', `bind ${name} is no number`)
    return value
  }
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value
  throw new CageError('INVALID_ARGUMENT', `bind ${name} is no value that Oracle has`)
}

function typeOf(given: unknown, name: string): OutType {
  const known = typeof given === 'string' && OUT_TYPES.includes(given)
  if (!known) throw new CageError('INVALID_ARGUMENT', `bind ${name} is none of ${OUT_TYPES.join(', ')}`)
  return given as OutType // it is among them
}

function sizeOf(given: unknown, name: string): number {
  if (given === undefined) return MAX_SIZE
  if (typeof given === 'number' && Number.isInteger(given) && given > 0) return given
  throw new CageError('INVALID_ARGUMENT', `bind ${name}: maxSize is no number of bytes`)
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))
}

function isCursor(value: unknown): value is DriverCursor {
  return typeof value === 'object' && value !== null && 'getRows' in value
}

function isLob(value: unknown): value is DriverLob {
  return typeof value === 'object' && value !== null && 'getData' in value
}
