/**
 * Incidents: what no coordinator can settle and people must decide. They are kept as a state is, one for all cages, and outlive everybody.
 * I1. An incident goes only by an order (events.ts), with its reason, into the history.
 */
import type { Bus, StateStore } from '../../bus/bus.ts'
import type { CageError, ErrorBody } from '../../errors.ts'
import type { OrderEvent, TxEvent, TxView } from './events.ts'

/** What is wrong. */
export type Problem = 'outcome unknown' | 'undo failed' | 'commit failed'

/** An incident as it is kept. */
export interface Incident {
  /** `<transaction>/<position of the participant>` */
  id: string
  cage: string
  problem: Problem
  participant: string
  error: ErrorBody
  /** Epoch ms. */
  at: number
  index: number
  view: TxView
  /** The order that is being carried out, and by which copy. */
  acting?: { at: number; by: string } | undefined
  /** Orders that did not end it, and why. */
  attempts: (OrderEvent & { error: string })[]
}

/** Where they are kept; no cage has such a name. */
const PLACE = ['_menagerie', 'incidents'] as const
const WRITE_MS = 10_000
const ALIVE_MS = 1_000
const KEPT_ATTEMPTS = 20

export class Incidents {
  readonly #store: StateStore

  constructor(bus: Bus) {
    this.#store = bus.state(...PLACE)
  }

  async raise(cage: string, view: TxView, index: number, problem: Problem, error: CageError): Promise<Incident> {
    const participant = view.plan.participants[index]?.name ?? ''
    const incident = {
      id: `${view.id}/${index}`,
      cage,
      problem,
      participant,
      error: error.toJSON(),
      at: Date.now(),
      index,
      view: { ...view, events: view.events.map(({ plan: _, ...event }) => event as TxEvent) }, // it is there once
      attempts: [],
    }
    await this.#store.update(incident.id, (current) => current ?? incident, write())
    return incident
  }

  /** Oldest first. */
  async list(): Promise<Incident[]> {
    const keys = await this.#store.keys(Date.now() + WRITE_MS)
    const all = await Promise.all(keys.map((key) => this.get(key)))
    return all.filter((incident) => incident !== undefined).sort((a, b) => a.at - b.at)
  }

  async get(id: string): Promise<Incident | undefined> {
    return (await this.#store.get(id, Date.now() + WRITE_MS)) as Incident | undefined // only this file writes there
  }

  /**
   * Takes an incident for an order; undefined if there is none any more. `isBusy`: a copy that lives carries out another one. `isRepeated`: one has
   * died over this or another.
   */
  async begin(order: OrderEvent, bus: Bus): Promise<{ incident: Incident; isBusy: boolean; isRepeated: boolean } | undefined> {
    const acting = { at: order.at, by: bus.id }
    for (;;) {
      const incident = await this.get(order.incident)
      if (!incident) return undefined
      const before = incident.acting
      if (before && before.by !== bus.id && (await bus.isAlive(before.by, ALIVE_MS))) return { incident, isBusy: true, isRepeated: false }
      const change = (current: unknown): unknown => {
        const now = current as Incident | undefined
        return now && now.acting?.at === before?.at && now.acting?.by === before?.by ? { ...now, acting } : now
      }
      const taken = (await this.#store.update(order.incident, change, write())) as Incident | undefined
      if (taken?.acting?.at === acting.at && taken.acting.by === acting.by)
        return { incident, isBusy: false, isRepeated: before !== undefined }
    }
  }

  /** An order was in vain: the incident waits for another. */
  async failed(id: string, order: OrderEvent, error: CageError): Promise<void> {
    const attempt = { ...order, error: `${error.code}: ${error.message}` }
    const change = (current: unknown): unknown => {
      const incident = current as Incident | undefined
      const acting = incident?.acting?.at === order.at ? undefined : incident?.acting
      return incident && { ...incident, acting, attempts: [...incident.attempts, attempt].slice(-KEPT_ATTEMPTS) }
    }
    await this.#store.update(id, change, write())
  }

  async resolved(id: string): Promise<void> {
    await this.#store.update(id, () => undefined, write())
  }
}

function write(): { deadline: number } {
  return { deadline: Date.now() + WRITE_MS }
}
