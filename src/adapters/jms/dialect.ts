/**
 * Where brokers differ: STOMP leaves persistence, expiry, prefetch, durable subscriptions and temporary queues to them. Pure.
 * ActiveMQ: activemq.apache.org/components/classic/documentation/stomp; RabbitMQ: rabbitmq.com/docs/stomp.
 */

import type { Headers } from './frame.ts'

/** What is known of a broker. */
export interface Dialect {
  readonly name: 'activemq' | 'rabbitmq'
  /** Headers with which a message lives so long. `now`: epoch ms. */
  expiry(ttlMs: number, now: number): Headers
  /** Of a subscription of at most so many unacknowledged messages. */
  prefetch(count: number): Headers
  /** Of a durable subscription to a topic; the connection has its client id. */
  durable(name: string): Headers
  /** Of a message's kind. ActiveMQ takes what has a `content-length` for a BytesMessage, unless it is told otherwise. */
  kind(body: 'text' | 'bytes', hasNul: boolean): Headers
  /** Whether a temporary queue is subscribed to, or is there by itself for whoever names it in `reply-to`. */
  readonly subscribesToReplies: boolean
  /** What is sent in a transaction is confirmed with its commit, and not before. */
  readonly confirmsAtCommit: boolean
  /** A subscription can choose by a selector. */
  readonly selects: boolean
  /** A nack comes back at once: it is held back so long, ms. */
  readonly nackDelayMs: number
}

const ACTIVEMQ: Dialect = {
  name: 'activemq',
  expiry: (ttlMs, now) => ({ expires: String(now + ttlMs) }),
  prefetch: (count) => ({ 'activemq.prefetchSize': String(count) }),
  durable: (name) => ({ 'activemq.subscriptionName': name }),
  kind: (body, hasNul): Headers => (body === 'text' && hasNul ? { 'amq-msg-type': 'text' } : {}),
  subscribesToReplies: true,
  confirmsAtCommit: false,
  selects: true,
  nackDelayMs: 0, // its redelivery policy, or the dead letter queue
}

const RABBITMQ: Dialect = {
  name: 'rabbitmq',
  expiry: (ttlMs) => ({ expiration: String(ttlMs) }),
  prefetch: (count) => ({ 'prefetch-count': String(count) }),
  durable: (name) => ({ durable: 'true', 'auto-delete': 'false', id: name }),
  kind: (body) => ({ 'content-type': body === 'text' ? 'text/plain;charset=utf-8' : 'application/octet-stream' }),
  subscribesToReplies: false,
  confirmsAtCommit: true, // even after the commit itself
  selects: false,
  nackDelayMs: 1_000,
}

/** By the `server` header of CONNECTED; brokers that are neither are taken for ActiveMQ's kin. */
export function dialectOf(server: string | undefined): Dialect {
  return server?.startsWith('RabbitMQ') ? RABBITMQ : ACTIVEMQ
}
