/**
 * Producer: puts calls into queues.
 * E1. The id is returned once the server has stored the call. An outage on the way is bridged by repeating the same publication, or ends in an
 *     error: DEADLINE_EXCEEDED says that nobody knows, and that a repetition with the same id is safe.
 * E2. A call with an id is enqueued once for as long as the ledger remembers it: a second one is not run, and gets the same id.
 */
import { CageError } from '../../errors.ts'
import { isName } from '../../names.ts'
import { isCode, type JetStream, type Stored } from '../jetstream.ts'
import { isCallSubject } from '../subjects.ts'
import type { EnqueueOptions } from './contract.ts'
import type { Control } from './control.ts'
import { ANY_SEQ, type CallRecord, type Ledger } from './ledger.ts'
import { checkId, encodeCall, idOf, messageId, type QueuedCall, STREAMS, streamOf, subjectOf } from './message.ts'
import type { Streams } from './streams.ts'

export class Producer {
  readonly #js: JetStream
  readonly #streams: Streams
  readonly #ledger: Ledger
  readonly #control: Control
  readonly #nonce: () => string

  constructor(js: JetStream, streams: Streams, ledger: Ledger, control: Control, nonce: () => string) {
    this.#js = js
    this.#streams = streams
    this.#ledger = ledger
    this.#control = control
    this.#nonce = nonce
  }

  /** Stores a call (E1, E2). */
  async enqueue(queue: string, cage: string, module: string, method: string, args: unknown[], options: EnqueueOptions): Promise<string> {
    const { id, delayMs = 0, expiresMs, key, request, deadline, priority = 'normal' } = options
    checkEnqueue(queue, `${cage}.${module}.${method}`, options)
    await this.#control.follow().catch(() => {}) // without JetStream nothing is stored either
    if (this.#control.of(queue).mode === 'draining')
      throw new CageError('UNAVAILABLE', `queue ${queue} is being drained, it takes no calls`)
    const dueAt = delayMs > 0 ? Date.now() + delayMs : undefined
    const call: QueuedCall = {
      queue,
      cage,
      module,
      method,
      priority,
      args,
      request,
      id,
      attempts: 0,
      moves: 0,
      enqueuedAt: undefined,
      expiresMs,
      dueAt,
      key,
      failures: [],
    }
    const msgId = id === undefined ? this.#nonce() : messageId(id, 0)
    const stored = await this.#publish(call, msgId, deadline)
    if (id === undefined && dueAt === undefined) return idOf(queue, stored.seq, false)
    return this.#record(call, id ?? idOf(queue, stored.seq, true), stored, deadline)
  }

  async #publish(call: QueuedCall, msgId: string, deadline: number): Promise<Stored> {
    const { queue, dueAt } = call
    const subject = subjectOf(dueAt === undefined ? 'queue' : 'delayed', call)
    const data = encodeCall(call)
    try {
      return await this.#js.publish(subject, data, { msgId, deadline })
    } catch (error) {
      if (isCode(error, 'OVERLOADED')) throw new CageError('OVERLOADED', `queue ${queue} is full`, { details: { queue }, cause: error })
      if (!isCode(error, 'UNAVAILABLE') || !this.#js.connected) throw enqueueError(error, queue)
    }
    try {
      if (dueAt === undefined)
        await this.#streams.queue(queue) // nobody has needed it before
      else await this.#streams.shared(0)
      return await this.#js.publish(subject, data, { msgId, deadline })
    } catch (error) {
      throw enqueueError(error, queue)
    }
  }

  /** E2. A call that was stored although its id is taken is deleted again; if that fails, the executor drops it. */
  async #record(call: QueuedCall, id: string, { seq, duplicate }: Stored, deadline: number): Promise<string> {
    const now = Date.now()
    const { queue, cage, module, method, dueAt, expiresMs } = call
    const first: CallRecord = {
      ...{ id, queue, target: `${cage}.${module}.${method}`, state: dueAt === undefined ? 'waiting' : 'delayed', seq, moves: 0 },
      ...{ attempts: 0, crashes: 0, reruns: 0, enqueuedAt: now, changedAt: now, dueAt },
      expiresAt: expiresMs === undefined ? undefined : now + expiresMs,
    }
    const drop = (): Promise<boolean> => this.#js.delete(dueAt === undefined ? streamOf(queue) : STREAMS.delayed, seq).catch(() => false)
    try {
      const there = await this.#ledger.create(first, deadline).catch(async (error: unknown) => {
        if (!isCode(error, 'UNAVAILABLE') || !this.#js.connected) throw error
        await this.#streams.shared(0)
        return this.#ledger.create(first, deadline)
      })
      if (!there || (there.seq === seq && !duplicate)) return id
      const vacant = await this.#isVacant(there)
      if (vacant || there.seq === ANY_SEQ) {
        // the id has a new call: its record comes first, or the new message would be taken for what is left of the old one
        const moves = vacant ? there.moves + 1 : there.moves
        if (vacant) await this.#ledger.put({ ...first, seq: ANY_SEQ, moves })
        await this.#publish({ ...call, moves }, messageId(id, moves), deadline)
      }
      if (there.seq !== seq && !duplicate) await drop()
      return id
    } catch (error) {
      if (isCode(error, 'OVERLOADED') && !duplicate && (await drop()))
        throw new CageError('OVERLOADED', 'the ledger of calls is full', { details: { queue }, cause: error })
      throw unknownEnd(error, queue)
    }
  }

  /** Whether an id can be used again: its call was cancelled, or its message was purged. */
  async #isVacant({ id, queue, state, seq, changedAt }: CallRecord): Promise<boolean> {
    if (state === 'cancelled') return true
    if (state === 'done' || state === 'dead' || seq === ANY_SEQ) return false
    if (await this.#js.get(state === 'delayed' ? STREAMS.delayed : streamOf(queue), { seq })) return false
    return (await this.#ledger.get(id))?.changedAt === changedAt // else it went on meanwhile
  }
}

/** Throws INVALID_ARGUMENT for a call that cannot be enqueued. `target`: `cage.module.method`. */
export function checkEnqueue(
  queue: string,
  target: string,
  { id, delayMs = 0, expiresMs, priority, key }: Omit<EnqueueOptions, 'request' | 'deadline'>,
): void {
  if (!isName(queue)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(queue)} is no name of a queue`)
  if (!isCallSubject(target)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(target)} cannot be called: it is no name`)
  if (id !== undefined) checkId(id)
  if (!(delayMs >= 0 && delayMs < Number.POSITIVE_INFINITY))
    throw new CageError('INVALID_ARGUMENT', `delayMs must be a number from 0 on, not ${delayMs}`)
  if (expiresMs !== undefined && !(expiresMs > 0))
    throw new CageError('INVALID_ARGUMENT', `expiresMs must be a positive number, not ${expiresMs}`)
  if (priority !== undefined && priority !== 'high' && priority !== 'normal')
    throw new CageError('INVALID_ARGUMENT', `priority must be high or normal, not ${JSON.stringify(priority)}`)
  if (key !== undefined && typeof key !== 'string') throw new CageError('INVALID_ARGUMENT', `key must be text, not ${typeof key}`)
}

function enqueueError(error: unknown, queue: string): unknown {
  if (isCode(error, 'DEADLINE_EXCEEDED')) return unknownEnd(error, queue)
  if (isCode(error, 'UNAVAILABLE'))
    return new CageError('UNAVAILABLE', `queue ${queue} cannot be reached: ${error.message}`, { cause: error })
  return error
}

/** E1. */
function unknownEnd(error: unknown, queue: string): CageError {
  const message = `the server did not confirm in time that queue ${queue} has the call: repeat it with the same id`
  return new CageError('DEADLINE_EXCEEDED', message, { cause: error })
}
