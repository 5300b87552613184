/**
 * Notify: tells people. `ctx.notify` for modules, `teller` and `alert` for the runtime itself.
 * T1. What the runtime has to say is in the log in any case; that it could not be kept is said there too.
 */
import type { Bus, NotificationLevel, Notifications } from '../bus/bus.ts'
import { CageError, toCageError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Notify } from './contract.ts'

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

/** Words that what the runtime tells can be selected by (docs/monitoring.md). */
export type Kind =
  | 'cage.up'
  | 'cage.down'
  | 'cage.stalled'
  | 'cage.restarted'
  | 'cage.failed'
  | 'module.quarantined'
  | 'reload.refused'
  | 'reload.healed'
  | 'circuit.open'
  | 'circuit.closed'

/** What the runtime tells. */
export interface Told {
  readonly level: NotificationLevel
  readonly kind: Kind
  readonly module?: string | undefined
  readonly message: string
  readonly details?: Readonly<Record<string, unknown>> | undefined
  /** What it is about, where that is neither the cage nor a module. */
  readonly about?: string | undefined
}

/** Tells what happens to a cage. It never throws, and nobody waits for it. */
export function teller(notifications: Pick<Notifications, 'tell'>, cage: string, node: string): (told: Told) => void {
  return ({ about, ...told }) => notifications.tell({ ...told, cage, node, at: Date.now() }, about)
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
  bus.notifications.tell({ level: 'alert', kind: 'incident', cage, at: Date.now(), message, details: { ...fields, code, reason } })
}
