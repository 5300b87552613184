/**
 * Words and replies: JavaScript's values as Redis's and back. Pure.
 * W1. No digit is lost: an integer that a number cannot hold is a bigint.
 * W2. What is sent is exactly what was given, or refused: no value becomes `[object Object]`.
 */
import { RESP_TYPES, type TypeMapping } from '@redis/client'
import { CageError } from '../../errors.ts'
import type { RedisReply } from './api.ts'

/** A word as the driver sends it. */
export type Word = string | Buffer

/**
 * How the driver reads: strings as bytes, so that what is text here can only be an integer. Then they are told apart (`decoded`).
 * A map whose fields may be bytes is a list.
 */
export const AS_TEXT: TypeMapping = {
  [RESP_TYPES.BLOB_STRING]: Buffer,
  [RESP_TYPES.SIMPLE_STRING]: Buffer,
  [RESP_TYPES.VERBATIM_STRING]: Buffer,
  [RESP_TYPES.NUMBER]: String,
  [RESP_TYPES.MAP]: Map,
}
export const AS_BYTES: TypeMapping = { ...AS_TEXT, [RESP_TYPES.MAP]: Array }

/** INVALID_ARGUMENT (W2). */
export function encoded(words: unknown, what: string): Word[] {
  if (!Array.isArray(words)) throw new CageError('INVALID_ARGUMENT', `${what} is no list`)
  return words.map((word: unknown, n) => {
    if (typeof word === 'string') return word
    if (typeof word === 'bigint' || (typeof word === 'number' && !Number.isNaN(word))) return numeral(word)
    if (word instanceof Uint8Array) return Buffer.from(word.buffer, word.byteOffset, word.length)
    throw new CageError('INVALID_ARGUMENT', `word ${n} of ${what} is neither text nor a number nor bytes`)
  })
}

/** W1. */
export function decoded(reply: unknown, bytes: boolean): RedisReply {
  if (reply instanceof Error) throw reply
  if (Buffer.isBuffer(reply)) return bytes ? new Uint8Array(reply) : reply.toString()
  if (typeof reply === 'string') return Number.isSafeInteger(Number(reply)) ? Number(reply) : BigInt(reply)
  if (Array.isArray(reply)) return reply.map((one: unknown) => decoded(one, bytes))
  if (reply instanceof Map) return Object.fromEntries([...reply].map(([field, value]) => [String(field), decoded(value, bytes)]))
  return reply as RedisReply // number, boolean, bigint or null
}

function numeral(value: number | bigint): string {
  if (value === Number.POSITIVE_INFINITY) return '+inf'
  return value === Number.NEGATIVE_INFINITY ? '-inf' : String(value)
}
