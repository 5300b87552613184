/** Ids and keys: a saga's is its queued call's; those of the calls that go on with its compensation end in `~undo`, `~undo2` ... Pure. */
import { createHash } from 'node:crypto'

const LONGEST = 150
const UNDO = /~undo\d*$/

/** The saga that a queued call works for. */
export function sagaOf(callId: string): string {
  return callId.replace(UNDO, '')
}

/** Whether a queued call is there to compensate, and for nothing else. */
export function isUndo(callId: string): boolean {
  return UNDO.test(callId)
}

/** The next call to go on with a saga's compensation, after the one that did so far. */
export function nextUndo(saga: string, carrier: string | undefined): string {
  const [, number = ''] = /~undo(\d*)$/.exec(carrier ?? '') ?? []
  return carrier === undefined ? `${saga}~undo` : `${saga}~undo${Number(number || 1) + 1}`
}

/** The idempotency key of a step. A very long id stands there by its digest: keys have at most 256 bytes. */
export function keyOf(saga: string, step: string, what: 'do' | 'undo'): string {
  const name = Buffer.byteLength(saga) > LONGEST ? createHash('sha256').update(saga).digest('hex') : saga
  return `${name}/${step}/${what}`
}
