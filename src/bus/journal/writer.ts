/**
 * Writer: an owner's end of a journal.
 * J1. A position is stored once, by whoever is first ("expected last sequence 0" of a subject of its own), on one server and on a cluster.
 *     Another's message at our next position means that we are fenced for good.
 * J2. One message is under way at a time, so there are no gaps; it is repeated, identically, until it is known what has come of it. Events
 *     that come meanwhile go together in the next one, in order.
 * J3. A take-over that displaced an owner stays for `fenceMs`, whatever is trimmed or removed: a fence must stand where its owner comes by.
 * J4. An owner that has shown for half as long no sign of being one looks for its last message, before it appends and, should it have been
 *     asleep between the two, after: it is never trimmed, so if it is gone, so is the fence.
 */
import { randomBytes } from 'node:crypto'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { pause } from '../../pause.ts'
import { isCode, type JetStream } from '../jetstream.ts'
import { encodeResult } from '../wire.ts'
import type { Journal, JournalKind, Position } from './contract.ts'
import { EVENT_BYTES, encodeMessage, endSubject, MESSAGE_BYTES, type Place, subjectOf } from './message.ts'
import { JOURNAL, type JournalStream, type StoredJournalMessage } from './stream.ts'

/** What a writer needs of its bus. */
export interface WriterDeps {
  readonly js: JetStream
  readonly stream: JournalStream
  /** The bus's id. */
  readonly by: string
  /** Bytes that a message may take. */
  readonly maxPayload: () => number
  readonly log: Log
  /** J3, J4. */
  readonly fenceMs: number
}

/** How long a message is repeated before its position is looked at. */
const TRY_MS = 5_000
const AGAIN_MS = 100

/** How long an event waits for company that has no hurry. */
const SOON_MS = 20

/** What is tried for so long is said in the log, and again after as long. */
const NOTICE_MS = 10_000

interface Waiting {
  data: Uint8Array
  resolve(at: Position): void
  reject(error: unknown): void
}

export class Writer<E> implements Journal<E> {
  readonly cage: string
  readonly kind: JournalKind
  readonly name: string
  readonly #deps: WriterDeps
  readonly #onEnd: () => void
  readonly #id = randomBytes(9).toString('base64url')
  #next: Position = 1
  /** Of the message before the next one, in the stream; 0 if there is none. */
  #seq = 0
  #ownedAt = moment()
  #waiting: Waiting[] = []
  #underWay: Waiting[] = []
  #running: Promise<void> | undefined
  /** Some of the waiting events are to be sent as soon as can be. */
  #isUrgent = false
  #soon: NodeJS.Timeout | undefined
  /** Take-overs that are to stay (J3). */
  #fences: Fence[] = []
  #ended: CageError | undefined

  constructor({ cage, kind, name }: Place, deps: WriterDeps, onEnd: () => void) {
    this.cage = cage
    this.kind = kind
    this.name = name
    this.#deps = deps
    this.#onEnd = onEnd
  }

  get fenced(): boolean {
    return this.#ended?.code === 'FENCED'
  }

  append(event: E, soon = false): Promise<Position> {
    return new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended
      const data = encodeResult(event, 'envelope')
      if (data.length > this.#room)
        throw new CageError('PAYLOAD_TOO_LARGE', `an event of ${data.length} bytes is too large for a message of the bus`)
      this.#waiting.push({ data, resolve, reject })
      if (soon) this.#soon ??= setTimeout(() => this.#send(), SOON_MS)
      else this.#send()
    })
  }

  async trim(before: Position): Promise<void> {
    const { stream, log } = this.#deps
    const to = Math.min(before, this.#next - 1, this.#fence ?? Number.POSITIVE_INFINITY)
    if (this.#ended || to <= 1) return
    try {
      const message = await stream.get(this, to)
      if (message) await stream.purge(subjectOf(this, '*'), message.seq)
    } catch (error) {
      log.debug({ journal: this.name, err: error }, 'a journal could not be trimmed, the next time will do') // best effort
    }
  }

  async remove(): Promise<void> {
    while (this.#running !== undefined) await this.#running
    if (this.#ended) throw this.#ended
    const fence = this.#fence
    this.#end(new CageError('CANCELLED', `the journal ${this.name} was removed`))
    if (this.#seq === 0) return
    const { js, stream } = this.#deps
    const filter = subjectOf(this, '*')
    if (fence === undefined) return stream.purge(filter, this.#seq + 1) // nothing that came after ours
    const mark = endSubject(this, this.#next - 1, Date.now())
    await js.publish(mark, new Uint8Array(0), { expectedLast: 0, deadline: Date.now() + TRY_MS, patient: true }).catch((error: unknown) => {
      if (!isCode(error, 'CONFLICT')) throw error // it is our own
    })
    const first = await stream.get(this, fence)
    if (first) await stream.purge(filter, first.seq)
  }

  close(): void {
    this.#end(new CageError('CANCELLED', `the journal ${this.name} was closed`))
  }

  /**
   * Takes the journal over at so many positions at once; resolves with the sequences of those that are ours, undefined for each where another's
   * message is. Sent in order, so the first that is stored stops the owner of before, and the last one is where we go on.
   */
  async claim(from: Position, width: number): Promise<(number | undefined)[]> {
    const begun = moment()
    const seqs = await Promise.all(Array.from({ length: width }, (_, i) => this.#publish(from + i, [])))
    for (const [i, seq] of seqs.entries()) {
      if (seq === undefined) continue
      this.#ownedAt = begun
      this.#next = from + i + 1
      this.#seq = seq
    }
    return seqs
  }

  /** What the journal held when it was taken over: its fences stay (J3). */
  inherit(messages: readonly StoredJournalMessage[]): void {
    const takeOvers = messages.filter(({ events }) => events.length === 0)
    this.#fences = [...takeOvers, { at: this.#next - 1, time: Date.now() }].map(({ at, time }) => ({ at, time }))
  }

  /** The lowest position that must stay. At the first one nobody was displaced. */
  get #fence(): Position | undefined {
    const now = Date.now()
    this.#fences = this.#fences.filter(({ at, time }) => at > 1 && time + this.#deps.fenceMs > now)
    return this.#fences[0]?.at
  }

  /** Bytes that the events of a message may take. */
  get #room(): number {
    return this.#deps.maxPayload() - MESSAGE_BYTES - EVENT_BYTES
  }

  #send(): void {
    this.#isUrgent = true
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    await Promise.resolve() // what is appended in the same turn goes together
    while (!this.#ended && this.#isUrgent && this.#waiting.length > 0) {
      const batch = this.#take()
      this.#underWay = batch
      try {
        const at = await this.#store(batch.map(({ data }) => data))
        for (const { resolve } of batch) resolve(at)
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#underWay = []
    this.#running = undefined
  }

  /** As many of the waiting events as fit into a message. */
  #take(): Waiting[] {
    clearTimeout(this.#soon)
    this.#soon = undefined
    let bytes = 0
    const end = this.#waiting.findIndex(({ data }) => {
      bytes += data.length + EVENT_BYTES
      return bytes > this.#room + EVENT_BYTES
    })
    const batch = this.#waiting.splice(0, end < 0 ? this.#waiting.length : Math.max(1, end))
    this.#isUrgent = this.#waiting.length > 0
    return batch
  }

  async #store(events: Uint8Array[]): Promise<Position> {
    const at = this.#next
    if (this.#isLate) await this.#check() // J4
    const begun = moment()
    const seq = await this.#publish(at, events)
    if (seq === undefined) throw this.#fenceOff()
    if (this.#isLate) {
      try {
        await this.#check()
      } catch (error) {
        if (this.fenced) await this.#deps.js.delete(JOURNAL, seq)
        throw error
      }
    }
    this.#ownedAt = begun
    this.#next = at + 1
    this.#seq = seq
    return at
  }

  /** Publishes until it is known what came of it: the message's sequence, or undefined if another's is there (J1, J2). */
  async #publish(at: Position, events: Uint8Array[]): Promise<number | undefined> {
    const { js, stream, by } = this.#deps
    const data = encodeMessage({ by, writer: this.#id, events })
    let noticeAt = Date.now() + NOTICE_MS
    for (let unclear = false; ; await pause(AGAIN_MS)) {
      if (this.#ended) throw this.#ended
      try {
        await stream.open()
        const options = { msgId: `${this.#id}.${at}`, expectedLast: 0, deadline: Date.now() + TRY_MS, patient: true }
        return (await js.publish(subjectOf(this, at), data, options)).seq // a duplicate is ours: so is the message id
      } catch (error) {
        if (!unclear && this.#isFinal(error)) throw error
        const repeated = error instanceof CageError && (error.details as { repeated?: boolean } | undefined)?.repeated === true
        if (isCode(error, 'CONFLICT') && !unclear && !repeated) return undefined
        unclear ||= repeated || isCode(error, 'CONFLICT') || isCode(error, 'DEADLINE_EXCEEDED')
        if (isCode(error, 'UNAVAILABLE') && js.connected) stream.forget()
        if (Date.now() > noticeAt) {
          noticeAt = Date.now() + NOTICE_MS
          this.#deps.log.warn({ journal: this.name, err: error }, 'a journal cannot be written, it is tried again')
        }
      }
      const there = unclear ? await this.#look(at) : undefined
      if (there) return there.writer === this.#id ? there.seq : undefined
    }
  }

  /** What will not go away by waiting, and says that nothing was stored. */
  #isFinal(error: unknown): boolean {
    const { js, stream } = this.#deps
    if (!(error instanceof CageError) || isCode(error, 'PAYLOAD_TOO_LARGE')) return true
    return isCode(error, 'UNAVAILABLE') && js.connected && !stream.known
  }

  /** What is at a position, if the bus can say. */
  async #look(at: Position): Promise<StoredJournalMessage | undefined> {
    try {
      return await this.#deps.stream.get(this, at)
    } catch {
      return undefined // the bus is away: the publication is repeated, which tells as well
    }
  }

  get #isLate(): boolean {
    return this.#next > 1 && elapsedMs(this.#ownedAt) > this.#deps.fenceMs / 2
  }

  /** J4. Resolves if the message before the next one is there; throws FENCED if not. */
  async #check(): Promise<void> {
    for (const begun = moment(); ; await pause(AGAIN_MS)) {
      if (this.#ended) throw this.#ended
      try {
        const message = await this.#deps.stream.get(this, this.#next - 1)
        if (message?.writer !== this.#id) throw this.#fenceOff()
        this.#ownedAt = begun
        return
      } catch (error) {
        if (this.#ended) throw error
        this.#deps.log.debug({ journal: this.name, err: error }, 'a journal cannot be read, it is tried again')
      }
    }
  }

  #fenceOff(): CageError {
    const error = new CageError('FENCED', `the journal ${this.name} of cage ${this.cage} has another owner`, { retryable: false })
    this.#end(error)
    return error
  }

  #end(error: CageError): void {
    if (this.#ended) return
    this.#ended = error
    clearTimeout(this.#soon)
    for (const { reject } of [...this.#underWay, ...this.#waiting.splice(0)]) reject(error)
    this.#onEnd()
  }
}

/** A position that must stay until `fenceMs` after its time, epoch ms (J3). */
interface Fence {
  at: Position
  time: number
}

/** Now, by two clocks: one may be set, the other stands still while the machine sleeps. */
interface Moment {
  wall: number
  monotonic: number
}

function moment(): Moment {
  return { wall: Date.now(), monotonic: performance.now() }
}

function elapsedMs({ wall, monotonic }: Moment): number {
  return Math.max(Date.now() - wall, performance.now() - monotonic)
}
