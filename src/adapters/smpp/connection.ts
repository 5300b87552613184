/**
 * What a module calls: a light connection on a session that it shares with others.
 * X1. One call is one message: its parts are sent one after another, and a part that the server has no room for now is tried again until the deadline.
 * X2. What was sent and not answered may be done: `details.sent`. If its answer comes when nobody waits any more, the message is cancelled (cancel_sm).
 * X3. At the end of a scope the server is asked whether it is there: if nothing is heard within GRACE_MS, this connection is broken.
 *
 * SMPP 3.4, 4.4 to 4.10.
 */
import { CageError } from '../../errors.ts'
import type { ResourceConnection, Scope } from '../adapter.ts'
import { addressOf, sourceFields } from './address.ts'
import type { SmppState, SmppSubmitted } from './api.ts'
import { fromStatus, statusName } from './errors.ts'
import { compose, destination, recordOf } from './message.ts'
import type { SmppOptions } from './options.ts'
import { type Destination, type Fields, numberOf, type Pdu, textOf } from './pdu.ts'
import { type Rate, rest } from './rate.ts'
import { STATES } from './receipt.ts'
import type { Session } from './session.ts'
import { parseTime } from './time.ts'

/** How long a server has to show that it is there, ms. */
const GRACE_MS = 500
/** So long after a refusal a part is tried again, ms. */
const THROTTLED_MS = 1_000
/** A cancellation that nobody waits for may take so long, ms. */
const CANCEL_MS = 10_000

/** What connections of one resource share. */
export interface Shared {
  readonly name: string
  readonly options: SmppOptions
  readonly rate: Rate | undefined
  /** The next reference of a message in parts. */
  reference(): number
}

export class SmppConnection implements ResourceConnection {
  readonly participant = 'irreversible'
  readonly #shared: Shared
  readonly #session: Session
  readonly #release: () => Promise<void>
  #broken = false

  constructor(shared: Shared, session: Session, release: () => Promise<void>) {
    this.#shared = shared
    this.#session = session
    this.#release = release
  }

  get broken(): boolean {
    return this.#broken || this.#session.broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    const [first, second] = args
    switch (method) {
      case 'submit':
        return await this.#submit('submit_sm', first, scope)
      case 'data':
        return await this.#submit('data_sm', first, scope)
      case 'submitMulti':
        return await this.#submitMulti(first, scope)
      case 'query':
        return await this.#query(idOf(first), second, scope)
      case 'cancel':
        return await this.#cancel(idOf(first), second, scope)
      case 'replace':
        return await this.#replace(idOf(first), second, scope)
    }
    throw new CageError(
      'INVALID_ARGUMENT',
      `${this.#shared.name} has no method ${method}: it has submit, submitMulti, data, query, cancel, replace`,
    )
  }

  async check({ deadline }: Scope): Promise<void> {
    if (!(await this.#session.alive(deadline - Date.now())))
      throw new CageError('UNAVAILABLE', `${this.#shared.name}: the server does not answer`)
  }

  async close(): Promise<void> {
    this.#broken = true
    await this.#release()
  }

  async #submit(command: string, message: unknown, scope: Scope): Promise<SmppSubmitted> {
    const { to } = recordOf(message, 'message')
    const { coding, common, parts } = this.#compose(message, scope, command === 'submit_sm' ? undefined : 'payload')
    const addressed = Object.assign(common, destination(to))
    const messageIds: string[] = []
    for (const part of parts) messageIds.push(await this.#submitPart(command, { ...addressed, ...part }, messageIds, scope))
    return { messageId: messageIds[0] ?? '', messageIds, coding }
  }

  /** X1. `accepted`: ids of the parts before. */
  async #submitPart(command: string, fields: Fields, accepted: string[], scope: Scope): Promise<string> {
    const onLate = (late: Pdu): void => {
      if (late.status === 0) this.#takeBack([...accepted, textOf(late, 'message_id')], fields)
    }
    for (;;) {
      try {
        return textOf(await this.#request(command, wire(command, fields), scope, onLate), 'message_id')
      } catch (error) {
        if (accepted.length === 0 || !(error instanceof CageError) || error.code !== 'OVERLOADED') throw halfSent(error, accepted)
      }
      await rest(THROTTLED_MS, scope, this.#shared.name).catch((error: unknown) => {
        throw halfSent(error, accepted)
      })
    }
  }

  async #submitMulti(message: unknown, scope: Scope): Promise<unknown> {
    const { to } = recordOf(message, 'message')
    if (!Array.isArray(to) || to.length === 0) throw new CageError('INVALID_ARGUMENT', 'to must be a list of addresses')
    const dest_address: Destination[] = to.map((each) => addressOf(each, 'to'))
    const { common, parts } = this.#compose(message, scope, 'none')
    const answer = await this.#request('submit_multi', { ...common, dest_address, ...parts[0] }, scope)
    const refused = answer.fields.unsuccess_sme
    const failures = (Array.isArray(refused) ? refused : []) as readonly Destination[] // nothing else in Value is an array
    return {
      messageId: textOf(answer, 'message_id'),
      refused: failures.map(({ address, status = 0 }) => ({ address, status: statusName(status) })),
    }
  }

  async #query(messageId: string, from: unknown, scope: Scope): Promise<SmppState> {
    const answer = await this.#request('query_sm', { message_id: messageId, ...this.#source(from) }, scope)
    return {
      messageId,
      state: STATES[numberOf(answer, 'message_state') ?? -1] ?? 'UNKNOWN',
      finalDate: parseTime(textOf(answer, 'final_date'), Date.now()),
      errorCode: numberOf(answer, 'error_code') ?? 0,
    }
  }

  async #cancel(messageId: string, given: unknown, scope: Scope): Promise<void> {
    const { from, to, serviceType = '' } = recordOf(given ?? {}, 'addresses')
    const service_type = typeof serviceType === 'string' ? serviceType : ''
    const fields = { message_id: messageId, service_type, ...this.#source(from), ...(to === undefined ? {} : destination(to)) }
    await this.#request('cancel_sm', fields, scope)
  }

  async #replace(messageId: string, message: unknown, scope: Scope): Promise<void> {
    const { common, parts } = this.#compose(message, scope, 'none')
    const { source_addr = '', source_addr_ton = 0, source_addr_npi = 0, schedule_delivery_time = '', validity_period = '' } = common
    const source = { source_addr, source_addr_ton, source_addr_npi }
    const { registered_delivery = 0 } = common
    const { short_message = Buffer.alloc(0) } = parts[0] ?? {}
    const fields = { message_id: messageId, ...source, schedule_delivery_time, validity_period, registered_delivery, short_message }
    await this.#request('replace_sm', fields, scope)
  }

  #compose(message: unknown, { deadline }: Scope, split?: 'payload' | 'none'): ReturnType<typeof compose> {
    const given = split === undefined ? message : { ...recordOf(message, 'message'), split }
    return compose(given, this.#shared.options, deadline, this.#shared.reference())
  }

  #source(from: unknown): Fields {
    const source = from ?? this.#shared.options.from
    return source === undefined ? {} : sourceFields(addressOf(source, 'from'))
  }

  /** X3. Resolves with an answer of status 0. */
  async #request(command: string, fields: Fields, scope: Scope, onLate?: (late: Pdu) => void): Promise<Pdu> {
    const { name, rate } = this.#shared
    await rate?.turn(scope)
    try {
      const answer = await this.#session.request(command, fields, scope, onLate)
      if (answer.status !== 0) throw fromStatus(answer.status, name, command)
      return answer
    } catch (error) {
      const late = error instanceof CageError && (error.code === 'DEADLINE_EXCEEDED' || error.code === 'CANCELLED')
      if (late && !(await this.#session.alive(GRACE_MS))) this.#broken = true
      throw error
    }
  }

  /** X2. */
  #takeBack(messageIds: readonly string[], sent: Fields): void {
    const addresses = Object.fromEntries(ADDRESSES.map((name) => [name, sent[name] ?? '']))
    const scope = { deadline: Date.now() + CANCEL_MS, signal: new AbortController().signal }
    for (const message_id of messageIds) {
      this.#session.request('cancel_sm', { message_id, ...addresses }, scope).catch(() => {}) // its caller has been told that nobody knows
    }
  }
}

/** A failure after some parts were accepted says which. */
function halfSent(error: unknown, accepted: readonly string[]): unknown {
  if (!(error instanceof CageError) || accepted.length === 0) return error
  const { code, message, retryable } = error
  const details = { ...recordOf(error.details ?? {}, 'details'), accepted }
  return new CageError(code, `${message}, after ${accepted.length} parts`, { details, retryable, cause: error })
}

/** What cancel_sm names besides the id (4.9.1). */
const ADDRESSES = [
  'service_type',
  'source_addr_ton',
  'source_addr_npi',
  'source_addr',
  'dest_addr_ton',
  'dest_addr_npi',
  'destination_addr',
]

/** data_sm has fewer parameters, and no short_message (4.7.1). */
function wire(command: string, fields: Fields): Fields {
  if (command !== 'data_sm') return fields
  const {
    short_message,
    protocol_id: _p,
    priority_flag: _f,
    schedule_delivery_time: _s,
    validity_period: _v,
    replace_if_present_flag: _r,
    ...rest
  } = fields
  return short_message === undefined ? rest : { ...rest, message_payload: short_message }
}

function idOf(given: unknown): string {
  if (typeof given === 'string' && given !== '') return given
  throw new CageError('INVALID_ARGUMENT', 'a message id is needed, as text')
}
