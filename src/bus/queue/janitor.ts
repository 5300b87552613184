/**
 * Janitor: buries what would otherwise rest in a queue for ever: expired calls of cages that nobody runs any more.
 * Every copy of every cage has one; they look at different times, and do the same thing twice harmlessly (dead letters are deduplicated).
 */
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { headerOf, isCode, type JetStream, type StoredMessage } from '../jetstream.ts'
import { bury, buryBytes } from './dead.ts'
import { decodeCall, idOf, type QueuedCall, streamOf } from './message.ts'
import type { Streams } from './streams.ts'
import { expiryOf } from './verdict.ts'

const EVERY_MS = 60_000

/** Calls that are looked at in one round: a long queue is gone through round by round. */
const ROUND = 1_000

/** A cage that asks for nothing, and was given nothing for so long, is not there. */
const ABSENT_MS = 60_000

export class Janitor {
  readonly #js: JetStream
  readonly #streams: Streams
  readonly #log: Log
  readonly #expiresMs: (queue: string) => number
  /** Where the next round goes on, by queue and cage. */
  readonly #next = new Map<string, number>()
  readonly #everyMs: number
  #timer: NodeJS.Timeout | undefined

  constructor(js: JetStream, streams: Streams, log: Log, expiresMs: (queue: string) => number, everyMs: number = EVERY_MS) {
    this.#js = js
    this.#streams = streams
    this.#log = log
    this.#expiresMs = expiresMs
    this.#everyMs = everyMs
  }

  start(): void {
    const delayMs = this.#everyMs * (0.5 + Math.random())
    this.#timer = setTimeout(() => {
      void this.round()
        .catch((error: unknown) => this.#log.debug({ err: error }, 'the queues cannot be looked through, trying again'))
        .finally(() => {
          if (this.#timer) this.start()
        })
    }, delayMs).unref()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Looks through all queues once. */
  async round(): Promise<void> {
    for (const queue of await this.#streams.queues()) {
      for (const cage of await this.#absentCages(queue)) await this.#sweep(queue, cage)
    }
  }

  /** Cages that have calls in the queue and nobody to run them. */
  async #absentCages(queue: string): Promise<string[]> {
    const info = await this.#js.streamInfo(streamOf(queue), `queue.${queue}.>`)
    const cages = new Set(Object.keys(info?.state.subjects ?? {}).map((subject) => subject.split('.')[2] ?? ''))
    if (cages.size === 0) return []
    const consumers = await this.#streams.consumers(queue)
    const present = consumers.filter(({ num_waiting, delivered }) => {
      const lastAt = Date.parse(String(delivered.last_active ?? '')) // nats.js's type says number, the server sends a date
      return num_waiting > 0 || Date.now() - lastAt < ABSENT_MS
    })
    const served = new Set(present.map(({ config }) => config.filter_subject?.split('.')[2]))
    return [...cages].filter((cage) => !served.has(cage))
  }

  async #sweep(queue: string, cage: string): Promise<void> {
    const place = `${queue} ${cage}`
    let seq = this.#next.get(place) ?? 1
    for (let looked = 0; looked < ROUND; looked++) {
      const message = await this.#js.get(streamOf(queue), { seq, next_by_subj: `queue.${queue}.${cage}.>` })
      if (!message) {
        this.#next.delete(place)
        return
      }
      seq = message.seq + 1
      await this.#inspect(queue, message)
    }
    this.#next.set(place, seq)
  }

  async #inspect(queue: string, message: StoredMessage): Promise<void> {
    const { subject, data, time, headers, seq } = message
    let call: QueuedCall
    try {
      call = decodeCall({ subject, data, time, header: (name) => headerOf(headers, name) })
    } catch (error) {
      if (!isCode(error, 'INVALID_ARGUMENT')) throw error
      await buryBytes(this.#js, subject, data, idOf(queue, seq, false), error)
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
    )
    await this.#js.delete(streamOf(queue), seq)
  }
}
