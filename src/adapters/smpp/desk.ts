/**
 * Desk: what one ESME may ask of our server, and what it is answered.
 * K1. Its state decides: unbound, only a bind is taken; bound as receiver, only data_sm, which is submitted as of any other (SMPP 3.4, 2.3).
 * K2. A method that returns what is no answer is a mistake of the cage's, and logged. The ESME may ask again (RSYSERR), but does not submit again
 *     (RSUBMITFAIL): the method has succeeded, and would do it twice.
 * K3. Passwords are compared in constant time, and told nobody.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { CageError, toCageError } from '../../errors.ts'
import type { InterfaceHost } from '../adapter.ts'
import { destinationOf, sourceOf } from './address.ts'
import type { SmppPeer, SmppReceived } from './api.ts'
import { serverStatus, statusOf } from './errors.ts'
import { received } from './message.ts'
import type { SmppServerOptions } from './options.ts'
import type { Channel } from './outbox.ts'
import { contentOf } from './parts.ts'
import { type Pdu, textOf } from './pdu.ts'
import { STATES } from './receipt.ts'
import type { Answer } from './session.ts'
import { absoluteTime } from './time.ts'

const VERSION = 0x34
const LONGEST_ID = 64 // 5.2.23, without its NUL
const MODES: Readonly<Record<string, SmppPeer['bindAs']>> = {
  bind_transmitter: 'transmitter',
  bind_receiver: 'receiver',
  bind_transceiver: 'transceiver',
}

export class Desk {
  readonly #options: SmppServerOptions
  readonly #host: InterfaceHost
  readonly #ip: string
  readonly #open: (peer: SmppPeer) => Channel
  #binding = false
  #peer: SmppPeer | undefined
  #channel: Channel | undefined

  /** `open` is called when it is bound: what is to be delivered to it goes there. */
  constructor(options: SmppServerOptions, host: InterfaceHost, ip: string, open: (peer: SmppPeer) => Channel) {
    this.#options = options
    this.#host = host
    this.#ip = ip
    this.#open = open
  }

  /** Who is bound. */
  get peer(): SmppPeer | undefined {
    return this.#peer
  }

  /** Never rejects with anything but a mistake of ours. */
  async serve(pdu: Pdu): Promise<Answer> {
    try {
      const bindAs = MODES[pdu.command]
      if (bindAs) return await this.#bind(pdu, bindAs)
      if (!this.#peer) return { status: statusOf('RINVBNDSTS') } // K1
      return await this.#ask(pdu, this.#peer)
    } catch (error) {
      const failure = toCageError(error)
      if (failure !== error) this.#host.log.error({ err: error, command: pdu.command }, 'a request cannot be answered')
      const status = serverStatus(failure, pdu.command, this.#options.statuses)
      return { status, last: pdu.command in MODES }
    }
  }

  async #bind(pdu: Pdu, bindAs: SmppPeer['bindAs']): Promise<Answer> {
    if (this.#peer || this.#binding) return { status: statusOf('RALYBND') }
    this.#binding = true
    const peer: SmppPeer = { systemId: textOf(pdu, 'system_id'), systemType: textOf(pdu, 'system_type'), bindAs, ip: this.#ip }
    const password = textOf(pdu, 'password')
    const { accounts, bind, systemId } = this.#options
    const known = Object.hasOwn(accounts, peer.systemId) ? accounts[peer.systemId] : undefined
    if (known !== undefined) {
      if (!isSame(known, password)) throw new CageError('UNAUTHENTICATED', 'the password is wrong')
    } else if (bind === undefined) throw new CageError('NOT_FOUND', 'there is no such account')
    else await this.#call(bind, [{ ...peer, password, addressRange: textOf(pdu, 'address_range') }])
    this.#peer = peer
    this.#host.log.info({ systemId: peer.systemId, bindAs, ip: peer.ip }, 'an ESME is bound')
    const afterwards = (): void => {
      this.#channel = this.#open(peer)
    }
    return { status: 0, fields: { system_id: systemId, sc_interface_version: VERSION }, afterwards }
  }

  async #ask(pdu: Pdu, peer: SmppPeer): Promise<Answer> {
    const { query, cancel, replace } = this.#options
    const messageId = textOf(pdu, 'message_id')
    const now = Date.now()
    if (peer.bindAs === 'receiver' && pdu.command !== 'data_sm') return { status: statusOf('RINVBNDSTS') } // K1
    switch (pdu.command) {
      case 'submit_sm':
      case 'data_sm':
        return await this.#submit(pdu, peer, now)
      case 'query_sm':
        if (query !== undefined) return stateAnswer(messageId, await this.#call(query, [messageId, sourceOf(pdu), peer]))
        break
      case 'cancel_sm': {
        if (cancel === undefined) break
        const what = { messageId, from: sourceOf(pdu), to: destinationOf(pdu), serviceType: textOf(pdu, 'service_type') }
        await this.#call(cancel, [what, peer])
        return { status: 0 }
      }
      case 'replace_sm':
        if (replace === undefined) break
        await this.#call(replace, [messageId, received(pdu, contentOf(pdu), this.#options.packed, now), peer])
        return { status: 0 }
    }
    return { status: statusOf('RINVCMDID') }
  }

  async #submit(pdu: Pdu, peer: SmppPeer, now: number): Promise<Answer> {
    const content = contentOf(pdu)
    const message = { ...received(pdu, content, this.#options.packed, now), ...(content.part ? { part: content.part } : {}) }
    const result = await this.#call(this.#options.submit, [message, peer])
    try {
      return this.#accepted(result, message)
    } catch (error) {
      this.#host.log.error({ err: error, command: pdu.command }, 'what was submitted cannot be answered')
      return { status: statusOf('RSUBMITFAIL') } // K2
    }
  }

  /** Throws if the result is no answer (K2). */
  #accepted(result: unknown, message: SmppReceived): Answer {
    const { messageId, receipt } = typeof result === 'string' ? { messageId: result } : resultOf(result, 'submit')
    if (typeof messageId !== 'string') throw new TypeError('submit has returned no messageId')
    if (messageId.length > LONGEST_ID || !isAscii(messageId))
      throw new TypeError(`messageId must be ASCII, at most ${LONGEST_ID} characters`)
    if (receipt === undefined || !message.receipt) return { status: 0, fields: { message_id: messageId } }
    const { state, error } = resultOf(receipt, 'submit')
    const told = { messageId, state: String(state), ...(error === undefined ? {} : { error: String(error) }), text: message.text }
    const afterwards = (): void => this.#channel?.tell({ ...told, from: message.to, to: message.from })
    return { status: 0, fields: { message_id: messageId }, afterwards }
  }

  async #call(target: string, args: unknown[]): Promise<unknown> {
    return await this.#host.call(target, args, { timeoutMs: this.#options.timeoutMs, owner: this, protocol: 'smpp' })
  }
}

/** K2. */
function resultOf(result: unknown, method: string): Readonly<Record<string, unknown>> {
  if (typeof result !== 'object' || result === null) throw new TypeError(`${method} has returned no object`)
  return result as Record<string, unknown> // an object is one
}

function stateAnswer(messageId: string, result: unknown): Answer {
  const { state, finalDate, errorCode = 0 } = resultOf(result, 'query')
  const message_state = STATES.indexOf(String(state))
  if (message_state < 0 || typeof errorCode !== 'number') throw new TypeError('query has returned no state')
  const final_date = finalDate instanceof Date ? absoluteTime(finalDate) : ''
  return { status: 0, fields: { message_id: messageId, final_date, message_state, error_code: errorCode } }
}

/** What can be sent as a text (pdu.ts, P4). */
function isAscii(text: string): boolean {
  return [...text].every((character) => character > '\0' && character <= '\x7f')
}

/** K3. */
function isSame(known: string, given: string): boolean {
  const [one, other] = [known, given].map((text) => createHash('sha256').update(text).digest())
  return one !== undefined && other !== undefined && timingSafeEqual(one, other)
}
