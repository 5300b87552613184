/** Many rows in few statements. Pure. */
import { CageError } from '../../errors.ts'
import { encode, quote, type Statement } from './parameters.ts'

/** A statement has no more parameters. MySQL 8.4, ER_PS_MANY_PARAM. */
const MOST_PARAMETERS = 65_535

/** INSERTs of the rows; the columns are the first row's, and every row has them all. INVALID_ARGUMENT. */
export function bulkInserts(table: unknown, rows: unknown): Statement[] {
  if (typeof table !== 'string' || table === '') throw new CageError('INVALID_ARGUMENT', 'insertMany needs the name of a table')
  if (!Array.isArray(rows)) throw new CageError('INVALID_ARGUMENT', 'insertMany needs a list of rows')
  if (rows.length === 0) return []
  const names = columnsOf(rows[0], 0)
  if (names.length === 0) throw new CageError('INVALID_ARGUMENT', 'row 0 has no columns')
  const values = rows.map((row: unknown, n) => valuesOf(row, names, n))
  const into = `insert into ${table.split('.').map(quote).join('.')} (${names.map(quote).join(', ')}) values `
  const marks = `(${names.map(() => '?').join(', ')})`
  const most = Math.max(1, Math.floor(MOST_PARAMETERS / names.length))
  return Array.from({ length: Math.ceil(values.length / most) }, (_, n) => {
    const some = values.slice(n * most, (n + 1) * most)
    return { text: into + some.map(() => marks).join(', '), values: some.flat() }
  })
}

function valuesOf(row: unknown, names: readonly string[], n: number): unknown[] {
  const own = columnsOf(row, n)
  const odd = names.find((name) => !own.includes(name)) ?? own.find((name) => !names.includes(name))
  if (odd !== undefined) throw new CageError('INVALID_ARGUMENT', `row ${n} and row 0 differ in column ${odd}`)
  const values = row as Record<string, unknown> // columnsOf has looked
  return names.map((name) => encode(values[name], `${name} of row ${n}`))
}

function columnsOf(row: unknown, n: number): string[] {
  if (typeof row !== 'object' || row === null || Array.isArray(row)) throw new CageError('INVALID_ARGUMENT', `row ${n} is no object`)
  return Object.keys(row)
}
