/** What can be learnt of the bus by asking it as one of its clients: the server, its clock, its streams. Types only. Times are epoch ms. */

export interface ServerFacts {
  name: string
  version: string
  /** `host:port` as the server was reached, without a password. */
  address: string
  /** The connection is encrypted. */
  tls: boolean
  /** Clients must log in. */
  authRequired: boolean
  /** Of a cluster: its name, and how many addresses the server tells of. */
  cluster?: { name: string; servers: number } | undefined
  /** Bytes. */
  maxPayload: number
  roundTripMs: number
}

/** How far this machine's clock is behind (positive) or ahead of the server's, and how exactly that could be measured. */
export interface ClockFacts {
  offsetMs: number
  withinMs: number
}

/** What the account may store, and does. Undefined: without a limit. */
export interface AccountFacts {
  bytes: number
  maxBytes?: number | undefined
  streams: number
  maxStreams?: number | undefined
  consumers: number
  maxConsumers?: number | undefined
}

export interface ConsumerFacts {
  name: string
  pending: number
  ackPending: number
  redelivered: number
  /** Questions for work that are open. */
  asking: number
  /** Settings that are not as a cage makes them, with what they are: `ack_wait 30000000000`. Empty for consumers of somebody else. */
  drift: string[]
}

export interface StreamFacts {
  name: string
  /** The queue that it is. */
  queue?: string | undefined
  messages: number
  bytes: number
  maxBytes?: number | undefined
  /** ms; undefined: for ever. */
  maxAgeMs?: number | undefined
  duplicateWindowMs: number
  replicas: number
  /** Of its replicas, those that are away or behind. */
  lagging: string[]
  /** Of a cluster: undefined while there is none. */
  leader?: string | undefined
  consumers: ConsumerFacts[]
}

export interface Inspection {
  server: ServerFacts
  /** Undefined: the account has no JetStream. */
  account?: AccountFacts | undefined
  /** Undefined: nothing tells it, because there is no stream yet. */
  clock?: ClockFacts | undefined
  /** Those that are the runtime's. */
  streams: StreamFacts[]
}

/** A copy of a cage as discovery (ADR-32) tells of it. */
export interface Discovered {
  cage: string
  /** The bus connection's id. */
  id: string
  node: string
  pid: number
  /** `menagerie 1.2.3`. */
  runtime: string
  nodeVersion: string
  methods: DiscoveredMethod[]
}

export interface DiscoveredMethod {
  module: string
  method: string
  /** `name, options?`: the names of its parameters, as far as its code tells. */
  args: string
}
