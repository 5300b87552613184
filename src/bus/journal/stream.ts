/** The stream of all journals: made when it is first needed, listed, read by position, and purged. */
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { isCode, type JetStream, NS } from '../jetstream.ts'
import type { JournalKind, Position } from './contract.ts'
import { decodeMessage, filterOf, type JournalMessage, type Place, subjectOf, type Tail, tailsOf } from './message.ts'

export const JOURNAL = 'JOURNAL'

/** A message with its place in the stream. */
export interface StoredJournalMessage extends JournalMessage {
  at: Position
  seq: number
  /** Epoch ms, by the server's clock. */
  time: number
}

/** Only what a connection repeats within it is dropped by the server itself; whatever comes later is refused by its position. */
const DUPLICATE_WINDOW_MS = 30_000

/** How long one waits for a bus that is away. */
const PATIENCE_MS = 30_000
const AGAIN_MS = 100

/** How many messages are read at once: more than can be missing between two. */
const BATCH = 64

/** How many positions a take-over claims at once, at most. */
export const MAX_CLAIMS: number = BATCH / 2

export class JournalStream {
  /** It was there once: from then on its absence is waited for. */
  known = false
  readonly #js: JetStream
  readonly #replicas: number | undefined
  #opening: Promise<void> | undefined

  constructor(js: JetStream, replicas: number | undefined) {
    this.#js = js
    this.#replicas = replicas
  }

  /** Makes it if need be. Rejects with UNAVAILABLE if the bus has no JetStream. */
  open(): Promise<void> {
    this.#opening ??= this.#make().catch((error: unknown) => {
      this.#opening = undefined
      if (isCode(error, 'UNAVAILABLE')) throw new CageError('UNAVAILABLE', `journals cannot be reached: ${error.message}`, { cause: error })
      throw error
    })
    return this.#opening
  }

  /** Whether it is there, without making it. */
  async exists(): Promise<boolean> {
    return this.known || (await this.#js.streamInfo(JOURNAL)) !== undefined
  }

  /** Of this stream: when it was made. */
  async identity(): Promise<string> {
    await this.open()
    const { created = '' } = (await this.#js.streamInfo(JOURNAL)) ?? {}
    return Date.parse(created).toString(36)
  }

  /** Somebody has deleted it: it is made anew at the next use. */
  forget(): void {
    this.#opening = undefined
  }

  /** The journals of a cage, or of all (`*`). */
  list(kind: JournalKind, cage: string): Promise<Tail[]> {
    return this.#list(`${filterOf(kind, cage)}>`)
  }

  /** What there is of one journal. */
  async tail(place: Place): Promise<Tail> {
    const [tail] = await this.#list(subjectOf(place, '>'))
    return tail ?? { ...place, first: 0, last: 0, ends: new Map() }
  }

  async get(place: Place, at: Position): Promise<StoredJournalMessage | undefined> {
    const message = await this.#js.get(JOURNAL, { last_by_subj: subjectOf(place, at) }, Date.now() + PATIENCE_MS, true)
    return message && { ...decodeMessage(message.data), at, seq: message.seq, time: message.time }
  }

  /**
   * All messages up to a position, in order. Where a take-over was cut off in the middle of its claims a few positions may be missing. What lies
   * lower and was stored later was left by an owner that had been asleep.
   */
  async upTo(place: Place, last: Position): Promise<StoredJournalMessage[]> {
    const found: StoredJournalMessage[] = []
    for (let high = last; high > 0; high -= BATCH) {
      const positions = Array.from({ length: Math.min(BATCH, high) }, (_, i) => high - i)
      const batch = (await Promise.all(positions.map((at) => this.get(place, at)))).filter((message) => message !== undefined)
      if (batch.length === 0) break
      for (const message of batch) if (message.seq < (found.at(-1)?.seq ?? Number.POSITIVE_INFINITY)) found.push(message)
    }
    return found.reverse()
  }

  /** Deletes what a filter finds before a sequence. */
  async purge(filter: string, seq: number): Promise<void> {
    await patiently(() => this.#js.api(`STREAM.PURGE.${JOURNAL}`, { filter, seq }))
  }

  async #list(filter: string): Promise<Tail[]> {
    const { subjects } = await patiently(() => this.#js.subjects(JOURNAL, filter))
    return tailsOf(subjects)
  }

  async #make(): Promise<void> {
    await this.#js.ensureStream({
      ...{ name: JOURNAL, subjects: ['journal.>'], retention: 'limits', discard: 'new' },
      duplicate_window: DUPLICATE_WINDOW_MS * NS,
      ...(this.#replicas === undefined ? {} : { num_replicas: this.#replicas }),
    })
    this.known = true
  }
}

/** What it resolves with, once the bus is there to ask. */
async function patiently<T>(ask: () => Promise<T>): Promise<T> {
  for (const giveUpAt = Date.now() + PATIENCE_MS; ; await pause(AGAIN_MS)) {
    try {
      return await ask()
    } catch (error) {
      const away = isCode(error, 'UNAVAILABLE') || isCode(error, 'DEADLINE_EXCEEDED')
      if (!away || Date.now() > giveUpAt) throw error
    }
  }
}
