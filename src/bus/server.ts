/**
 * Server: the callee's end of synchronous calls.
 * S1. Every question with a reply subject gets exactly one answer, in the format of the question; a one-way call gets none.
 * S2. Nothing that arrives can throw out of here: bad bytes and bad headers are answered with INVALID_ARGUMENT.
 * S3. An answer that the bus cannot carry becomes PAYLOAD_TOO_LARGE, never a broken connection.
 */
import { type Msg, type MsgHdrs, MsgHdrsImpl, type NatsConnection } from 'nats'
import { Bag, type Bagged } from '../bag.ts'
import { CageError, toCageError } from '../errors.ts'
import { isLogLevel } from '../levels.ts'
import type { Call, CallHandler, Outcome, QueuedInfo, RequestInfo, Subscription } from './bus.ts'
import { checkSize } from './caller.ts'
import type { Outbox } from './outbox.ts'
import { methodOf, moduleSubjects } from './subjects.ts'
import { decodeQuestion, encodeError, encodeResult, type Format } from './wire.ts'

/** A call with what it takes to answer it. */
class ArrivedCall implements Call, Bagged {
  bagIndex = -1
  readonly module: string
  readonly method: string
  readonly reply: string
  readonly handler: CallHandler
  args: unknown[]
  deadline: number
  request: RequestInfo
  format: Format
  key: string | undefined
  cancels: string | undefined

  constructor(module: string, method: string, reply: string, handler: CallHandler) {
    this.module = module
    this.method = method
    this.reply = reply
    this.handler = handler
    this.args = []
    this.deadline = Number.POSITIVE_INFINITY
    this.request = NO_REQUEST
    this.format = 'json'
    this.key = undefined
    this.cancels = undefined
  }

  get oneWay(): boolean {
    return this.reply === ''
  }
}

const NO_REQUEST: RequestInfo = { id: '' }

export class Server {
  readonly #nc: NatsConnection
  readonly #outbox: Outbox
  readonly #running = new Bag<ArrivedCall>()

  constructor(nc: NatsConnection, outbox: Outbox) {
    this.#nc = nc
    this.#outbox = outbox
  }

  /** Serves `<cage>.<module>.*` in the queue group of the cage. Resolves when the bus knows. */
  async serve(cage: string, module: string, handler: CallHandler): Promise<Subscription> {
    const subscription = this.#nc.subscribe(moduleSubjects(cage, module), {
      queue: cage,
      callback: (error, msg) => {
        if (!error) this.#receive(module, handler, msg)
      },
    })
    await this.#nc.flush()
    return { drain: () => subscription.drain() }
  }

  /** A caller has gone away: `reply` is the reply subject of its call. */
  cancel(reply: string): void {
    const call = this.#running.find((running) => running.reply === reply)
    call?.handler.cancel(call)
  }

  #receive(module: string, handler: CallHandler, msg: Msg): void {
    const call = new ArrivedCall(module, methodOf(msg.subject), msg.reply ?? '', handler)
    try {
      readQuestion(call, msg)
    } catch (error) {
      this.#answer(call, { ok: false, error: toCageError(error) })
      return
    }
    this.#running.add(call)
    handler.handle(call, (outcome) => {
      this.#running.delete(call)
      if (call.reply !== '') this.#answer(call, outcome)
    })
  }

  #answer(call: ArrivedCall, outcome: Outcome): void {
    if (call.reply === '' || this.#nc.isClosed()) return
    if (!outcome.ok) return this.#answerError(call, outcome.error)
    try {
      const data = encodeResult(outcome.result, call.format)
      checkSize(this.#nc, 'the result', data)
      this.#outbox.publish(call.reply, data)
    } catch (error) {
      this.#answerError(call, toCageError(error))
    }
  }

  #answerError(call: ArrivedCall, error: CageError): void {
    const { code } = error
    const headers = errorHeaders(error)
    for (const body of [error.toJSON(), { code, message: 'the details of this error are too large' }]) {
      try {
        const data = encodeError(body, call.format)
        checkSize(this.#nc, 'the error', data, headers.length)
        return this.#outbox.publishWithHeaders(call.reply, headers, data)
      } catch {
        // too large: the next body is short
      }
    }
  }
}

/** ADR-32: how an answer says that it is an error. */
export function errorHeaders(error: CageError): Uint8Array {
  const headers = new MsgHdrsImpl()
  headers.set('Nats-Service-Error-Code', String(error.status))
  headers.set('Nats-Service-Error', headerText(error.message))
  return headers.encode()
}

function readQuestion(call: ArrivedCall, msg: Msg): void {
  const question = decodeQuestion(msg.data)
  call.format = question.format
  call.args = question.args
  const headers = question.request ? undefined : readHeaders(msg)
  call.request = question.request ?? readRequest(headers)
  if (typeof question.queued === 'object' && question.queued !== null) readExtras(call, question.queued)
  else if (headers) call.key = headers.get('Idempotency-Key') || undefined
  const timeoutMs = question.timeoutMs ?? readTimeout(headers)
  if (timeoutMs !== undefined) call.deadline = Date.now() + timeoutMs
}

function readExtras(call: ArrivedCall, { once, cancels, handedOn }: { once?: unknown; cancels?: unknown; handedOn?: unknown }): void {
  if (handedOn !== undefined) call.request.queued = handedOn as QueuedInfo // only our own nodes write it
  if (typeof once !== 'string') return
  call.key = once
  if (typeof cancels === 'string') call.cancels = cancels
}

/** nats.js decodes headers when they are first read, and throws if they are bad. */
function readHeaders(msg: Msg): MsgHdrs | undefined {
  try {
    return msg.headers
  } catch (cause) {
    throw new CageError('INVALID_ARGUMENT', 'the headers cannot be read', { cause })
  }
}

function readTimeout(headers: MsgHdrs | undefined): number | undefined {
  const text = headers?.get('Timeout-Ms')
  if (!text) return undefined
  const timeoutMs = Number(text)
  if (!(timeoutMs > 0))
    throw new CageError('INVALID_ARGUMENT', `the header Timeout-Ms must be a positive number of milliseconds, not ${text.slice(0, 40)}`)
  return timeoutMs
}

function readRequest(headers: MsgHdrs | undefined): RequestInfo {
  if (headers === undefined) return { id: '' }
  const request: RequestInfo = { id: headers.get('Request-Id').slice(0, 128), traceparent: headers.get('traceparent') || undefined }
  const log = headers.get('Log-Level')
  if (isLogLevel(log)) request.log = log // a wrong word is no reason to refuse a call
  return request
}

/** A header ends at CR or LF (NATS client protocol, HPUB), so a message must have none. */
function headerText(message: string): string {
  return message.replace(/[\r\n]+/g, ' ').slice(0, 1_000)
}
