/** Taken: a queued message as this copy has it, from its arrival to its end. Pure. */
import type { Msg } from 'nats'
import type { Bagged } from '../../bag.ts'
import type { CageError } from '../../errors.ts'
import type { Call, RequestInfo } from '../bus.ts'
import type { Delivery } from '../jetstream.ts'
import type { CallState, Failure, QueuePolicy } from './contract.ts'
import type { CallRecord } from './ledger.ts'
import { decodeCall, idOf, MAX_FAILURES, type QueuedCall } from './message.ts'
import { expiryOf } from './verdict.ts'

export interface Taken extends Bagged {
  msg: Msg
  delivery: Delivery
  call: QueuedCall
  id: string
  expiresAt: number
  record: CallRecord | undefined
  crashes: number
  /** In the table of held messages. */
  row: number
  /** As its module has it, while it runs. */
  running: Call | undefined
  /** By its id (`ctx.queues.cancel`). */
  cancelled: boolean
  onRan: () => void
}

/** Reads a message; throws INVALID_ARGUMENT if it is no call. */
export function take(msg: Msg, delivery: Delivery, policy: QueuePolicy, onRan: () => void): Taken {
  const header = (name: string): string | undefined => msg.headers?.get(name) || undefined
  const call = decodeCall({ subject: msg.subject, data: msg.data, time: delivery.time, header })
  const id = call.id ?? idOf(call.queue, delivery.seq, false)
  const expiresAt = expiryOf(call, delivery.time, policy)
  return {
    msg,
    delivery,
    call,
    id,
    expiresAt,
    record: undefined,
    crashes: 0,
    row: -1,
    running: undefined,
    cancelled: false,
    onRan,
    bagIndex: -1,
  }
}

/** The call as its module gets it. */
export function arrivedCall({ call, id, expiresAt }: Taken, { timeoutMs, maxAttempts }: QueuePolicy, now: number): Call {
  const { queue, module, method, args, attempts } = call
  const { id: requestId, traceparent, parameters, log } = call.request
  const attempt = attempts + 1
  const last = maxAttempts !== undefined && attempt >= maxAttempts
  const request: RequestInfo = { id: requestId, traceparent, parameters, queued: { queue, id, attempt, last } }
  if (log !== undefined) request.log = log
  return { module, method, args, deadline: Math.min(expiresAt, now + timeoutMs), timeoutMs, request, oneWay: false }
}

/** Notes a failed attempt. */
export function countFailure(call: QueuedCall, error: CageError, now: number): void {
  call.attempts++
  const failure: Failure = { at: now, attempt: call.attempts, code: error.code, message: error.message.slice(0, 500) }
  call.failures = [...call.failures, failure].slice(-MAX_FAILURES)
}

/** What the ledger is to have of it. */
export function recordOf(
  { call, id, delivery, expiresAt, record, crashes }: Taken,
  state: CallState,
  more: Partial<CallRecord>,
): CallRecord {
  const { queue, cage, module, method, attempts, moves, failures } = call
  return {
    id,
    queue,
    target: `${cage}.${module}.${method}`,
    state,
    seq: delivery.seq,
    moves,
    attempts,
    crashes,
    reruns: record?.reruns ?? 0,
    enqueuedAt: call.enqueuedAt ?? delivery.time,
    changedAt: Date.now(),
    expiresAt,
    failures,
    ...more,
  }
}
