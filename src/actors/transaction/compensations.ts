/** Compensations: what undoes the methods of other modules, as these say it themselves (`export const compensations`). Asked once in a while. */
import type { Scope } from '../../adapters/adapter.ts'
import type { Bus } from '../../bus/bus.ts'
import { CageError } from '../../errors.ts'
import type { ModuleCompensations } from '../contract.ts'
import { COMPENSATIONS } from '../version.ts'
import type { Plan } from './events.ts'
import { ModuleParticipant, type Participant } from './participant.ts'

/** What a module says may change with its next version, ms. */
const KEPT_MS = 5_000

export class Compensations {
  readonly #bus: Bus
  readonly #known = new Map<string, { at: number; answer: Promise<ModuleCompensations> }>()

  constructor(bus: Bus) {
    this.#bus = bus
  }

  /** Makes those participants compensable that were named without an undo and have one; undefined if nobody needs to be asked. */
  apply(participants: readonly Participant[], request: Plan['request'], scope: Scope): Promise<unknown> | undefined {
    const asked = participants.filter(
      (each): each is ModuleParticipant => each instanceof ModuleParticipant && each.record.undo === undefined,
    )
    return asked.length > 0 ? Promise.all(asked.map((participant) => this.#applyOne(participant, request, scope))) : undefined
  }

  async #applyOne(participant: ModuleParticipant, request: Plan['request'], { deadline }: Scope): Promise<void> {
    const { cage, module, method } = participant.record
    const undo = (await this.#of(cage, module, request, deadline))[method]
    if (undo !== undefined) participant.undoneBy(undo)
  }

  /** Rejects if nobody can tell: a call that should be undone must not pass for one that cannot. */
  #of(cage: string, module: string, request: Plan['request'], deadline: number): Promise<ModuleCompensations> {
    const place = `${cage}.${module}`
    const known = this.#known.get(place)
    if (known && Date.now() - known.at < KEPT_MS) return known.answer
    const asked = this.#bus.call(cage, module, COMPENSATIONS, [], { deadline, request }) as Promise<ModuleCompensations> // as modules answer it
    const answer = asked.catch((error: unknown): ModuleCompensations => {
      this.#known.delete(place)
      if (error instanceof CageError && error.code === 'NOT_FOUND') return {} // of a runtime that knows no such question
      const why = error instanceof Error ? error.message : String(error)
      throw new CageError('UNAVAILABLE', `nobody can say what undoes ${place}: ${why.replace(`.${COMPENSATIONS}`, '')}`, { cause: error })
    })
    this.#known.set(place, { at: Date.now(), answer })
    return answer
  }
}
