/**
 * Ages: tells people of a queue whose oldest call waits for too long (`alertAfterMs`): its worker cannot keep up, is paused, or fails.
 * Every copy looks, at different times; whose turn it is tells, once an hour for all of them.
 */
import type { Log } from '../../log.ts'
import type { Notifications } from '../bus.ts'
import type { JetStream } from '../jetstream.ts'
import type { Turns } from '../turns.ts'
import type { QueuePolicy } from './contract.ts'
import type { Control } from './control.ts'
import { countOf } from './letters.ts'
import { filterOf, streamOf } from './message.ts'

/** A queue that this connection runs the calls of a cage from. */
export interface Consumed {
  readonly queue: string
  readonly cage: string
  readonly policy: () => QueuePolicy
}

export interface AgeDeps {
  readonly js: JetStream
  readonly control: Pick<Control, 'of'>
  readonly log: Log
  readonly tell: Notifications['tell']
  readonly turns: Turns
}

const LOOK_MS = 60_000
const TOLD_EVERY_MS = 3_600_000

export class AgeWatch {
  readonly #deps: AgeDeps
  readonly #consumed: () => Iterable<Consumed>
  #timer: NodeJS.Timeout | undefined

  constructor(deps: AgeDeps, consumed: () => Iterable<Consumed>) {
    this.#deps = deps
    this.#consumed = consumed
  }

  start(): void {
    clearTimeout(this.#timer)
    const timer = setTimeout(
      () =>
        void this.round()
          .catch((error: unknown) => this.#deps.log.debug({ err: error }, 'the age of queued calls cannot be told, trying again'))
          .finally(() => {
            if (this.#timer === timer) this.start()
          }),
      LOOK_MS * (0.5 + Math.random()),
    ).unref()
    this.#timer = timer
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Looks at all queues once. */
  async round(): Promise<void> {
    for (const consumed of this.#consumed()) await this.#look(consumed)
  }

  async #look({ queue, cage, policy }: Consumed): Promise<void> {
    const { js, control, tell, turns } = this.#deps
    const { alertAfterMs } = policy()
    if (alertAfterMs === undefined) return
    const subject = filterOf(queue, cage, 'all')
    const oldest = await js.get(streamOf(queue), { seq: 1, next_by_subj: subject })
    const ageMs = oldest === undefined ? 0 : Date.now() - oldest.time
    if (oldest === undefined || ageMs <= alertAfterMs || !(await turns(cage, `queue.old.${queue}`, TOLD_EVERY_MS))) return
    const waiting = await countOf(js, streamOf(queue), subject)
    const [, , , module, method] = oldest.subject.split('.')
    const { mode } = control.of(queue)
    const details = { queue, waiting, oldestAt: oldest.time, ageMs, oldest: `${cage}.${module}.${method}`, mode }
    const message = `the oldest call of cage ${cage} in queue ${queue} has waited for ${duration(ageMs)}, ${waiting} are there`
    tell({ level: 'error', kind: 'queue.old', cage, at: Date.now(), message, details }, queue)
  }
}

/** `90 minutes`, `26 hours`. */
function duration(ms: number): string {
  const minutes = Math.floor(ms / 60_000)
  return minutes < 180 ? `${minutes} minutes` : `${Math.floor(minutes / 60)} hours`
}
