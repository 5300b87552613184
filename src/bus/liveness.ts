/**
 * Liveness: a connection answers at `$ALIVE.<id>` for as long as it is open. That is longer than discovery shows it, which begins once its cage
 * serves, and ends while that still finishes what it has accepted.
 */
import type { NatsConnection } from 'nats'
import { CageError } from '../errors.ts'
import type { Caller } from './caller.ts'
import type { Connection } from './connection.ts'
import { isCode } from './jetstream.ts'
import { aliveSubject } from './subjects.ts'

const NOTHING = new Uint8Array(0)

/** Answers until the connection is closed. */
export function answerWhetherAlive(nc: NatsConnection, id: string): void {
  nc.subscribe(aliveSubject(id), {
    callback: (error, msg) => {
      if (!error) msg.respond(NOTHING)
    },
  })
}

/** See `Bus.isAlive`. */
export async function isAlive(connection: Connection, caller: Caller, id: string, withinMs: number): Promise<boolean> {
  const { reconnects } = connection
  try {
    await caller.request(aliveSubject(id), NOTHING, Date.now() + withinMs)
    return true
  } catch (error) {
    if (!isCode(error, 'UNAVAILABLE') && !isCode(error, 'DEADLINE_EXCEEDED')) throw error
    if (caller.connected && connection.reconnects === reconnects) return false
    throw new CageError('UNAVAILABLE', `nobody knows whether ${id} is alive: the bus was away`, { cause: error })
  }
}
