/**
 * Discovery: NATS micro services (ADR-32) on plain subscriptions, so that `nats micro ls|info|stats` see every cage.
 * D1. Endpoints and counters are read at each question: they come and go with hot reload.
 * D2. An answer that the bus cannot carry becomes an error, never a broken connection.
 */
import { headers as createHeaders, JSONCodec, type Msg, type NatsConnection } from 'nats'
import { CODES } from '../errors.ts'
import type { Endpoint, ServiceInfo, Subscription } from './bus.ts'
import { callSubject, discoverySubjects } from './subjects.ts'

const codec = JSONCodec()
const MAX_ERROR_LENGTH = 500

/** Answers `$SRV.PING|INFO|STATS` for the cage until drained. */
export async function announce(nc: NatsConnection, id: string, service: ServiceInfo): Promise<Subscription> {
  const started = new Date().toISOString()
  const subscriptions = discoverySubjects(service.name, id).map((subject) =>
    nc.subscribe(subject, {
      callback: (error, msg) => {
        if (!error && msg.reply) answer(msg)
      },
    }),
  )
  await nc.flush()
  return { drain: async () => void (await Promise.all(subscriptions.map((subscription) => subscription.drain()))) }

  function answer(msg: Msg): void {
    const data = codec.encode(describe(msg.subject.split('.')[1]))
    if (data.length <= (nc.info?.max_payload ?? Number.POSITIVE_INFINITY)) return void msg.respond(data)
    const headers = createHeaders()
    headers.set('Nats-Service-Error-Code', String(CODES.PAYLOAD_TOO_LARGE))
    headers.set('Nats-Service-Error', `the answer takes ${data.length} bytes`)
    msg.respond(undefined, { headers })
  }

  function describe(verb: string | undefined): object {
    const identity = { name: service.name, id, version: service.version, metadata: service.metadata }
    if (verb === 'PING') return { type: 'io.nats.micro.v1.ping_response', ...identity }
    if (verb === 'INFO')
      return { type: 'io.nats.micro.v1.info_response', ...identity, description: service.description, endpoints: list(info) }
    return { type: 'io.nats.micro.v1.stats_response', ...identity, started, endpoints: list(stats) }
  }

  function list<T>(view: (cage: string, endpoint: Endpoint) => T): T[] {
    return Array.from(service.endpoints(), (endpoint) => view(service.name, endpoint))
  }
}

function info(cage: string, endpoint: Endpoint): object {
  const { module, method, metadata } = endpoint
  // ADR-32: an endpoint's name has no dot and no `$`
  return { name: `${module}-${method.replaceAll('$', '_')}`, subject: callSubject(cage, module, method), queue_group: cage, metadata }
}

function stats(cage: string, endpoint: Endpoint): object {
  const { requests, errors, lastError, processingTimeNs } = endpoint
  return {
    ...info(cage, endpoint),
    num_requests: requests,
    num_errors: errors,
    last_error: lastError.slice(0, MAX_ERROR_LENGTH),
    processing_time: Math.round(processingTimeNs),
    average_processing_time: requests === 0 ? 0 : Math.round(processingTimeNs / requests),
  }
}
