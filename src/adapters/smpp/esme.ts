/**
 * SMPP as an interface that binds to a server (SMSC) and takes what that delivers: messages, receipts, alerts.
 *
 *   inbox: { kind: 'smpp', mode: 'esme', url: env('SMSC_URL'), messages: 'sms.received', receipts: 'sms.delivered' }
 *   export async function received(ctx: Context, { from, text }: SmppReceived): Promise<void> { ... }
 *   export async function delivered(ctx: Context, { messageId, state }: SmppReceipt): Promise<void> { ... }
 *
 * V1. A delivery is acknowledged when its method has succeeded, else answered with an error, so that the server repeats it: RX_T_APPN (later) or,
 *     of an error that is not retryable, RX_R_APPN (never).
 * V2. A lost session is bound again, with back-off, for as long as the interface runs. What the server was not answered it repeats then.
 * V3. Each copy of the cage binds; the server shares out what it has to deliver.
 *
 * SMPP 3.4, 4.6 (deliver_sm), 4.7 (data_sm), 4.12 (alert_notification).
 */
import { CageError, toCageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { InterfaceHost, Listener } from '../adapter.ts'
import { sourceOf } from './address.ts'
import { Assembly, type Whole } from './assembly.ts'
import { bind } from './bind.ts'
import { alphabetOf, decodeText } from './coding.ts'
import { receiverStatus, statusOf } from './errors.ts'
import { unpack } from './gsm.ts'
import { received } from './message.ts'
import type { SmppReceiverOptions } from './options.ts'
import { contentOf } from './parts.ts'
import { type Pdu, textOf } from './pdu.ts'
import { isReceipt, parseReceipt } from './receipt.ts'
import type { Answer, Session } from './session.ts'

const CONNECT_MS = 5_000
const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 3_000
/** A claim of a message in parts outlives its call by so long, ms. */
const CLAIM_MORE_MS = 15_000

export async function receive(options: SmppReceiverOptions, host: InterfaceHost): Promise<Listener> {
  const stopping = new AbortController()
  const { signal } = stopping
  const deliveries = new Deliveries(options, host)
  const connect = async (): Promise<Session> => {
    const serve = (pdu: Pdu): Promise<Answer> => deliveries.take(pdu)
    const session = await bind({ name: host.name, log: host.log, options, serve }, { deadline: Date.now() + CONNECT_MS, signal })
    host.log.info({ systemId: options.systemId, bindAs: options.bindAs }, 'bound')
    return session
  }
  const first = await connect()
  const ended = Promise.all([keep(first), sweep()]).then(() => {})
  return {
    address: `${options.tls ? 'ssmpp' : 'smpp'}://${options.host}:${options.port}`,
    done: ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }

  /** V2. Resolves when it was stopped and what ran has ended. */
  async function keep(session: Session | undefined): Promise<void> {
    let failures = 0
    for (let current = session; !signal.aborted; current = undefined) {
      try {
        current ??= await connect()
        const boundAt = Date.now()
        await untilEnded(current)
        if (Date.now() - boundAt > LONGEST_DELAY_MS) failures = 0 // a server that drops us at once is not asked at once
      } catch (error) {
        if (signal.aborted) break
        host.log[failures === 0 ? 'warn' : 'debug']({ err: toCageError(error) }, 'cannot bind, trying again')
      }
      failures++
      if (!signal.aborted) await pause(Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures) * (0.5 + Math.random() / 2), signal)
    }
  }

  async function untilEnded(session: Session): Promise<void> {
    const close = (): void => void session.close()
    signal.addEventListener('abort', close)
    if (signal.aborted) close()
    const why = await session.ended
    signal.removeEventListener('abort', close)
    deliveries.gone()
    if (!signal.aborted) host.log.warn({ err: why }, 'the session has ended, binding again')
  }

  async function sweep(): Promise<void> {
    while (!signal.aborted) {
      await pause(Math.max(20, options.partsTimeoutMs / 4), signal)
      if (!signal.aborted) await deliveries.sweep()
    }
  }
}

class Deliveries {
  readonly #options: SmppReceiverOptions
  readonly #host: InterfaceHost
  readonly #assembly: Assembly
  /** Whom calls are made for: the session. */
  #owner = {}

  constructor(options: SmppReceiverOptions, host: InterfaceHost) {
    this.#options = options
    this.#host = host
    const claimMs = (options.timeoutMs ?? host.timeoutMs) + CLAIM_MORE_MS
    this.#assembly = new Assembly(host.memory, { timeoutMs: options.partsTimeoutMs, max: options.maxPartialMessages, claimMs })
  }

  /** V1. */
  async take(pdu: Pdu): Promise<Answer> {
    try {
      switch (pdu.command) {
        case 'deliver_sm':
        case 'data_sm':
          return await this.#deliver(pdu)
        case 'alert_notification':
          await this.#alert(pdu)
          return { status: 0 }
        default:
          return { status: statusOf(pdu.command.startsWith('bind_') ? 'RALYBND' : 'RINVBNDSTS') }
      }
    } catch (error) {
      const failure = toCageError(error)
      this.#host.log.warn({ err: failure, command: pdu.command }, 'a delivery was not taken')
      return { status: receiverStatus(failure) }
    }
  }

  /** The server is gone, and with it whoever would be answered. */
  gone(): void {
    this.#host.cancel(this.#owner)
    this.#owner = {}
  }

  /** What is not whole in time is handed over all the same (assembly.ts, D3). */
  async sweep(): Promise<void> {
    try {
      for (const whole of await this.#assembly.expired(Date.now())) {
        this.#host.log.warn({ missing: whole.missing }, 'parts of a message have never come, it is handed over without them')
        await this.#handle(whole).catch(async (error: unknown) => {
          const failure = toCageError(error)
          this.#host.log.error({ err: failure, again: failure.retryable }, 'a message in parts was not taken')
          if (!failure.retryable) await this.#assembly.done(whole)
        })
      }
    } catch (error) {
      this.#host.log.warn({ err: error }, 'messages in parts cannot be looked at')
    }
  }

  async #deliver(pdu: Pdu): Promise<Answer> {
    const content = contentOf(pdu)
    const { packed, receipts, messages } = this.#options
    const message = received(pdu, content, packed, Date.now())
    if (isReceipt(pdu) && receipts !== undefined) {
      await this.#call(receipts, [parseReceipt(pdu, message.text ?? content.octets.toString('latin1')), message])
      return { status: 0 }
    }
    if (!content.part) {
      await this.#call(messages, [message])
      return { status: 0 }
    }
    const { text: _text, data: _data, ...envelope } = message
    const septets = packed && alphabetOf(message.dataCoding) === 'gsm'
    const octets = septets ? Buffer.from(unpack(content.octets, content.header.length)) : content.octets
    const added = await this.#assembly.add(content.part, envelope, octets, Date.now())
    if (added === 'full') throw new CageError('OVERLOADED', 'too many messages wait for their parts')
    if (added === 'busy') throw new CageError('UNAVAILABLE', 'the message is being handled')
    if (added !== 'kept') await this.#handle(added)
    return { status: 0 }
  }

  async #alert(pdu: Pdu): Promise<void> {
    const { alerts } = this.#options
    if (alerts !== undefined) await this.#call(alerts, [{ from: sourceOf(pdu), esme: textOf(pdu, 'esme_addr') }])
  }

  /** A message whose parts are there, or will never be. */
  async #handle(whole: Whole): Promise<void> {
    const { envelope, octets, missing } = whole
    const text = decodeText(octets, envelope.dataCoding, false, 0)
    const message = {
      ...envelope,
      ...(text === undefined ? { data: new Uint8Array(octets) } : { text }),
      ...(missing.length > 0 ? { missing } : {}),
    }
    try {
      await this.#call(this.#options.messages, [message])
    } catch (error) {
      await this.#assembly.release(whole).catch((problem: unknown) => this.#host.log.warn({ err: problem }, 'a claim ends by itself'))
      throw error
    }
    await this.#assembly
      .done(whole)
      .catch((error: unknown) =>
        this.#host.log.warn({ err: error }, 'a message in parts was handled and cannot be forgotten: it may come again'),
      )
  }

  async #call(target: string, args: unknown[]): Promise<void> {
    await this.#host.call(target, args, { timeoutMs: this.#options.timeoutMs, owner: this.#owner, protocol: 'smpp' })
  }
}
