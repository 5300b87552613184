/**
 * Entry: one value of a module's state ↔ a message in its cage's bucket. Pure.
 * The layout is that of NATS KV (ADR-8): stream `KV_<cage>`, subject `$KV.<cage>.<module>.<key>`, header `KV-Operation: DEL` on what is deleted.
 * The value is the wire's MessagePack. A message without our header is another tool's, and is JSON or MessagePack.
 */
import { CageError } from '../../errors.ts'
import { headerOf } from '../jetstream.ts'
import { decodeBody, decodeResult } from '../wire.ts'
import { decodeIntent, type Intent } from './intent.ts'

/** What is known of a key. */
export interface Entry {
  /** As a token of a subject. */
  token: string
  /** Its revision; 0 if there never was one. */
  seq: number
  /** Neither deleted nor never there. It may have expired. */
  written: boolean
  data: Uint8Array
  /** Epoch ms, by the server's clock. */
  time: number
  /** Epoch ms; Infinity: never. */
  expiresAt: number
  /** What is about to replace it: data, `written` and expiry are those of the value that counts until then. */
  intent: Intent | undefined
  /** The revision that had the same value; 0: none is known to have. */
  sameAs: number
  /** Its latest writers, newest first (`fateOf`). Empty if another tool wrote it. */
  writers: string
}

/** A message as a bucket's parts come by it. */
export interface EntryMessage {
  token: string
  seq: number
  data: Uint8Array
  time: number
  header(name: string): string | undefined
}

/** How many writers an entry remembers. */
const MAX_WRITERS = 8

/** Of a key, as UTF-8. */
const MAX_KEY_BYTES = 256

export function streamOf(cage: string): string {
  return `KV_${cage}`
}

/** Where a module's values lie; `*` is all of them. */
export function subjectOf(cage: string, module: string, token: string): string {
  return `$KV.${cage}.${module}.${token}`
}

/** Where the server tells of what it has stored. */
export function newsOf(cage: string, module: string, token: string): string {
  return `$STATE.${cage}.${module}.${token}`
}

/** The last token of a subject. */
export function lastToken(subject: string): string {
  return subject.slice(subject.lastIndexOf('.') + 1)
}

/** A key as a token: what a key of NATS KV may not hold becomes `=` and hexadecimal digits. Throws INVALID_ARGUMENT. */
export function tokenOfKey(key: string): string {
  if (typeof key !== 'string' || key === '' || /\p{Surrogate}/u.test(key) || Buffer.byteLength(key) > MAX_KEY_BYTES)
    throw new CageError('INVALID_ARGUMENT', `a key is text of 1 to ${MAX_KEY_BYTES} bytes, not ${String(JSON.stringify(key)).slice(0, 80)}`)
  return key.replace(/[^\w-]+/g, (text) => Buffer.from(text).toString('hex').toUpperCase().replace(/../g, '=$&'))
}

/** The key of a token; another tool's may be any. */
export function keyOf(token: string): string {
  return token.replace(/(=[0-9A-F]{2})+/g, (text) => Buffer.from(text.replaceAll('=', ''), 'hex').toString())
}

/** What a message says of its key. */
export function entryOf({ token, seq, data, time, header }: EntryMessage): Entry {
  const operation = header('KV-Operation')
  const ttlMs = Number(header('Ttl-Ms') ?? Number.POSITIVE_INFINITY)
  const known = { token, seq, time, writers: header('Writers') ?? '', sameAs: Number(header('Same-As') ?? 0) }
  if (header('Intent') !== undefined) {
    const intent = decodeIntent(data)
    const { old, oldExpiresAt } = intent
    return { ...known, intent, written: old !== null, data: old ?? NOTHING, expiresAt: oldExpiresAt ?? Number.POSITIVE_INFINITY }
  }
  const written = operation !== 'DEL' && operation !== 'PURGE'
  return { ...known, intent: undefined, written, data, expiresAt: time + ttlMs }
}

/** Of a key that was never written, or has been cleaned away. */
export function noEntry(token: string): Entry {
  const nothing = { written: false, data: NOTHING, intent: undefined, sameAs: 0, writers: '' }
  return { token, seq: 0, time: 0, expiresAt: Number.POSITIVE_INFINITY, ...nothing }
}

const NOTHING = new Uint8Array(0)

/** Whether an entry only takes room: what it had is expired, or was deleted before `deletedBefore`. */
export function isRubbish({ written, expiresAt, time, intent }: Entry, now: number, deletedBefore: number): boolean {
  return intent === undefined && (written ? expiresAt <= now : time < deletedBefore)
}

export function isPresent({ written, expiresAt }: Entry, now: number): boolean {
  return written && expiresAt > now
}

/** The value; undefined if there is none, or none any more. Throws INVALID_ARGUMENT if another tool wrote what nobody can read. */
export function valueIn(entry: Entry, now: number): unknown {
  if (!isPresent(entry, now)) return undefined
  const value = entry.writers === '' ? decodeBody(entry.data) : decodeResult(entry.data)
  if (value === undefined)
    throw new CageError('INVALID_ARGUMENT', `the value of the key ${JSON.stringify(keyOf(entry.token))} is neither JSON nor MessagePack`)
  return value
}

/** The writers of what replaces an entry: each is a mark of its own, and the revision that it replaced. */
export function writersOf(mark: string, replaced: Entry): string {
  const earlier = replaced.writers === '' ? [] : replaced.writers.split(' ')
  return [`${mark}@${replaced.seq}`, ...earlier].slice(0, MAX_WRITERS).join(' ')
}

/**
 * What has come of a write that was to replace revision `seq`, told by what is there now. waiting: it may still be under way.
 * Undefined: it is too long ago to tell.
 */
export function fateOf(mark: string, seq: number, now: Entry): 'waiting' | 'stored' | 'refused' | undefined {
  if (now.seq === seq) return 'waiting'
  const writers = now.writers.split(' ')
  if (writers.includes(`${mark}@${seq}`)) return 'stored'
  return writers.some((writer) => writer.endsWith(`@${seq}`)) ? 'refused' : undefined
}

/** An entry from a stored message's block of headers. */
export function storedEntry(message: { subject: string; seq: number; data: Uint8Array; headers: string; time: number }): Entry {
  const { subject, seq, data, headers, time } = message
  return entryOf({ token: lastToken(subject), seq, data, time, header: (name) => headerOf(headers, name) })
}
