/**
 * Signals: what the world tells a saga, kept until it asks. One for each name; the first one counts.
 * S1. It is stored before the call is brought forward: a call that looks after that finds it, one that looked before is about to be put off.
 */
import type { Bus, StateStore } from '../../bus/bus.ts'
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { Sagas } from './contract.ts'
import { sagaOf } from './ids.ts'

/** Of all cages: who sends a signal knows the saga's id. No cage and no module has such a name. */
const STORE = ['_sagas', 'signals'] as const
const KEPT_MS = 30 * 86_400_000

/** How long a running call may take to its being put off (S1), ms. */
const PUT_OFF_MS = 2_000
const LOOK_MS = 50

/** Sends a signal; see `Sagas.signal`. Deadline in epoch ms. */
export async function signal(bus: Bus, id: string, name: string, value: unknown, deadline: number): Promise<boolean> {
  checkSignal(name)
  const saga = sagaOf(id)
  const status = await bus.queues.status(saga)
  if (!status) throw new CageError('NOT_FOUND', `there is no call ${saga}, or it is done`)
  if (status.state === 'done' || status.state === 'dead' || status.state === 'cancelled')
    throw new CageError('CONFLICT', `call ${saga} has ended: it is ${status.state}`)
  const sent = { value, at: Date.now() }
  const kept = (await store(bus).update(`${saga}/${name}`, (current) => current ?? sent, { deadline, ttlMs: KEPT_MS })) as typeof sent
  const giveUpAt = Math.min(deadline, Date.now() + PUT_OFF_MS)
  while (!(await bus.queues.hasten(saga)) && Date.now() < giveUpAt) {
    const now = await bus.queues.status(saga)
    if (now?.state !== 'running') break // it waits in its queue, and will look
    await pause(LOOK_MS)
  }
  return kept === sent
}

/** The signal that a saga has been sent under a name. */
export async function signalled(bus: Bus, saga: string, name: string, deadline: number): Promise<{ value: unknown } | undefined> {
  return (await store(bus).get(`${saga}/${name}`, deadline)) as { value: unknown } | undefined // only this file writes there
}

/** `ctx.sagas` of a call. */
export function sagasOf(bus: Bus, deadline: () => number): Sagas {
  return { signal: (saga, name, value) => signal(bus, saga, name, value, deadline()) }
}

export function checkSignal(name: string): void {
  if (typeof name === 'string' && /^[\w.-]{1,64}$/.test(name)) return
  throw new CageError('INVALID_ARGUMENT', `a signal's name has letters, digits, '.', '_' and '-', at most 64, not ${JSON.stringify(name)}`)
}

function store(bus: Bus): StateStore {
  return bus.state(...STORE)
}
