/** A schedule's record, as the copies of the cage share it: read, claimed and changed by compare-and-set. */
import { CageError } from '../../errors.ts'
import type { InterfaceMemory } from '../adapter.ts'
import { type Claim, claim, firstRecord, type LastRun, type Lease, type ScheduleRecord } from './record.ts'

const KEY = 'record'

export class SharedRecord {
  readonly #memory: InterfaceMemory
  readonly #copy: string

  /** `copy`: unique among the copies of the cage. */
  constructor(memory: InterfaceMemory, copy: string) {
    this.#memory = memory
    this.#copy = copy
  }

  async get(): Promise<ScheduleRecord | undefined> {
    return (await this.#memory.get(KEY)) as ScheduleRecord | undefined // only schedules write there
  }

  /** The record to begin with. */
  async open(timing: string, since: number): Promise<ScheduleRecord> {
    const there = await this.get()
    return there?.timing === timing ? there : await this.change((current) => firstRecord(current, timing, since))
  }

  async isTaken(tick: number): Promise<boolean> {
    const record = await this.get()
    return record !== undefined && record.tick >= tick
  }

  /** Claims a tick; unless it is ours, nothing is written. */
  async claim(tick: number, last: LastRun, lease?: Lease): Promise<Claim['kind']> {
    let made: Claim | undefined
    try {
      await this.change((current) => {
        made = claim(current, tick, this.#copy, Date.now(), lease)
        if (made.kind !== 'ours') throw new CageError('CONFLICT', 'the tick is not ours')
        return { ...made.record, last }
      })
      return 'ours'
    } catch (error) {
      if (made === undefined || made.kind === 'ours') throw error
      return made.kind
    }
  }

  async change(change: (current: ScheduleRecord) => ScheduleRecord): Promise<ScheduleRecord> {
    const changed = await this.#memory.update(KEY, (current) => change((current as ScheduleRecord | undefined) ?? NONE))
    return changed as ScheduleRecord // what `change` has made
  }
}

/** Of a schedule that never ran, or whose record somebody has deleted. */
const NONE: ScheduleRecord = { timing: '', tick: 0, by: '' }
