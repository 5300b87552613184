/** Departures: whether a copy that does not answer any more was told to stop. Pure. */
import type { CopyStatus } from 'menagerie'
import type { NotificationView } from './model.ts'

/** Clocks differ, and the last survey was a while before. */
const AROUND_MS = 30_000

/** A notification of kind `cage.down`, of its cage and node, at the time. */
export function isExcused(
  { cage, node, state }: Pick<CopyStatus, 'cage' | 'node' | 'state'>,
  seenAt: number,
  told: readonly NotificationView[],
): boolean {
  if (state === 'stopping') return true
  return told.some(
    (one) =>
      one.cage === cage &&
      one.node === node &&
      one.level === 'info' &&
      kindOf(one) === 'cage.down' &&
      Math.abs(one.at - seenAt) < AROUND_MS,
  )
}

export function kindOf({ kind, details }: NotificationView & { kind?: unknown }): unknown {
  return kind ?? (typeof details === 'object' && details !== null ? (details as { kind?: unknown }).kind : undefined)
}
