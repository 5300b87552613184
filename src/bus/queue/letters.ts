/**
 * Letters: dead letters found, retried and dropped. How one is written and read is dead.ts's business.
 * A1. A listing ends at what there was when it began, and never because an answer was slow.
 * A2. A call that is retried is live before its message is there: whoever takes that at once must not find it dead.
 */
import { CageError } from '../../errors.ts'
import { headerOf, type JetStream, type StoredMessage } from '../jetstream.ts'
import { callOf, type DeadLetter, readLetter } from './dead.ts'
import type { CallRecord, Ledger } from './ledger.ts'
import { decodeCall, encodeCall, messageId, type QueuedCall, STREAMS, subjectOf } from './message.ts'
import type { Streams } from './streams.ts'

/** Which dead letters. */
export interface DeadFilter {
  queue?: string | undefined
  /** `cage`, `cage.module` or `cage.module.method` */
  target?: string | undefined
  /** A part of code or message, in any case. */
  error?: string | undefined
  /** Epoch ms. */
  since?: number | undefined
  until?: number | undefined
}

const WRITE_MS = 10_000

/** Of a message that is not stored yet. */
const NOWHERE = Number.MAX_SAFE_INTEGER

export class Letters {
  readonly #js: JetStream
  readonly #streams: Streams
  readonly #ledger: Ledger

  constructor(js: JetStream, streams: Streams, ledger: Ledger) {
    this.#js = js
    this.#streams = streams
    this.#ledger = ledger
  }

  /** Oldest first. A1. One question a letter: slower than a consumer, and never wrong about where the end is. */
  async *list({ queue, target, error, since, until = Number.POSITIVE_INFINITY }: DeadFilter): AsyncGenerator<DeadLetter> {
    const subject = subjectFor(queue, target)
    const last = (await this.#js.streamInfo(STREAMS.dead))?.state.last_seq ?? 0
    for (let seq = since === undefined ? 1 : await this.#firstSince(since, last); seq <= last; ) {
      const message = await this.#js.get(STREAMS.dead, { seq, next_by_subj: subject })
      if (!message || message.seq > last || message.time > until) return
      seq = message.seq + 1
      const text = `${headerOf(message.headers, 'Error-Code')} ${headerOf(message.headers, 'Error')}`.toLowerCase()
      if (error === undefined || text.includes(error.toLowerCase())) yield readLetter(message)
    }
  }

  async count({ queue, target }: Pick<DeadFilter, 'queue' | 'target'>): Promise<number> {
    return countOf(this.#js, STREAMS.dead, subjectFor(queue, target))
  }

  async get(seq: number): Promise<DeadLetter> {
    return readLetter(await this.#message(seq))
  }

  async retry(seq: number, args: unknown[] | undefined): Promise<string> {
    const message = await this.#message(seq)
    const letter = readLetter(message)
    const { id, target } = letter
    const dead: QueuedCall = letter.args === undefined && args !== undefined ? emptyCall(message.subject) : callOf(message)
    const now = Date.now()
    const call = { ...dead, args: args ?? dead.args, id, moves: dead.moves + 1, attempts: 0, enqueuedAt: now, dueAt: undefined }
    const known = await this.#ledger.get(id)
    if (known && known.moves > dead.moves) {
      await this.#js.delete(STREAMS.dead, seq) // a retry before this one had come as far as that
      return id
    }
    const { queue, failures } = call
    const record: CallRecord = {
      ...{ id, queue, target, state: 'waiting', seq: NOWHERE, moves: dead.moves, attempts: 0, crashes: 0, reruns: 0 },
      ...{ enqueuedAt: now, changedAt: now, failures },
    }
    await this.#streams.queue(queue)
    await this.#ledger.put(record) // A2
    const { seq: stored } = await this.#publish(call, id).catch(async (error: unknown) => {
      if (known) await this.#ledger.put(known) // the letter is still there
      throw error
    })
    if ((await this.#ledger.get(id))?.seq === NOWHERE) await this.#ledger.put({ ...record, seq: stored, moves: call.moves })
    await this.#js.delete(STREAMS.dead, seq)
    return id
  }

  async drop(seq: number): Promise<boolean> {
    const message = await this.#js.get(STREAMS.dead, { seq })
    if (!message) return false
    const record = await this.#ledger.get(readLetter(message).id)
    if (record?.state === 'dead') await this.#ledger.put({ ...record, state: 'cancelled', changedAt: Date.now() }) // its id is free again
    return this.#js.delete(STREAMS.dead, seq)
  }

  #publish(call: QueuedCall, id: string): Promise<{ seq: number }> {
    const options = { msgId: messageId(id, call.moves), deadline: Date.now() + WRITE_MS }
    return this.#js.publish(subjectOf('queue', call), encodeCall(call), options)
  }

  async #message(seq: number): Promise<StoredMessage> {
    const message = await this.#js.get(STREAMS.dead, { seq })
    if (!message) throw new CageError('NOT_FOUND', `there is no dead letter ${seq}`)
    return message
  }

  /** From which sequence on letters are as young as that: their times grow with their sequences. */
  async #firstSince(since: number, last: number): Promise<number> {
    let low = 1
    for (let high = last + 1; low < high; ) {
      const middle = Math.floor((low + high) / 2)
      const message = await this.#js.get(STREAMS.dead, { seq: middle, next_by_subj: 'dead.>' })
      if (!message || message.time >= since) high = middle
      else low = message.seq + 1
    }
    return low
  }
}

/** How many messages a stream has of a subject. */
export async function countOf(js: JetStream, stream: string, subject: string): Promise<number> {
  const info = await js.streamInfo(stream, subject)
  return Object.values(info?.state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
}

function subjectFor(queue = '*', target?: string): string {
  const parts = target?.split('.') ?? []
  return ['dead', queue, ...parts, ...(parts.length < 3 ? ['>'] : [])].join('.')
}

function emptyCall(subject: string): QueuedCall {
  return decodeCall({ subject, data: new Uint8Array(0), time: 0, header: () => undefined })
}
