/**
 * Journals: the create-once journals of coordinators and sagas (docs/decisions/015-journal.md). See contract.ts.
 * K1. A take-over is a message at the next position. Once it is stored, its owner of before can store nothing any more, and what is read
 *     then is all that there is.
 * K2. Messages are listed by their subjects and read by their positions: neither needs an index, and a wildcard is never searched for.
 * K3. A journal that was removed while its fence must stay is marked as ended; whoever lists journals purges it once the mark is `fenceMs` old.
 */
import type { Log } from '../../log.ts'
import type { JetStream } from '../jetstream.ts'
import { decodeResult, encodeResult } from '../wire.ts'
import type { Entry, HistoryFilter, Journal, JournalInfo, JournalKind, Journals, Position } from './contract.ts'
import { History } from './history.ts'
import { endSubject, isEmpty, type Place, subjectOf, type Tail } from './message.ts'
import { JOURNAL, JournalStream, MAX_CLAIMS, type StoredJournalMessage } from './stream.ts'
import { Writer, type WriterDeps } from './writer.ts'

/** What journals need of their bus. */
export interface JournalsDeps {
  readonly js: JetStream
  /** The bus's id. */
  readonly id: string
  readonly maxPayload: () => number
  readonly log: Log
  readonly replicas: number | undefined
  /** See `Bus.isAlive`. */
  readonly isAlive: (id: string, withinMs: number) => Promise<boolean>
  /** How long the fences of displaced owners stay. */
  readonly fenceMs?: number | undefined
}

const FENCE_MS = 3_600_000

/** How many ended journals are purged by one listing. */
const PURGES = 32

export class BusJournals implements Journals {
  readonly #deps: JournalsDeps
  readonly #stream: JournalStream
  readonly #history: History
  readonly #fenceMs: number
  readonly #open = new Set<Writer<never>>()

  constructor(deps: JournalsDeps) {
    this.#deps = deps
    this.#stream = new JournalStream(deps.js, deps.replicas)
    this.#history = new History(deps.js, deps.replicas, deps.maxPayload)
    this.#fenceMs = deps.fenceMs ?? FENCE_MS
  }

  open<E>(cage: string, kind: JournalKind, name: string): Journal<E> {
    return this.#writer<E>({ cage, kind, name })
  }

  async takeOver<E>(cage: string, kind: JournalKind, name: string): Promise<{ journal: Journal<E>; entries: Entry<E>[] }> {
    const place = { cage, kind, name }
    const journal = this.#writer<E>(place)
    try {
      await this.#stream.open()
      const { at, ends } = await this.#claim(place, journal)
      const messages = await this.#stream.upTo(place, at - 1) // K1
      journal.inherit(messages)
      const isGone = !(await this.#stream.get(place, at - 1)) // its owner was about to remove it
      return { journal, entries: isGone ? [] : entriesOf(messages, ends) }
    } catch (error) {
      journal.close()
      throw error
    }
  }

  async read<E>(cage: string, kind: JournalKind, name: string): Promise<Entry<E>[]> {
    await this.#stream.open()
    const place = { cage, kind, name }
    const { last, ends } = await this.#stream.tail(place)
    return entriesOf(await this.#stream.upTo(place, last), ends)
  }

  exist(): Promise<boolean> {
    return this.#stream.exists()
  }

  identity(): Promise<string> {
    return this.#stream.identity()
  }

  async list(kind: JournalKind, cage = '*'): Promise<JournalInfo[]> {
    if (!(await this.#stream.exists())) return []
    await this.#stream.open()
    const tails = await this.#stream.list(kind, cage)
    await this.#purgeEnded(tails)
    return tails.filter((tail) => !isEmpty(tail)).map(({ cage, kind, name, first, last }) => ({ cage, kind, name, first, last }))
  }

  async isOwned({ cage, kind, name }: JournalInfo, withinMs: number): Promise<boolean> {
    const place = { cage, kind, name }
    const tail = await this.#stream.tail(place)
    const message = isEmpty(tail) ? undefined : await this.#stream.get(place, tail.last)
    return message !== undefined && (await this.#deps.isAlive(message.by, withinMs))
  }

  keep(cage: string, kind: JournalKind, id: string, record: unknown): Promise<void> {
    return this.#history.keep(cage, kind, id, record)
  }

  pack(record: unknown): Uint8Array {
    return encodeResult(record, 'envelope')
  }

  keepAll(cage: string, kind: JournalKind, records: readonly Uint8Array[]): Promise<void> {
    return this.#history.keepAll(cage, kind, records)
  }

  kept(cage: string, kind: JournalKind, id: string): Promise<unknown> {
    return this.#history.kept(cage, kind, id)
  }

  history(filter: HistoryFilter = {}): AsyncIterable<unknown> {
    return this.#history.read(filter)
  }

  /** Closes every journal that is ours. */
  close(): void {
    for (const journal of [...this.#open]) journal.close()
  }

  #writer<E>(place: Place): Writer<E> {
    const { js, id: by, maxPayload, log } = this.#deps
    const deps: WriterDeps = { js, stream: this.#stream, by, maxPayload, log, fenceMs: this.#fenceMs }
    const writer = new Writer<E>(place, deps, () => this.#open.delete(writer as Writer<never>))
    this.#open.add(writer as Writer<never>) // for `close`, which asks for no events
    return writer
  }

  /** K1. The position of our take-over. An owner that goes on meanwhile is overtaken by more and more claims at once. */
  async #claim<E>(place: Place, journal: Writer<E>): Promise<{ at: Position; ends: Tail['ends'] }> {
    for (let width = 1; ; ) {
      const { last } = await this.#stream.tail(place)
      const claims = await journal.claim(last + 1, width)
      const seq = claims.findLast((claim) => claim !== undefined)
      if (seq === undefined) {
        width = Math.min(width * 4, MAX_CLAIMS)
        continue
      }
      const at = last + 1 + claims.lastIndexOf(seq)
      const tail = await this.#stream.tail(place)
      const next = tail.last <= at ? undefined : await this.#stream.get(place, at + 1)
      if (tail.last <= at || (next && next.seq > seq)) return { at, ends: tail.ends } // or somebody has taken it over from us
      // the first listing was old: what stood there was trimmed long ago
      await Promise.all(claims.map((claim) => claim !== undefined && this.#deps.js.delete(JOURNAL, claim)))
    }
  }

  /** K3. */
  async #purgeEnded(tails: readonly Tail[]): Promise<void> {
    const isOld = (time: number): boolean => time + this.#fenceMs < Date.now()
    const marks = tails.flatMap((tail) => Array.from(tail.ends, ([last, time]) => ({ tail, last, time })))
    await Promise.all(
      marks
        .filter(({ time }) => isOld(time))
        .slice(0, PURGES)
        .map(async ({ tail, last, time }) => {
          try {
            const mark = await this.#deps.js.get(JOURNAL, { last_by_subj: endSubject(tail, last, time) })
            if (mark && isOld(mark.time)) await this.#stream.purge(subjectOf(tail, '>'), mark.seq + 1) // nothing that came after it
          } catch (error) {
            this.#deps.log.debug({ journal: tail.name, err: error }, 'an ended journal could not be purged, the next listing will do')
          }
        }),
    )
  }
}

/** What messages hold since the last end. */
function entriesOf<E>(messages: readonly StoredJournalMessage[], ends: Tail['ends']): Entry<E>[] {
  const end = Math.max(0, ...ends.keys())
  const live = messages.filter(({ at }) => at > end)
  return live.flatMap(({ at, events }) => events.map((event) => ({ at, event: decodeResult(event) as E }))) // as it was appended
}
