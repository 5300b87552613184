/** History: tells the bus, a quarter of a second at a time, which transactions have ended, for people to look at. */
import type { Bus } from '../../bus/bus.ts'
import type { Log } from '../../log.ts'
import type { ParticipantOutcome } from './contract.ts'
import type { OrderEvent, TxOutcome, TxView } from './events.ts'

/** A transaction that has ended, as it is kept; without outcome and end it is under way. */
export interface TxRecord {
  id: string
  cage: string
  /** `module.method` */
  by: string
  /** The request's id. */
  request: string
  outcome: TxOutcome | undefined
  /** What people have decided about an incident of it. */
  resolution?: OrderEvent | undefined
  /** Epoch ms. */
  endedAt: number | undefined
  participants: { name: string; outcome: ParticipantOutcome }[]
  /** What was written down when, epoch ms. */
  events: { type: string; at: number; participant?: string | undefined; note?: string | undefined }[]
}

const FLUSH_MS = 250

/** While the bus is away no more are kept for it. */
const MAX_WAITING = 100_000

export class History {
  readonly #bus: Bus
  readonly #cage: string
  readonly #log: Log
  readonly #flushed: () => void
  #waiting: TxRecord[] = []
  #timer: NodeJS.Timeout | undefined

  /** `flushed`: all that has been told is stored. */
  constructor(bus: Bus, cage: string, log: Log, flushed: () => void) {
    this.#bus = bus
    this.#cage = cage
    this.#log = log
    this.#flushed = flushed
  }

  tell(view: TxView): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(recordOf(this.#cage, view))
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS)
  }

  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const records = this.#waiting
    if (records.length === 0) return
    this.#waiting = []
    try {
      await this.#bus.journals.keepAll(this.#cage, 'tx', records)
      if (this.#waiting.length === 0) this.#flushed()
    } catch (error) {
      this.#waiting = [...records, ...this.#waiting].slice(0, MAX_WAITING)
      this.#log.debug({ transactions: records.length, err: error }, 'ended transactions are not in the history yet')
      this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS)
    }
  }
}

/** What is kept of a transaction. */
export function recordOf(cage: string, view: TxView): TxRecord {
  const { id, plan, events, outcomes, ended } = view
  const names = plan.participants.map(({ name }) => name)
  return {
    ...{ id, cage, by: plan.by, request: plan.request.id, outcome: ended, endedAt: ended && Date.now() },
    participants: names.map((name, index) => ({ name, outcome: outcomes[index] ?? 'not begun' })),
    events: events.map((event) =>
      event.type === 'participant'
        ? { type: event.outcome, at: event.at, participant: names[event.index], note: event.error?.message }
        : { type: event.type, at: event.at },
    ),
  }
}
