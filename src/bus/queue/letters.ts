/**
 * Letters: dead letters found, retried and dropped. How one is written and read is dead.ts's business.
 * A1. A listing ends at what there was when it began, and never because an answer was slow.
 * A2. A call that is retried is live before its message is there: whoever takes that at once must not find it dead.
 */
import { CageError } from '../../errors.ts'
import { headerOf, type JetStream, type StoredMessage } from '../jetstream.ts'
import type { DeadFilter, DeadLetter } from './contract.ts'
import { callOf, readLetter } from './dead.ts'
import { ANY_SEQ, type CallRecord, type Ledger } from './ledger.ts'
import { decodeCall, encodeCall, messageId, type QueuedCall, STREAMS, subjectOf } from './message.ts'
import type { Streams } from './streams.ts'

const WRITE_MS = 10_000

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
    for (let seq = since === undefined ? 1 : await this.#js.firstSince(STREAMS.dead, since, last); seq <= last; ) {
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
    const { id } = letter
    const dead: QueuedCall = letter.args === undefined && args !== undefined ? emptyCall(message.subject) : callOf(message)
    const call = { ...dead, args: args ?? dead.args, id, moves: dead.moves + 1, attempts: 0, enqueuedAt: Date.now(), dueAt: undefined }
    const known = await this.#ledger.get(id)
    if (known === undefined || known.moves <= dead.moves || known.seq === ANY_SEQ) await this.#enqueue(call, id, known)
    // else a retry before this one had come as far as that: only the letter is left
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

  async #enqueue(call: QueuedCall, id: string, known: CallRecord | undefined): Promise<void> {
    const { queue, cage, module, method, moves, failures } = call
    const now = Date.now()
    const record = { id, queue, target: `${cage}.${module}.${method}`, state: 'waiting', seq: ANY_SEQ, moves } as const
    const counts = { attempts: 0, crashes: 0, reruns: 0, enqueuedAt: now, changedAt: now }
    await this.#streams.queue(queue)
    await this.#ledger.put({ ...record, ...counts, failures }) // A2
    try {
      await this.#js.publish(subjectOf('queue', call), encodeCall(call), { msgId: messageId(id, moves), deadline: now + WRITE_MS })
    } catch (error) {
      if (known) await this.#ledger.put(known) // the letter is still there
      throw error
    }
  }

  async #message(seq: number): Promise<StoredMessage> {
    const message = await this.#js.get(STREAMS.dead, { seq })
    if (!message) throw new CageError('NOT_FOUND', `there is no dead letter ${seq}`)
    return message
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
