/**
 * Replies: answers to messages, on a connection of their own: an answer that the broker refuses, such as one to a temporary queue that is gone,
 * costs its connection, and must not cost the subscription's.
 * P1. An answer that got lost with somebody else's is sent once more; it may arrive twice then.
 */
import { CageError } from '../../errors.ts'
import type { Scope } from '../adapter.ts'
import type { Dialect } from './dialect.ts'
import type { Outgoing } from './message.ts'
import { type Broker, Session } from './session.ts'

const TRIES = 3

export class Replies {
  readonly #broker: Broker
  #session: Promise<Session> | undefined

  constructor(broker: Broker) {
    this.#broker = broker
  }

  /** Resolves when the broker has it. Rejects as the broker refuses it, or with UNAVAILABLE, DEADLINE_EXCEEDED. */
  async send(make: (dialect: Dialect) => Outgoing, scope: Scope): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        const session = await this.#connected(scope)
        const { headers, body } = make(session.dialect)
        return await session.confirm('SEND', headers, scope, body)
      } catch (error) {
        if (!(error instanceof CageError && error.code === 'UNAVAILABLE' && tries < TRIES)) throw error // P1
      }
    }
  }

  async close(): Promise<void> {
    const session = await this.#session?.catch(() => undefined) // what could not be opened need not be closed
    await session?.close()
  }

  /** One session for all who answer. */
  async #connected(scope: Scope): Promise<Session> {
    for (;;) {
      this.#session ??= Session.open(this.#broker, scope)
      const opening = this.#session
      try {
        const session = await opening
        if (!session.broken) return session
      } catch (error) {
        if (this.#session === opening) this.#session = undefined
        throw error
      }
      if (this.#session === opening) this.#session = undefined
    }
  }
}
