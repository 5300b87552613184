/**
 * Outbox: what a connection sends, handed over once the current work is done: one write to the socket for many messages.
 * (nats.js by itself writes after each chain of promises that ends in a publish: up to one system call per message.)
 * U1. The order of messages is kept. U2. `flush()` hands over at once.
 * U3. Nothing throws on a tick: a connection that is closed, or so far drained that it takes no more, loses what was to be sent.
 *     Callers learn it at their deadlines, or by close().
 */
import type { NatsConnection, PublishOptions } from 'nats'

export class Outbox {
  readonly #nc: NatsConnection
  readonly #subjects: string[] = []
  readonly #payloads: (Uint8Array | string)[] = []
  readonly #options: (PublishOptions | undefined)[] = []

  constructor(nc: NatsConnection) {
    this.#nc = nc
  }

  /** Sends soon. The caller has checked that the bus is there and carries so much. */
  publish(subject: string, payload: Uint8Array | string, options?: PublishOptions): void {
    if (this.#subjects.length === 0) process.nextTick(this.flush) // runs when the promises of this turn have settled
    this.#subjects.push(subject)
    this.#payloads.push(payload)
    this.#options.push(options)
  }

  flush = (): void => {
    const count = this.#subjects.length
    try {
      for (let i = 0; i < count; i++) this.#nc.publish(this.#subjects[i] ?? '', this.#payloads[i], this.#options[i])
    } catch {
      // U3: sizes and subjects were checked, so it is the connection's end, and the rest cannot be sent either
    }
    this.#subjects.length = this.#payloads.length = this.#options.length = 0
  }
}
