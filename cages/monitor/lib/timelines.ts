/** Timelines: what is known of a saga, a transaction, a call or a step, as moments. Pure. */
import type { Admin, Step } from 'menagerie'
import type { Moment, NotificationView } from './model.ts'

type Saga = Awaited<ReturnType<Admin['sagas']['show']>>
type Transaction = NonNullable<Awaited<ReturnType<Admin['transactions']['find']>>>
type Status = NonNullable<Awaited<ReturnType<Admin['queues']['status']>>>
type Letter = Awaited<ReturnType<Admin['queues']['deadLetter']>>

export function ofSaga({ id, cage, timeline }: Saga): Moment[] {
  return timeline.map(({ at, what, step, note }) => ({
    ...{
      at,
      kind: 'saga',
      what: step === undefined ? what : `${what} ${step}`,
      where: cage,
      note,
      link: `#/saga/${encodeURIComponent(id)}`,
    },
    code: /failed|incident|timed out/.test(what) ? note?.split(':')[0] : undefined,
  }))
}

export function ofTransaction({ id, cage, events }: Transaction): Moment[] {
  return events.map(({ type, at, participant, note }) => ({
    ...{ at, kind: 'transaction', what: participant === undefined ? type : `${participant} ${type}`, where: cage, note },
    link: `#/transaction/${encodeURIComponent(id)}`,
  }))
}

export function ofStep({ at, ms, kind, cage, node, what, code, message, queue, attempt }: Step): Moment {
  const notes = [
    message,
    queue === undefined ? undefined : `queue ${queue}`,
    attempt !== undefined && attempt > 1 ? `attempt ${attempt}` : undefined,
  ]
  return {
    at,
    ms,
    kind,
    what: `${cage}.${what}`,
    where: node,
    code: code === 'SNOOZED' ? undefined : code, // it was put off, as the note says: nothing has failed
    note: notes.filter((note) => note !== undefined).join(', ') || undefined,
  }
}

export function ofCall({ id, queue, target, state, enqueuedAt, changedAt, dueAt, error, failures = [] }: Status): Moment[] {
  const link = `#/queue/${queue}`
  const due = dueAt === undefined ? undefined : `due ${new Date(dueAt).toISOString()}`
  return [
    { at: enqueuedAt, kind: 'enqueue', what: target, where: `queue ${queue}`, note: id, link },
    ...failures.map(({ at, attempt, code, message }) => ({
      at,
      kind: 'queue',
      what: `attempt ${attempt} of ${target}`,
      where: `queue ${queue}`,
      code,
      note: message,
      link,
    })),
    {
      at: changedAt,
      kind: 'queue',
      what: `${state}: ${target}`,
      where: `queue ${queue}`,
      code: error?.code,
      note: error?.message ?? due,
      link,
    },
  ]
}

export function ofLetter({ seq, target, queue, diedAt, code, message }: Letter): Moment {
  return {
    at: diedAt,
    kind: 'dead',
    what: `dead letter ${seq}: ${target}`,
    where: `queue ${queue}`,
    code,
    note: message,
    link: `#/dead/${seq}`,
  }
}

export function ofNotification({ level, cage, module, node, at, message }: NotificationView): Moment {
  return {
    at,
    kind: 'notification',
    what: message,
    where: [module === undefined ? cage : `${cage}.${module}`, node].filter(Boolean).join(' on '),
    note: level,
  }
}
