/** JSON of values that JSON lacks. */

/**
 * A replacer for JSON.stringify: a bigint is a number where that is exact, else text; bytes are base64, a Map is an object,
 * a Set an array. It never throws.
 */
export function jsonValue(this: unknown, key: string, value: unknown): unknown {
  const original = typeof this === 'object' && this !== null ? (this as Record<string, unknown>)[key] : value // before toJSON
  if (original instanceof Uint8Array) return Buffer.from(original.buffer, original.byteOffset, original.length).toString('base64')
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString()
  if (value instanceof Map) return Object.fromEntries(value)
  if (value instanceof Set) return [...value]
  return value
}
