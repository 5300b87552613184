/**
 * Trail: what a worker does for requests, at the four places where it is done: remembered as steps, and told as spans if there is a tracer.
 * L1. What is called gets the trace context of its caller: its span's, or without a tracer the one that the request came with, unchanged.
 * L2. Arguments are never in a span.
 */
import type { Scope } from '../adapters/adapter.ts'
import type { Call, Outcome, RequestInfo } from '../bus/bus.ts'
import { type CageError, toCageError } from '../errors.ts'
import { traced } from '../scope.ts'
import { wordsOf } from '../words.ts'
import type { MethodStats } from './stats.ts'
import { Steps } from './steps.ts'
import type { Attributes, Span, Tracer } from './tracer.ts'

/** Whose work it is. */
export interface Asker {
  /** `module.method` or the interface. */
  readonly by: string
  readonly request: RequestInfo
}

/** A call to a resource. */
export interface ResourceCall {
  readonly name: string
  readonly kind: string | undefined
  readonly method: string
  readonly args: readonly unknown[]
}

/** A call to a method, by an interface or into a queue. */
export interface MethodCall {
  /** `cage.module.method` */
  readonly target: string
  readonly args: readonly unknown[]
  readonly queue?: string | undefined
}

/** A call to a method of ours. */
export interface Ran {
  readonly call: Call
  readonly stats: Pick<MethodStats, 'name' | 'secrets'>
  readonly span: Span | undefined
}

export class Trail {
  readonly steps: Steps
  readonly #cage: string
  readonly #tracer: Tracer | undefined

  constructor(node: string, cage: string, tracer?: Tracer) {
    this.#cage = cage
    this.#tracer = tracer
    this.steps = new Steps(node, cage)
  }

  /** A method's turn has come: what it does is within the span, if there is one. */
  enter(module: string, call: Call): Span | undefined {
    if (!this.#tracer) return undefined
    const { method, request, key } = call
    const { id, traceparent, queued } = request
    const attributes: Attributes = {
      ...{ 'menagerie.cage': this.#cage, 'menagerie.module': module, 'menagerie.method': method, 'menagerie.request': id },
      ...(queued && { 'menagerie.queue': queued.queue, 'menagerie.call': queued.id, 'menagerie.attempt': queued.attempt }),
      ...(key !== undefined && { 'menagerie.key': key }),
    }
    const span = this.#tracer.begin(`${this.#cage}.${module}.${method}`, queued ? 'consumer' : 'internal', traceparent, attributes)
    call.request = { ...request, traceparent: span.traceparent }
    return span
  }

  /** Its outcome is known. `startedAt`, `endedAt`: performance.now(). */
  ran({ call, stats, span }: Ran, startedAt: number, endedAt: number, outcome: Outcome): void {
    const { args, request, key } = call
    const words = wordsOf(args, request.parameters, stats.secrets)
    if (key !== undefined) words.push(key)
    const error = outcome.ok ? undefined : outcome.error
    const { queue, id: callId, attempt } = request.queued ?? NOT_QUEUED
    const [by, to] = [stats.name, undefined]
    this.steps.add({ kind: 'call', startedAt, endedAt, by, to, request: request.id, queue, callId, attempt, words, error })
    span?.end(error)
  }

  /** A call to the world. */
  async resource<T>({ by, request }: Asker, call: ResourceCall, scope: Scope, work: (scope: Scope) => Promise<T>): Promise<T> {
    const { name, kind, method, args } = call
    const span = this.#tracer?.begin(`${name}.${method}`, 'client', request.traceparent, {
      ...{ 'menagerie.resource': name, 'menagerie.kind': kind ?? 'unknown' },
      ...(kind !== undefined && DATABASES[kind] !== undefined && { 'db.system': DATABASES[kind] }),
    })
    const traceparent = span?.traceparent ?? request.traceparent
    const startedAt = performance.now()
    return await watched(work(traceparent === undefined ? scope : traced(scope, traceparent)), (error) => {
      const { queue, id: callId, attempt } = request.queued ?? NOT_QUEUED
      const [endedAt, to, words] = [performance.now(), `${name}.${method}`, wordsOf(args)]
      this.steps.add({ kind: 'resource', startedAt, endedAt, by, to, request: request.id, queue, callId, attempt, words, error })
      span?.end(error)
    })
  }

  /** A call goes into a queue. */
  async enqueue({ by, request }: Asker, { target, args, queue }: MethodCall, work: () => Promise<string>): Promise<string> {
    const startedAt = performance.now()
    return await watched(work(), (error, callId) => {
      const [endedAt, to, words] = [performance.now(), `${queue} ${target}`, wordsOf(args, request.parameters)]
      const attempt = undefined
      this.steps.add({ kind: 'enqueue', startedAt, endedAt, by, to, request: request.id, queue, callId, attempt, words, error })
    })
  }

  /** A request has come in by an interface. `work` gets it as it goes on. */
  async request<T>({ by, request }: Asker, call: MethodCall, work: (request: RequestInfo) => Promise<T>): Promise<T> {
    const { target, args, queue } = call
    const protocol = String(request.parameters?.protocol)
    const span = this.#tracer?.begin(`${by} ${target}`, ANSWERED.has(protocol) ? 'server' : 'consumer', request.traceparent, {
      ...{ 'menagerie.cage': this.#cage, 'menagerie.interface': by, 'menagerie.request': request.id, 'network.protocol.name': protocol },
      ...(queue !== undefined && { 'menagerie.queue': queue }),
    })
    const startedAt = performance.now()
    return await watched(work(span ? { ...request, traceparent: span.traceparent } : request), (error, result) => {
      const to = queue === undefined ? target : `${queue} ${target}`
      const callId = queue === undefined || typeof result !== 'string' ? undefined : result
      const [endedAt, words, attempt] = [performance.now(), wordsOf(args, request.parameters), undefined]
      this.steps.add({ kind: 'interface', startedAt, endedAt, by, to, request: request.id, queue, callId, attempt, words, error })
      span?.end(error)
    })
  }
}

const NOT_QUEUED = { queue: undefined, id: undefined, attempt: undefined }

async function watched<T>(work: Promise<T>, ended: (error: CageError | undefined, result: T | undefined) => void): Promise<T> {
  let result: T
  try {
    result = await work
  } catch (error) {
    ended(toCageError(error), undefined)
    throw error
  }
  ended(undefined, result)
  return result
}

/** Protocols whose clients wait for an answer; the others hand something over. */
const ANSWERED: ReadonlySet<string> = new Set(['http', 'https', 'xmlrpc', 'tcp', 'udp', 'smpp'])

/** OpenTelemetry's words for databases (semantic conventions, db.system). */
const DATABASES: Readonly<Record<string, string>> = {
  postgresql: 'postgresql',
  mysql: 'mysql',
  oracle: 'oracle',
  mongodb: 'mongodb',
  redis: 'redis',
}
