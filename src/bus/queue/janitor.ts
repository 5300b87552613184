/**
 * Janitor: takes away what would otherwise rest in a queue for ever: expired calls of cages that nobody runs any more, messages that are no
 * calls, and what a killed server has kept of calls that are done (streams.ts, W3).
 * Every copy of every cage has one; they look at different times, and do the same thing twice harmlessly (dead letters are deduplicated).
 * J1. What cannot be taken away keeps nothing else there.
 * J2. It looks more often after its start, and when the bus was away. What a killed server has kept holds up work: it is taken away at once.
 */
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { Notifications } from '../bus.ts'
import { headerOf, isCode, type JetStream, type StoredMessage } from '../jetstream.ts'
import { bury, buryBytes } from './dead.ts'
import { decodeAnyCall, idOf, isQueueSubject, type QueuedCall, STREAMS, streamOf } from './message.ts'
import type { Streams } from './streams.ts'
import { expiryOf } from './verdict.ts'

const EVERY_MS = 60_000

/** What was in flight when the bus was lost is mostly settled by the first of these looks, surely by the last (J2). */
const AFTER_OUTAGE_MS = 8_000
const LOOKS_AFTER_OUTAGE = 3

/** Calls that are looked at in one round: a long queue is gone through round by round. */
const ROUND = 1_000

/** A cage that asks for nothing, and was given nothing for so long, is not there. */
const ABSENT_MS = 60_000

export class Janitor {
  readonly #js: JetStream
  readonly #streams: Streams
  readonly #log: Log
  readonly #tell: Notifications['tell']
  readonly #expiresMs: (queue: string) => number
  /** Where the next round goes on, by subject. */
  readonly #next = new Map<string, number>()
  readonly #everyMs: number
  #timer: NodeJS.Timeout | undefined
  #looksSoon = 0

  constructor(
    js: JetStream,
    streams: Streams,
    log: Log,
    tell: Notifications['tell'],
    expiresMs: (queue: string) => number,
    everyMs: number = EVERY_MS,
  ) {
    this.#tell = tell
    this.#js = js
    this.#streams = streams
    this.#log = log
    this.#expiresMs = expiresMs
    this.#everyMs = everyMs
  }

  /** J2. */
  start(): void {
    this.#looksSoon = LOOKS_AFTER_OUTAGE
    this.#again()
    void this.#try('all', () => this.#sweepAll())
  }

  /** J2. */
  hurry(): void {
    if (this.#timer) this.start()
  }

  #again(): void {
    clearTimeout(this.#timer)
    const delayMs = this.#looksSoon-- > 0 ? AFTER_OUTAGE_MS * (1 + Math.random()) : this.#everyMs * (0.5 + Math.random())
    const timer = setTimeout(() => {
      void this.round()
        .catch((error: unknown) => this.#log.debug({ err: error }, 'the queues cannot be looked through, trying again'))
        .finally(() => {
          if (this.#timer === timer) this.#again()
        })
    }, delayMs).unref()
    this.#timer = timer
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Looks through all queues once. */
  async round(): Promise<void> {
    for (const queue of await this.#sweepAll()) {
      await this.#try(streamOf(queue), async () => {
        for (const subject of await this.#unserved(queue)) await this.#sweep(queue, subject)
      })
    }
  }

  /** Returns the queues that there are. */
  async #sweepAll(): Promise<string[]> {
    const queues = await this.#streams.queues()
    for (const stream of [STREAMS.delayed, ...queues.map(streamOf)]) await this.#try(stream, () => this.#streams.sweep(stream))
    return queues
  }

  /** J1. */
  async #try(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#log.warn({ err: error, what }, 'what rests in a queue cannot be taken away, trying again')
    }
  }

  /** Subjects of the queue's calls that nobody asks for: of cages that are not there, or of no shape that a cage asks for. */
  async #unserved(queue: string): Promise<string[]> {
    const info = await this.#js.streamInfo(streamOf(queue), `queue.${queue}.>`)
    const subjects = Object.keys(info?.state.subjects ?? {})
    if (subjects.length === 0) return []
    const consumers = await this.#streams.consumers(queue)
    const present = consumers.filter(({ num_waiting, delivered }) => {
      const lastAt = Date.parse(String(delivered.last_active ?? '')) // nats.js's type says number, the server sends a date
      return num_waiting > 0 || Date.now() - lastAt < ABSENT_MS
    })
    const served = new Set(present.map(({ config }) => config.filter_subject?.split('.')[2]))
    return subjects.filter((subject) => !served.has(subject.split('.')[2]) || !isQueueSubject(subject))
  }

  async #sweep(queue: string, subject: string): Promise<void> {
    let seq = this.#next.get(subject) ?? 1
    for (let looked = 0; looked < ROUND; looked++) {
      const message = await this.#js.get(streamOf(queue), { seq, next_by_subj: subject })
      if (!message) {
        this.#next.delete(subject)
        return
      }
      seq = message.seq + 1
      await this.#try(`${subject} ${message.seq}`, () => this.#inspect(queue, message))
    }
    this.#next.set(subject, seq)
  }

  async #inspect(queue: string, message: StoredMessage): Promise<void> {
    const { subject, data, time, headers, seq } = message
    let call: QueuedCall
    try {
      call = decodeAnyCall({ subject, data, time, header: (name) => headerOf(headers, name) })
    } catch (error) {
      if (!isCode(error, 'INVALID_ARGUMENT')) throw error
      await buryBytes(this.#js, subject, data, idOf(queue, seq, false), error, this.#tell)
      await this.#js.delete(streamOf(queue), seq)
      return
    }
    if (expiryOf(call, time, { expiresMs: this.#expiresMs(queue) }) > Date.now()) return
    const id = call.id ?? idOf(queue, seq, false)
    this.#log.error(
      { queue, call: id, cage: call.cage, module: call.module, method: call.method },
      'queued call expired, nobody runs its cage',
    )
    await bury(
      this.#js,
      { ...call, enqueuedAt: call.enqueuedAt ?? time },
      id,
      new CageError('UNAVAILABLE', `nobody ran cage ${call.cage} before the call expired`),
      this.#tell,
    )
    await this.#js.delete(streamOf(queue), seq)
  }
}
