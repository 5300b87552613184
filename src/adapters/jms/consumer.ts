/**
 * Consumer: one subscription, from SUBSCRIBE to the end of its connection. A message becomes a call; its end decides what the broker is told.
 * D1. A message is acknowledged by itself (client-individual), after its call has succeeded and its answer, if one is wanted, is with the broker.
 * D2. One whose call has failed is refused (NACK), or left unacknowledged. A call that could not be made (UNAVAILABLE, OVERLOADED) is no verdict
 *     on the message, which is left.
 * D3. A left message ends the consumer as soon as what runs has ended: the broker gives what was left again, to the next one.
 * D4. At most `concurrency` calls run, and the broker is asked for no more messages.
 * D5. A lost connection cancels the calls and ends their answers: what they do cannot be acknowledged any more, and will be done again.
 */
import { CageError, toCageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { OpenScope } from '../../scope.ts'
import { traceparentOf } from '../../traceparent.ts'
import type { InterfaceHost, Scope } from '../adapter.ts'
import type { Frame, Headers } from './frame.ts'
import { type Outgoing, toErrorReply, toMessage, toReply } from './message.ts'
import type { JmsListenOptions } from './options.ts'
import type { Replies } from './replies.ts'
import type { Session } from './session.ts'

/** How a consumer has ended. */
export type Ending = 'stopped' | 'left'

/** So long may a broker take an answer, and a goodbye after which it has seen all acknowledgements, ms. */
const ANSWER_MS = 10_000
const GOODBYE_MS = 5_000

/** D2. */
const UNDECIDED: ReadonlySet<string> = new Set(['UNAVAILABLE', 'OVERLOADED', 'CANCELLED'])

export class Consumer {
  /** Resolves when it has ended and nothing runs; rejects if the connection was lost. */
  readonly done: Promise<Ending>
  readonly #session: Session
  readonly #options: JmsListenOptions
  readonly #host: InterfaceHost
  readonly #replies: Replies
  readonly #running = new Map<object, Promise<void>>()
  readonly #waiting: Frame[] = []
  readonly #closing = new AbortController()
  #settle: (ending: Ending | CageError) => void = () => {}
  #acknowledged = 0

  constructor(session: Session, replies: Replies, options: JmsListenOptions, host: InterfaceHost) {
    this.#session = session
    this.#replies = replies
    this.#options = options
    this.#host = host
    this.done = new Promise<Ending | CageError>((resolve) => {
      this.#settle = resolve
    }).then(async (ending) => await this.#end(ending))
    session.onEnd((why) => this.#close(why))
  }

  /** Messages that were acknowledged. */
  get acknowledged(): number {
    return this.#acknowledged
  }

  async subscribe(scope: Scope): Promise<void> {
    const { destination, selector, durable, concurrency } = this.#options
    const { dialect } = this.#session
    const headers: Headers = { destination, ack: 'client-individual', ...dialect.prefetch(concurrency) }
    if (selector !== undefined) headers.selector = selector
    if (durable !== undefined) Object.assign(headers, dialect.durable(durable))
    await this.#session.subscribe(headers, (message) => this.#take(message), scope)
  }

  /** Takes no more. What the broker has given and nobody has begun, it gives to others when the connection ends. */
  stop(): void {
    this.#close('stopped')
  }

  #take(frame: Frame): void {
    if (this.#closing.signal.aborted) return
    if (this.#running.size >= this.#options.concurrency) return void this.#waiting.push(frame) // D4: a broker that gives more all the same
    const owner = {}
    const run = this.#run(frame, owner).finally(() => {
      this.#running.delete(owner)
      const next = this.#waiting.shift()
      if (next) this.#take(next)
    })
    this.#running.set(owner, run)
  }

  async #run(frame: Frame, owner: object): Promise<void> {
    if (frame.truncated) {
      this.#host.log.warn({ messageId: frame.headers['message-id'] }, 'a message was refused: it is longer than maxBodyBytes')
      return this.#nack(frame)
    }
    const { handler, timeoutMs, errorReplies } = this.#options
    const message = toMessage(frame)
    const { id, destination, correlationId, replyTo } = message
    const parameters = { messageId: id, destination, ...(correlationId === undefined ? {} : { correlationId }) }
    let answer: (() => Promise<void>) | undefined
    try {
      const result = await this.#host.call(handler, [message.body, message], {
        ...{ timeoutMs, owner, protocol: 'jms', parameters },
        traceparent: traceparentOf(frame.headers.traceparent),
      })
      if (replyTo !== undefined) answer = () => this.#answer(frame, replyTo, { result })
    } catch (thrown) {
      const error = toCageError(thrown)
      if (this.#session.broken) return // D5
      if (!errorReplies || replyTo === undefined) return await this.#refuse(frame, error)
      answer = () => this.#answer(frame, replyTo, { error })
    }
    try {
      await answer?.()
    } catch (error) {
      this.#host.log.warn({ messageId: id, err: error }, 'a message was left to the broker: its answer could not be sent')
      return this.#close('left')
    }
    this.#session.write('ACK', { id: frame.headers.ack ?? '' }) // D1
    this.#acknowledged++
  }

  /** An answer that the broker refuses is told in the log, and gone: nobody is there to have it. */
  async #answer({ headers }: Frame, replyTo: string, outcome: { result: unknown } | { error: CageError }): Promise<void> {
    const scope = new OpenScope(Date.now() + ANSWER_MS)
    const off = this.#session.onEnd(() => scope.end(new CageError('UNAVAILABLE', 'the subscription is lost, and its messages come again'))) // D5
    const { 'correlation-id': correlationId, 'message-id': id = '', persistent = 'false', expires = '0' } = headers
    const more: Headers = { destination: replyTo, 'correlation-id': correlationId ?? id, persistent }
    if (expires !== '0') more.expires = expires // as long as the question
    try {
      await this.#replies.send((dialect) => {
        const { headers: own, body }: Outgoing =
          'error' in outcome ? toErrorReply(outcome.error, dialect) : toReply(outcome.result, dialect)
        return { headers: { ...own, ...more }, body }
      }, scope)
    } catch (error) {
      const { code } = toCageError(error)
      if (code === 'UNAVAILABLE' || code === 'DEADLINE_EXCEEDED') throw error
      this.#host.log.warn({ messageId: id, err: error }, 'an answer was lost: the broker refuses it')
    } finally {
      off()
    }
  }

  /** D2. */
  async #refuse(frame: Frame, error: CageError): Promise<void> {
    const { handler, onFailure } = this.#options
    const fields = { call: handler, messageId: frame.headers['message-id'], err: error }
    if (onFailure === 'leave' || UNDECIDED.has(error.code)) {
      this.#host.log.warn(fields, 'a message was left to the broker: its call failed')
      return this.#close('left')
    }
    this.#host.log.warn(fields, 'a message was refused: its call failed')
    await pause(this.#session.dialect.nackDelayMs, this.#closing.signal)
    this.#nack(frame)
  }

  #nack({ headers }: Frame): void {
    this.#session.write('NACK', { id: headers.ack ?? '' })
  }

  #close(ending: Ending | CageError): void {
    this.#closing.abort()
    this.#waiting.length = 0
    this.#settle(ending)
    if (this.#session.broken) for (const owner of this.#running.keys()) this.#host.cancel(owner) // D5
  }

  async #end(ending: Ending | CageError): Promise<Ending> {
    while (this.#running.size > 0) await Promise.all(this.#running.values())
    await this.#session.close(GOODBYE_MS)
    if (typeof ending !== 'string') throw ending
    return ending
  }
}
