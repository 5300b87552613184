/** The durable queues as cages, their configuration and their users know them. Types only. */
import type { ErrorBody } from '../../errors.ts'
import type { RequestInfo } from '../bus.ts'

/** What a cage says of one of its queues (config/<cage>.ts, `queues.<name>`), checked and complete. Defaults stand in config.ts. */
export interface QueuePolicy {
  /** Calls at once in each copy of the cage. */
  concurrency: number
  /** Calls at once in all copies together. */
  totalConcurrency?: number | undefined
  /** A call that has failed so often is dead. Without it, calls are tried until they expire. */
  maxAttempts?: number | undefined
  /** A call that is older is dead; its caller may say less or more. */
  expiresMs: number
  /** Limit of one attempt. */
  timeoutMs: number
  backoff: Backoff
  /** How long the id of a call is remembered after its success. */
  dedupMs: number
  /** One after the other in the order of their enqueueing: all of the cage, or those of one key. */
  ordered?: 'cage' | 'key' | undefined
  limits?: QueueLimits | undefined
  /** What all waiting calls together may take; more are refused with OVERLOADED. */
  maxBytes?: number | undefined
  /** A call that waits longer, ms, is told as a notification, once an hour. Default one hour. */
  alertAfterMs?: number | undefined
}

/** Delay before the n-th further attempt: `firstMs` times `factor` to the n-1, at most `maxMs`, of which the share `jitter` is at random. */
export interface Backoff {
  firstMs: number
  maxMs: number
  factor: number
  jitter: number
}

/** Limits over all copies of the cage, for each value of what `key` names. */
export interface QueueLimits {
  /** `key`: the calls' own; `method`; or one for the whole queue. */
  key: 'key' | 'method' | 'queue'
  ratePerSecond?: number | undefined
  concurrency?: number | undefined
}

/** `high`: with slots of its own. */
export type Priority = 'high' | 'normal'

/** How a call is enqueued. */
export interface EnqueueOptions {
  /** Unique for as long as the queue remembers; undefined: the queue gives one. */
  id?: string | undefined
  /** Not before so long, ms. */
  delayMs?: number | undefined
  /** Dead after so long, ms. Default: as the queue says. */
  expiresMs?: number | undefined
  priority?: Priority | undefined
  /** What order and limits go by. */
  key?: string | undefined
  request: RequestInfo
  /** Epoch ms: until then the server must have confirmed. */
  deadline: number
}

/** Something that runs the calls of a queue. */
export interface Consumer {
  /** Takes no more, and lets what runs end. */
  stop(): Promise<void>
  /** What this copy does and did, from its start on. */
  stats(): ConsumerStats
}

export interface ConsumerStats {
  /** False: it is told to take none, or cannot. One that stands by for another copy is true. */
  consuming: boolean
  /** An engineer has said so. */
  paused: boolean
  running: number
  done: number
  /** Attempts that are to be repeated, and calls given up. */
  retried: number
  dead: number
}

export type CallState = 'waiting' | 'running' | 'delayed' | 'done' | 'dead' | 'cancelled'

/** One failed attempt. */
export interface Failure {
  /** Epoch ms. */
  at: number
  attempt: number
  code: string
  message: string
}

/** What is known of a call. */
export interface CallStatus {
  id: string
  queue: string
  /** `cage.module.method` */
  target: string
  state: CallState
  /** Runs that ended in an error. */
  attempts: number
  /** Runs that ended with their worker. */
  crashes: number
  /** Epoch ms, like the others. */
  enqueuedAt: number
  changedAt: number
  dueAt?: number | undefined
  expiresAt?: number | undefined
  /** Of the last failure. */
  error?: ErrorBody | undefined
  failures?: Failure[] | undefined
  result?: unknown
  /** The result was too large to be kept, or cannot be. */
  resultOmitted?: boolean | undefined
}

/** Who a worker's death is blamed on, as far as that can be told. */
export interface Culprit {
  module: string | undefined
  method: string | undefined
  /** It cannot have been another one, or it was nobody at all. */
  certain: boolean
}

/** open: as usual. paused: calls are taken in, none is begun. draining: none is taken in, those there are run. */
export type QueueMode = 'open' | 'paused' | 'draining'

export interface QueueOrder {
  mode: QueueMode
  /** Epoch ms. */
  at: number
  reason?: string | undefined
}

/** A lane as people see it. */
export interface LaneInfo {
  lane: string
  waiting: number
  running: number
  /** Epoch ms: a failed call holds it until then. */
  heldUntil: number | undefined
}

/** A dead letter as people see it. */
export interface DeadLetter {
  /** Its number: what `show`, `retry` and `drop` are told. */
  seq: number
  id: string
  queue: string
  /** `cage.module.method` */
  target: string
  /** Epoch ms, like `enqueuedAt`. */
  diedAt: number
  enqueuedAt: number | undefined
  code: string
  message: string
  attempts: number
  failures: Failure[]
  /** Undefined if the payload cannot be read: `payload` has its bytes. */
  args: unknown[] | undefined
  payload: Uint8Array
}

/** A queue at a glance. */
export interface QueueSummary {
  queue: string
  mode: QueueMode
  /** Not begun, and begun but not ended. */
  waiting: number
  running: number
  delayed: number
  dead: number
  bytes: number
  /** Epoch ms: when the oldest call was stored that is not done. */
  oldestAt: number | undefined
}

export interface QueueDetails extends QueueSummary {
  order: QueueOrder
  cages: CageShare[]
}

/** What a cage has in a queue. */
export interface CageShare {
  cage: string
  waiting: number
  running: number
  /** Questions for work that are open: 0 means that nobody runs the cage, or that all its slots are taken. */
  asking: number
  /** In a sequenced queue: the lanes with most waiting, and those that a failed call holds. */
  lanes: LaneInfo[] | undefined
  /** Calls by `module.method`. */
  methods: Record<string, number>
}

/** Which dead letters. */
export interface DeadFilter {
  queue?: string | undefined
  /** `cage`, `cage.module` or `cage.module.method` */
  target?: string | undefined
  /** A part of code or message, in any case. */
  error?: string | undefined
  /** Epoch ms. */
  since?: number | undefined
  until?: number | undefined
}

/** Queues, calls and dead letters as engineers see them, and what they do with them. */
export interface QueueAdmin {
  /** Rejects with UNAVAILABLE if the bus has no JetStream. */
  check(): Promise<void>
  list(): Promise<QueueSummary[]>
  /** Rejects with NOT_FOUND if there is no such queue. */
  show(queue: string): Promise<QueueDetails>
  setMode(queue: string, mode: QueueMode, reason?: string): Promise<void>
  /** Deletes the calls that wait or are delayed, of all cages or one; returns how many. What runs ends. */
  purge(queue: string, cage?: string): Promise<number>
  /** What is known of a call; undefined if nothing is: it never was, is long done, or was given no id and is done. */
  status(id: string): Promise<CallStatus | undefined>
  /** Cancels a call: one that waits never runs, one that runs has its signal fired. False if there is nothing left to cancel. */
  cancel(id: string): Promise<boolean>
  /** Brings a delayed call forward: it is run as soon as its turn comes. False if it is not delayed. */
  hasten(id: string): Promise<boolean>
  /** Whether a message stands for a call: it waits, is delayed or runs. One that was purged is not there, whatever its status says. */
  isPresent(id: string): Promise<boolean>
  /** Dead letters, oldest first. */
  dead(filter?: DeadFilter): AsyncIterable<DeadLetter>
  /** How many dead letters there are of a queue and a target. */
  countDead(filter?: Pick<DeadFilter, 'queue' | 'target'>): Promise<number>
  /** Rejects with NOT_FOUND. */
  deadLetter(seq: number): Promise<DeadLetter>
  /** Puts a dead call into its queue again, with other arguments if given, and takes the letter away. Returns the call's id. */
  retry(seq: number, args?: unknown[]): Promise<string>
  /** Deletes a dead letter for good; false if it is not there. */
  drop(seq: number): Promise<boolean>
}
