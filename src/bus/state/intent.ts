/**
 * Intent: a change that is decided and not yet committed, in the place of the value that it may replace. Pure.
 * The message has the header `Intent`; its body holds both values, so that whoever reads it sees the old one, and either end needs nothing else.
 */
import { decodeResult, encodeResult } from '../wire.ts'

/** A value as bytes; null: there is none. */
type Packed = Uint8Array | null

export interface Intent {
  /** Which participant of which transaction. */
  branch: string
  /** What counts until it is committed, and when it is absent, epoch ms. */
  old: Packed
  oldExpiresAt: number | null
  /** What counts then, and for how long. */
  new: Packed
  ttlMs: number | null
}

export function packed(value: unknown): Packed {
  return value === undefined ? null : encodeResult(value, 'envelope')
}

export function unpacked(value: Packed): unknown {
  return value === null ? undefined : decodeResult(value)
}

export function encodeIntent(intent: Intent): Uint8Array {
  return encodeResult(intent, 'envelope')
}

export function decodeIntent(data: Uint8Array): Intent {
  return decodeResult(data) as Intent // only our own nodes write that header
}
