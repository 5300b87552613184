/**
 * Caller: our end of synchronous calls, many at once over one inbox.
 * R1. Every call is settled exactly once: by its answer, at its deadline, by cancellation, or at once when nobody can answer.
 * R2. A slot's reply subject is used again only after its answer has come; otherwise it gets a new number, so that a late answer meets nobody.
 * R3. A late or foreign reply is counted and dropped.
 * R4. No timer, stack trace or subscription per call: one ticker sweeps all deadlines.
 */
import { randomBytes } from 'node:crypto'
import type { Msg, NatsConnection } from 'nats'
import { CageError, CODES } from '../errors.ts'
import { Ticker } from '../ticker.ts'
import type { CallOptions } from './bus.ts'
import type { Connection } from './connection.ts'
import type { Outbox } from './outbox.ts'
import { callSubject, cancelSubject, isCallSubject } from './subjects.ts'
import { decodeBody, decodeResult, encodeEnvelope } from './wire.ts'

interface Slot {
  /** What the reply subject ends in: the slot's index plus a multiple of SLOTS (R2). */
  number: number
  reply: string
  waiting: Waiting | undefined
}

interface Waiting {
  cage: string
  module: string
  subject: string
  options: CallOptions
  resolve(result: unknown): void
  reject(error: unknown): void
  onAbort: (() => void) | undefined
  /** The answer is handed over as it is. */
  raw: boolean
  /** performance.now(), if somebody counts. */
  begunAt: number
}

/** How many calls may be in flight: more than any machine can hold, and small enough that numbers stay exact. */
const SLOTS = 2 ** 24

const NO_REQUEST = { id: '' }

export class Caller {
  lateReplies = 0
  inFlight = 0
  readonly #connection: Connection
  readonly #nc: NatsConnection
  readonly #outbox: Outbox
  readonly #prefix: string
  readonly #slots: Slot[] = []
  readonly #free: Slot[] = []
  readonly #ticker = new Ticker((now) => this.#expire(now))

  constructor(connection: Connection, outbox: Outbox) {
    this.#connection = connection
    this.#outbox = outbox
    this.#nc = connection.nc
    this.#prefix = `_INBOX.${randomBytes(9).toString('base64url')}.` // 72 bits tell connections apart; shorter than createInbox(): every byte is parsed three times
    this.#nc.subscribe(`${this.#prefix}*`, {
      callback: (error, msg) => {
        if (!error) this.#settle(msg) // an error is a permission that we lack; connection.ts logs it
      },
    })
  }

  get connected(): boolean {
    return this.#connection.connected && !this.#nc.isClosed()
  }

  /** See `Bus.call`. */
  call(cage: string, module: string, method: string, args: unknown[], options: CallOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timeoutMs = options.deadline - Date.now()
      const subject = callSubject(cage, module, method)
      const begunAt = options.counter === undefined ? 0 : performance.now()
      const waiting: Waiting = { cage, module, subject, options, resolve, reject, onAbort: undefined, raw: false, begunAt }
      if (timeoutMs <= 0) return fail(waiting, late(subject))
      if (options.signal?.aborted) return fail(waiting, cancelled(subject))
      let slot: Slot
      try {
        this.#check(subject)
        const data = encodeEnvelope(args, timeoutMs, options.request, extrasOf(options))
        checkSize(this.#nc, `the arguments of ${subject}`, data)
        slot = this.#take(waiting)
        this.#outbox.publish(subject, data, slot.reply)
      } catch (error) {
        return fail(waiting, error)
      }
      if (options.signal) this.#watch(slot, waiting, options.signal)
      this.#ticker.wake()
    })
  }

  /** Sends bytes and resolves with the message that comes back: for JetStream's own API. Rejects as `call` does. */
  request(subject: string, data: Uint8Array, deadline: number, headers?: Uint8Array): Promise<Msg> {
    return new Promise((resolve, reject) => {
      const options = { deadline, request: NO_REQUEST }
      const settle = (msg: unknown): void => resolve(msg as Msg) // raw: it is one
      const waiting: Waiting = {
        cage: '',
        module: '',
        subject,
        options,
        resolve: settle,
        reject,
        onAbort: undefined,
        raw: true,
        begunAt: 0,
      }
      try {
        if (!this.connected) throw new CageError('UNAVAILABLE', `${subject} cannot be reached: the bus is away`)
        checkSize(this.#nc, subject, data, headers?.length)
        const { reply } = this.#take(waiting)
        if (headers) this.#outbox.publishWithHeaders(subject, headers, data, reply)
        else this.#outbox.publish(subject, data, reply)
      } catch (error) {
        return reject(error)
      }
      this.#ticker.wake()
    })
  }

  /** Sends bytes, at most once. */
  send(subject: string, data: Uint8Array, reply?: string): void {
    if (this.connected) this.#outbox.publish(subject, data, reply)
  }

  /** See `Bus.post`. */
  post(cage: string, module: string, method: string, args: unknown[], options: CallOptions): void {
    const subject = callSubject(cage, module, method)
    this.#check(subject)
    const data = encodeEnvelope(args, Math.max(1, options.deadline - Date.now()), options.request, extrasOf(options))
    checkSize(this.#nc, `the arguments of ${subject}`, data)
    this.#outbox.publish(subject, data)
  }

  /** See `Bus.cancel`. */
  cancel(owner: object): void {
    for (const slot of this.#slots) if (slot.waiting?.options.owner === owner) this.#cancel(slot)
  }

  /** Ends every call in flight with UNAVAILABLE. */
  close(): void {
    for (const slot of this.#slots) {
      const waiting = slot.waiting && this.#retire(slot)
      if (waiting) fail(waiting, new CageError('UNAVAILABLE', 'the node is stopping'))
    }
  }

  #check(subject: string): void {
    if (!isCallSubject(subject)) throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(subject)} cannot be called: it is no name`)
    if (!this.connected) throw new CageError('UNAVAILABLE', `${subject} cannot be called: the bus is away`)
  }

  #take(waiting: Waiting): Slot {
    let slot = this.#free.pop()
    if (slot === undefined) {
      const number = this.#slots.length
      slot = { number, reply: this.#prefix + number, waiting: undefined }
      this.#slots.push(slot)
    }
    slot.waiting = waiting
    this.inFlight++
    return slot
  }

  /** Frees a slot whose answer has come, or whose question was never sent. */
  #release(slot: Slot): Waiting | undefined {
    const { waiting } = slot
    slot.waiting = undefined
    this.inFlight--
    this.#free.push(slot)
    if (waiting?.onAbort) waiting.options.signal?.removeEventListener('abort', waiting.onAbort)
    return waiting
  }

  /** Frees a slot whose answer may still come: under a new number (R2). */
  #retire(slot: Slot): Waiting | undefined {
    slot.number += SLOTS
    slot.reply = this.#prefix + slot.number
    return this.#release(slot)
  }

  #settle(msg: Msg): void {
    const number = Number(msg.subject.slice(this.#prefix.length))
    const slot = this.#slots[number % SLOTS]
    if (slot === undefined || slot.number !== number || slot.waiting === undefined) {
      this.lateReplies++
      return
    }
    const waiting = this.#release(slot) as Waiting // present: checked above
    try {
      const error = replyError(waiting.subject, msg)
      if (error) return fail(waiting, error)
      const result = waiting.raw ? msg : decodeResult(msg.data)
      count(waiting, undefined)
      waiting.resolve(result)
    } catch (cause) {
      fail(waiting, new CageError('INTERNAL', `the answer of ${waiting.subject} cannot be read`, { cause }))
    }
  }

  #watch(slot: Slot, waiting: Waiting, signal: AbortSignal): void {
    waiting.onAbort = () => this.#cancel(slot)
    signal.addEventListener('abort', waiting.onAbort, { once: true })
  }

  #cancel(slot: Slot): void {
    const { reply } = slot
    const waiting = this.#retire(slot)
    if (!waiting) return
    if (this.#connection.connected && !this.#nc.isClosed()) this.#outbox.publish(cancelSubject(waiting.cage), Buffer.from(reply))
    fail(waiting, cancelled(waiting.subject))
  }

  #expire(now: number): boolean {
    for (const slot of this.#slots) {
      const { waiting } = slot
      if (!waiting || waiting.options.deadline > now) continue
      this.#retire(slot)
      fail(waiting, late(waiting.subject))
    }
    return this.inFlight > 0
  }
}

function fail(waiting: Waiting, error: unknown): void {
  count(waiting, error instanceof CageError ? error.code : 'INTERNAL')
  waiting.reject(error)
}

function count({ options, cage, module, begunAt }: Waiting, code: string | undefined): void {
  options.counter?.called(cage, module, performance.now() - begunAt, code)
}

/** Refuses what the server would cut the connection for: to the server, headers are a part of the payload. */
export function checkSize(nc: NatsConnection, what: string, data: Uint8Array, headerBytes = 0): void {
  const limit = nc.info?.max_payload ?? Number.POSITIVE_INFINITY
  const bytes = headerBytes + data.length
  if (bytes > limit) throw new CageError('PAYLOAD_TOO_LARGE', `${what} take ${bytes} bytes, the bus carries ${limit}`)
}

/** What a call with a key has besides, or a queued one that is handed on. */
function extrasOf({ key, cancels, queued }: CallOptions): object | undefined {
  if (queued !== undefined) return { handedOn: queued }
  if (key === undefined) return undefined
  return cancels === undefined ? { once: key } : { once: key, cancels }
}

function late(subject: string): CageError {
  return new CageError('DEADLINE_EXCEEDED', `${subject} did not answer in time`)
}

function cancelled(subject: string): CageError {
  return new CageError('CANCELLED', `the call of ${subject} was cancelled`)
}

/** The error that a reply carries, if it does (ADR-32 headers; the server's own 503: no responders). */
function replyError(subject: string, msg: Msg): CageError | undefined {
  const { headers } = msg
  if (headers === undefined) return undefined
  if (headers.code === 503) return new CageError('UNAVAILABLE', `nobody serves ${subject}`)
  const status = headers.get('Nats-Service-Error-Code')
  if (status === '') return undefined
  const body = decodeBody(msg.data)
  if (typeof body === 'object' && body !== null && 'code' in body) return CageError.from(body)
  const code = Object.entries(CODES).find(([, number]) => number === Number(status))?.[0] ?? 'INTERNAL'
  return new CageError(code, headers.get('Nats-Service-Error') || `${subject} answered with error ${status}`)
}
