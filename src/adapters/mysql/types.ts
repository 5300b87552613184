/**
 * The server's values as JavaScript's: exact, or text.
 * T1. No digit is lost: BIGINT is a bigint, DECIMAL is text.
 * T2. What names no instant is no Date: DATE, TIME and DATETIME are text. TIMESTAMP is a Date, to the millisecond.
 * T3. Binary strings and BIT are bytes, JSON is what it holds.
 */
import mysql from 'mysql2'

/** What the driver tells of a column, as far as it is needed. */
export interface Column {
  readonly name: string
  readonly columnType?: number | undefined
}

const { LONGLONG, TIMESTAMP } = mysql.Types

/** How the driver reads: integers and dates as text, so that `rowOf` can do it without loss. */
export const READING = { supportBigNumbers: true, bigNumberStrings: true, dateStrings: true, rowsAsArray: true } as const

/** A row by its columns' names, of the driver's list. */
export function rowOf(values: readonly unknown[], columns: readonly Column[]): Record<string, unknown> {
  return Object.fromEntries(columns.map(({ name, columnType }, n) => [name, valueAs(values[n], columnType)]))
}

function valueAs(value: unknown, type: number | undefined): unknown {
  if (type === LONGLONG && (typeof value === 'string' || typeof value === 'number')) return BigInt(value)
  if (type === TIMESTAMP && typeof value === 'string') {
    const instant = new Date(`${value.replace(' ', 'T')}Z`)
    return Number.isNaN(instant.getTime()) ? value : instant // '0000-00-00 00:00:00'
  }
  if (Buffer.isBuffer(value)) return Buffer.from(value) // the driver's shares the memory of a whole packet
  return value
}
