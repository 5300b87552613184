/** Transactions and incidents of all cages as engineers see them, and what they do about them. */
import type { Bus } from '../../bus/bus.ts'
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { type Action, fold, type OrderEvent, orderJournal, parseTransactionId, type TxEvent, type TxView } from './events.ts'
import { recordFrom, recordOf, type TxRecord } from './history.ts'
import { type Incident, Incidents } from './incidents.ts'

/** A transaction that has not ended. */
export interface OpenTransaction {
  cage: string
  view: TxView
  /** Its coordinator lives. */
  owned: boolean
}

const OWNER_MS = 1_000
const POLL_MS = 100

/** Those that are under way or left behind, oldest first. */
export async function openTransactions(bus: Bus, cage?: string): Promise<OpenTransaction[]> {
  const journals = await bus.journals.list('tx', cage)
  const found = await Promise.all(
    journals.map(async (info) => {
      const entries = await bus.journals.read<TxEvent | OrderEvent>(info.cage, 'tx', info.name)
      const events = entries.filter((entry): entry is { at: number; event: TxEvent } => entry.event.type !== 'order')
      const open = [...fold(info.name, events).values()].filter(({ ended }) => ended === undefined)
      if (open.length === 0) return []
      const owned = await bus.journals.isOwned(info, OWNER_MS)
      return open.map((view) => ({ cage: info.cage, view, owned }))
    }),
  )
  return found.flat().sort((a, b) => (a.view.events[0]?.at ?? 0) - (b.view.events[0]?.at ?? 0))
}

export async function incidents(bus: Bus, cage?: string): Promise<Incident[]> {
  return (await new Incidents(bus).list()).filter((incident) => cage === undefined || incident.cage === cage)
}

/** Those that have ended, newest last. */
export async function* endedTransactions(
  bus: Bus,
  filter: { cage?: string | undefined; since?: number | undefined },
): AsyncIterable<TxRecord> {
  for await (const record of bus.journals.history({ ...filter, kind: 'tx' })) yield recordFrom(record)
}

/** A transaction by its id, wherever it stands; undefined if nothing is known of it. */
export async function findTransaction(bus: Bus, id: string): Promise<TxRecord | undefined> {
  if (!parseTransactionId(id)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(id)} is no transaction's id`)
  for (const { cage, view } of await openTransactions(bus)) if (view.id === id) return recordOf(cage, view)
  let found: TxRecord | undefined
  for await (const record of endedTransactions(bus, {})) if (record.id === id) found = record // the last one has what people have decided
  return found
}

/**
 * Orders something about an incident and waits for what comes of it. Rejects with NOT_FOUND; FAILED_ORDER if it was in vain; UNAVAILABLE if no
 * copy of the cage has carried it out by the deadline (epoch ms): it will, once one runs.
 */
export async function orderAbout(
  bus: Bus,
  id: string,
  given: { action: Action; reason: string; by: string },
  deadline: number,
): Promise<void> {
  const store = new Incidents(bus)
  const before = await store.get(id)
  if (!before) throw new CageError('NOT_FOUND', `there is no incident ${id}`)
  const order: OrderEvent = { ...given, type: 'order', incident: id, at: Date.now() }
  const journal = bus.journals.open<OrderEvent>(before.cage, 'tx', orderJournal(`${bus.id}-${order.at}`))
  await journal.append(order)
  journal.close()
  while (Date.now() < deadline) {
    const now = await store.get(id)
    if (!now) return
    const attempt = now.attempts.find(({ at, by }) => at === order.at && by === order.by)
    if (attempt) throw new CageError('FAILED_ORDER', attempt.error)
    await pause(POLL_MS)
  }
  throw new CageError('UNAVAILABLE', `no copy of cage ${before.cage} has carried it out yet: it will once one runs`)
}
