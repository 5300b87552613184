/**
 * A journal's messages ↔ messages in the stream JOURNAL. Pure.
 * Message n is at `journal.<kind>.<cage>.<name>.<n>`. `journal.<kind>.<cage>.<name>.end.<n>.<epoch ms>` marks a journal that was removed with n as
 * its last message: so a listing of subjects tells which journals there are, and reads none.
 */
import { tokenOf } from '../queue/message.ts'
import { decodeResult, encodeResult } from '../wire.ts'
import type { JournalInfo, JournalKind, Position } from './contract.ts'

/** Which journal. */
export interface Place {
  readonly cage: string
  readonly kind: JournalKind
  readonly name: string
}

/** A message without events is a take-over. */
export interface JournalMessage {
  /** Id of the writer's bus. */
  by: string
  /** Random: tells the owners of a journal apart. */
  writer: string
  /** Packed one by one: each is as large as it was found to be. */
  events: readonly Uint8Array[]
}

/** What a listing tells of a journal. */
export interface Tail extends JournalInfo {
  /** Marks of its ends: the last position and the time, epoch ms, of each. */
  readonly ends: ReadonlyMap<Position, number>
}

/** What a message takes besides its events, at most; each event takes EVENT_BYTES more. */
export const MESSAGE_BYTES = 1_024
export const EVENT_BYTES = 5

export function subjectOf(place: Place, last: Position | '*' | '>'): string {
  return `${filterOf(place.kind, place.cage)}${tokenOf(place.name)}.${last}`
}

/** The mark of an end, by position and time. */
export function endSubject(place: Place, last: Position, now: number): string {
  return `${subjectOf(place, '*').slice(0, -1)}end.${last}.${now}`
}

/** What all journals of a kind, or those of one cage, begin with. */
export function filterOf(kind: JournalKind, cage: string): string {
  return `journal.${kind}.${cage}.`
}

export function encodeMessage({ by, writer, events }: JournalMessage): Uint8Array {
  return encodeResult({ by, writer, events }, 'envelope')
}

export function decodeMessage(data: Uint8Array): JournalMessage {
  return decodeResult(data) as JournalMessage // only the nodes' journals write there
}

/** The journals that a listing of subjects is about. */
export function tailsOf(subjects: Iterable<string>): Tail[] {
  const found = new Map<string, { place: Place; positions: Set<Position>; ends: Map<Position, number> }>()
  for (const subject of subjects) {
    const [, kind = '', cage = '', token = '', n = '', endsAt, ms] = subject.split('.')
    const id = `${kind}.${cage}.${token}`
    let journal = found.get(id)
    if (!journal) {
      const place = { kind: kind as JournalKind, cage, name: decodeURIComponent(token) } // the listing was asked for by kind
      journal = { place, positions: new Set(), ends: new Map() }
      found.set(id, journal)
    }
    if (n === 'end') journal.ends.set(Number(endsAt), Number(ms))
    else journal.positions.add(Number(n))
  }
  return Array.from(found.values(), ({ place, positions, ends }) => tailOf(place, positions, ends))
}

function tailOf(place: Place, positions: ReadonlySet<Position>, ends: ReadonlyMap<Position, number>): Tail {
  let last = 0
  for (const position of positions) last = Math.max(last, position)
  let first = last
  while (positions.has(first - 1) && !ends.has(first - 1)) first-- // what lies before a gap or an end is no part of it
  return { ...place, first, last, ends }
}

/** Whether a journal holds nothing: it was removed, and nobody has taken it over since. */
export function isEmpty({ last, ends }: Tail): boolean {
  return last === 0 || ends.has(last)
}
