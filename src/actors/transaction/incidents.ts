/**
 * Incidents: what no coordinator can settle and people must decide. They are kept as a state is, one for all cages, and outlive everybody.
 * I1. An incident goes only by an order (events.ts), with its reason, into the history.
 */
import type { Bus, StateStore } from '../../bus/bus.ts'
import type { CageError, ErrorBody } from '../../errors.ts'
import type { OrderEvent, TxView } from './events.ts'

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
  /** Orders that did not end it, and why. */
  attempts: (OrderEvent & { error: string })[]
}

/** Where they are kept; no cage has such a name. */
const PLACE = ['_menagerie', 'incidents'] as const
const WRITE_MS = 10_000
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
      view,
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

  /** An order was in vain: the incident waits for another. */
  async failed(id: string, order: OrderEvent, error: CageError): Promise<void> {
    const attempt = { ...order, error: `${error.code}: ${error.message}` }
    const change = (current: unknown): unknown => {
      const incident = current as Incident | undefined
      return incident && { ...incident, attempts: [...incident.attempts, attempt].slice(-KEPT_ATTEMPTS) }
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
