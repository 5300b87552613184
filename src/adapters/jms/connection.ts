/**
 * A connection to a broker as a resource: `send`, `batch` and `request`, alone or in a transaction.
 * C1. A send resolves when the broker has confirmed it: a persistent message outlives the broker then.
 * C2. A transaction is one at the broker (BEGIN, COMMIT, ABORT), and participates in one phase. If the confirmation of its commit is lost,
 *     nobody can tell what has become of it: STOMP has no way to ask. Where sends are confirmed with the commit only, they wait for it here.
 * C3. A request lives no longer than its caller waits: it expires at the deadline, and is taken back when the caller goes away, if nobody has
 *     taken it yet and the broker knows selectors.
 *
 *   await ctx.resources.broker.send('/queue/orders', JSON.stringify(order), { headers: { kind: 'new' }, priority: 7 })
 *
 * STOMP 1.2; javax.jms.Message for what the headers mean.
 */
import { randomUUID } from 'node:crypto'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { pause } from '../../pause.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Branch, ParticipantClass, ResourceConnection, Scope } from '../adapter.ts'
import type { JmsMessage } from './api.ts'
import type { Frame, Headers } from './frame.ts'
import { ERROR_PROPERTY, type Outgoing, toMessage, toOptions, toSend } from './message.ts'
import type { JmsOptions } from './options.ts'
import type { Session } from './session.ts'

const METHODS = ['send', 'batch', 'request']
/** So long is a request looked for that is to be taken back, ms. */
const WITHDRAWAL_MS = 100
const GRACE_MS = 500

export class JmsConnection implements ResourceConnection {
  readonly participant: ParticipantClass = 'one-phase'
  readonly #session: Session
  readonly #options: JmsOptions
  readonly #name: string
  /** Distinguishes our replies from those of other connections. */
  readonly #id: string = randomUUID()
  readonly #replies = new Map<string, (reply: Frame) => void>()
  #replyTo: Promise<string> | undefined
  #transaction: string | undefined
  /** C2. */
  #deferred: Outgoing[] = []
  #requests = 0

  constructor(session: Session, options: JmsOptions, name: string) {
    this.#session = session
    this.#options = options
    this.#name = name
  }

  get broken(): boolean {
    return this.#session.broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    switch (method) {
      case 'send':
        return await this.#send(this.#encoded(args, scope), scope)
      case 'batch':
        return await this.#batch(args[0], scope)
      case 'request':
        return await this.#request(args, scope)
    }
    throw new CageError('INVALID_ARGUMENT', `${this.#name} has no method ${method}${didYouMean(method, METHODS)}`)
  }

  async begin({ id, options }: Branch, scope: Scope): Promise<void> {
    const [unknown] = Object.keys(options)
    if (unknown !== undefined) throw new CageError('INVALID_ARGUMENT', `a transaction of ${this.#name} has no option ${unknown}`)
    await this.#begin(id, scope)
  }

  /** C2. */
  async commit(scope: Scope): Promise<void> {
    await this.#end('COMMIT', scope)
  }

  async rollback(scope: Scope): Promise<void> {
    if (this.broken) return // the broker has, or will
    await this.#end('ABORT', scope)
  }

  /** STOMP has no question that asks for nothing else. */
  async check(scope: Scope): Promise<void> {
    const transaction = `${this.#id}.check`
    await this.#session.confirm('BEGIN', { transaction }, scope)
    await this.#session.confirm('ABORT', { transaction }, scope)
  }

  async close(): Promise<void> {
    await this.#session.close()
  }

  #encoded([destination, body, options]: readonly unknown[], { traceparent }: Scope): Outgoing {
    const message = toSend(destination, body, options, this.#session.dialect, this.#options.persistent, Date.now())
    if (traceparent !== undefined) message.headers.traceparent ??= traceparent
    return message
  }

  /** C1. */
  async #send(message: Outgoing, scope: Scope): Promise<void> {
    const transaction = this.#transaction
    if (transaction !== undefined && this.#session.dialect.confirmsAtCommit) return void this.#deferred.push(message)
    const { headers, body } = message
    await this.#session.confirm('SEND', transaction === undefined ? headers : { ...headers, transaction }, scope, body)
  }

  async #batch(messages: unknown, scope: Scope): Promise<void> {
    if (!Array.isArray(messages)) throw new CageError('INVALID_ARGUMENT', 'a batch is a list of [destination, body, options]')
    const all = messages.map((message: unknown) => {
      if (!Array.isArray(message)) throw new CageError('INVALID_ARGUMENT', 'a message of a batch is [destination, body, options]')
      return this.#encoded(message, scope)
    })
    const own = this.#transaction === undefined
    if (own) await this.#begin(`${this.#id}.${this.#session.nextId()}`, scope)
    try {
      for (const message of all) await this.#send(message, scope)
    } catch (error) {
      if (own) this.#session.destroy() // the broker rolls back; an error has ended the session anyway
      throw error
    }
    if (own) await this.#end('COMMIT', scope)
  }

  async #request([destination, body, given]: readonly unknown[], scope: Scope): Promise<JmsMessage> {
    if (this.#transaction !== undefined)
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: a request in a transaction would be sent by its commit only`)
    const options = toOptions(given)
    if ('correlationId' in options || 'replyTo' in options)
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: correlationId and replyTo of a request are the runtime's to give`)
    const remainingMs = Math.max(1, Math.ceil(scope.deadline - Date.now()))
    const ttlMs = Math.min(options.ttlMs ?? remainingMs, remainingMs) // C3
    const message = this.#encoded([destination, body, { ...options, ttlMs }], scope)
    message.headers['reply-to'] = await this.#repliesTo(scope)
    const correlationId = `${this.#id}.${++this.#requests}`
    message.headers['correlation-id'] = correlationId
    const reply = this.#reply(correlationId, scope)
    try {
      await Promise.all([this.#send(message, scope), reply])
    } catch (error) {
      const gone = error instanceof CageError && error.code === 'CANCELLED' // at the deadline it expires by itself
      if (gone && !this.broken) await this.#withdraw(message.headers.destination ?? '', correlationId) // C3
      throw error
    } finally {
      this.#replies.delete(correlationId)
    }
    return answerOf(await reply, this.#name)
  }

  #repliesTo(scope: Scope): Promise<string> {
    this.#replyTo ??= this.#awaitReplies(scope).catch((error: unknown) => {
      this.#replyTo = undefined // the next request may have more time
      throw error
    })
    return this.#replyTo
  }

  /** Where answers come to: a temporary queue of this connection, or the configured one, of which it takes its own. */
  async #awaitReplies(scope: Scope): Promise<string> {
    const session = this.#session
    const { replyQueue } = this.#options
    const onReply = (reply: Frame): void => this.#replies.get(reply.headers['correlation-id'] ?? '')?.(reply)
    if (replyQueue !== undefined) {
      if (!session.dialect.selects)
        throw new CageError('INVALID_ARGUMENT', `${this.#name}: a replyQueue needs selectors, which ${session.dialect.name} has not`)
      await session.subscribe({ destination: replyQueue, ack: 'auto', selector: `JMSCorrelationID LIKE '${this.#id}.%'` }, onReply, scope)
      return replyQueue
    }
    const queue = `/temp-queue/${this.#id}`
    if (session.dialect.subscribesToReplies) await session.subscribe({ destination: queue, ack: 'auto' }, onReply, scope)
    else session.expect(queue, onReply)
    return queue
  }

  #reply(correlationId: string, scope: Scope): Promise<Frame> {
    return new Promise((resolve, reject) => {
      const ended = endOf(scope, Date.now(), this.#name)
      if (ended) return reject(ended)
      let unhook = (): void => {} // a session that has ended says so before it can be called off
      const off = (): void => {
        unwatch()
        unhook()
      }
      const fail = (why: CageError): void => {
        off()
        reject(why)
      }
      const unwatch = whenEnded(scope, this.#name, fail)
      this.#replies.set(correlationId, (reply) => {
        off()
        resolve(reply)
      })
      unhook = this.#session.onEnd(fail)
    })
  }

  /** C3. */
  async #withdraw(destination: string, correlationId: string): Promise<void> {
    const session = this.#session
    if (!session.dialect.selects || !destination.startsWith('/queue/')) return
    const scope: Scope = { deadline: Date.now() + GRACE_MS, signal: new AbortController().signal }
    const taken = new AbortController()
    try {
      const selector = `JMSCorrelationID = '${correlationId}'`
      const id = await session.subscribe({ destination, selector, ack: 'auto' }, () => taken.abort(), scope)
      await pause(WITHDRAWAL_MS, taken.signal)
      await session.unsubscribe(id, scope)
    } catch {
      // the session is lost then, and says so: the request expires
    }
  }

  async #begin(id: string, scope: Scope): Promise<void> {
    if (this.#transaction !== undefined) throw new CageError('INTERNAL', `${this.#name}: a transaction has been begun before`)
    if (!this.#session.dialect.confirmsAtCommit) await this.#session.confirm('BEGIN', { transaction: id }, scope)
    this.#transaction = id
  }

  /** Ends the transaction, whatever comes of it: a session that does not confirm is lost, and its transaction with it. */
  async #end(command: 'COMMIT' | 'ABORT', scope: Scope): Promise<void> {
    const transaction = this.#transaction
    const deferred = this.#deferred
    this.#transaction = undefined
    this.#deferred = []
    if (transaction === undefined) throw new CageError('INTERNAL', `${this.#name}: no transaction has been begun`)
    const session = this.#session
    try {
      if (!session.dialect.confirmsAtCommit) await session.confirm(command, { transaction }, scope)
      else if (command === 'COMMIT')
        await Promise.all(whole(transaction, deferred).map(({ verb, headers, body }) => session.confirm(verb, headers, scope, body)))
    } catch (error) {
      session.destroy() // a scope that had ended before: nothing is left open
      throw error
    }
  }
}

/** All of a transaction, in one go. */
function whole(transaction: string, messages: readonly Outgoing[]): { verb: string; headers: Headers; body?: Buffer }[] {
  const sends = messages.map(({ headers, body }) => ({ verb: 'SEND', headers: { ...headers, transaction }, body }))
  return [{ verb: 'BEGIN', headers: { transaction } }, ...sends, { verb: 'COMMIT', headers: { transaction } }]
}

/** An answer; one that tells a failure, as an interface of ours does with `errorReplies`, is that failure. */
function answerOf(reply: Frame, name: string): JmsMessage {
  if (reply.truncated) throw new CageError('PAYLOAD_TOO_LARGE', `${name}: the answer is longer than maxBodyBytes`)
  const message = toMessage(reply)
  if (message.headers[ERROR_PROPERTY] === undefined) return message
  throw CageError.from(parsed(message.body))
}

function parsed(body: string | Uint8Array): unknown {
  try {
    return JSON.parse(String(body))
  } catch {
    return undefined // an error without a code
  }
}
