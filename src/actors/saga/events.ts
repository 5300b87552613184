/**
 * Events of a saga's journal, and what follows from them. Pure.
 * E1. Operations (steps, sleeps, waits) are numbered from 0 in the order in which the code comes to them.
 * E2. A failure is final for the code once the code has gone on after it; before, it is tried again, unless its error says that this is in vain.
 */
import type { RequestInfo } from '../../bus/bus.ts'
import { CageError, type ErrorBody, UNCERTAIN } from '../../errors.ts'

export type Action = 'retry' | 'skip' | 'done' | 'compensate'

/** `resolved`: by hand. */
export type SagaOutcome = 'done' | 'compensated' | 'resolved'

/** What the journal has of the call that began the saga. */
export interface Beginning {
  module: string
  method: string
  /** Of the module's compiled source. */
  version: string
  args: unknown[]
  queue: string
  request: RequestInfo
}

export type NewEvent =
  | ({ type: 'begin' } & Beginning)
  | { type: 'intent'; n: number; step: string }
  | { type: 'done'; n: number; result: unknown }
  | { type: 'failed'; n: number; error: ErrorBody }
  | { type: 'sleep'; n: number; until: number }
  | { type: 'wait'; n: number; signal: string; until: number }
  | { type: 'signalled'; n: number; value: unknown }
  | { type: 'timed out'; n: number }
  /** `call`: who does it; undefined: the saga's own call. */
  | { type: 'compensating'; error: ErrorBody; call?: string }
  | { type: 'undone'; n: number }
  | { type: 'undo failed'; n: number; error: ErrorBody }
  /** Without a step: the saga as a whole cannot go on. */
  | { type: 'incident'; n?: number; error: ErrorBody }
  | { type: 'resolution'; n?: number; action: Action; reason: string; by: string; call?: string }
  | { type: 'end'; outcome: SagaOutcome; result?: unknown; error?: ErrorBody }

/** Epoch ms. */
export type SagaEvent = NewEvent & { at: number }

/** An operation as far as it has come. */
export interface Operation {
  kind: 'step' | 'sleep' | 'wait'
  name: string
  state: 'begun' | 'done' | 'failed'
  /** Epoch ms, of a sleep or wait. */
  until: number
  result: unknown
  error: ErrorBody | undefined
  /** The code has gone on after its failure (E2). */
  followed: boolean
  /** How it was settled once the saga had failed; undefined: not yet. */
  undo: 'undone' | 'skipped' | 'by hand' | undefined
  /** Of its compensation, in a row. */
  failures: number
}

/** What an engineer must decide. */
export interface Incident {
  /** The operation that cannot be undone. */
  n: number | undefined
  error: ErrorBody
  at: number
}

/** A saga as its journal tells it. */
export interface SagaView {
  begun: Beginning | undefined
  operations: Operation[]
  /** Why it is compensated, once it is. */
  failure: ErrorBody | undefined
  /** The call that goes on with it; undefined: its own. */
  carrier: string | undefined
  incident: Incident | undefined
  ended: { outcome: SagaOutcome; result: unknown; error: ErrorBody | undefined } | undefined
  events: SagaEvent[]
}

export function newView(): SagaView {
  return {
    begun: undefined,
    operations: [],
    failure: undefined,
    carrier: undefined,
    incident: undefined,
    ended: undefined,
    events: [],
  }
}

/** The saga that these events tell of. */
export function viewOf(entries: Iterable<{ event: SagaEvent }>): SagaView {
  const view = newView()
  for (const { event } of entries) apply(view, event)
  return view
}

/** Takes an event in. */
export function apply(view: SagaView, event: SagaEvent): void {
  view.events.push(event)
  const { operations } = view
  switch (event.type) {
    case 'begin': {
      const { type: _type, at: _at, ...begun } = event
      view.begun = begun
      return
    }
    case 'intent':
      return begin(view, event.n, 'step', event.step, 0)
    case 'sleep':
      return begin(view, event.n, 'sleep', 'sleep', event.until)
    case 'wait':
      return begin(view, event.n, 'wait', event.signal, event.until)
    case 'done':
      return change(operations[event.n], { state: 'done', result: event.result, error: undefined })
    case 'signalled':
      return change(operations[event.n], { state: 'done', result: event.value })
    case 'failed':
      return change(operations[event.n], { state: 'failed', error: event.error, followed: false })
    case 'timed out':
      return change(operations[event.n], { state: 'failed', error: timedOut(operations[event.n]?.name ?? '').toJSON() })
    case 'compensating':
      view.failure ??= event.error
      view.carrier = event.call
      return
    case 'undone':
      return change(operations[event.n], { undo: 'undone' })
    case 'undo failed': {
      const operation = operations[event.n]
      return change(operation, { failures: (operation?.failures ?? 0) + 1 })
    }
    case 'incident':
      view.incident = { n: event.n, error: event.error, at: event.at }
      return
    case 'resolution':
      view.incident = undefined
      view.carrier = event.call
      if (event.n === undefined) return
      return change(operations[event.n], { failures: 0, undo: settledBy(event.action) })
    case 'end':
      view.ended = { outcome: event.outcome, result: event.result, error: event.error }
  }
}

/** Whether a step's failure is what the code is told again (E2). */
export function isFinal({ error, followed }: Operation): boolean {
  return followed || (error !== undefined && !CageError.from(error).retryable)
}

/** Whether a step may have been done, and nobody knows. */
export function isUnknown({ kind, state, error }: Operation): boolean {
  return kind === 'step' && (state === 'begun' || (state === 'failed' && error !== undefined && UNCERTAIN.has(error.code)))
}

/** Whether a step's compensation is still to be run, or it is to be found out. */
export function isOpen(operation: Operation): boolean {
  return operation.kind === 'step' && operation.undo === undefined && (operation.state === 'done' || isUnknown(operation))
}

export function timedOut(signal: string): CageError {
  return new CageError('SIGNAL_TIMEOUT', `the signal ${signal} has not come in time`, { retryable: false })
}

/** An error as the journal keeps it: what a foreign one says is for engineers. */
export function bodyOf(error: CageError): ErrorBody {
  const { cause } = error
  const body = error.toJSON()
  return error.code === 'INTERNAL' && cause instanceof Error ? { ...body, message: cause.message } : body
}

function begin(view: SagaView, n: number, kind: Operation['kind'], name: string, until: number): void {
  for (const operation of view.operations) if (operation.state === 'failed') operation.followed = true
  view.operations[n] = {
    ...{ kind, name, until, state: 'begun', result: undefined, error: undefined },
    ...{ followed: false, undo: undefined, failures: 0 },
  }
}

function change(operation: Operation | undefined, changes: Partial<Operation>): void {
  if (operation) Object.assign(operation, changes)
}

function settledBy(action: Action): Operation['undo'] {
  return action === 'skip' ? 'skipped' : action === 'done' ? 'by hand' : undefined
}
