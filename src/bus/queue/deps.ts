/** What the parts of the queues share, made once for each connection (queues.ts). */
import type { NatsConnection } from 'nats'
import type { Log } from '../../log.ts'
import type { Notifications } from '../bus.ts'
import type { Connection } from '../connection.ts'
import type { JetStream } from '../jetstream.ts'
import type { Outbox } from '../outbox.ts'
import type { Control } from './control.ts'
import type { HeldTable } from './held.ts'
import type { Leadership } from './leadership.ts'
import type { Ledger } from './ledger.ts'
import type { Solo } from './solo.ts'
import type { Streams } from './streams.ts'

export interface QueueDeps {
  nc: NatsConnection
  connection: Connection
  outbox: Outbox
  js: JetStream
  streams: Streams
  ledger: Ledger
  control: Control
  leadership: Leadership
  held: HeldTable
  solo: Solo
  log: Log
  /** Tells people. */
  tell: Notifications['tell']
  /** This connection's id. */
  id: string
}
