/**
 * History: tells the bus, a quarter of a second at a time, which transactions have ended, for people to look at.
 * H1. What waits is packed at once: as objects, thousands of them would be copied and searched by the garbage collector again and again, and
 *     packed together they would keep everything else waiting. Names of fields would be half of it: there are none.
 */
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
  readonly #flushing: () => () => void
  #waiting: Uint8Array[] = []
  #timer: NodeJS.Timeout | undefined
  #storing: Promise<void> | undefined

  /** `flushing` is called when all that has been told is about to be stored, what it returns once it is. */
  constructor(bus: Bus, cage: string, log: Log, flushing: () => () => void) {
    this.#bus = bus
    this.#cage = cage
    this.#log = log
    this.#flushing = flushing
  }

  tell(view: TxView): void {
    if (this.#waiting.length < MAX_WAITING) this.#waiting.push(this.#bus.journals.pack(keptOf(this.#cage, view))) // H1
    this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS)
  }

  async flush(): Promise<void> {
    while (this.#storing !== undefined) await this.#storing
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#waiting.length === 0) return
    this.#storing = this.#store(this.#waiting.splice(0))
    await this.#storing
  }

  /** Never rejects. */
  async #store(records: Uint8Array[]): Promise<void> {
    const stored = this.#flushing()
    try {
      await this.#bus.journals.keepAll(this.#cage, 'tx', records)
      stored()
    } catch (error) {
      this.#waiting = [...records, ...this.#waiting].slice(0, MAX_WAITING)
      this.#log.debug({ transactions: records.length, err: error }, 'ended transactions are not in the history yet')
      this.#timer ??= setTimeout(() => void this.flush(), FLUSH_MS)
    } finally {
      this.#storing = undefined
    }
  }
}

/** A transaction as people see it. */
export function recordOf(cage: string, view: TxView): TxRecord {
  return recordFrom(keptOf(cage, view))
}

/** H1. What is kept of a transaction: of the event of a participant its position too, and its error. */
type Kept = [
  cage: string,
  id: string,
  by: string,
  request: string,
  outcome: TxOutcome | undefined,
  endedAt: number | undefined,
  names: string[],
  outcomes: ParticipantOutcome[],
  events: (readonly [type: string, at: number, index?: number, note?: string | undefined])[],
]

function keptOf(cage: string, { id, plan, events, outcomes, ended }: TxView): Kept {
  const told = events.map((event) =>
    event.type === 'participant'
      ? ([event.outcome, event.at, event.index, event.error?.message] as const)
      : ([event.type, event.at] as const),
  )
  const names = plan.participants.map(({ name }) => name)
  return [cage, id, plan.by, plan.request.id, ended, ended && Date.now(), names, outcomes, told]
}

/** What is read of the history. What people have decided about an incident is kept as a record. */
export function recordFrom(kept: unknown): TxRecord {
  if (!Array.isArray(kept)) return kept as TxRecord
  const [cage, id, by, request, outcome, endedAt, names, outcomes, events] = kept as Kept // nothing else is kept there
  return {
    ...{ id, cage, by, request, outcome, endedAt },
    participants: names.map((name, index) => ({ name, outcome: outcomes[index] ?? 'not begun' })),
    events: events.map(([type, at, index, note]) => (index === undefined ? { type, at } : { type, at, participant: names[index], note })),
  }
}
