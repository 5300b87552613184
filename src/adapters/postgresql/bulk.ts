/**
 * Many rows in one statement and one parameter: the table's own columns say what each value is. Pure.
 * PostgreSQL 18, 9.16.2 (json_populate_recordset).
 */
import { CageError } from '../../errors.ts'
import { encode, type Statement } from './parameters.ts'

/** INSERT of the rows; undefined if there are none. The columns are the first row's; every row has them all. INVALID_ARGUMENT. */
export function bulkInsert(table: unknown, rows: unknown): Statement | undefined {
  if (typeof table !== 'string' || table === '') throw new CageError('INVALID_ARGUMENT', 'insertMany needs the name of a table')
  if (!Array.isArray(rows)) throw new CageError('INVALID_ARGUMENT', 'insertMany needs a list of rows')
  const [first] = rows as unknown[]
  if (first === undefined) return undefined
  const names = columnsOf(first, 0)
  if (names.length === 0) throw new CageError('INVALID_ARGUMENT', 'row 0 has no columns')
  const records = rows.map((row: unknown, n) => record(row, names, n))
  const target = table.split('.').map(quote).join('.')
  const columns = names.map(quote).join(', ')
  return {
    text: `insert into ${target} (${columns}) select ${columns} from json_populate_recordset(null::${target}, $1::json)`,
    values: [`[${records.join(',')}]`],
  }
}

function columnsOf(row: unknown, n: number): string[] {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) throw new CageError('INVALID_ARGUMENT', `row ${n} is no object`)
  return Object.keys(row)
}

function record(row: unknown, names: readonly string[], n: number): string {
  const own = columnsOf(row, n)
  const missing = names.find((name) => !own.includes(name)) ?? own.find((name) => !names.includes(name))
  if (missing !== undefined) throw new CageError('INVALID_ARGUMENT', `row ${n} and row 0 differ in column ${missing}`)
  const values = row as Record<string, unknown>
  return `{${names.map((name) => `${JSON.stringify(name)}:${json(values[name], `${name} of row ${n}`)}`).join(',')}}`
}

/** JSON that the column's input understands: numbers keep their digits, bytes are hexadecimal, what is JSON stays JSON. */
function json(value: unknown, name: string): string {
  if (Array.isArray(value)) return `[${value.map((item) => json(item, name)).join(',')}]`
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number' && Number.isFinite(value)) return String(value)
  const encoded = encode(value, name)
  if (encoded === null) return 'null'
  if (encoded instanceof Uint8Array) return `"\\\\x${Buffer.from(encoded).toString('hex')}"`
  if (typeof value === 'object' && !(value instanceof Date)) return String(encoded)
  return JSON.stringify(encoded)
}

/** "a name", whatever is in it. */
function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
