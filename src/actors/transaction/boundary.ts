/**
 * Boundary: tells Node's diagnostics channel `menagerie:transaction` where a transaction stands, before and after each step that lasts.
 * Tests kill at each of them; nothing is made up while nobody listens.
 */
import { channel } from 'node:diagnostics_channel'

const transactions = channel('menagerie:transaction')

/** Where a transaction stands. `-ed`: the step has been done. */
export type Point =
  | 'begin'
  | 'begun'
  | 'execute'
  | 'executed'
  | 'prepare'
  | 'prepared'
  | 'committing'
  | 'identified'
  | 'commit'
  | 'committed'
  | 'decide'
  | 'decided'
  | 'finish'
  | 'finished'
  | 'enqueue'
  | 'enqueued'
  | 'undo'
  | 'undone'
  | 'end'
  | 'ended'
  | 'recover'

/** What a listener is told. */
export interface Boundary {
  point: Point
  transaction: string
  /** Position of the participant, from 0, where there is one. */
  participant: number | undefined
}

export function boundary(point: Point, transaction: string, participant?: number): void {
  if (transactions.hasSubscribers) transactions.publish({ point, transaction, participant } satisfies Boundary)
}
