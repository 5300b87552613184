/**
 * What the copies of all cages tell of themselves while they run, and what engineers can ask of them. Types only.
 * Counters are true from the copy's start; two surveys make a rate. Times are epoch ms, durations ms.
 */
import type { LogLevel } from '../../levels.ts'
import type { Subscription } from '../bus.ts'

/** Durations, mergeable over copies (src/histogram.ts): bucket, count, bucket, count ... in order. */
export interface Durations {
  count: number
  sum: number
  max: number
  buckets: number[]
}

export interface MethodStatus {
  method: string
  requests: number
  /** By code. */
  errors: Record<string, number>
  lastError?: { at: number; code: string; message: string } | undefined
  /** Run now. */
  running: number
  /** From the method's start to its outcome. */
  durations: Durations
}

export interface ModuleStatus {
  module: string
  /** The version in service, counted from 1 in this copy; undefined: none was ever good. */
  version: number | undefined
  /** Of its sources: copies with different ones run different code. */
  hash: string | undefined
  /** The version is in service since. */
  since: number | undefined
  /** Versions that came into service, and how long the last took, from the changed file on. */
  reloads: number
  reloadMs: number | undefined
  /** Why the newest file is not in service. */
  broken?: string | undefined
  /** It has a worker of its own: by its options, or because it stalled the others. */
  isolated: boolean
  concurrency: number
  maxQueued: number
  running: number
  waiting: number
  /** Answered with OVERLOADED. */
  refused: number
  methods: MethodStatus[]
}

/** Who calls what, counted by the caller. */
export interface Flow {
  /** `interface web`, `queue retry`, or a module. */
  from: string
  /** `cage.module`, `queue retry`, or `resource ledger`. */
  to: string
  calls: number
  errors: number
  /** The same by code. */
  codes: Record<string, number>
  durations: Durations
}

export interface InterfaceStatus {
  interface: string
  kind: string
  /** Undefined: it cannot listen now; `error` tells why. */
  address: string | undefined
  since: number | undefined
  error?: string | undefined
}

export interface ResourceStatus {
  resource: string
  kind: string
  /** Connections. */
  limit: number
  size: number
  busy: number
  /** Work that waits for one. */
  waiting: number
  /** Made, and not made. */
  connects: number
  failures: number
  /** It is taken for broken until `retryAt`. */
  open: boolean
  retryAt?: number | undefined
  calls: number
  /** By code. */
  errors: Record<string, number>
  durations: Durations
  /** Until a connection was there. */
  waits: Durations
}

/** A copy's share of a queue. How much waits there is the queue's own (QueueAdmin). */
export interface QueueStatus {
  queue: string
  /** False: it is told to take none, or cannot. */
  consuming: boolean
  /** An engineer has said so. */
  paused: boolean
  running: number
  done: number
  /** Attempts that are to be repeated, and calls given up. */
  retried: number
  dead: number
}

/** The thread and the process that a copy runs in. */
export interface ThreadStatus {
  /** User and system time of the process since its start, and since the thread's where Node tells (23.9 and later). */
  processCpuMs: number
  threadCpuMs: number | undefined
  /** Bytes. */
  rss: number
  heapUsed: number
  heapLimit: number
  /** How late the event loop was, over the last minute. */
  loopLag: { mean: number; p99: number; max: number }
  /** Share of the time since the last survey that the event loop worked: 0 to 1. */
  utilization: number
  /** Starts of this cage's worker before this one, in the same process, and why the last one ended. */
  restarts: number
  lastDeath?: { at: number; reason: string } | undefined
}

export interface ConnectionStatus {
  /** To the server and back, measured for this survey. */
  roundTripMs: number | undefined
  reconnects: number
  lateReplies: number
  inFlight: number
  /** Which server, without a password. */
  server: string
}

/** One copy of a cage, or the own worker of one of its modules, as it sees itself. */
export interface CopyStatus {
  cage: string
  /** The module that alone runs here; undefined: all others do. */
  only: string | undefined
  node: string
  host: string
  pid: number
  /** The bus connection's id: the ADR-32 instance. */
  id: string
  /** `menagerie 1.2.3`. */
  runtime: string
  nodeVersion: string
  startedAt: number
  /** When this was told, by this node's clock. */
  at: number
  state: 'starting' | 'serving' | 'stopping'
  modules: ModuleStatus[]
  interfaces: InterfaceStatus[]
  resources: ResourceStatus[]
  queues: QueueStatus[]
  flows: Flow[]
  thread: ThreadStatus
  connection: ConnectionStatus
}

/** Something that a copy did for a request, as it remembers it: the latest few thousand, in memory. */
export interface Step {
  /** Begin. */
  at: number
  ms: number
  /** interface: a request came in. call: a method ran. resource: a call to the world. enqueue: a call was put into a queue. */
  kind: 'interface' | 'call' | 'resource' | 'enqueue'
  cage: string
  node: string
  /** `module.method`; for a resource `module.method > ledger.execute`; for an interface `web > greeter.hello`. */
  what: string
  request: string
  /** Undefined: it went well. */
  code?: string | undefined
  message?: string | undefined
  /** Of a queued call. */
  queue?: string | undefined
  callId?: string | undefined
  attempt?: number | undefined
  /** Short texts and numbers of its arguments and parameters: what it is found by. Values of secret names are left out. */
  words: string[]
}

export interface StepFilter {
  cage?: string | undefined
  module?: string | undefined
  method?: string | undefined
  /** Only what ended in an error. */
  errors?: boolean | undefined
  /** Only what took at least so long. */
  minMs?: number | undefined
  /** As `find` takes it. */
  text?: string | undefined
}

export interface LogChange {
  cage: string
  /** Default: all of the cage. */
  module?: string | undefined
  /** Undefined: as configured again. */
  level: LogLevel | undefined
  /** As configured again after so long. */
  forMs: number
}

/** What a copy answers. */
export interface Surveyed {
  status(): Promise<CopyStatus>
  /** Steps whose request, call id, saga or words hold the text; newest last. */
  find(text: string): Step[]
  /** Tells every step as it ends; returns what stops that. */
  onStep(listener: (step: Step) => void): () => void
  /** False: the module is not here. */
  setLogLevel(change: LogChange): boolean
}

/** All copies of all cages, asked at once. Who does not answer in time is left out. */
export interface Survey {
  /** Sorted by cage, node and module. `withinMs`: at most so long, default 1,000; it ends sooner once those known have answered. */
  status(options?: { cage?: string | undefined; withinMs?: number | undefined }): Promise<CopyStatus[]>
  /** What they did, oldest first. */
  find(text: string, withinMs?: number): Promise<Step[]>
  /** Tells `listener`, which never throws, the steps that pass the filter from now on; `dropped` counts those that were too many to be told. */
  tail(filter: StepFilter, listener: (step: Step, dropped: number) => void): Promise<() => void>
  /** Resolves with how many copies took it. */
  setLogLevel(change: LogChange): Promise<number>
  /** Answers for a copy. */
  serve(cage: string, copy: Surveyed): Promise<Subscription>
}
