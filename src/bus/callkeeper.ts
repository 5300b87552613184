/**
 * Call keeper: what the main thread has of the queues (CallKeeper). NATS is loaded when it first connects: workers start without
 * waiting for that.
 */
import type { Log } from '../log.ts'
import type { CallKeeper } from './bus.ts'
import type { BusOptions } from './connection.ts'
import { holdsAnything, sharedHeld } from './queue/held.ts'

/** A keeper with its connection (nats.ts). */
export type OpenKeeper = Pick<CallKeeper, 'handBack' | 'tell' | 'close'>

/** Keeps held calls alive over a connection of its own. */
export function callKeeper(name: string, options: BusOptions, log: Log): CallKeeper {
  const closing = new AbortController()
  let opening: Promise<OpenKeeper> | undefined
  const tables = new Set<SharedArrayBuffer>()
  const connect = (): Promise<OpenKeeper> => {
    opening ??= import('./nats.ts').then(({ openKeeper }) => openKeeper(name, options, log, closing.signal, tables))
    return opening
  }
  return {
    table: () => {
      const table = sharedHeld()
      tables.add(table)
      return table
    },
    handBack: async (table, culprit) => {
      tables.delete(table)
      if (holdsAnything(table)) await (await connect()).handBack(table, culprit)
    },
    tell: (notification, about) =>
      void connect().then(
        (keeper) => keeper.tell(notification, about),
        (error: unknown) => log.debug({ err: error, kind: notification.kind }, 'a notification could not be kept'),
      ),
    connect: () => void connect().catch(() => {}), // only close() ends the waiting for the bus
    close: async () => {
      closing.abort()
      const keeper = await opening?.catch(() => undefined)
      await keeper?.close()
    },
  }
}
