/**
 * Facts: what is not in a survey: queues, schedules, notifications, sagas, transactions and incidents, asked for now and then.
 * T1. What takes long to answer is asked less often: never for more than a twentieth of the time.
 * T2. What cannot be told now is told as it was.
 */
import { type Admin, CageError, type QueueSummary } from 'menagerie'
import type { IncidentView, NotificationView, ScheduleView } from './model.ts'

export interface Facts {
  /** False: the bus has none. Undefined: not known yet. */
  jetStream: boolean | undefined
  queues: QueueSummary[]
  schedules: ScheduleView[]
  /** Newest first. */
  notifications: NotificationView[]
  openSagas: number
  openTransactions: number
  incidents: IncidentView[]
}

const SHARE = 20
const NOTIFICATIONS = 50
const DAY_MS = 86_400_000

export class FactKeeper {
  readonly facts: Facts = {
    ...{ jetStream: undefined, queues: [], schedules: [], notifications: [] },
    ...{ openSagas: 0, openTransactions: 0, incidents: [] },
  }
  readonly #admin: Admin
  readonly #onTrouble: (what: string, error: unknown) => void
  readonly #due = new Map<string, number>()
  #notifiedUntil = Date.now() - DAY_MS

  constructor(admin: Admin, onTrouble: (what: string, error: unknown) => void) {
    this.#admin = admin
    this.#onTrouble = onTrouble
  }

  /** Asks for whatever is due. */
  async refresh(): Promise<void> {
    const { facts } = this
    const admin = this.#admin
    await this.#ask('the bus', 10_000, async () => {
      facts.jetStream = await admin.queues.check().then(
        () => true,
        (error: unknown) => {
          if (error instanceof CageError && error.code === 'UNAVAILABLE') return false
          throw error
        },
      )
    })
    const schedules = this.#ask('schedules', 4_000, () => admin.schedules.list().then((all) => Object.assign(facts, { schedules: all })))
    if (facts.jetStream !== true) return await schedules
    await Promise.all([
      schedules,
      this.#ask('queues', 2_000, () => admin.queues.list().then((all) => Object.assign(facts, { queues: all }))),
      this.#ask('notifications', 2_000, () => this.#readNotifications()),
      this.#ask('sagas and transactions', 5_000, async () => {
        const [sagas, transactions, incidents] = await Promise.all([admin.sagas.open(), admin.transactions.open(), incidentsOf(admin)])
        facts.openSagas = sagas.length
        facts.openTransactions = transactions.length
        facts.incidents = incidents
      }),
    ])
  }

  /** T1, T2. */
  async #ask(what: string, everyMs: number, ask: () => Promise<unknown>): Promise<void> {
    const now = performance.now()
    if ((this.#due.get(what) ?? 0) > now) return
    this.#due.set(what, Number.POSITIVE_INFINITY)
    await ask().catch((error: unknown) => this.#onTrouble(what, error))
    const took = performance.now() - now
    this.#due.set(what, now + Math.max(everyMs, took * SHARE))
  }

  async #readNotifications(): Promise<void> {
    const known = new Set(this.facts.notifications.map(({ seq }) => seq))
    const fresh: NotificationView[] = []
    for await (const kept of this.#admin.notifications.list({ since: this.#notifiedUntil })) {
      if (!known.has(kept.seq)) fresh.unshift(kept)
      if (fresh.length > NOTIFICATIONS) fresh.pop()
      this.#notifiedUntil = Math.max(this.#notifiedUntil, kept.at - 10_000) // clocks differ
    }
    this.facts.notifications = [...fresh, ...this.facts.notifications].sort((a, b) => b.seq - a.seq).slice(0, NOTIFICATIONS)
  }
}

/** Of transactions and of sagas, oldest first. */
export async function incidentsOf(admin: Admin): Promise<IncidentView[]> {
  const [transactions, sagas] = await Promise.all([admin.transactions.incidents(), admin.sagas.open()])
  const ofTransactions = transactions.map(({ id, cage, at, participant, problem, error, attempts }) => ({
    ...{ kind: 'transaction' as const, id, cage, at, part: participant, problem, error: { code: error.code, message: error.message } },
    attempts: attempts.map((one) => ({ at: one.at, by: one.by, action: one.action, reason: one.reason, error: one.error })),
  }))
  const ofSagas = sagas
    .filter(({ state }) => state === 'incident')
    .map(({ id, cage, changedAt, at, error }) => ({
      ...{ kind: 'saga' as const, id, cage, at: changedAt, part: at ?? '', problem: 'undo failed' },
      ...{ error: { code: error?.code ?? '', message: error?.message ?? '' }, attempts: [] },
    }))
  return [...ofTransactions, ...ofSagas].sort((a, b) => a.at - b.at)
}
