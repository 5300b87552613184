/** Api: what the page asks for besides the overview: dead letters, sagas, transactions, incidents, and the search for everything about one thing. */
import type { Admin, Context } from 'menagerie'
import { incidentsOf } from './lib/facts.ts'
import type { DeadView, IncidentView, Moment, NotificationView, SagaView, TransactionView } from './lib/model.ts'
import { searchAll } from './lib/search.ts'
import { ofSaga, ofTransaction } from './lib/timelines.ts'

const PAGE = 100
/** Those that have ended since are listed. */
const ENDED_MS = 86_400_000
const LISTED = 500

/** Newest first, a page at a time. */
export async function dead(ctx: Context, queue?: string, before?: string): Promise<DeadView[]> {
  const limit = before === undefined ? Number.POSITIVE_INFINITY : Number(before)
  const page: DeadView[] = []
  for await (const letter of ctx.admin.queues.dead({ queue })) {
    if (letter.seq >= limit) break
    page.push(deadView(letter, false))
    if (page.length > PAGE) page.shift() // they come oldest first
  }
  return page.reverse()
}

export async function deadLetter(ctx: Context, seq: number): Promise<DeadView> {
  return deadView(await ctx.admin.queues.deadLetter(seq), true)
}

/** Those that go on, oldest first, and those that have ended in the last day, newest first. */
export async function sagas(ctx: Context): Promise<SagaView[]> {
  const open = await ctx.admin.sagas.open()
  const ended: SagaView[] = []
  for await (const saga of ctx.admin.sagas.ended(Date.now() - ENDED_MS)) {
    ended.push(sagaView(saga))
    if (ended.length > LISTED) ended.shift()
  }
  return [...open.map(sagaView), ...ended.reverse()]
}

export async function saga(ctx: Context, id: string): Promise<SagaView> {
  const details = await ctx.admin.sagas.show(id)
  return { ...sagaView(details), timeline: ofSaga(details) }
}

/** Those under way, oldest first, and those that have ended in the last day, newest first. */
export async function transactions(ctx: Context): Promise<TransactionView[]> {
  const open = await ctx.admin.transactions.open()
  const ended: TransactionView[] = []
  for await (const record of ctx.admin.transactions.ended({ since: Date.now() - ENDED_MS })) {
    ended.push(transactionView(record))
    if (ended.length > LISTED) ended.shift()
  }
  const underWay = open.map(({ cage, view: { id, plan, events, outcomes } }) => ({
    ...{ id, cage, by: plan.by, begunAt: events[0]?.at },
    participants: plan.participants.map(({ name }, i) => ({ name, outcome: outcomes[i] ?? 'not begun' })),
  }))
  return [...underWay, ...ended.reverse()]
}

/** Undefined if nothing is known of it. */
export async function transaction(ctx: Context, id: string): Promise<TransactionView | undefined> {
  const record = await ctx.admin.transactions.find(id)
  return record && { ...transactionView(record), timeline: ofTransaction(record) }
}

export async function incidents(ctx: Context): Promise<IncidentView[]> {
  return await incidentsOf(ctx.admin)
}

/** Newest first: the last few hundred of a day. */
export async function notifications(ctx: Context): Promise<NotificationView[]> {
  const found: NotificationView[] = []
  for await (const kept of ctx.admin.notifications.list({ since: Date.now() - ENDED_MS })) {
    found.push(kept)
    if (found.length > LISTED) found.shift()
  }
  return found.reverse()
}

/** Everything that has to do with a request, a call, a saga, a transaction, or that holds the text, oldest first. */
export async function search(ctx: Context, text: string): Promise<Moment[]> {
  return await searchAll(ctx.admin, text, Date.now())
}

type Letter = Awaited<ReturnType<Admin['queues']['deadLetter']>>
type Saga = Awaited<ReturnType<Admin['sagas']['open']>>[number]
type Record_ = NonNullable<Awaited<ReturnType<Admin['transactions']['find']>>>

function deadView(
  { seq, id, queue, target, diedAt, enqueuedAt, code, message, attempts, failures, args }: Letter,
  whole: boolean,
): DeadView {
  return { ...{ seq, id, queue, target, diedAt, enqueuedAt, code, message, attempts, failures }, args: whole ? args : undefined }
}

function sagaView({ id, cage, method, state, at, begunAt, changedAt, error }: Saga): SagaView {
  return { ...{ id, cage, method, state, at, begunAt, changedAt }, error: error && { code: error.code, message: error.message } }
}

function transactionView({ id, cage, by, outcome, events, endedAt, participants }: Record_): TransactionView {
  return {
    ...{ id, cage, by, outcome, begunAt: events[0]?.at, endedAt },
    participants: participants.map(({ name, outcome: one }) => ({ name, outcome: one })),
  }
}
