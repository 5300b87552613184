/**
 * Boundary: tells Node's diagnostics channel `menagerie:saga` where a saga stands, before and after what lasts.
 * Tests kill at each of them; nothing is made up while nobody listens.
 */
import { channel } from 'node:diagnostics_channel'

const sagas = channel('menagerie:saga')

/** Where a saga stands. `intended`: the step may begin; `acted`: it has come to its end; `recorded`: the journal knows. */
export type Point = 'begin' | 'intended' | 'acted' | 'recorded' | 'fail' | 'failed' | 'undo' | 'undid' | 'undone' | 'end' | 'ended' | 'kept'

/** What a listener is told. */
export interface Boundary {
  point: Point
  saga: string
  step: string | undefined
}

export function boundary(point: Point, saga: string, step?: string): void {
  if (sagas.hasSubscribers) sagas.publish({ point, saga, step } satisfies Boundary)
}
