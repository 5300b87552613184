/**
 * Activation: one call on its way through a module, from its acceptance to its outcome.
 * A1. It is settled exactly once: by its method, at its deadline, or by cancellation; what comes later is dropped.
 * A2. Its slot stays taken until the method has really ended, so `concurrency` is true; a method that ignores its deadline
 *     is abandoned after as long again, lest it hold the slot for ever.
 */

import type { Bagged } from '../bag.ts'
import type { Call, Outcome } from '../bus/bus.ts'
import { CageError, toCageError } from '../errors.ts'
import { CallContext, type ContextSource } from './context.ts'
import type { Job } from './mailbox.ts'
import { isUndo } from './saga/ids.ts'
import type { MethodStats } from './stats.ts'
import type { Span } from './tracer.ts'
import type { Method, Version } from './version.ts'

/** What an activation needs of its module. */
export interface ActivationHost {
  readonly source: ContextSource
  /** Chooses the version when the call's turn has come. */
  begin(activation: Activation): Version | undefined
  /** The slot is free again. */
  ended(activation: Activation): void
  /** The outcome is known: counters and log. */
  settled(activation: Activation, outcome: Outcome): void
}

export class Activation implements Job, Bagged {
  bagIndex = -1
  readonly call: Call
  readonly deadline: number
  /** Epoch ms: when its slot is given back although its method goes on (A2). */
  readonly abandonAt: number
  readonly stats: MethodStats
  readonly expectedMs: number
  /** performance.now() of its start; 0 while it waits. */
  startedAt = 0
  settled = false
  finished = false
  /** The version that it runs on, once it does. */
  version: Version | undefined
  /** Its span, once it runs, if there is a tracer. */
  span: Span | undefined
  readonly #host: ActivationHost
  readonly #settle: (outcome: Outcome) => void
  readonly #onEnd: ((outcome: Outcome | undefined) => void) | undefined
  #context: CallContext | undefined

  constructor(
    host: ActivationHost,
    call: Call,
    deadline: number,
    abandonAt: number,
    stats: MethodStats,
    settle: (outcome: Outcome) => void,
    onEnd?: (outcome: Outcome | undefined) => void,
  ) {
    this.#host = host
    this.call = call
    this.deadline = deadline
    this.abandonAt = abandonAt
    this.stats = stats
    this.expectedMs = stats.expectedMs
    this.#settle = settle
    this.#onEnd = onEnd
  }

  /** Its turn has come: the mailbox gave it a slot. */
  run(): void {
    if (this.settled) return this.neverRun() // expired or cancelled while it waited
    const version = this.#host.begin(this)
    const method = version?.methods.get(this.call.method)
    if (!version || !method) {
      this.settle({ ok: false, error: new CageError('NOT_FOUND', `the method ${this.call.method} is there no more`) })
      return this.neverRun()
    }
    this.version = version
    version.running++
    this.stats.running++
    this.startedAt = performance.now()
    this.#context = new CallContext(this.#host.source, this.call.method, this.call.request, this.deadline, this)
    void this.#execute(version, method, this.#context)
  }

  /** Ends the call from outside: deadline or cancellation. */
  end(error: CageError): void {
    this.settle({ ok: false, error })
    this.#context?.end(error)
  }

  settle(outcome: Outcome): void {
    if (this.settled) return
    this.settled = true
    this.#host.settled(this, outcome)
    this.#settle(outcome)
  }

  /** The mailbox did not take it. */
  refuse(error: CageError): void {
    this.settle({ ok: false, error })
    this.#onEnd?.(undefined)
  }

  /** Its turn has come, and its method is not begun. */
  neverRun(): void {
    this.#onEnd?.(undefined)
    this.finish()
  }

  finish(): void {
    if (this.finished) return
    this.finished = true
    this.#context?.close()
    this.#host.ended(this)
  }

  async #execute(version: Version, method: Method, context: CallContext): Promise<void> {
    let outcome: Outcome
    try {
      const { args, request } = this.call
      if (request.queued && isUndo(request.queued.id)) await context.beginSaga()
      const schema = version.schemas[this.call.method]
      const checked = schema === undefined ? args : await check(schema, args)
      outcome = { ok: true, result: await method(context, ...checked) }
    } catch (error) {
      outcome = { ok: false, error: toCageError(error) }
    }
    if (context.isSaga) outcome = await context.concludeSaga(outcome)
    this.settle(outcome)
    this.#onEnd?.(outcome)
    this.finish()
  }
}

async function check(schema: Version['schemas'][string], args: unknown[]): Promise<unknown[]> {
  const result = await schema['~standard'].validate(args)
  if (!result.issues) return [...result.value]
  const details = result.issues.map(({ path = [], message }) => {
    const [position, ...rest] = path.map((step) => (typeof step === 'object' ? step.key : step))
    return { argument: typeof position === 'number' ? position + 1 : undefined, path: rest.map(String).join('.'), message }
  })
  const message = details.map(
    (issue) =>
      `${issue.argument === undefined ? 'arguments' : `argument ${issue.argument}`}${issue.path ? ` ${issue.path}` : ''}: ${issue.message}`,
  )
  throw new CageError('INVALID_ARGUMENT', message.join('; '), { details })
}
