/**
 * Once: a call with a key runs once over all copies of its cage. What is known of a key lies in the state bucket `_once_<cage>`, which the server
 * itself empties three days after the last change (docs/decisions/016-keyed-calls-and-intents.md).
 * P1. A key is running from before its method begins until that has really ended, whatever its caller was told at the deadline.
 * P2. A result is stored before its caller hears of it; an error leaves the key as if it had never been.
 * P3. A runner that is dead is replaced. One that is alive is waited for until the deadline.
 * P4. A call that cancels another settles first whether there is anything to undo. From then on the other one's key is never run again.
 */
import { randomUUID } from 'node:crypto'
import type { Bus, Call, Outcome, StateStore } from '../bus/bus.ts'
import { CageError, toCageError } from '../errors.ts'
import type { Log } from '../log.ts'
import { pause } from '../pause.ts'

/** A call that was begun. */
export interface Begun {
  /** What its caller is told: what the method came to, or that it took too long. */
  readonly settled: Promise<Outcome>
  /** What its method came to in the end; undefined if it never began. */
  readonly ended: Promise<Outcome | undefined>
}

/** What is known of a key; nothing: it may run. */
type KeyRecord =
  | Running
  | { state: 'done'; target: string; result?: unknown; omitted?: true }
  /** It is over, or its runner is dead, and what it did is being undone. */
  | { state: 'undoing' }
  | { state: 'cancelled' }

interface Running {
  state: 'running'
  target: string
  /** Id of the runner's bus. */
  by: string
  /** Random: tells runs apart. */
  run: string
}

export const KEYS_KEPT_MS: number = 3 * 86_400_000

/** Silent for so long, a runner is dead: a worker that does not get round to answering is ended before. */
const SILENT_MS = 6_000

/** Between two looks at a call that is running elsewhere, ms. */
const FIRST_WAIT_MS = 20
const LONGEST_WAIT_MS = 500

/** Of the deadline, left for the answer. */
const MARGIN_MS = 100

/** How long what came of a call is tried to be stored. */
const STORE_MS = 30_000
const AGAIN_MS = 200

export class Once {
  readonly #bus: Bus
  readonly #cage: string
  readonly #log: Log
  /** Keys that run here, and what ends with them. */
  readonly #running = new Map<string, Promise<void>>()
  #known: StateStore | undefined

  constructor(bus: Bus, cage: string, log: Log) {
    this.#bus = bus
    this.#cage = cage
    this.#log = log
  }

  /** Settles a call by its key; begins it if it is to run. Resolves when nothing is left to do for it, and never rejects. */
  async handle(call: Call, key: string, settle: (outcome: Outcome) => void, begin: () => Begun, signal: AbortSignal): Promise<void> {
    const target = `${call.module}.${call.method}`
    const mine: Running = { state: 'running', target, by: this.#bus.id, run: randomUUID() }
    let claimed = false
    try {
      const known = await this.#claim(key, mine, call.deadline, signal)
      if (known) return settle(known)
      claimed = true
      if (call.cancels !== undefined && !(await this.#revoke(call.cancels, call.deadline, signal))) {
        await this.#store(key, mine, { state: 'done', target })
        return settle({ ok: true, result: undefined })
      }
    } catch (error) {
      settle({ ok: false, error: toCageError(error) })
      if (claimed || mayHaveWritten(error)) await this.#store(key, mine, undefined)
      return
    }
    const running = this.#run(call, key, mine, settle, begin())
    this.#running.set(key, running)
    await running
    this.#running.delete(key)
  }

  async #run(call: Call, key: string, mine: Running, settle: (outcome: Outcome) => void, { settled, ended }: Begun): Promise<void> {
    const refused = settled.then((outcome) => {
      if (!outcome.ok) settle(outcome)
      return !outcome.ok
    })
    const outcome = await ended // P1
    if (outcome?.ok) {
      if (call.cancels !== undefined) await this.#forget(call.cancels)
      await this.#store(key, mine, { state: 'done', target: mine.target, result: outcome.result }) // P2
    } else await this.#store(key, mine, undefined)
    if (!(await refused)) settle(outcome ?? NEVER_BEGUN)
  }

  /** Makes the key ours; resolves with its outcome if it has one already. Throws CONFLICT if it is running when the time is up. */
  async #claim(key: string, mine: Running, deadline: number, signal: AbortSignal): Promise<Outcome | undefined> {
    let dead: string | undefined
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)) {
      const found = await this.#change(key, deadline, (known) => (mayRun(known, dead) ? { to: mine } : undefined))
      if (mayRun(found, dead)) return undefined
      if (found?.state !== 'running') return outcomeOf(key, mine.target, found)
      dead = await this.#wait(key, found, waitMs, deadline, signal) // P3
    }
  }

  /** P4. Whether there is something to undo. */
  async #revoke(key: string, deadline: number, signal: AbortSignal): Promise<boolean> {
    let dead: string | undefined
    for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS)) {
      const found = await this.#change(key, deadline, (known) => revoked(known, dead))
      if (found?.state !== 'running' || found.run === dead) return found !== undefined && found.state !== 'cancelled'
      dead = await this.#wait(key, found, waitMs, deadline, signal)
    }
  }

  /** Waits a little for a running call; resolves with its run if nobody is alive to end it. */
  async #wait(key: string, { by, run }: Running, ms: number, deadline: number, signal: AbortSignal): Promise<string | undefined> {
    const leftMs = deadline - MARGIN_MS - Date.now()
    if (signal.aborted) throw new CageError('CANCELLED', 'the caller has gone away')
    if (leftMs <= 0) throw new CageError('CONFLICT', `the call with the key ${key} is running`, { retryable: true })
    const isAlive = by === this.#bus.id || (await this.#isAlive(by, Math.min(SILENT_MS, leftMs)))
    if (!isAlive) return Date.now() < deadline - MARGIN_MS ? run : undefined // silent until the deadline is not silent for long enough
    const here = this.#running.get(key)
    const waited = pause(Math.min(ms, leftMs), signal)
    await (here === undefined ? waited : Promise.race([here, waited]))
    return undefined
  }

  async #isAlive(by: string, withinMs: number): Promise<boolean> {
    try {
      return await this.#bus.isAlive(by, withinMs)
    } catch {
      return true // our own connection was away: nobody knows
    }
  }

  /** Writes what a call came to, or that it may run again, if it is still ours. Tries for long: what is running here is waited for elsewhere. */
  async #store(key: string, { run }: Running, record: KeyRecord | undefined): Promise<void> {
    const isOurs = (known: KeyRecord | undefined): boolean => known?.state === 'running' && known.run === run
    await this.#write(key, record, isOurs)
  }

  /** What was cancelled has been undone. */
  async #forget(key: string): Promise<void> {
    await this.#write(key, { state: 'cancelled' }, (known) => known?.state === 'undoing')
  }

  async #write(key: string, record: KeyRecord | undefined, isOurs: (known: KeyRecord | undefined) => boolean): Promise<void> {
    let to = record
    for (const giveUpAt = Date.now() + STORE_MS; ; await pause(AGAIN_MS)) {
      try {
        await this.#change(key, giveUpAt, (known) => (isOurs(known) ? { to } : undefined))
        return
      } catch (error) {
        const { code } = toCageError(error)
        const isLost = to?.state === 'done' && (code === 'PAYLOAD_TOO_LARGE' || code === 'INTERNAL') // no message can carry the result
        if (isLost && to?.state === 'done' && !to.omitted) to = { state: 'done', target: to.target, omitted: true }
        else if (Date.now() > giveUpAt) return this.#log.error({ key, err: error }, 'what a call with a key came to could not be stored')
      }
    }
  }

  /** Changes a record, if `change` says so; resolves with what was there. */
  async #change(
    key: string,
    deadline: number,
    change: (known: KeyRecord | undefined) => Change | undefined,
  ): Promise<KeyRecord | undefined> {
    let found: KeyRecord | undefined
    try {
      const decide = (known: unknown): unknown => {
        found = known as KeyRecord | undefined // nobody else writes there
        const changed = change(found)
        if (!changed) throw UNCHANGED
        return changed.to
      }
      await this.#records.update(key, decide, { deadline })
    } catch (error) {
      if (error !== UNCHANGED) throw error
    }
    return found
  }

  get #records(): StateStore {
    this.#known ??= this.#bus.state(`_once_${this.#cage}`, 'calls', KEYS_KEPT_MS) // no cage has such a name
    return this.#known
  }
}

interface Change {
  to: KeyRecord | undefined
}

const UNCHANGED = new Error('nothing is to be written')
const NEVER_BEGUN: Outcome = { ok: false, error: new CageError('UNAVAILABLE', 'the call was not begun') }

/** Whether the bus may have written what it was asked to. */
function mayHaveWritten(error: unknown): boolean {
  return error instanceof CageError && error.code === 'DEADLINE_EXCEEDED'
}

/** Whether a call may run, `dead` being a run that nobody is alive to end. Pure. */
function mayRun(known: KeyRecord | undefined, dead: string | undefined): boolean {
  return known === undefined || (known.state === 'running' && known.run === dead)
}

/** P4. What a cancellation makes of a key; undefined: it stays. Pure. */
function revoked(known: KeyRecord | undefined, dead: string | undefined): Change | undefined {
  if (known === undefined) return { to: { state: 'cancelled' } }
  if (known.state === 'done' || (known.state === 'running' && known.run === dead)) return { to: { state: 'undoing' } }
  return undefined
}

/** What a call is told whose key is not to be run any more. Pure. */
function outcomeOf(key: string, target: string, known: Exclude<KeyRecord, Running> | undefined): Outcome {
  if (known?.state !== 'done') return failed('CANCELLED', `the call with the key ${key} was cancelled`)
  if (known.target !== target) return failed('INVALID_ARGUMENT', `the key ${key} belongs to a call of ${known.target}`)
  if (!known.omitted) return { ok: true, result: known.result }
  return failed('CONFLICT', `the call with the key ${key} is done, its result was too large to be kept`, { done: true })
}

function failed(code: string, message: string, details?: object): Outcome {
  return { ok: false, error: new CageError(code, message, { details, retryable: false }) }
}
