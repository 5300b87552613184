/**
 * Smtp: one session with a mail server, one message at a time, in two steps: all of a message but the dot, then the dot.
 * T1. Before the dot, the message is not sent, whatever happens: losing the session gives it up. After the dot, without an answer, nobody knows.
 * T2. Work that is late, or that nobody wants any more, ends with the session: SMTP has no other way to stop a message.
 * T3. A message that was refused leaves the session usable: it is reset before the next one.
 * RFC 5321, 4.1.1.4 (DATA), 4.2.5; RFC 3207 (STARTTLS); RFC 4954 (AUTH); RFC 2920 (PIPELINING).
 */
import SMTPConnection, { type SMTPConnectionEnvelope, type SMTPConnectionSendInfo } from 'nodemailer/lib/smtp-connection'
import { CageError } from '../../errors.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import type { RecipientOutcome } from './api.ts'
import { Body } from './body.ts'
import { fromSmtp, refusal } from './errors.ts'
import type { Message } from './message.ts'
import type { EmailOptions } from './options.ts'

const GOODBYE_MS = 500
/** A server that says nothing for so long is gone, ms: longer than any that waits for us. RFC 5321, 4.5.3.2 */
const SILENCE_MS = 15 * 60_000

/** A message that lacks its dot. */
interface Held {
  body: Body
  answer: Promise<SMTPConnectionSendInfo>
  recipients: RecipientOutcome[]
}

export class Smtp {
  readonly #name: string
  readonly #client: SMTPConnection
  readonly #ended: Promise<void>
  #broken = false
  #givenUp = false
  #needsReset = false
  #held: Held | undefined

  private constructor(options: EmailOptions, name: string) {
    const { host, port, encryption, clientName } = options
    this.#name = name
    this.#client = new SMTPConnection({
      ...{ host, port, secure: encryption === 'tls', requireTLS: encryption === 'starttls', ignoreTLS: encryption === 'none' },
      ...(clientName === undefined ? {} : { name: clientName }),
      tls: tlsOptions(options.tls, name),
      socketTimeout: SILENCE_MS,
      socketCloseTimeout: 0, // at once: a half-sent message must not go on
      logger: false,
    })
    this.#ended = new Promise((resolve) => this.#client.once('end', resolve))
    this.#client.on('end', () => (this.#broken = true))
    this.#client.on('error', () => (this.#broken = true)) // whoever waits is told by the step that failed
  }

  /** Connects; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED. */
  static async open(options: EmailOptions, name: string, scope: Scope): Promise<Smtp> {
    const smtp = new Smtp(options, name)
    const { user, password } = options
    try {
      await smtp.#step(scope, (done) => smtp.#client.connect(done))
      if (user !== undefined) await smtp.#step(scope, (done) => smtp.#client.login({ user, pass: password ?? '' }, done))
      return smtp
    } catch (error) {
      smtp.destroy()
      if (error instanceof CageError && error.code === 'DEADLINE_EXCEEDED')
        throw new CageError('UNAVAILABLE', `${name}: the server does not answer`, { cause: error })
      throw fromSmtp(error, name)
    }
  }

  get broken(): boolean {
    return this.#broken
  }

  /** Ended by us, so that a message was not sent: the server is well. */
  get givenUp(): boolean {
    return this.#givenUp
  }

  /** All of the message but the dot; resolves with who will get it. */
  async begin({ envelope, bytes, everyRecipient }: Message, scope: Scope): Promise<RecipientOutcome[]> {
    if (this.#held) throw new CageError('INVALID_ARGUMENT', `${this.#name}: a transaction takes one message of each connection`)
    if (this.#needsReset) await this.reset(scope)
    const body = new Body(bytes)
    const own = { ...envelope, size: bytes.length }
    this.#needsReset = true
    try {
      const answer = new Promise<SMTPConnectionSendInfo>((resolve, reject) =>
        this.#client.send(own, body, (error, info) => (error ? reject(error) : resolve(info))),
      )
      answer.catch(() => {}) // told by the steps
      await this.#limited(scope, Promise.race([body.sent, answer]))
      const recipients = outcomesOf(own, envelope.to)
      if (everyRecipient) this.#checkAll(recipients)
      this.#held = { body, answer, recipients }
      return recipients
    } catch (error) {
      const recipients = outcomesOf(own, envelope.to)
      const [refused] = recipients
      const allRefused = recipients.every(({ accepted }) => !accepted) // else it is DATA that was refused, or the sender
      if (this.#broken || error instanceof CageError || !allRefused || !refused || refused.accepted)
        throw fromSmtp(error, this.#name, 'the message')
      throw refusal(refused.status ?? 550, refused.response ?? '', `${this.#name}: all recipients were refused`, { recipients })
    }
  }

  /** The dot; resolves with the server's answer. */
  async finish(scope: Scope): Promise<string> {
    const held = this.#held
    this.#held = undefined
    if (!held) throw new CageError('INTERNAL', `${this.#name}: no message has been begun`)
    try {
      held.body.end()
      const { response } = await this.#limited(scope, held.answer)
      this.#needsReset = false
      return response
    } catch (error) {
      throw fromSmtp(error, this.#name, 'the message')
    }
  }

  /** RSET: nothing is begun, and the server is there. */
  async reset(scope: Scope): Promise<void> {
    try {
      await this.#step(scope, (done) => this.#client.reset(done))
      this.#needsReset = false
    } catch (error) {
      this.destroy()
      throw fromSmtp(error, this.#name)
    }
  }

  async close(): Promise<void> {
    if (!this.#broken && !this.#held) {
      this.#client.quit()
      const scope: Scope = { deadline: Date.now() + GOODBYE_MS, signal: new AbortController().signal }
      await this.#limited(scope, this.#ended).catch(() => {}) // it has had its time
    }
    this.destroy()
  }

  /** T1. */
  giveUp(): void {
    this.#givenUp = !this.#broken
    this.destroy()
  }

  destroy(): void {
    this.#broken = true
    this.#held = undefined
    this.#client.close()
  }

  /** A command that calls back. What befalls the connection meanwhile is its failure too. */
  async #step(scope: Scope, command: (done: (error?: Error | null) => void) => void): Promise<void> {
    let onError: (error: Error) => void = () => {}
    const done = new Promise<void>((resolve, reject) => {
      onError = reject
      this.#client.once('error', reject)
      command((error) => (error ? reject(error) : resolve()))
    })
    try {
      await this.#limited(
        scope,
        Promise.race([done, this.#ended.then(() => Promise.reject(new Error('the server has closed the connection')))]),
      )
    } finally {
      this.#client.off('error', onError)
    }
  }

  /** T2. */
  #limited<T>(scope: Scope, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const give = (why: CageError): void => {
        this.destroy()
        reject(why)
      }
      const ended = endOf(scope, Date.now(), this.#name)
      if (ended) {
        work.catch(() => {}) // nobody waits for it
        return give(ended)
      }
      const off = whenEnded(scope, this.#name, give)
      work.then(resolve, reject).finally(off)
    })
  }

  #checkAll(recipients: readonly RecipientOutcome[]): void {
    const refused = recipients.find(({ accepted }) => !accepted)
    if (!refused || refused.accepted) return
    this.giveUp() // the server waits for the dot
    throw refusal(refused.status ?? 550, refused.response ?? '', `${this.#name}: a recipient was refused, nothing was sent`, { recipients })
  }
}

/** Each recipient's outcome: nodemailer notes them in the envelope that it was given, before the message is sent. */
function outcomesOf(envelope: Partial<SMTPConnectionEnvelope>, to: readonly string[]): RecipientOutcome[] {
  const errors = new Map(
    (envelope.rejectedErrors ?? []).map((error) => [(error as { recipient?: string }).recipient, error] as const), // set with each
  )
  return to.map((address) => {
    const error = errors.get(address)
    if (!error) return { address, accepted: true }
    const { responseCode: status, response } = error
    return { address, accepted: false, status, temporary: status !== undefined && status < 500, response }
  })
}
