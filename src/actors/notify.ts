/**
 * Notify: tells people. `ctx.notify` for modules, `alert` for the runtime itself.
 * T1. What the runtime has to say is in the log in any case; that it could not be kept is said there too.
 */
import type { Bus, NotificationLevel } from '../bus/bus.ts'
import { CageError, toCageError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Notify } from './contract.ts'

const SEND_MS = 10_000

/** Whose notifications they are. */
export interface Sender {
  readonly cage: string
  readonly module: string
  readonly node: string
  readonly request: string
  /** Epoch ms. */
  readonly deadline: number
}

export function notifyOf(bus: Bus, { deadline, ...sender }: Sender): Notify {
  const at = (level: NotificationLevel) => async (message: string, details?: unknown) => {
    if (typeof message !== 'string') throw new CageError('INVALID_ARGUMENT', 'a notification is text, and details beside it')
    await bus.notifications.send({ ...sender, level, at: Date.now(), message, details }, deadline)
  }
  return { info: at('info'), warn: at('warn'), error: at('error'), alert: at('alert') }
}

/** The runtime needs people (T1). */
export function alert(
  bus: Bus,
  cage: string,
  log: Log,
  { err, ...fields }: Record<string, unknown> & { err: unknown },
  message: string,
): void {
  log.error({ ...fields, err }, message)
  const { code, message: reason } = toCageError(err)
  const notification = { level: 'alert', cage, at: Date.now(), message, details: { ...fields, code, reason } } as const
  bus.notifications
    .send(notification, Date.now() + SEND_MS)
    .catch((error: unknown) => log.warn({ err: error }, 'a notification could not be kept'))
}
