/**
 * History: what has ended, kept for people to look at, in the stream HISTORY.
 * One record is at `history.<kind>.<cage>.<id>`; many at once are a message at `history.<kind>.<cage>.batch.<random>`.
 * Y1. Of an id the first record stays.
 * Y2. A reading ends at what there was when it began, and never because an answer was slow.
 */
import { randomBytes } from 'node:crypto'
import { CageError } from '../../errors.ts'
import { isCode, type JetStream, NS, type StoredMessage } from '../jetstream.ts'
import { tokenOf } from '../queue/message.ts'
import { decodeResult, encodeResult } from '../wire.ts'
import type { HistoryFilter, JournalKind } from './contract.ts'
import { EVENT_BYTES, MESSAGE_BYTES } from './message.ts'

const HISTORY = 'HISTORY'
const KEPT_MS = 30 * 86_400_000

/** Bytes of the stream: the first that the server has room for. The oldest records give way. */
const SIZES = [2 ** 30, 2 ** 27, 2 ** 24] as const

const WRITE_MS = 30_000

/** How many messages are read at once. */
const BATCH = 64

export class History {
  readonly #js: JetStream
  readonly #replicas: number | undefined
  readonly #maxPayload: () => number
  #opening: Promise<void> | undefined

  constructor(js: JetStream, replicas: number | undefined, maxPayload: () => number) {
    this.#js = js
    this.#replicas = replicas
    this.#maxPayload = maxPayload
  }

  /** See `Journals.keep` (Y1). */
  async keep(cage: string, kind: JournalKind, id: string, record: unknown): Promise<void> {
    try {
      await this.#publish(subjectOf(cage, kind, id), encodeResult(record, 'envelope'), { expectedLast: 0 })
    } catch (error) {
      if (!isCode(error, 'CONFLICT')) throw error
    }
  }

  /** See `Journals.keepAll`. As many messages as it takes. */
  async keepAll(cage: string, kind: JournalKind, records: readonly Uint8Array[]): Promise<void> {
    const room = this.#maxPayload() - MESSAGE_BYTES
    const batches: Uint8Array[][] = []
    let left = 0
    for (const data of records) {
      if (data.length + EVENT_BYTES > left) {
        batches.push([])
        left = room
      }
      batches.at(-1)?.push(data)
      left -= data.length + EVENT_BYTES
    }
    for (const batch of batches) {
      const id = randomBytes(9).toString('base64url')
      await this.#publish(`history.${kind}.${cage}.batch.${id}`, encodeResult(batch, 'envelope'), { msgId: id })
    }
  }

  /** See `Journals.kept`. */
  async kept(cage: string, kind: JournalKind, id: string): Promise<unknown> {
    await this.#open()
    const message = await this.#js.get(HISTORY, { last_by_subj: subjectOf(cage, kind, id) })
    return message && decodeResult(message.data)
  }

  /** See `Journals.history` (Y2). By sequence: to look for one subject after the other is slow where there are many. */
  async *read({ cage, kind, since }: HistoryFilter): AsyncGenerator<unknown> {
    await this.#open()
    const state = (await this.#js.streamInfo(HISTORY))?.state
    const last = state?.last_seq ?? 0
    const first = since === undefined ? (state?.first_seq ?? 1) : await this.#js.firstSince(HISTORY, since, last)
    for (let at = first; at <= last; at += BATCH) {
      const seqs = Array.from({ length: Math.min(BATCH, last + 1 - at) }, (_, i) => at + i)
      for (const message of await Promise.all(seqs.map((seq) => this.#js.get(HISTORY, { seq })))) {
        if (!message) continue // it has just become too old
        const [, itsKind, itsCage] = message.subject.split('.')
        if ((kind ?? itsKind) === itsKind && (cage ?? itsCage) === itsCage) yield* recordsOf(message)
      }
    }
  }

  async #publish(subject: string, data: Uint8Array, options: { msgId?: string; expectedLast?: number }): Promise<void> {
    const deadline = Date.now() + WRITE_MS
    const limit = this.#maxPayload() - MESSAGE_BYTES
    if (data.length > limit)
      throw new CageError('PAYLOAD_TOO_LARGE', `a record of ${data.length} bytes is too large for a message of the bus`)
    await this.#open()
    await this.#js.publish(subject, data, { ...options, deadline, patient: true })
  }

  #open(): Promise<void> {
    this.#opening ??= this.#make().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #make(): Promise<void> {
    const there = (await this.#js.streamInfo(HISTORY))?.config.max_bytes
    const sizes = there === undefined ? SIZES : [there]
    for (const [i, bytes] of sizes.entries()) {
      try {
        await this.#js.ensureStream({
          ...{ name: HISTORY, subjects: ['history.>'], retention: 'limits', discard: 'old', max_age: KEPT_MS * NS, max_bytes: bytes },
          ...(this.#replicas === undefined ? {} : { num_replicas: this.#replicas }),
        })
        return
      } catch (error) {
        if (!isCode(error, 'OVERLOADED') || i === sizes.length - 1) throw error // the server has not so much room
      }
    }
  }
}

function subjectOf(cage: string, kind: JournalKind, id: string): string {
  return `history.${kind}.${cage}.${tokenOf(id)}`
}

function recordsOf({ subject, data }: StoredMessage): unknown[] {
  const value = decodeResult(data)
  return subject.split('.').length === 4 ? [value] : (value as Uint8Array[]).map(decodeResult) // a batch, as keepAll packs it
}
