/**
 * PostgreSQL's values as JavaScript's: exact, or text.
 * T1. No digit is lost: int8 is a bigint; numeric, money and interval are text.
 * T2. What names no instant is no Date: date, time and timestamp are text, as '2026-11-24'. timestamptz is a Date, to the millisecond.
 * T3. bytea is bytes, json is what it holds.
 */
import pg from 'pg'

/** Object identifiers of types: pg_type.dat. */
const INT8 = 20
const DATE = 1082
const TIMESTAMP = 1114
const INTERVAL = 1186
const NUMERIC = 1700
const ARRAYS: Readonly<Record<number, number>> = { 1016: INT8, 1182: DATE, 1115: TIMESTAMP, 1187: INTERVAL, 1231: NUMERIC }

type Parser = (text: string) => unknown

const asText: Parser = (text) => text
const OWN: Readonly<Record<number, Parser>> = {
  [INT8]: BigInt,
  [DATE]: asText,
  [TIMESTAMP]: asText,
  [INTERVAL]: asText,
  [NUMERIC]: asText,
}

const TEXTS = 1009 as Parameters<typeof pg.types.getTypeParser>[0] // text[], which the driver knows and its types do not
const texts: Parser = pg.types.getTypeParser(TEXTS)

/** The elements of an array, of whatever dimensions; NULL stays. */
function each(value: unknown, parser: Parser): unknown {
  if (Array.isArray(value)) return value.map((element) => each(element, parser))
  return typeof value === 'string' ? parser(value) : value
}

/** How the driver reads a column of a type. */
export function typeParser(oid: number, format?: 'text' | 'binary'): Parser {
  const own = OWN[oid]
  if (own) return own
  const element = ARRAYS[oid]
  const parser = element === undefined ? undefined : OWN[element]
  if (parser) return (text) => each(texts(text), parser)
  return pg.types.getTypeParser(oid, format ?? 'text')
}
