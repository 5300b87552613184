/**
 * JetStream's API over our own reply multiplexer: publish with acknowledgement, read, administer (NATS "JetStream wire API reference").
 * L1. A publication is repeated, identically and with the same `Nats-Msg-Id` if it has one, until the server has acknowledged it or the
 *     deadline has come. What is said of a repetition may be about our own first try: `repeated` tells. Once it has been sent, only
 *     DEADLINE_EXCEEDED tells that it was not acknowledged.
 * L2. What is created is read back and compared: servers before 2.12 drop settings that they do not know without a word.
 * L3. An error has a code of ours and the server's own number in `details.errCode`.
 * It is more than 300 lines because publishing, acknowledging and reading share their ways of asking again.
 */
import type { ConsumerInfo, Msg, StreamInfo } from 'nats'
import { CageError, type KnownCode } from '../errors.ts'
import { pause } from '../pause.ts'
import type { Caller } from './caller.ts'

/** What the server says of a stored message. */
export interface Stored {
  stream: string
  seq: number
  /** It was stored before, under the same message id. */
  duplicate: boolean
  /** It was sent more than once (L1). A refusal has it in its details. */
  repeated: boolean
}

/** A message as it lies in a stream. */
export interface StoredMessage {
  subject: string
  seq: number
  data: Uint8Array
  /** Header block as it was sent; empty if there was none. */
  headers: string
  /** Epoch ms by the server's clock. */
  time: number
}

/** Settings of a stream or consumer, as the API names them. */
export interface Wanted {
  [setting: string]: unknown
}

export interface PublishOptions {
  /** Makes the repetition harmless (L1), within the stream's `duplicate_window`. */
  msgId?: string | undefined
  /** Stored only if the subject's last message has this sequence; 0: only if there is none. CONFLICT otherwise. */
  expectedLast?: number | undefined
  headers?: Readonly<Record<string, string>> | undefined
  /** Epoch ms. */
  deadline: number
  /** A bus that is away, or has no stream yet, is waited for until the deadline. */
  patient?: boolean | undefined
}

/** Nanoseconds in a millisecond: the unit of all durations of the JetStream API. */
export const NS = 1_000_000

/** How long one try may take, ms: a server that has just restarted has lost what it was asked before. */
const TRY_MS = 2_000
const API_MS = 5_000

/** What a consumer that is to go on waits for: while there is no leader nobody answers, and nobody says so. */
export const LOOK_MS = 1_000
const AGAIN_MS = 100
const ACK = Buffer.from('+ACK')

/** Refusals of an acknowledgement after which its consumer is taken for gone: a server that starts up refuses for a while. */
const CONSUMER_IS_GONE = 20

/** The server's error numbers that mean something to us (nats-server, server/errors.json); others are INTERNAL. */
const CODE_OF: Readonly<Record<number, KnownCode>> = {
  10008: 'UNAVAILABLE', // JetStream system temporarily unavailable
  10014: 'NOT_FOUND', // consumer not found
  10023: 'OVERLOADED', // insufficient resources
  10037: 'NOT_FOUND', // no message found
  10039: 'UNAVAILABLE', // JetStream not enabled for account
  10047: 'OVERLOADED', // insufficient storage resources available
  10054: 'PAYLOAD_TOO_LARGE', // message size exceeds maximum allowed
  10058: 'CONFLICT', // stream name already in use with a different configuration
  10059: 'NOT_FOUND', // stream not found
  10071: 'CONFLICT', // wrong last sequence
  10076: 'UNAVAILABLE', // JetStream not enabled
  10077: 'OVERLOADED', // maximum messages, bytes, or messages per subject exceeded
  10100: 'CONFLICT', // filtered consumer not unique on workqueue stream
  10158: 'UNAVAILABLE', // duplicate message id is in process
  10163: 'UNAVAILABLE', // expected last sequence per subject temporarily unavailable
  10164: 'CONFLICT', // wrong last sequence, of a cluster from 2.11 on
}

/** Refusals for as long as the cluster is at work on another publication of the same: the next try is told what came of it. */
const IN_PROCESS: readonly unknown[] = [10158, 10163]

export class JetStream {
  readonly #caller: Caller

  constructor(caller: Caller) {
    this.#caller = caller
  }

  get connected(): boolean {
    return this.#caller.connected
  }

  /** Stores a message (L1). Rejects with OVERLOADED if the stream is full, UNAVAILABLE if there is no stream or no bus, DEADLINE_EXCEEDED. */
  async publish(subject: string, data: Uint8Array, options: PublishOptions): Promise<Stored> {
    const headers = headerBlock(options)
    for (let sent = false; ; ) {
      try {
        const msg = await this.#caller.request(subject, data, Math.min(options.deadline, Date.now() + TRY_MS), headers)
        const answer = JSON.parse(msg.string()) as Partial<Stored> & { error?: ApiError }
        if (answer.error) throw apiError(answer.error, subject, sent)
        return { stream: answer.stream ?? '', seq: answer.seq ?? 0, duplicate: answer.duplicate ?? false, repeated: sent }
      } catch (error) {
        const inProcess = IN_PROCESS.includes(errCodeOf(error))
        sent ||= inProcess || isCode(error, 'DEADLINE_EXCEEDED')
        const again = isCode(error, 'DEADLINE_EXCEEDED') || (isCode(error, 'UNAVAILABLE') && (sent || options.patient))
        if (!again) throw error
        if (Date.now() + AGAIN_MS >= options.deadline)
          // an earlier try may have been stored
          throw sent ? new CageError('DEADLINE_EXCEEDED', `${subject} did not answer in time`, { cause: error }) : error
        if (isCode(error, 'UNAVAILABLE')) await pause(AGAIN_MS)
      }
    }
  }

  /** One try to acknowledge a delivered message; resolves when the server has confirmed it. */
  ackOnce(subject: string): Promise<unknown> {
    return this.#caller.request(subject, ACK, Date.now() + TRY_MS)
  }

  /**
   * Acknowledges a delivered message; resolves when the server has confirmed it. Repeated like a publication (L1). If its consumer is gone the
   * message is deleted, which comes to the same in a work queue.
   */
  async ack(subject: string, { stream, seq }: Delivery, deadline: number): Promise<void> {
    for (let refusals = 0; ; ) {
      try {
        await this.#caller.request(subject, ACK, Math.min(deadline, Date.now() + TRY_MS))
        return
      } catch (error) {
        if (!(error instanceof CageError) || Date.now() + AGAIN_MS >= deadline) throw error
        if (error.code === 'UNAVAILABLE') await pause(AGAIN_MS)
        if (this.#caller.connected && error.code === 'UNAVAILABLE' && ++refusals >= CONSUMER_IS_GONE)
          return void (await this.delete(stream, seq))
      }
    }
  }

  /** Sends without an answer. */
  post(subject: string, text: string): void {
    this.#caller.send(subject, Buffer.from(text))
  }

  /** Acknowledges a message that was not delivered here, and waits for no answer (ADR-15: only its sequence counts). */
  postAck(stream: string, consumer: string, seq: number): void {
    this.post(`$JS.ACK.${stream}.${consumer}.1.${seq}.0.0.0`, '+ACK')
  }

  /** One request to `$JS.API.<verb>`; 5 s are its limit, and the deadline. */
  async api<T>(verb: string, body?: object, deadline: number = Number.POSITIVE_INFINITY): Promise<T> {
    const data = body === undefined ? new Uint8Array(0) : Buffer.from(JSON.stringify(body))
    const msg = await this.#caller.request(`$JS.API.${verb}`, data, Math.min(deadline, Date.now() + API_MS))
    const answer = JSON.parse(msg.string()) as T & { error?: ApiError }
    if (answer.error) throw apiError(answer.error, verb)
    return answer
  }

  /**
   * The message at a sequence, the last one of a subject, or the first one of a subject from a sequence on; undefined if there is none.
   * `patient`: a bus that is away or silent is asked again until the deadline (epoch ms).
   */
  async get(
    stream: string,
    query: { seq: number } | { last_by_subj: string } | { seq: number; next_by_subj: string },
    deadline?: number,
    patient: boolean = false,
  ): Promise<StoredMessage | undefined> {
    try {
      const { message } = await this.#read<{ message: RawMessage }>(`STREAM.MSG.GET.${stream}`, query, deadline, patient)
      return {
        subject: message.subject,
        seq: message.seq,
        data: Buffer.from(message.data ?? '', 'base64'),
        headers: Buffer.from(message.hdrs ?? '', 'base64').toString(),
        time: Date.parse(message.time),
      }
    } catch (error) {
      if (isCode(error, 'NOT_FOUND')) return undefined
      throw error
    }
  }

  /** The sequence from which on everything up to `last` was stored since a time (epoch ms). */
  async firstSince(stream: string, since: number, last: number): Promise<number> {
    let low = 1
    for (let high = last + 1; low < high; ) {
      const middle = Math.floor((low + high) / 2)
      const message = await this.get(stream, { seq: middle, next_by_subj: '>' })
      if (!message || message.time >= since) high = middle
      else low = message.seq + 1
    }
    return low
  }

  /** Every subject of a stream that a filter finds, and the stream's last sequence when they were first looked for. */
  async subjects(stream: string, filter: string, deadline?: number): Promise<{ subjects: string[]; lastSeq: number }> {
    const subjects: string[] = []
    let lastSeq = 0
    for (let total = 1; subjects.length < total; ) {
      const question = { subjects_filter: filter, offset: subjects.length }
      const page = await this.api<SubjectsPage>(`STREAM.INFO.${stream}`, question, deadline)
      if (subjects.length === 0) lastSeq = page.state.last_seq
      const found = Object.keys(page.state.subjects ?? {})
      subjects.push(...found)
      total = found.length === 0 ? 0 : page.total
    }
    return { subjects, lastSeq }
  }

  /** Deletes the message at a sequence; false if it is not there. */
  async delete(stream: string, seq: number): Promise<boolean> {
    try {
      await this.api(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true })
      return true
    } catch (error) {
      const errCode = errCodeOf(error)
      if (errCode === 10043 || errCode === 10057 || isCode(error, 'NOT_FOUND')) return false // "no message found" comes as one of these
      throw error
    }
  }

  async streamInfo(name: string, subjectsFilter?: string): Promise<StreamInfo | undefined> {
    return this.#found(
      this.api<StreamInfo>(
        `STREAM.INFO.${name}`,
        subjectsFilter === undefined ? undefined : { subjects_filter: subjectsFilter },
        Date.now() + TRY_MS,
      ),
    )
  }

  async consumerInfo(stream: string, name: string): Promise<ConsumerInfo | undefined> {
    return this.#found(this.api<ConsumerInfo>(`CONSUMER.INFO.${stream}.${name}`, undefined, Date.now() + LOOK_MS))
  }

  /** The stream with these settings: created, or changed where it has others (L2). */
  async ensureStream(config: Wanted & { name: string }): Promise<StreamInfo> {
    const wanted = { storage: 'file', ...config }
    let info = await this.streamInfo(config.name)
    if (info && differing(wanted, info.config).length > 0)
      info = await this.api<StreamInfo>(`STREAM.UPDATE.${config.name}`, { ...info.config, ...wanted })
    info ??= await this.api<StreamInfo>(`STREAM.CREATE.${config.name}`, wanted).catch(async (error: unknown) => {
      const other = await this.streamInfo(config.name) // another node was faster
      if (other && differing(wanted, other.config).length === 0) return other
      throw error
    })
    readBack(`stream ${config.name}`, wanted, info.config)
    return info
  }

  /** The durable consumer with these settings (L2). */
  async ensureConsumer(stream: string, config: Wanted & { durable_name: string }): Promise<ConsumerInfo> {
    const { durable_name: name } = config
    const known = await this.consumerInfo(stream, name)
    if (known && differing(config, known.config).length === 0) return known
    const info = await this.api<ConsumerInfo>(`CONSUMER.DURABLE.CREATE.${stream}.${name}`, { stream_name: stream, config })
    readBack(`consumer ${stream} ${name}`, config, info.config)
    return info
  }

  async #read<T>(verb: string, query: object, deadline: number | undefined, patient: boolean): Promise<T> {
    if (deadline === undefined || !patient) return this.api<T>(verb, query, deadline)
    for (;;) {
      try {
        return await this.api<T>(verb, query, Math.min(deadline, Date.now() + TRY_MS))
      } catch (error) {
        const again = isCode(error, 'DEADLINE_EXCEEDED') || isCode(error, 'UNAVAILABLE')
        if (!again || Date.now() + AGAIN_MS >= deadline) throw error
        if (isCode(error, 'UNAVAILABLE')) await pause(AGAIN_MS)
      }
    }
  }

  async #found<T>(asked: Promise<T>): Promise<T | undefined> {
    try {
      return await asked
    } catch (error) {
      if (isCode(error, 'NOT_FOUND')) return undefined
      throw error
    }
  }
}

interface ApiError {
  code: number
  err_code: number
  description: string
}

interface SubjectsPage {
  total: number
  state: { last_seq: number; subjects?: Record<string, number> | null }
}

interface RawMessage {
  subject: string
  seq: number
  data?: string
  hdrs?: string
  time: string
}

/** A header block, written at once: nats.js's own headers are canonicalised letter by letter. */
function headerBlock({ msgId, expectedLast, headers = {} }: PublishOptions): Uint8Array {
  let text = 'NATS/1.0\r\n'
  if (msgId !== undefined) text += `Nats-Msg-Id: ${msgId}\r\n`
  if (expectedLast !== undefined) text += `Nats-Expected-Last-Subject-Sequence: ${expectedLast}\r\n`
  for (const name in headers) text += `${name}: ${headers[name]?.replace(/[\r\n]+/g, ' ')}\r\n`
  return Buffer.from(`${text}\r\n`)
}

/** Whether an error is ours with this code. */
export function isCode(error: unknown, code: KnownCode): error is CageError {
  return error instanceof CageError && error.code === code
}

/** The server's own number of an error (L3). */
function errCodeOf(error: unknown): number | undefined {
  return error instanceof CageError ? (error.details as { errCode?: number } | undefined)?.errCode : undefined
}

/** A header of a stored message's block. */
export function headerOf(block: string, name: string): string | undefined {
  const line = block.split('\r\n').find((text) => text.toLowerCase().startsWith(`${name.toLowerCase()}:`))
  return line?.slice(name.length + 1).trim()
}

/** Where a delivered message came from: its ack subject tells (ADR-15). */
export interface Delivery {
  stream: string
  consumer: string
  /** How often it was delivered, from 1. */
  count: number
  seq: number
  /** Epoch ms: when it was stored, by the server's clock. */
  time: number
  /** How many more the consumer had then. */
  pending: number
}

/** Reads `$JS.ACK.<stream>.<consumer>.<count>.<seq>.<consumer seq>.<ns>.<pending>`, or its longer form with domain and account. */
export function deliveryOf(msg: Msg): Delivery {
  return ackPlaceOf(msg.reply ?? '')
}

/** The same for an ack subject by itself. */
export function ackPlaceOf(ackSubject: string): Delivery {
  const tokens = ackSubject.split('.')
  const at = tokens.length > 9 ? 4 : 2 // ADR-15: two more tokens at the front
  const time = Number(tokens[at + 5]?.slice(0, -6)) // nanoseconds to milliseconds
  return {
    stream: tokens[at] ?? '',
    consumer: tokens[at + 1] ?? '',
    count: Number(tokens[at + 2]),
    seq: Number(tokens[at + 3]),
    time,
    pending: Number(tokens[at + 6]),
  }
}

function apiError({ err_code: errCode, description }: ApiError, what: string, repeated = false): CageError {
  return new CageError(CODE_OF[errCode] ?? 'INTERNAL', `${what}: ${description}`, { details: { errCode, repeated } })
}

/** Settings that we want and the server does not have. */
function differing(wanted: object, actual: object): string[] {
  return Object.entries(wanted)
    .filter(([key, value]) => value !== undefined && JSON.stringify(value) !== JSON.stringify((actual as Record<string, unknown>)[key]))
    .map(([key]) => key)
}

function readBack(what: string, wanted: object, actual: object): void {
  const lost = differing(wanted, actual)
  if (lost.length > 0) throw new CageError('UNAVAILABLE', `${what}: this nats-server does not take ${lost.join(', ')}`)
}
