/**
 * A saga's journal in the hands of the run that has it now, with the view of what it tells.
 * J1. Whoever takes it over fences the run before: nothing of that one is stored any more.
 * J2. Events are stored in the order of their appending, so one that is known to be stored tells that those before are.
 * J3. What ends a saga is an event; then its record is kept; then the journal goes. Whoever finds it in between finishes.
 */
import type { Bus } from '../../bus/bus.ts'
import type { Journal } from '../../bus/journal/contract.ts'
import { CageError } from '../../errors.ts'
import { boundary } from './boundary.ts'
import { apply, type NewEvent, type SagaEvent, type SagaView, viewOf } from './events.ts'
import { recordOf, type SagaRecord, withoutValues } from './record.ts'

export class SagaJournal {
  readonly saga: string
  readonly view: SagaView
  readonly #bus: Bus
  readonly #journal: Journal<SagaEvent>
  #stored: Promise<unknown> = Promise.resolve()

  private constructor(bus: Bus, saga: string, journal: Journal<SagaEvent>, view: SagaView) {
    this.#bus = bus
    this.saga = saga
    this.#journal = journal
    this.view = view
  }

  /** J1. A saga that nobody knows has an empty view. */
  static async takeOver(bus: Bus, cage: string, saga: string): Promise<SagaJournal> {
    const { journal, entries } = await bus.journals.takeOver<SagaEvent>(cage, 'saga', saga)
    return new SagaJournal(bus, saga, journal, viewOf(entries))
  }

  /** Another run has the saga now. */
  get fenced(): boolean {
    return this.#journal.fenced
  }

  /** Takes an event in; resolves once it is stored. Who does not wait for that waits for a later one, or for `stored`. */
  append(event: NewEvent): Promise<unknown> {
    const full: SagaEvent = Object.assign(event, { at: Date.now() })
    const stored = this.#journal.append(full)
    stored.catch(() => {}) // told to who waits
    this.#stored = stored
    apply(this.view, full)
    return stored
  }

  /** Resolves once everything is stored (J2). */
  async stored(): Promise<void> {
    await this.#stored.catch((error: unknown) => {
      if (this.fenced) throw error // else it cannot be stored at all, which its appender was told
    })
  }

  /** J3. */
  async finish(): Promise<void> {
    const record = recordOf(this.#journal.cage, this.saga, this.view)
    if (record) await keep(this.#bus, record)
    boundary('kept', this.saga)
    await this.#journal.remove()
  }

  /** What has ended in this saga, if it has ended before. */
  async ended(): Promise<SagaRecord | undefined> {
    return recordOf(this.#journal.cage, this.saga, this.view) ?? (await keptRecord(this.#bus, this.#journal.cage, this.saga))
  }

  async remove(): Promise<void> {
    await this.#journal.remove()
  }

  close(): void {
    this.#journal.close()
  }
}

/** Throws why an event cannot be stored at all, if that is so; what else may happen to it is not waited for. */
export async function refused(stored: Promise<unknown>): Promise<void> {
  await Promise.race([stored, undefined])
}

/** What is kept of a saga that has ended. */
export async function keptRecord(bus: Bus, cage: string, saga: string): Promise<SagaRecord | undefined> {
  return (await bus.journals.kept(cage, 'saga', saga)) as SagaRecord | undefined // only this file writes there
}

async function keep(bus: Bus, record: SagaRecord): Promise<void> {
  for (const shorter of [record, withoutValues(record)]) {
    try {
      return await bus.journals.keep(record.cage, 'saga', record.id, shorter)
    } catch (error) {
      if (!(error instanceof CageError) || error.code !== 'PAYLOAD_TOO_LARGE' || shorter !== record) throw error
    }
  }
}
