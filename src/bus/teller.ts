/**
 * Teller: what the runtime itself has to tell, de-duplicated where it comes from: ten thousand dead letters must not push all else out.
 * D1. The first one is sent at once. More of the same (level, cage, module, kind, and what it is about) within `EVERY_MS` are counted; then
 *     the latest of them is sent, with how many it stands for, and it is counted on.
 * D2. It never throws and nobody waits for it: what cannot be kept is logged. What is counted when it closes is sent then.
 */
import type { Log } from '../log.ts'
import { within } from '../pause.ts'
import type { Notification } from './bus.ts'

export const EVERY_MS = 60_000
const SEND_MS = 10_000
/** The end of a connection waits for what is being sent no longer, ms. */
const CLOSE_MS = 2_000
/** Counted at once; of more, the oldest is sent early. */
const MOST = 1_000

interface Counted {
  timer: NodeJS.Timeout
  latest: Notification | undefined
  count: number
}

export class Teller {
  readonly #send: (notification: Notification, deadline: number) => Promise<void>
  readonly #log: Log
  readonly #everyMs: number
  readonly #counted = new Map<string, Counted>()
  readonly #sending = new Set<Promise<void>>()
  #closed = false

  constructor(send: (notification: Notification, deadline: number) => Promise<void>, log: Log, everyMs: number = EVERY_MS) {
    this.#send = send
    this.#log = log
    this.#everyMs = everyMs
  }

  /** `about`: what it is about, where module and kind do not say so: a resource, a queue. */
  tell(notification: Notification, about: string = ''): void {
    if (this.#closed) return
    const { level, cage, module = '', kind = '' } = notification
    const key = [level, cage, module, kind, about].join(' ')
    const counted = this.#counted.get(key)
    if (counted) {
      counted.latest = notification
      counted.count += notification.repeated ?? 1
      return
    }
    for (const oldest of this.#counted.keys()) {
      if (this.#counted.size < MOST) break
      this.#end(oldest)
    }
    this.#counted.set(key, { timer: this.#timer(key), latest: undefined, count: 0 })
    this.#post(notification)
  }

  /** D2. `connected`: what is being sent can still arrive. */
  async close(connected: boolean): Promise<void> {
    if (this.#closed) return
    for (const key of [...this.#counted.keys()]) this.#end(key)
    this.#closed = true
    if (!connected || this.#sending.size === 0) return
    await within(CLOSE_MS, Promise.all(this.#sending))
  }

  #timer(key: string): NodeJS.Timeout {
    return setTimeout(() => {
      const counted = this.#counted.get(key)
      if (!counted?.latest) return void this.#counted.delete(key)
      this.#flush(counted)
      counted.timer = this.#timer(key)
    }, this.#everyMs).unref()
  }

  #end(key: string): void {
    const counted = this.#counted.get(key)
    this.#counted.delete(key)
    clearTimeout(counted?.timer)
    if (counted) this.#flush(counted)
  }

  #flush(counted: Counted): void {
    const { latest, count } = counted
    counted.latest = undefined
    counted.count = 0
    if (latest) this.#post(count === 1 ? latest : { ...latest, repeated: count })
  }

  #post(notification: Notification): void {
    const { level, cage, kind, message } = notification
    const sending = this.#send(notification, Date.now() + SEND_MS).catch((error: unknown) => {
      const grave = level === 'error' || level === 'alert'
      this.#log[grave ? 'warn' : 'debug']({ cage, kind, notification: message, err: error }, 'a notification could not be kept')
    })
    this.#sending.add(sending)
    void sending.then(() => this.#sending.delete(sending))
  }
}
