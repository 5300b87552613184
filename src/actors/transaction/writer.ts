/**
 * Writer: a journal of transactions that is ours to write, and what settling them needs of it.
 * W1. Once another has taken it over, `signal` fires: nobody goes on with what stands in it.
 * W2. What has ended and is in the history is trimmed away, up to the oldest that has not.
 */
import type { Bus } from '../../bus/bus.ts'
import type { Journal, Position } from '../../bus/journal/contract.ts'
import type { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { alert } from '../notify.ts'
import { apply, type NewEvent, type TxEvent, type TxView } from './events.ts'
import type { ExecutionHost } from './execution.ts'
import type { Finisher, Pools } from './finisher.ts'
import type { History } from './history.ts'
import type { Incidents, Problem } from './incidents.ts'

/** What all writers of a worker share. */
export interface WriterDeps {
  readonly bus: Bus
  readonly finisher: Finisher
  readonly pools: Pools
  readonly history: History
  readonly incidents: Incidents
  readonly log: Log
  readonly patienceMs: () => number
  /** Fires when the coordinator stops. */
  readonly stopping: AbortSignal
}

export class Writer implements ExecutionHost {
  readonly journal: Journal<TxEvent>
  readonly signal: AbortSignal
  /** What has not ended. */
  readonly views: Set<TxView> = new Set()
  readonly #deps: WriterDeps
  readonly #fenced = new AbortController()
  #last: Position = 0

  constructor(journal: Journal<TxEvent>, deps: WriterDeps) {
    this.journal = journal
    this.#deps = deps
    this.signal = AbortSignal.any([deps.stopping, this.#fenced.signal])
  }

  get finisher(): Finisher {
    return this.#deps.finisher
  }

  get pools(): Pools {
    return this.#deps.pools
  }

  get log(): Log {
    return this.#deps.log
  }

  patienceMs(): number {
    return this.#deps.patienceMs()
  }

  async append(view: TxView, added: NewEvent, soon = false): Promise<void> {
    const event: TxEvent = Object.assign(added, { tx: view.tx, at: Date.now() })
    const isSaid = view.planned || (event.type !== 'end' && event.type !== 'participant') // else nobody knows of it, and nobody needs to
    if (view.journaled && isSaid) {
      if (!view.planned) event.plan = view.plan
      view.planned = true
      try {
        this.#last = await this.journal.append(event, soon)
        view.position ??= this.#last
      } catch (error) {
        if (this.journal.fenced && !this.signal.aborted) {
          this.log.error(
            { journal: this.journal.name, transactions: this.views.size },
            'another coordinator has taken over these transactions',
          )
          this.#fenced.abort(error)
        }
        throw error
      }
    }
    apply(view, event)
  }

  async raise(view: TxView, index: number, problem: Problem, error: CageError): Promise<void> {
    const { id } = await this.#deps.incidents.raise(this.journal.cage, view, index, problem, error)
    alert(
      this.#deps.bus,
      this.journal.cage,
      this.log,
      { incident: id, problem, participant: view.plan.participants[index]?.name, err: error },
      'incident: people must decide',
    )
  }

  ended(view: TxView): void {
    if (view.journaled && view.planned && view.ended === undefined) return // its plan must stay: another will finish it
    this.views.delete(view)
    if (view.journaled && view.planned) this.#deps.history.tell(view)
  }

  /** W2. What trims away all that has ended by now. */
  trimmer(): () => void {
    let oldest = this.#last
    for (const { position = oldest } of this.views) oldest = Math.min(oldest, position)
    return () => {
      if (oldest > 0 && !this.journal.fenced) void this.journal.trim(oldest)
    }
  }
}
