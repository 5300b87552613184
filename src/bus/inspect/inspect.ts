/**
 * Inspect: asks server and JetStream what they are like, as any client may. It changes nothing but this: where the server does not tell its time
 * (before 2.10), a consumer that nobody reads is made for a moment, because what is made has a time.
 */
import type { ConsumerInfo, NatsConnection, StreamInfo } from 'nats'
import { CageError } from '../../errors.ts'
import type { Connection } from '../connection.ts'
import { isCode, type JetStream, NS } from '../jetstream.ts'
import { STREAMS, streamOf } from '../queue/message.ts'
import { driftOf } from '../queue/streams.ts'
import type { AccountFacts, ClockFacts, ConsumerFacts, Inspection, ServerFacts, StreamFacts } from './contract.ts'

/** Streams of the runtime besides those of queues and of states. */
const OURS = new Set<string>([...Object.values(STREAMS), 'JOURNAL', 'NOTIFICATIONS'])

export async function inspect({ nc }: Pick<Connection, 'nc'>, js: JetStream, usesTls: boolean): Promise<Inspection> {
  const server = await serverFacts(nc, usesTls)
  const account = await accountFacts(js)
  if (!account) return { server, streams: [] }
  const infos = await allOf<StreamInfo>(js, 'STREAM.LIST', 'streams')
  const ours = infos.filter(
    ({ config: { name, republish } }) => OURS.has(name) || name.startsWith(streamOf('')) || republish?.dest.startsWith('$STATE.'),
  )
  const streams = await Promise.all(ours.map((info) => streamFacts(js, info)))
  const clock = await clockFacts(js, ours.find(({ config }) => config.retention === 'limits')?.config.name)
  return { server, account, clock, streams: streams.sort((a, b) => a.name.localeCompare(b.name)) }
}

async function serverFacts(nc: NatsConnection, usesTls: boolean): Promise<ServerFacts> {
  const { info } = nc
  if (!info) throw new CageError('UNAVAILABLE', 'the bus has not said yet what it is')
  const roundTripMs = Math.min(await roundTrip(nc), await roundTrip(nc)) // the first one warms up
  const { cluster } = info as { cluster?: string } // newer than its type
  return {
    name: info.server_name,
    version: info.version,
    address: nc.getServer(),
    tls: usesTls || info.tls_required === true,
    authRequired: info.auth_required === true,
    cluster: cluster ? { name: cluster, servers: Math.max(1, info.connect_urls?.length ?? 1) } : undefined,
    maxPayload: info.max_payload,
    roundTripMs,
  }
}

async function roundTrip(nc: NatsConnection): Promise<number> {
  const begun = performance.now()
  await nc.flush()
  return performance.now() - begun
}

interface Account {
  memory: number
  storage: number
  streams: number
  consumers: number
  limits: { max_storage: number; max_streams: number; max_consumers: number }
}

async function accountFacts(js: JetStream): Promise<AccountFacts | undefined> {
  const account = await js.api<Account>('INFO').catch((error: unknown) => {
    if (isCode(error, 'UNAVAILABLE') && js.connected) return undefined
    throw error
  })
  if (!account) return undefined
  const { storage, streams, consumers, limits } = account
  return {
    ...{ bytes: storage, maxBytes: limit(limits.max_storage) },
    ...{ streams, maxStreams: limit(limits.max_streams) },
    ...{ consumers, maxConsumers: limit(limits.max_consumers) },
  }
}

async function streamFacts(js: JetStream, { config, state, cluster }: StreamInfo): Promise<StreamFacts> {
  const queue = config.name.startsWith(streamOf('')) ? config.name.slice(streamOf('').length) : undefined
  const consumers = await allOf<ConsumerInfo>(js, `CONSUMER.LIST.${config.name}`, 'consumers')
  return {
    name: config.name,
    queue,
    messages: state.messages,
    bytes: state.bytes,
    maxBytes: limit(config.max_bytes),
    maxAgeMs: config.max_age > 0 ? config.max_age / NS : undefined,
    duplicateWindowMs: config.duplicate_window / NS,
    replicas: config.num_replicas,
    lagging: (cluster?.replicas ?? []).filter(({ current, offline }) => offline || !current).map(({ name }) => name),
    leader: cluster?.leader,
    consumers: consumers.map((info): ConsumerFacts => {
      const { name, num_pending, num_ack_pending, num_redelivered, num_waiting } = info
      const drift = queue === undefined ? [] : driftOf(queue, info)
      return { name, pending: num_pending, ackPending: num_ack_pending, redelivered: num_redelivered, asking: num_waiting, drift }
    }),
  }
}

/** The middle of question and answer is when the server looked at its clock, give or take half of what they took. */
async function clockFacts(js: JetStream, stream: string | undefined): Promise<ClockFacts | undefined> {
  if (stream === undefined) return undefined
  const told = async (ask: () => Promise<string | undefined>): Promise<ClockFacts | undefined> => {
    const asked = Date.now()
    const time = Date.parse((await ask()) ?? '')
    const answered = Date.now()
    return Number.isNaN(time) ? undefined : { offsetMs: time - (asked + answered) / 2, withinMs: (answered - asked) / 2 }
  }
  const info = await told(async () => (await js.api<StreamInfo & { ts?: string }>(`STREAM.INFO.${stream}`)).ts)
  if (info) return info
  const config = { deliver_policy: 'new', ack_policy: 'none', inactive_threshold: 5_000 * NS, mem_storage: true, max_deliver: -1 }
  let name: string | undefined
  try {
    return await told(async () => {
      const made = await js.api<ConsumerInfo>(`CONSUMER.CREATE.${stream}`, { stream_name: stream, config })
      name = made.name
      return made.created
    })
  } catch {
    return undefined // it may not make one: the time stays unknown
  } finally {
    if (name !== undefined) await js.api(`CONSUMER.DELETE.${stream}.${name}`).catch(() => {}) // the server deletes it by itself
  }
}

async function allOf<T>(js: JetStream, verb: string, key: string): Promise<T[]> {
  const found: T[] = []
  for (;;) {
    const page = await js.api<{ total: number } & Record<string, T[] | null>>(verb, { offset: found.length })
    const items = page[key] as T[] | null // as the verb says
    found.push(...(items ?? []))
    if (found.length >= page.total || !items?.length) return found
  }
}

/** JetStream: -1 is none. */
function limit(value: number): number | undefined {
  return value > 0 ? value : undefined
}
