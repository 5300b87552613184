/**
 * Outbox: what our server delivers to ESMEs. A module cannot reach a session, which is in one copy of the cage; so the copy where an ESME is bound asks
 * the module what there is for it, delivers it, and tells what became of it. The module keeps it: in a table, in its state.
 *
 *   outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 500 }
 *   export async function outgoing(ctx: Context, peer: SmppPeer): Promise<SmppOutgoing[]> { ... }
 *   export async function settled(ctx: Context, peer: SmppPeer, id: string, outcome: SmppOutcome): Promise<void> { ... }
 *
 * U1. `settle` is called when an answer says what became of it. Without one (session lost, no answer in time) it is not, and what `fetch` returns again
 *     is delivered again: at least once.
 * U2. What is being delivered is not delivered a second time meanwhile by this copy, though it is returned again.
 * U3. A receipt that a submit returned is told at once, on its own session or one of the same systemId that receives, and not kept: what must not be
 *     lost belongs into the outbox.
 * U4. At most `window` of what is fetched are begun at once, and each part has its own time: what was begun is delivered whole, however much there is.
 * U5. What is no item, or has no id, is logged and left out; the others are delivered.
 */
import { CageError, toCageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { InterfaceHost, Scope } from '../adapter.ts'
import { addressOf, destinationFields, sourceFields } from './address.ts'
import type { SmppOutcome, SmppPeer } from './api.ts'
import { fromStatus } from './errors.ts'
import { compose, destination, recordOf } from './message.ts'
import type { SmppServerOptions } from './options.ts'
import type { Fields } from './pdu.ts'
import { receiptText, STATES } from './receipt.ts'
import type { Session } from './session.ts'

const RECEIPT = 0x04 // esm_class (5.2.12)

/** Where something can be told to an ESME. */
export interface Channel {
  /** U3. */
  tell(receipt: Readonly<Record<string, unknown>>): void
}

interface Bound {
  readonly peer: SmppPeer
  readonly session: Session
}

/** One of what `fetch` has returned. */
interface Item {
  readonly id: string
  readonly one: Readonly<Record<string, unknown>>
}

export class Outbox {
  readonly #options: SmppServerOptions
  readonly #host: InterfaceHost
  readonly #bound = new Set<Bound>()
  readonly #running = new Set<Promise<void>>()
  /** U2. */
  readonly #underWay = new Set<string>()
  #reference = Math.floor(Math.random() * 0x10000)

  constructor(options: SmppServerOptions, host: InterfaceHost) {
    this.#options = options
    this.#host = host
  }

  /** An ESME is bound: what there is for it is delivered until it goes. */
  open(peer: SmppPeer, session: Session): Channel {
    const bound: Bound = { peer, session }
    if (peer.bindAs !== 'transmitter') {
      this.#bound.add(bound)
      this.#own(this.#keep(bound))
    }
    return { tell: (receipt) => this.#own(this.#tell(bound, receipt)) }
  }

  /** Resolves when nothing is delivered any more: the sessions have ended. */
  async ended(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #own(work: Promise<void>): void {
    const owned = work.finally(() => this.#running.delete(owned))
    this.#running.add(owned)
  }

  async #keep(bound: Bound): Promise<void> {
    const { outbox } = this.#options
    const gone = new AbortController()
    void bound.session.ended.then(() => gone.abort())
    let failures = 0
    while (outbox && !bound.session.broken) {
      try {
        const all = await this.#call(outbox.fetch, [bound.peer])
        if (!Array.isArray(all)) throw new TypeError('fetch has returned no list')
        const items = all.flatMap((one) => this.#readable(bound, one)) // before any begins
        const taken = await this.#deliverAll(bound, outbox.settle, items)
        failures = 0
        if (taken > 0 && taken === all.length) continue // there may be more
      } catch (error) {
        if (bound.session.broken) break
        this.#host.log[failures++ === 0 ? 'warn' : 'debug'](
          { err: error, systemId: bound.peer.systemId },
          'cannot ask what is to be delivered',
        )
      }
      await pause(outbox.pollMs, gone.signal)
    }
    if (!outbox) await bound.session.ended
    this.#bound.delete(bound)
  }

  /** U5. */
  #readable({ peer }: Bound, given: unknown): Item[] {
    try {
      return [itemOf(given)]
    } catch (error) {
      this.#host.log.error({ err: error, systemId: peer.systemId }, 'what is to be delivered cannot be read, and is left out')
      return []
    }
  }

  /** U4. How many were taken, and settled. What waits here is under way too (U2). */
  async #deliverAll(bound: Bound, settle: string, all: readonly Item[]): Promise<number> {
    const items = all.filter((item) => this.#claim(bound, item))
    const remaining = items.values() // shared by those who take from it
    let taken = 0
    const begin = async (): Promise<void> => {
      for (const item of remaining) if (await this.#deliver(bound, settle, item)) taken++
    }
    await Promise.all(Array.from({ length: Math.min(this.#options.window, items.length) }, begin))
    return taken
  }

  /** U2. */
  #claim({ peer }: Bound, { id }: Item): boolean {
    const key = keyOf(peer, id)
    if (this.#underWay.has(key)) return false
    this.#underWay.add(key)
    return true
  }

  /** Whether it was taken, and settled (U1). */
  async #deliver(bound: Bound, settle: string, { id, one }: Item): Promise<boolean> {
    try {
      const outcome = await this.#outcome(bound, one)
      if (outcome) await this.#call(settle, [bound.peer, id, outcome])
      return outcome?.delivered === true
    } catch (error) {
      this.#host.log.warn({ err: error, id }, 'what was delivered could not be settled, and will be delivered again')
      return false
    } finally {
      this.#underWay.delete(keyOf(bound.peer, id))
    }
  }

  /** undefined: nobody knows. */
  async #outcome({ session }: Bound, one: Readonly<Record<string, unknown>>): Promise<SmppOutcome | undefined> {
    try {
      const parts =
        one.receipt === undefined ? this.#message(one.message, this.#scope()) : [receiptFields(recordOf(one.receipt, 'receipt'))]
      for (const part of parts) await send(session, part, this.#scope())
      return { delivered: true }
    } catch (error) {
      const { code, message, details, retryable } = toCageError(error)
      const { commandStatus, statusName } = recordOf(details ?? {}, 'details')
      if (commandStatus === undefined && code !== 'INVALID_ARGUMENT' && code !== 'PAYLOAD_TOO_LARGE') return undefined
      return { delivered: false, code, message, retryable, ...(typeof statusName === 'string' ? { statusName } : {}) }
    }
  }

  /** U3. */
  async #tell({ peer, session }: Bound, receipt: Readonly<Record<string, unknown>>): Promise<void> {
    const other = [...this.#bound].find((each) => each.peer.systemId === peer.systemId && !each.session.broken)
    const to = peer.bindAs === 'transmitter' ? other?.session : session
    try {
      if (!to) throw new CageError('UNAVAILABLE', 'nobody of this systemId is bound as a receiver')
      await send(to, receiptFields(receipt), this.#scope())
    } catch (error) {
      this.#host.log.warn({ err: error, systemId: peer.systemId }, 'a receipt could not be told')
    }
  }

  #message(given: unknown, { deadline }: Scope): Fields[] {
    const { packed, split } = this.#options
    const { common, parts } = compose(given, { serviceType: '', split, packed, receipt: false }, deadline, this.#reference++ & 0xffff)
    const addressed = { ...common, ...destination(recordOf(given, 'message').to) }
    return parts.map((part) => ({ ...addressed, ...part }))
  }

  #scope(): Scope {
    return { deadline: Date.now() + this.#options.responseTimeoutMs + 1_000, signal: new AbortController().signal }
  }

  async #call(target: string, args: unknown[]): Promise<unknown> {
    return await this.#host.call(target, args, { timeoutMs: this.#options.timeoutMs, protocol: 'smpp' })
  }
}

function itemOf(given: unknown): Item {
  const one = recordOf(given, 'what fetch returns')
  if (typeof one.id !== 'string') throw new TypeError('what fetch returns has no id')
  return { id: one.id, one }
}

function keyOf({ systemId }: SmppPeer, id: string): string {
  return `${systemId} ${id}`
}

async function send(session: Session, fields: Fields, scope: Scope): Promise<void> {
  const { status } = await session.request('deliver_sm', fields, scope)
  if (status !== 0) throw fromStatus(status, 'the ESME', 'deliver_sm')
}

function receiptFields({ messageId, state, error, text, from, to }: Readonly<Record<string, unknown>>): Fields {
  const message_state = STATES.indexOf(String(state))
  if (typeof messageId !== 'string' || message_state < 0) throw new CageError('INVALID_ARGUMENT', 'a receipt needs a messageId and a state')
  const told = { messageId, state: String(state), error: error === undefined ? undefined : String(error), text: ascii(text) }
  return {
    ...sourceFields(addressOf(from, 'from')),
    ...destinationFields(addressOf(to, 'to')),
    esm_class: RECEIPT,
    short_message: Buffer.from(receiptText(told, new Date()), 'latin1'),
    receipted_message_id: messageId,
    message_state,
  }
}

/** Letters that have the same number in ASCII and GSM 03.38: the text of a receipt is no message. */
function ascii(text: unknown): string {
  return typeof text === 'string' ? text.replaceAll(/[^A-Za-z0-9 .,:;!?()'"+*/=<>%&-]/g, '?') : ''
}
