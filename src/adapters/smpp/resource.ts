/**
 * SMPP as a resource: sends short messages through a server (SMSC), as an ESME.
 *
 *   resources: { sms: { kind: 'smpp', url: env('SMSC_URL'), from: 'Shop', receipt: true, pool: { size: 50 } } },
 *   const { messageId } = await ctx.resources.sms.submit({ to: '+491234567', text: 'Your order is on its way' })
 *
 * A session carries many requests at once, while the pool gives a connection to one piece of work at a time. So what the pool has are light
 * connections, which share the sessions:
 * Q1. At most `binds` sessions are bound, also while others are being closed: servers count them.
 * Q2. A session is bound for the first connection on it, and unbound with the last.
 * Q3. A session that is lost breaks all its connections; one that may be (nothing was heard when it was asked) is not given to new ones.
 *
 * SMPP 3.4, issue 1.2.
 */
import { CageError } from '../../errors.ts'
import { whenEnded } from '../../scope.ts'
import type { Resource, ResourceConnection, ResourceHost, Scope } from '../adapter.ts'
import { bind } from './bind.ts'
import { type Shared, SmppConnection } from './connection.ts'
import { statusOf } from './errors.ts'
import type { SmppOptions } from './options.ts'
import { Rate } from './rate.ts'
import type { Answer, Session } from './session.ts'

export async function open(options: SmppOptions, { name, log }: ResourceHost): Promise<Resource> {
  return new Sessions(options, name, log)
}

/** A session that is bound or being bound, and how many connections are on it. */
interface Slot {
  readonly session: Promise<Session>
  users: number
}

class Sessions implements Resource {
  readonly #options: SmppOptions
  readonly #log: ResourceHost['log']
  readonly #shared: Shared
  readonly #slots: Slot[] = []
  readonly #closings = new Set<Promise<void>>()

  constructor(options: SmppOptions, name: string, log: ResourceHost['log']) {
    this.#options = options
    this.#log = log
    let reference = Math.floor(Math.random() * 0x10000)
    const rate = options.maxPerSecond === undefined ? undefined : new Rate(options.maxPerSecond, name)
    this.#shared = { name, options, rate, reference: () => reference++ & 0xffff }
  }

  async connect(scope: Scope): Promise<ResourceConnection> {
    const slot = this.#slot(scope)
    slot.users++
    try {
      const session = await this.#within(slot.session, scope)
      if (session.silent && !(await session.alive(scope.deadline - Date.now()))) {
        throw new CageError('UNAVAILABLE', `${this.#shared.name}: the server does not answer`) // Q3
      }
      let held = true
      return new SmppConnection(this.#shared, session, async () => {
        if (!held) return
        held = false // before the wait: it may be closed twice at once
        await this.#leave(slot)
      })
    } catch (error) {
      void this.#leave(slot)
      throw error
    }
  }

  /** What has been left is closed. */
  async close(): Promise<void> {
    await Promise.all(this.#closings)
  }

  /** Q1. The one with the fewest connections, or a new one. */
  #slot(scope: Scope): Slot {
    const known = [...this.#slots].sort((a, b) => a.users - b.users)[0]
    if (known && this.#slots.length >= this.#options.binds) return known
    const slot: Slot = { session: this.#bind(scope), users: 0 }
    this.#slots.push(slot)
    const forget = (): void => this.#forget(slot)
    void slot.session.then((session) => session.ended.then(forget), forget)
    return slot
  }

  async #bind(scope: Scope): Promise<Session> {
    if (this.#closings.size > 0) await this.#within(Promise.all(this.#closings), scope)
    return await bind({ name: this.#shared.name, log: this.#log, options: this.#options, serve: refuse }, scope)
  }

  /** Q2. */
  async #leave(slot: Slot): Promise<void> {
    if (--slot.users > 0) return
    this.#forget(slot)
    const closing = slot.session
      .then((session) => session.close())
      .catch(() => {}) // it was never bound, and whoever wanted it is told
      .finally(() => this.#closings.delete(closing))
    this.#closings.add(closing)
    await closing
  }

  #forget(slot: Slot): void {
    const at = this.#slots.indexOf(slot)
    if (at >= 0) this.#slots.splice(at, 1)
  }

  async #within<T>(work: Promise<T>, scope: Scope): Promise<T> {
    return await new Promise((resolve, reject) => {
      const off = whenEnded(scope, this.#shared.name, () =>
        reject(new CageError('UNAVAILABLE', `${this.#shared.name}: the server does not answer`)),
      )
      work.then(resolve, reject).finally(off)
    })
  }
}

/** What a server sends to one who only sends: an interface is for that (docs/adapters/smpp.md). A temporary error has it kept. */
async function refuse(): Promise<Answer> {
  return { status: statusOf('RX_T_APPN') }
}
