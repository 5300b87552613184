/**
 * Orders: carries out what people have decided about an incident.
 * D1. One order about an incident is carried out at a time. Where a copy has died over one, it is done again only if that does no harm.
 * D2. What an order leads to may be an incident of its own: that one has all that is known by then.
 */
import type { Scope } from '../../adapters/adapter.ts'
import type { Bus } from '../../bus/bus.ts'
import { CageError, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import type { OrderEvent } from './events.ts'
import { participantOf } from './finisher.ts'
import { recordOf } from './history.ts'
import type { Incident, Incidents } from './incidents.ts'
import { Settlement } from './settlement.ts'
import type { Writer } from './writer.ts'

/** What it needs of its coordinator. */
export interface OrdersHost {
  readonly bus: Bus
  readonly cage: string
  readonly log: Log
  readonly incidents: Incidents
}

const ATTEMPT_MS = 10_000

/** Carries out an order; the incident ends, or keeps what went wrong. */
export async function carryOut(order: OrderEvent, { bus, cage, log, incidents }: OrdersHost, writer: Writer): Promise<void> {
  const { incident: id } = order
  const begun = await incidents.begin(order, bus)
  if (begun === undefined) return // it has ended: by an earlier order, or by ours before the copy that had it died
  const { incident } = begun
  try {
    if (begun.isBusy) throw new CageError('CONFLICT', 'another order about it is being carried out')
    if (begun.isRepeated && !isRepeatable(order, incident))
      throw new CageError('CONFLICT', 'a copy has died over an order about it: look what has come of it, then order again')
    await act(order, incident, writer)
  } catch (error) {
    if (writer.signal.aborted) throw error
    await incidents.failed(id, order, toCageError(error))
    return log.error({ incident: id, action: order.action, err: error }, 'the order about an incident was in vain')
  }
  const { participant, view } = incident
  const record = { ...recordOf(cage, { ...view, ended: 'incident' }), resolution: order }
  const note = `${order.action} by ${order.by}: ${order.reason}`
  record.events.push({ type: 'resolved', at: Date.now(), participant, note })
  await bus.journals.keep(cage, 'tx', id, record)
  await incidents.resolved(id)
  log.warn({ incident: id, action: order.action, by: order.by, reason: order.reason }, 'incident resolved')
}

/** D1. What a resource is told twice may happen twice; modules and queues know their keys. */
function isRepeatable({ action }: OrderEvent, { problem, index, view }: Incident): boolean {
  const isResource = (at: number): boolean => participantOf(view, at).kind === 'resource'
  if (action === 'retry') return !(problem !== 'outcome unknown' && isResource(index))
  return action !== 'compensate' || !view.plan.participants.some(({ undo }, at) => undo && isResource(at))
}

async function act({ action }: OrderEvent, { problem, index, view, participant, error }: Incident, writer: Writer): Promise<void> {
  const scope: Scope = { deadline: Date.now() + ATTEMPT_MS, signal: writer.signal }
  view.journaled = false // its journal is gone: the order is the intent
  if (problem === 'outcome unknown') {
    if (action !== 'retry') view.outcomes[index] = action === 'compensate' ? 'rolled back' : 'committed'
    view.ended = undefined
    const settlement = new Settlement(writer, view)
    await settlement.run()
    if (settlement.raised.has(index)) throw new CageError(error.code, `${participant}: ${error.message}`) // D2
    return
  }
  if (action === 'done' || action === 'skip') return
  if (action === 'retry') {
    if (problem === 'undo failed') await writer.finisher.rollback(view, index, scope)
    else if (participantOf(view, index).participant === 'one-phase') await writer.finisher.repeat(view, index, scope)
    else await writer.finisher.commit(view, index, scope)
    return
  }
  if (problem === 'undo failed') throw new CageError('INVALID_ARGUMENT', 'the others are undone already: retry, done or skip')
  const others = view.plan.participants.map((_, other) => other).filter((other) => other !== index && view.outcomes[other] === 'committed')
  const stuck = others.filter((other) => !participantOf(view, other).undo).map((other) => participantOf(view, other).name)
  if (stuck.length > 0) throw new CageError('INVALID_ARGUMENT', `nothing undoes ${stuck.join(', ')}`)
  for (const other of others.reverse()) await writer.finisher.rollback(view, other, scope)
}
