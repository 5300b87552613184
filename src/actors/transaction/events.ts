/**
 * What a coordinator writes down of its transactions, and what can be read off that. Pure.
 * E1. A transaction without a decision is rolled back (presumed abort); one with a list of those to commit is committed.
 * E2. `committing` comes before the first commit of a one-phase participant: from then on its outcome is the decision.
 */
import type { ParticipantClass } from '../../adapters/adapter.ts'
import type { RequestInfo } from '../../bus/bus.ts'
import type { Entry, Position } from '../../bus/journal/contract.ts'
import type { ErrorBody } from '../../errors.ts'
import type { ParticipantOutcome } from './contract.ts'

/** Calls a method of a resource or module. */
export interface CallRecord {
  method: string
  args: readonly unknown[]
}

/** A participant as the journal has it: all that is needed to finish it without those who began it. */
export type ParticipantRecord = {
  /** For people: `ledger.execute`. */
  name: string
  participant: ParticipantClass
  undo?: CallRecord | undefined
} & (
  | { kind: 'resource'; resource: string; call?: CallRecord | undefined }
  | { kind: 'module'; cage: string; module: string; method: string }
  | { kind: 'state'; module: string; key: string }
  | { kind: 'queue'; queue: string; id: string; cage: string; module: string; call: CallRecord; options: QueueRecord }
  | { kind: 'callable' }
)

/** How a queued call is enqueued at the commit. */
export interface QueueRecord {
  delayMs?: number | undefined
  expiresMs?: number | undefined
  priority?: 'high' | 'normal' | undefined
  key?: string | undefined
}

/** Who asked for a transaction, and what is in it. */
export interface Plan {
  /** `module.method` */
  by: string
  request: RequestInfo
  /** Epoch ms. */
  deadline: number
  participants: ParticipantRecord[]
}

/** One event. `tx` is the transaction's number within its journal, `at` epoch ms. The first event of a transaction has its plan. */
export type TxEvent = { tx: number; at: number; plan?: Plan } & (
  | { type: 'begin' }
  | { type: 'committing'; commit: number[]; identities: (readonly [index: number, identity: unknown])[] }
  /** `committed`: one-phase participants that have committed before, which is known to nobody else. */
  | { type: 'decide'; commit: number[]; committed: number[] }
  | { type: 'participant'; index: number; outcome: ParticipantOutcome; error?: ErrorBody }
  | { type: 'end'; outcome: TxOutcome }
)

/** An engineer's word about an incident, in a journal of its own, which any copy of the cage takes over and carries out. */
export interface OrderEvent {
  type: 'order'
  incident: string
  action: Action
  reason: string
  /** Who ordered it. */
  by: string
  /** Epoch ms. */
  at: number
}

/** The journal of an order. */
export function orderJournal(id: string): string {
  return `order-${id}`
}

export function isOrder(journal: string): boolean {
  return journal.startsWith('order-')
}

/** What can be ordered. retry: try again. done: take it for done, and go on. skip: leave it as it is. compensate: undo all the others. */
export type Action = 'retry' | 'done' | 'skip' | 'compensate'

/** An event as it is made: the writer says when, and of which transaction. */
export type NewEvent = TxEvent extends infer E ? (E extends TxEvent ? Omit<E, 'tx' | 'at'> : never) : never

export type TxOutcome = 'committed' | 'rolled back' | 'incident'

/** A transaction as its events tell it. */
export interface TxView {
  /** Unique for ever: `<journal>.<number in base 36>`. */
  readonly id: string
  readonly tx: number
  readonly plan: Plan
  /** Its plan has been sent to the journal, and stands there. */
  planned: boolean
  position: Position | undefined
  /** False: it is one step that happens or not. */
  journaled: boolean
  readonly events: TxEvent[]
  /** Indexes of those to commit, and what they are known by. */
  committing: { commit: readonly number[]; identities: ReadonlyMap<number, unknown> } | undefined
  /** Indexes of those to commit; empty: rolled back. */
  decision: readonly number[] | undefined
  outcomes: ParticipantOutcome[]
  ended: TxOutcome | undefined
}

/** The id of a transaction. */
export function transactionId(journal: string, tx: number): string {
  return `${journal}.${tx.toString(36)}`
}

/** The journal and number of a transaction's id; undefined if it is none. */
export function parseTransactionId(id: string): { journal: string; tx: number } | undefined {
  const match = /^([A-Za-z0-9_-]+)\.([0-9a-z]+)$/.exec(id)
  return match?.[1] === undefined || match[2] === undefined ? undefined : { journal: match[1], tx: Number.parseInt(match[2], 36) }
}

/** The transactions that a journal tells of, by number. Those whose plan has been trimmed away have ended. */
export function fold(journal: string, entries: readonly Entry<TxEvent>[]): Map<number, TxView> {
  const views = new Map<number, TxView>()
  for (const { at, event } of entries) {
    let view = views.get(event.tx)
    if (!view && event.plan) {
      view = newView(transactionId(journal, event.tx), event.tx, event.plan)
      view.position = at
      view.planned = true
      view.journaled = true
      views.set(event.tx, view)
    }
    if (view) apply(view, event)
  }
  return views
}

/** A transaction of which nothing has happened yet. */
export function newView(id: string, tx: number, plan: Plan): TxView {
  return {
    ...{
      id,
      tx,
      plan,
      planned: false,
      position: undefined,
      journaled: false,
      events: [],
      committing: undefined,
      decision: undefined,
      ended: undefined,
    },
    outcomes: plan.participants.map(() => 'not begun'),
  }
}

export function apply(view: TxView, event: TxEvent): void {
  view.events.push(event)
  switch (event.type) {
    case 'committing':
      view.committing = { commit: event.commit, identities: new Map(event.identities) }
      break
    case 'decide':
      view.decision = event.commit
      for (const index of event.committed) view.outcomes[index] = 'committed'
      break
    case 'participant':
      view.outcomes[event.index] = event.outcome
      break
    case 'end':
      view.ended = event.outcome
      break
    case 'begin':
      break
  }
}

/** Whether a transaction needs a journal: one that can half happen does. One participant alone, without a condition, is not asked about. Pure. */
export function needsJournal(participants: readonly Pick<ParticipantRecord, 'participant' | 'kind'>[]): boolean {
  const lasting = participants.filter(({ participant }) => participant !== 'irreversible')
  return lasting.length >= 2 || lasting.some(({ kind, participant }) => kind === 'state' || participant === 'compensable')
}
