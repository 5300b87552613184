/**
 * Notifications: what people should know, from all cages, in the stream NOTIFICATIONS: the last 10,000.
 * N1. Each is JSON at `notify.<level>.<cage>`: any client of NATS can follow them, and send some.
 */
import type { NatsConnection } from 'nats'
import { CageError } from '../errors.ts'
import { toJson } from '../json.ts'
import type { Log } from '../log.ts'
import { isName } from '../names.ts'
import type { Kept, Notification, NotificationFilter, Notifications } from './bus.ts'
import { isCode, type JetStream, type StoredMessage } from './jetstream.ts'
import { Teller } from './teller.ts'

const STREAM = 'NOTIFICATIONS'
const KEPT = 10_000
/** Read at once. */
const BATCH = 64

/** From the least on. */
const LEVELS: readonly string[] = ['info', 'warn', 'error', 'alert']

export class BusNotifications implements Notifications {
  readonly #js: JetStream
  readonly #nc: NatsConnection
  readonly #replicas: { num_replicas?: number }
  readonly #teller: Teller
  #opening: Promise<unknown> | undefined

  constructor(js: JetStream, nc: NatsConnection, replicas: number | undefined, log: Log) {
    this.#js = js
    this.#nc = nc
    this.#replicas = replicas === undefined ? {} : { num_replicas: replicas }
    this.#teller = new Teller((notification, deadline) => this.send(notification, deadline), log)
  }

  tell(notification: Notification, about?: string): void {
    this.#teller.tell(notification, about)
  }

  /** Sends what the teller has counted. */
  async close(connected: boolean): Promise<void> {
    await this.#teller.close(connected)
  }

  async get(seq: number): Promise<Kept | undefined> {
    const stored = await this.#js.get(STREAM, { seq })
    return stored && read(stored)
  }

  async last(): Promise<number> {
    return (await this.#js.streamInfo(STREAM))?.state.last_seq ?? 0
  }

  async send(notification: Notification, deadline: number): Promise<void> {
    const { level, cage, message } = notification
    if (message.trim() === '') throw new CageError('INVALID_ARGUMENT', 'a notification says something')
    if (!isName(cage)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(cage)} is no cage`)
    await this.#open()
    await this.#js.publish(`notify.${level}.${cage}`, Buffer.from(toJson(notification)), { deadline, patient: true })
  }

  async *list({ since, level = 'info', cage, after = 0 }: NotificationFilter): AsyncIterable<Kept> {
    const { first_seq = 1, last_seq = 0 } = (await this.#js.streamInfo(STREAM))?.state ?? {}
    const known = since === undefined ? first_seq : await this.#js.firstSince(STREAM, since, last_seq)
    const first = Math.max(known, after + 1)
    for (let at = first; at <= last_seq; at += BATCH) {
      const seqs = Array.from({ length: Math.min(BATCH, last_seq + 1 - at) }, (_, i) => at + i)
      for (const stored of await Promise.all(seqs.map((seq) => this.#js.get(STREAM, { seq })))) {
        const kept = stored && read(stored)
        if (kept && LEVELS.indexOf(kept.level) >= LEVELS.indexOf(level) && (cage ?? kept.cage) === kept.cage) yield kept
      }
    }
  }

  async follow(
    { level = 'info', cage = '*' }: Omit<NotificationFilter, 'since' | 'after'>,
    listener: (sent: Notification) => void,
  ): Promise<() => void> {
    const subscriptions = LEVELS.slice(LEVELS.indexOf(level)).map((each) =>
      this.#nc.subscribe(`notify.${each}.${cage}`, {
        callback: (error, { subject, data }) => {
          const sent = error ? undefined : read({ subject, data, seq: 0, time: Date.now(), headers: '' })
          if (sent) listener(sent)
        },
      }),
    )
    await this.#nc.flush()
    return () => {
      for (const subscription of subscriptions) subscription.unsubscribe()
    }
  }

  #open(): Promise<unknown> {
    const config = { name: STREAM, subjects: ['notify.>'], max_msgs: KEPT, discard: 'old', ...this.#replicas }
    this.#opening ??= this.#js.ensureStream(config).catch((error: unknown) => {
      this.#opening = undefined
      throw isCode(error, 'NOT_FOUND') ? new CageError('UNAVAILABLE', 'notifications need JetStream', { cause: error }) : error
    })
    return this.#opening
  }
}

/** Undefined for what is none (N1). */
function read({ subject, data, seq, time }: StoredMessage): Kept | undefined {
  const [, level = '', cage = ''] = subject.split('.')
  try {
    const { message, at = time, ...more } = JSON.parse(Buffer.from(data).toString()) as Partial<Notification>
    if (typeof message !== 'string' || typeof at !== 'number' || !LEVELS.includes(level)) return undefined
    return { ...more, level: level as Notification['level'], cage, at, message, seq }
  } catch {
    return undefined
  }
}
