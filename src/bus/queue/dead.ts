/**
 * Dead letters: calls that will not be tried again, with arguments, error and history, in the stream DEAD_CALLS.
 * B1. A letter is written before its call leaves the queue: whatever dies in between, nothing is lost.
 * B2. What cannot be written with its history is written without: a call near the bus's limit must be buried too.
 * B3. People are told of each, once it is there.
 */
import type { CageError } from '../../errors.ts'
import type { Notifications } from '../bus.ts'
import { headerOf, isCode, type JetStream, type StoredMessage } from '../jetstream.ts'
import type { DeadLetter } from './contract.ts'
import { decodeCall, encodeCall, messageId, type QueuedCall, subjectOf } from './message.ts'

type Tell = Notifications['tell']

const WRITE_MS = 30_000
const LONGEST_MESSAGE = 500

/** Writes the dead letter of a call (B1). */
export async function bury(js: JetStream, call: QueuedCall, id: string, error: CageError, tell: Tell): Promise<void> {
  const bodies = [call, { ...call, failures: [] }]
  await write(
    js,
    subjectOf('dead', call),
    bodies.map((body) => encodeCall({ ...body, id })),
    id,
    messageId(id, call.moves),
    error,
  )
  const { queue, cage, module, method, attempts } = call
  tellOf(tell, { queue, cage, module, method }, { call: id, attempts }, error)
}

/** Writes the dead letter of a message that is no call. */
export async function buryBytes(js: JetStream, subject: string, data: Uint8Array, id: string, error: CageError, tell: Tell): Promise<void> {
  const [, queue = '_', cage = '_', module = '_', method = '_'] = subject.split('.') // it may be anything
  await write(js, `dead.${queue}.${cage}.${module}.${method}`, [data], id, messageId(id, 0), error)
  tellOf(tell, { queue, cage, module, method }, { call: id }, error)
}

/** B3. */
function tellOf(
  tell: Tell,
  { queue, cage, module, method }: Pick<QueuedCall, 'queue' | 'cage' | 'module' | 'method'>,
  details: object,
  { code, message: reason }: CageError,
): void {
  const message = `a call of ${cage}.${module}.${method} in queue ${queue} is dead: ${code}`
  tell({ level: 'error', kind: 'call.dead', cage, module, at: Date.now(), message, details: { queue, method, ...details, code, reason } })
}

/** Reads a dead letter. */
export function readLetter(message: StoredMessage): DeadLetter {
  const { subject, seq, data, headers, time } = message
  const [, queue = '', cage, module, method] = subject.split('.')
  const letter = {
    seq,
    id: decodeURIComponent(headerOf(headers, 'Call-Id') ?? ''),
    queue,
    target: `${cage}.${module}.${method}`,
    diedAt: time,
    code: headerOf(headers, 'Error-Code') ?? '',
    message: headerOf(headers, 'Error') ?? '',
    payload: data,
  }
  try {
    const { args, attempts, failures, enqueuedAt } = callOf(message)
    return { ...letter, args, attempts, failures, enqueuedAt }
  } catch {
    return { ...letter, args: undefined, attempts: 0, failures: [], enqueuedAt: undefined } // no call: only its bytes can be shown
  }
}

/** The call that a dead letter was. Throws INVALID_ARGUMENT if it never was one. */
export function callOf({ subject, data, time, headers }: StoredMessage): QueuedCall {
  return decodeCall({ subject, data, time, header: (name) => headerOf(headers, name) })
}

async function write(js: JetStream, subject: string, bodies: Uint8Array[], id: string, msgId: string, error: CageError): Promise<void> {
  const about = { 'Call-Id': encodeURIComponent(id), 'Error-Code': error.code, Error: error.message.slice(0, LONGEST_MESSAGE) }
  let refusal: unknown
  for (const headers of [about, {}]) {
    for (const data of bodies) {
      try {
        await js.publish(subject, data, { msgId, headers, deadline: Date.now() + WRITE_MS, patient: true })
        return
      } catch (cause) {
        if (!isCode(cause, 'PAYLOAD_TOO_LARGE')) throw cause
        refusal = cause // B2
      }
    }
  }
  throw refusal
}
