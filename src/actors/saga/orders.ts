/** Orders: what engineers have done about a saga, and the call that carries it out. */
import type { Bus } from '../../bus/bus.ts'
import { CageError } from '../../errors.ts'
import type { Action, SagaView } from './events.ts'
import { nextUndo } from './ids.ts'
import { keptRecord, SagaJournal } from './journal.ts'

/** An order; the reason is kept. */
export interface Order {
  action: Action
  reason: string
  by: string
}

const ENQUEUE_MS = 10_000

/** Puts the call that goes on with a saga's compensation into its queue. Repeating it does no harm. */
export async function enqueueUndo(bus: Bus, cage: string, { begun }: SagaView, call: string): Promise<void> {
  if (!begun) return
  const { queue, module, method, args, request } = begun
  await bus.enqueue(queue, cage, module, method, args, { id: call, request, deadline: Date.now() + ENQUEUE_MS })
}

/**
 * Carries out an order: `retry` the compensation of the step that is an incident, `skip` it, hold it for `done` by hand; `compensate` a saga that
 * goes on, or cannot. Resolves with the id of the call that does it; undefined if nothing is left to do. Rejects with NOT_FOUND, CONFLICT.
 */
export async function resolve(bus: Bus, cage: string, saga: string, { action, reason, by }: Order): Promise<string | undefined> {
  if (action === 'compensate') await bus.queues.cancel(saga)
  const journal = await SagaJournal.takeOver(bus, cage, saga)
  try {
    const { view } = journal
    const { incident, begun, ended, carrier } = view
    if (!begun || ended) {
      const past = await journal.ended()
      if (past) throw new CageError('CONFLICT', `saga ${saga} has ended: it is ${past.outcome}`)
      await journal.remove()
      throw new CageError('NOT_FOUND', `there is no saga ${saga}`)
    }
    if (!incident && action !== 'compensate') throw new CageError('CONFLICT', `saga ${saga} is no incident, only compensate can be ordered`)
    const { n } = incident ?? {}
    const step = n === undefined ? {} : { n }
    if (action === 'skip' && n === undefined)
      throw new CageError('CONFLICT', `the incident of saga ${saga} is not about a step, none can be skipped`)
    if (action === 'done' && n === undefined) {
      await journal.append({ type: 'resolution', action, reason, by })
      await journal.append({ type: 'end', outcome: 'resolved', ...(view.failure && { error: view.failure }) })
      await journal.finish()
      return undefined
    }
    const call = nextUndo(saga, carrier)
    if (!view.failure) await journal.append({ type: 'compensating', error: { code: 'CANCELLED', message: reason }, call })
    await journal.append({ type: 'resolution', ...step, action, reason, by, call })
    await enqueueUndo(bus, cage, view, call)
    return call
  } finally {
    journal.close()
  }
}

/** The cage of a saga. Rejects with NOT_FOUND. */
export async function cageOf(bus: Bus, saga: string): Promise<string> {
  const open = (await bus.journals.list('saga')).find(({ name }) => name === saga)
  if (open) return open.cage
  const status = await bus.queues.status(saga)
  const [cage = ''] = status?.target.split('.') ?? []
  if (cage !== '' && (await keptRecord(bus, cage, saga))) return cage
  throw new CageError('NOT_FOUND', `there is no saga ${saga}`)
}
