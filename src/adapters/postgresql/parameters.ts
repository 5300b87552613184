/**
 * Parameters of a statement: `:name` becomes `$1`, and JavaScript's values become PostgreSQL's text. Pure.
 * N1. A name is looked for where PostgreSQL would see code: not in strings, quoted identifiers, comments, dollar quotes, nor after `::`.
 * N2. A parameter that is not there is told by its name; a value is never told.
 * SQL lexis: PostgreSQL 18, 4.1.
 */
import { CageError } from '../../errors.ts'
import { toJson } from '../../json.ts'

/** By position ($1, $2 ...) or by name (:name). */
export type Parameters = readonly unknown[] | Readonly<Record<string, unknown>>

/** A statement as the driver takes it. */
export interface Statement {
  text: string
  values: unknown[]
}

/** Makes a statement of what the caller gave. INVALID_ARGUMENT. */
export function statement(sql: unknown, parameters: unknown = []): Statement {
  if (typeof sql !== 'string' || sql.trim() === '') throw new CageError('INVALID_ARGUMENT', 'the SQL is no text')
  if (Array.isArray(parameters)) return { text: sql, values: parameters.map((value, n) => encode(value, `$${n + 1}`)) }
  if (!isPlain(parameters)) throw new CageError('INVALID_ARGUMENT', 'parameters are a list, or an object by their names')
  const { text, names } = named(sql)
  const values = names.map((name) => {
    if (!Object.hasOwn(parameters, name)) throw new CageError('INVALID_ARGUMENT', `parameter :${name} has no value`)
    return encode(parameters[name], `:${name}`)
  })
  return { text, values }
}

interface Translation {
  text: string
  /** Name of $1, $2 ... */
  names: string[]
}

const TOKEN =
  /[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|\/\*|\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$|::|:=|:[A-Za-z_]\w*|\$\d+|[\w$\u0080-\uffff]+/g

/** Statements repeat; to read one again costs more than to keep it. */
const TRANSLATIONS = 1_000
const translations = new Map<string, Translation>()

function named(sql: string): Translation {
  const known = translations.get(sql)
  if (known) return known
  const translation = translate(sql)
  if (translations.size >= TRANSLATIONS) translations.clear()
  translations.set(sql, translation)
  return translation
}

/** N1. */
export function translate(sql: string): Translation {
  const names: string[] = []
  let text = ''
  let done = 0
  TOKEN.lastIndex = 0
  for (let match = TOKEN.exec(sql); match; match = TOKEN.exec(sql)) {
    const [token] = match
    if (token === '/*') TOKEN.lastIndex = endOfComment(sql, match.index)
    else if (/^\$\d/.test(token)) throw new CageError('INVALID_ARGUMENT', `the SQL has ${token}, but its parameters have names`)
    else if (token.startsWith('$')) TOKEN.lastIndex = endOfDollarQuote(sql, token, match.index)
    else if (/^:\w/.test(token)) {
      const name = token.slice(1)
      if (!names.includes(name)) names.push(name)
      text += `${sql.slice(done, match.index)}$${names.indexOf(name) + 1}`
      done = TOKEN.lastIndex
    }
  }
  return { text: text + sql.slice(done), names }
}

/** Comments nest. */
function endOfComment(sql: string, from: number): number {
  let depth = 0
  for (let at = from; at < sql.length; at++) {
    const pair = sql.slice(at, at + 2)
    if (pair === '/*') depth++
    else if (pair === '*/' && --depth === 0) return at + 2
    if (pair === '/*' || pair === '*/') at++
  }
  return sql.length
}

function endOfDollarQuote(sql: string, tag: string, from: number): number {
  const end = sql.indexOf(tag, from + tag.length)
  return end < 0 ? sql.length : end + tag.length
}

/** A value as the driver sends it: bytes as they are, lists as PostgreSQL's arrays, other objects as JSON. `undefined` is NULL. */
export function encode(value: unknown, name: string): unknown {
  if (value === null || value === undefined) return null
  if (typeof value === 'function' || typeof value === 'symbol') throw new CageError('INVALID_ARGUMENT', `parameter ${name} is no value`)
  if (typeof value !== 'object') return typeof value === 'string' ? value : String(value)
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (Array.isArray(value)) return value.map((item, n) => encode(item, `${name}[${n}]`))
  if (!(value instanceof Date)) return toJson(value)
  if (Number.isNaN(value.getTime())) throw new CageError('INVALID_ARGUMENT', `parameter ${name} is no valid date`)
  return value.toISOString()
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && [Object.prototype, null].includes(Object.getPrototypeOf(value))
}
