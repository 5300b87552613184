/**
 * Parameters of a statement: `:name` becomes `?`, and JavaScript's values become the driver's. Pure.
 * N1. A name is looked for where the server would see code: not in strings, quoted identifiers and comments, nor in `:=`.
 * N2. A parameter that is not there is told by its name; a value is never told.
 * N3. Integers are sent as such: as doubles, which the driver makes of numbers, a comparison with a bigint column would be inexact.
 * Lexis: MySQL 8.4, 11.1 and 11.7; with backslashes in strings, as both servers have it by default.
 */
import mysql from 'mysql2'
import { CageError } from '../../errors.ts'
import { toJson } from '../../json.ts'

/** By position (?) or by name (:name). */
export type Parameters = readonly unknown[] | Readonly<Record<string, unknown>>

/** A statement as the driver takes it. */
export interface Statement {
  text: string
  values: unknown[]
}

const { BIGINT } = mysql.TypedParameter
const LARGEST = 2n ** 63n - 1n
const TOKEN =
  /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|`(?:[^`]|``)*`|--(?=\s|$)[^\n]*|#[^\n]*|\/\*[\s\S]*?\*\/|:=|:[A-Za-z_]\w*|\?/g

/** Makes a statement of what the caller gave. INVALID_ARGUMENT. */
export function statement(sql: unknown, parameters: unknown = []): Statement {
  if (typeof sql !== 'string' || sql.trim() === '') throw new CageError('INVALID_ARGUMENT', 'the SQL is no text')
  if (Array.isArray(parameters)) {
    const marks = sql.match(TOKEN)?.filter((token) => token === '?').length ?? 0
    if (marks !== parameters.length) throw new CageError('INVALID_ARGUMENT', `the SQL has ${marks} parameters, not ${parameters.length}`)
    return { text: sql, values: parameters.map((value, n) => encode(value, `${n + 1}`)) }
  }
  if (!isPlain(parameters)) throw new CageError('INVALID_ARGUMENT', 'parameters are a list, or an object by their names')
  const values: unknown[] = []
  const text = sql.replace(TOKEN, (token) => {
    if (token === '?') throw new CageError('INVALID_ARGUMENT', 'the SQL has ?, but its parameters have names')
    if (!/^:\w/.test(token)) return token
    const name = token.slice(1)
    if (!Object.hasOwn(parameters, name)) throw new CageError('INVALID_ARGUMENT', `parameter ${token} has no value`)
    values.push(encode(parameters[name], token))
    return '?'
  })
  return { text, values }
}

/** A value as the driver sends it: instants in UTC, bytes as they are, other objects as JSON. `undefined` is NULL. */
export function encode(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return null
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return BIGINT(value ? 1n : 0n)
  if (typeof value === 'bigint' || Number.isSafeInteger(value)) {
    const integer = BigInt(value as bigint | number) // one of the two
    return integer > LARGEST ? BIGINT.unsigned(integer) : BIGINT(integer)
  }
  if (typeof value === 'number' && Number.isFinite(value)) return value
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString().slice(0, -1).replace('T', ' ')
  if (typeof value !== 'object' || value instanceof Date)
    throw new CageError('INVALID_ARGUMENT', `parameter ${name} is no value that the server has`)
  return toJson(value)
}

/** `a name`, whatever is in it. */
export function quote(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))
}
