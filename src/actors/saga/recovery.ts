/**
 * Recovery: finds the sagas of a cage whose call is gone before they ended (expired, dead, cancelled, purged), and has them compensated.
 * V1. It looks all the time, in every copy. What two find at once costs work, never correctness: the journal has one owner.
 * V2. A call is gone if it was not there twice, and the journal has not grown in between.
 * V3. What cannot be compensated is an incident: it is left to people.
 */
import type { Bus } from '../../bus/bus.ts'
import type { CallStatus } from '../../bus/queue/contract.ts'
import { CageError, type ErrorBody, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { pause } from '../../pause.ts'
import { alert } from '../notify.ts'
import type { Child } from '../supervisor.ts'
import { type SagaEvent, type SagaView, viewOf } from './events.ts'
import { nextUndo } from './ids.ts'
import { SagaJournal } from './journal.ts'
import { enqueueUndo } from './orders.ts'

const ROUND_MS = 1_000
const LOOK_AGAIN_MS = 2_000

/** Sagas that are looked at in a second, if there are so many. */
const LOOKS = 100

/** What is known of a saga from the rounds before. */
interface Seen {
  last: number
  nextAt: number
  missed: boolean
}

/** What is to be done about a saga whose call is gone. */
export type Finding = 'nothing' | 'forget' | 'finish' | 'compensate' | 'enqueue' | 'incident'

export class Recovery implements Child {
  readonly id = 'sagas'
  readonly restart = 'permanent'
  /** It goes on for as long as it is not stopped. */
  readonly done: Promise<void>
  readonly #bus: Bus
  readonly #cage: string
  readonly #log: Log
  readonly #stopping = new AbortController()
  #seen = new Map<string, Seen>()
  #loop: Promise<void> | undefined
  #end = (): void => {}

  constructor(bus: Bus, cage: string, log: Log) {
    this.#bus = bus
    this.#cage = cage
    this.#log = log
    this.done = new Promise((resolve) => {
      this.#end = resolve
    })
  }

  async start(): Promise<void> {
    this.#loop ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
    this.#end()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await this.#round()
      } catch (error) {
        this.#log.debug({ err: error }, 'sagas cannot be looked after, trying again')
      }
      await pause(ROUND_MS, signal)
    }
  }

  async #round(): Promise<void> {
    const now = Date.now()
    const before = this.#seen
    const due: string[] = []
    this.#seen = new Map()
    for (const { name, last } of await this.#bus.journals.list('saga', this.#cage)) {
      const known = before.get(name)
      const seen = known?.last === last ? known : { last, nextAt: now + ROUND_MS, missed: false } // it has just gone on
      this.#seen.set(name, seen)
      if (seen.nextAt <= now) due.push(name)
    }
    const restMs = Math.max(LOOK_AGAIN_MS, (this.#seen.size / LOOKS) * 1_000)
    for (let at = 0; at < due.length; at += LOOKS) await Promise.all(due.slice(at, at + LOOKS).map((saga) => this.#look(saga, restMs)))
  }

  /** V2. One saga's failure keeps no other from being looked at. */
  async #look(saga: string, restMs: number): Promise<void> {
    const seen = this.#seen.get(saga)
    if (!seen || this.#stopping.signal.aborted) return
    try {
      const view = await this.#missing(saga)
      if (view && seen.missed) await this.#settle(saga, view)
      seen.missed = view !== undefined
    } catch (error) {
      this.#log.warn({ saga, err: error }, 'a saga whose call is gone could not be looked after, trying again')
    }
    seen.nextAt = Date.now() + (seen.missed ? ROUND_MS / 2 : restMs)
  }

  /** The saga, if nobody is there to go on with it. */
  async #missing(saga: string): Promise<SagaView | undefined> {
    const { queues, journals } = this.#bus
    if (await queues.isPresent(saga)) return undefined
    const view = viewOf(await journals.read<SagaEvent>(this.#cage, 'saga', saga))
    if (view.incident || (view.carrier !== undefined && (await queues.isPresent(view.carrier)))) return undefined
    return view
  }

  async #settle(saga: string, seen: SagaView): Promise<void> {
    const status = await this.#bus.queues.status(seen.carrier ?? saga)
    const found = finding(seen, status)
    if (found === 'nothing') return
    const { carrier } = seen
    if (found === 'enqueue' && carrier !== undefined) return await enqueueUndo(this.#bus, this.#cage, seen, carrier)
    const journal = await SagaJournal.takeOver(this.#bus, this.#cage, saga)
    try {
      if (journal.view.events.length !== seen.events.length) return // it goes on
      if (found === 'forget') return await journal.remove()
      if (found === 'finish') return await journal.finish()
      const error = whyGone(carrier ?? saga, status)
      if (found === 'incident') {
        await journal.append({ type: 'incident', error }) // V3
        alert(
          this.#bus,
          this.#cage,
          this.#log,
          { saga, err: CageError.from(error) },
          'incident: the compensation of a saga cannot go on, people must decide',
        )
        return
      }
      const call = nextUndo(saga, carrier)
      await journal.append({ type: 'compensating', error, call })
      this.#log.warn({ saga, call, code: error.code, reason: error.message }, 'the call of a saga is gone, it is compensated')
      await enqueueUndo(this.#bus, this.#cage, journal.view, call)
    } catch (error) {
      if (!journal.fenced) throw toCageError(error)
    } finally {
      journal.close()
    }
  }
}

/** What is to be done about a saga whose call, with this status, is not there. Pure. */
export function finding({ begun, ended, incident, carrier }: SagaView, status: CallStatus | undefined): Finding {
  if (ended) return 'finish'
  if (!begun) return 'forget'
  if (incident) return 'nothing'
  if (carrier === undefined) return 'compensate'
  if (!status) return 'enqueue'
  const hasEnded = status.state === 'dead' || status.state === 'cancelled' || status.state === 'done'
  return hasEnded ? 'incident' : 'compensate' // else it was purged
}

function whyGone(call: string, status: CallStatus | undefined): ErrorBody {
  if (status?.error && status.state === 'dead') return status.error
  const what = status?.state === 'cancelled' ? 'was cancelled' : status?.state === 'dead' ? 'is dead' : 'is gone from its queue'
  return { code: 'CANCELLED', message: `call ${call} ${what}` }
}
