/**
 * Replies: answers to messages, on a connection of their own: an answer that the broker refuses, such as one to a temporary queue that is gone,
 * costs its connection, and must not cost the subscription's.
 * P1. An answer that got lost, with somebody else's or alone, is sent again until its scope ends; it may arrive twice then.
 * P2. Those that are sent again have the connection one by one, and new ones wait behind them: so a refusal costs nobody else a try, and a broker
 *     that does not say whom it refuses means the only one.
 */
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { endOf } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import type { Dialect } from './dialect.ts'
import type { Outgoing } from './message.ts'
import { type Broker, Session } from './session.ts'

const PAUSE_MS = 100

export class Replies {
  readonly #broker: Broker
  #session: Promise<Session> | undefined
  /** P2. */
  #turns: Promise<void> = Promise.resolve()
  #queued = 0

  constructor(broker: Broker) {
    this.#broker = broker
  }

  /** Resolves when the broker has it. Rejects as the broker refuses it, or with UNAVAILABLE, DEADLINE_EXCEEDED. */
  async send(make: (dialect: Dialect) => Outgoing, scope: Scope): Promise<void> {
    if (this.#queued === 0)
      try {
        return await this.#attempt(make, scope)
      } catch (error) {
        if (!isLost(error)) throw error
      }
    this.#queued++
    const turn = this.#turns.then(() => this.#persist(make, scope)).finally(() => this.#queued--)
    this.#turns = turn.catch(() => {}) // told to its own sender
    await turn
  }

  async close(): Promise<void> {
    const session = await this.#session?.catch(() => undefined) // what could not be opened need not be closed
    await session?.close()
  }

  /** P1. */
  async #persist(make: (dialect: Dialect) => Outgoing, scope: Scope): Promise<void> {
    for (;;) {
      try {
        return await this.#attempt(make, scope)
      } catch (error) {
        if (!isLost(error) || endOf(scope, Date.now(), this.#broker.name)) throw error
      }
      await pause(PAUSE_MS, scope.signal)
    }
  }

  async #attempt(make: (dialect: Dialect) => Outgoing, scope: Scope): Promise<void> {
    const session = await this.#connected(scope)
    const { headers, body } = make(session.dialect)
    await session.confirm('SEND', headers, scope, body)
  }

  /** One session for all who answer. */
  async #connected(scope: Scope): Promise<Session> {
    for (;;) {
      const ended = endOf(scope, Date.now(), this.#broker.name)
      if (ended) throw ended
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

function isLost(error: unknown): boolean {
  return error instanceof CageError && error.code === 'UNAVAILABLE'
}
