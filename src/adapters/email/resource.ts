/**
 * A mail server as a resource: `send`, alone or in a transaction (SMTP, by nodemailer).
 * S1. In a transaction the call hands over all of the message but the dot that sends it. The commit is the dot; a rollback closes the connection.
 * S2. A refused dot is no commit. A lost connection before the dot is none either, for as long as this process can say so; after it nobody knows.
 *
 *   resources: { mail: { kind: 'email', host: 'mail.shop.test', user: 'shop', password: env('MAIL_PASSWORD'), from: 'shop@shop.test' } }
 *   await ctx.resources.mail.send({ to: 'ann@shop.test', subject: 'Your order', text: 'It is on its way.', id: ctx.request.callId })
 *
 * RFC 5321 (SMTP), RFC 6409 (submission), RFC 8314 (TLS).
 */
import { randomUUID } from 'node:crypto'
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { endOf } from '../../scope.ts'
import type { Branch, ParticipantClass, Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import type { Sent } from './api.ts'
import { composeMessage, type MessageDefaults } from './message.ts'
import type { EmailOptions } from './options.ts'
import { Smtp } from './smtp.ts'

/** So many branches are remembered whose dot was not sent. */
const BRANCHES_KEPT = 1_000

export async function open(options: EmailOptions, { cage, name }: ResourceHost): Promise<Resource> {
  const undecided = new Undecided()
  const defaults: MessageDefaults = { cage, resource: name, options }
  return {
    connect: async (scope) => new EmailConnection(await Smtp.open(options, name, scope), defaults, undecided),
  }
}

/** S2: what this process knows of branches whose dot it has not sent. */
class Undecided {
  /** Another process knows nothing of ours. */
  readonly process: string = randomUUID()
  readonly #branches = new Map<string, EmailConnection>()

  add(branch: string, connection: EmailConnection): void {
    const [oldest] = this.#branches.keys()
    if (oldest !== undefined && this.#branches.size >= BRANCHES_KEPT) this.#branches.delete(oldest)
    this.#branches.set(branch, connection)
  }

  delete(branch: string): void {
    this.#branches.delete(branch)
  }

  /** True if the branch had not been sent; it never will be. */
  abandon(branch: string): boolean {
    const connection = this.#branches.get(branch)
    connection?.abandon(branch)
    return connection !== undefined
  }
}

class EmailConnection implements ResourceConnection {
  readonly participant: ParticipantClass = 'one-phase'
  readonly #defaults: MessageDefaults
  readonly #undecided: Undecided
  #smtp: Smtp
  #lost = false
  #branch: string | undefined
  #begun = false

  constructor(smtp: Smtp, defaults: MessageDefaults, undecided: Undecided) {
    this.#smtp = smtp
    this.#defaults = defaults
    this.#undecided = undecided
  }

  /** A session that we gave up is made anew when it is needed: to the pool that is no loss. */
  get broken(): boolean {
    return this.#lost || (this.#smtp.broken && !this.#smtp.givenUp)
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<Sent> {
    const { resource } = this.#defaults
    if (method !== 'send') throw new CageError('INVALID_ARGUMENT', `${resource} has no method ${method}${didYouMean(method, ['send'])}`)
    const message = await composeMessage(args[0], this.#branch, this.#defaults, scope.traceparent)
    const smtp = await this.#session(scope)
    const recipients = await smtp.begin(message, scope)
    this.#begun = true
    const response = this.#branch === undefined ? await this.#finish(scope) : undefined // S1
    return { messageId: message.messageId, recipients, response }
  }

  async begin({ id, options }: Branch, _scope: Scope): Promise<void> {
    const [unknown] = Object.keys(options)
    if (unknown !== undefined)
      throw new CageError('INVALID_ARGUMENT', `${this.#defaults.resource}: a transaction of e-mail has no option ${unknown}`)
    this.#branch = id
    this.#undecided.add(id, this)
  }

  async identity(_scope: Scope): Promise<{ process: string; branch: string | undefined }> {
    return { process: this.#undecided.process, branch: this.#branch }
  }

  async commit(scope: Scope): Promise<void> {
    const branch = this.#branch
    this.#branch = undefined
    if (branch !== undefined) this.#undecided.delete(branch)
    if (this.#begun) await this.#finish(scope)
  }

  async rollback(_scope: Scope): Promise<void> {
    if (this.#branch !== undefined) this.#undecided.delete(this.#branch)
    this.#giveUp()
  }

  async outcome(identity: unknown, _scope: Scope): Promise<'rolled back' | 'unknown'> {
    const { process, branch } = (identity ?? {}) as { process?: unknown; branch?: unknown } // checked next
    if (process !== this.#undecided.process || typeof branch !== 'string') return 'unknown'
    return this.#undecided.abandon(branch) ? 'rolled back' : 'unknown'
  }

  /** Its branch is decided without it; it may be at another one by now. */
  abandon(branch: string): void {
    if (this.#branch === branch) this.#giveUp()
  }

  async check(scope: Scope): Promise<void> {
    const smtp = await this.#session(scope)
    await smtp.reset(scope)
  }

  async close(): Promise<void> {
    await this.#smtp.close()
  }

  async #session(scope: Scope): Promise<Smtp> {
    if (!this.#smtp.givenUp) return this.#smtp
    try {
      this.#smtp = await Smtp.open(this.#defaults.options, this.#defaults.resource, scope)
      return this.#smtp
    } catch (error) {
      this.#lost = true
      throw endOf(scope, Date.now(), this.#defaults.resource) ?? error
    }
  }

  async #finish(scope: Scope): Promise<string> {
    this.#begun = false
    return await this.#smtp.finish(scope)
  }

  #giveUp(): void {
    this.#branch = undefined
    if (this.#begun) this.#smtp.giveUp()
    this.#begun = false
  }
}
