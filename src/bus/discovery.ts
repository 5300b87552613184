/**
 * Discovery: NATS micro services (ADR-32) on plain subscriptions, so that `nats micro ls|info|stats` see every cage.
 * D1. Endpoints and counters are read at each question: they come and go with hot reload.
 */
import { JSONCodec, type Msg, type NatsConnection } from 'nats'
import type { Endpoint, ServiceInfo, Subscription } from './bus.ts'
import { callSubject, discoverySubjects } from './subjects.ts'

const codec = JSONCodec()

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
    const identity = { name: service.name, id, version: service.version, metadata: service.metadata }
    const verb = msg.subject.split('.')[1]
    if (verb === 'PING') msg.respond(codec.encode({ type: 'io.nats.micro.v1.ping_response', ...identity }))
    else if (verb === 'INFO')
      msg.respond(
        codec.encode({ type: 'io.nats.micro.v1.info_response', ...identity, description: service.description, endpoints: list(info) }),
      )
    else msg.respond(codec.encode({ type: 'io.nats.micro.v1.stats_response', ...identity, started, endpoints: list(stats) }))
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
    last_error: lastError,
    processing_time: Math.round(processingTimeNs),
    average_processing_time: requests === 0 ? 0 : Math.round(processingTimeNs / requests),
  }
}
