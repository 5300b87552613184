/** Turns: something that the copies of a cage do once for all, at most once in so long: who writes the time down does it. */

import { CageError } from '../errors.ts'
import { isCode } from './jetstream.ts'
import type { States } from './state/states.ts'

/** Whether it is this copy's turn, for a name of the cage's; if it is, it is nobody's again for `everyMs`. */
export type Turns = (cage: string, name: string, everyMs: number) => Promise<boolean>

const WRITE_MS = 5_000
/** No module has such a name. */
const MODULE = '_turns'

export async function takeTurn(states: States, cage: string, name: string, everyMs: number): Promise<boolean> {
  const now = Date.now()
  try {
    const options = { deadline: now + WRITE_MS, ttlMs: everyMs }
    await states.of(cage, MODULE).update(
      name,
      (last) => {
        if (typeof last === 'number' && last > now - everyMs) throw new CageError('CONFLICT', `${name} was done ${now - last} ms ago`)
        return now
      },
      options,
    )
    return true
  } catch (error) {
    if (isCode(error, 'CONFLICT')) return false
    throw error
  }
}
