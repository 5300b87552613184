/**
 * Recovery: finishes what dead coordinators of the cage have left, and carries out what people order.
 * R1. It looks all the time; one transaction that cannot be finished stops no other.
 * R2. Before it takes a journal over its owner must be out of reach twice: one that only reconnects is left alone.
 * R3. Prepared branches that no journal and no incident knows are rolled back (presumed abort).
 * R4. A coordinator that was only asleep may still leave an intent in the state, until its deadline: they are looked for once more after it.
 */
import type { Scope } from '../../adapters/adapter.ts'
import type { Pool } from '../../adapters/pool/contract.ts'
import type { Bus } from '../../bus/bus.ts'
import type { JournalInfo } from '../../bus/journal/contract.ts'
import type { Log } from '../../log.ts'
import { pause } from '../../pause.ts'
import { boundary } from './boundary.ts'
import { fold, isOrder, type OrderEvent, parseTransactionId, type TxEvent, type TxView } from './events.ts'
import type { Incidents } from './incidents.ts'
import { carryOut } from './orders.ts'
import { Settlement } from './settlement.ts'
import { Writer, type WriterDeps } from './writer.ts'

/** What it needs of its coordinator. */
export interface RecoveryHost {
  readonly bus: Bus
  readonly cage: string
  readonly log: Log
  readonly incidents: Incidents
  readonly deps: WriterDeps
  /** The pools of the cage. */
  pools(): Iterable<Pool>
  /** A journal of this worker. */
  isOwn(journal: string): boolean
  /** A transaction of this worker that has not been settled. */
  isRunning(transaction: string): boolean
}

const LOOK_MS = 1_000
const OWNER_MS = 1_000
const AGAIN_MS = 500
const JANITOR_MS = 30_000
/** The first look comes soon: whoever starts may be the one that left something. */
const JANITOR_FIRST_MS = 3_000

/** How long after its deadline a coordinator that wakes may still be at it, ms. */
const LATE_MS = 1_000
const JANITOR_ATTEMPT_MS = 10_000

/** A prepared branch that is older is told in the log, ms. */
const OLD_MS = 60_000

export class Recovery {
  readonly #host: RecoveryHost
  readonly #stopping = new AbortController()
  readonly #taken = new Set<string>()
  /** Journals that are ours by now, and not finished: they are tried again. */
  readonly #left = new Set<string>()
  readonly #cleaned = new WeakSet<Pool>()
  #loops: Promise<unknown> = Promise.resolve()

  constructor(host: RecoveryHost) {
    this.#host = host
  }

  start(): void {
    this.#loops = Promise.all([
      this.#repeat(LOOK_MS, 'what others have left cannot be looked for', () => this.#look()),
      this.#repeat(JANITOR_MS, 'prepared branches cannot be looked for', () => this.#clean(), JANITOR_FIRST_MS),
    ])
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loops
  }

  async #repeat(periodMs: number, failure: string, work: () => Promise<void>, firstMs: number = periodMs): Promise<void> {
    const { signal } = this.#stopping
    for (let ms = firstMs; ; ms = periodMs) {
      await pause(ms * (0.75 + Math.random() / 2), signal)
      if (signal.aborted) return
      if (!this.#host.bus.connected) continue
      await work().catch((error: unknown) => this.#host.log.debug({ err: error }, failure))
    }
  }

  async #look(): Promise<void> {
    const { bus, cage } = this.#host
    for (const info of await bus.journals.list('tx', cage)) {
      if (this.#host.isOwn(info.name) || this.#taken.has(info.name)) continue
      this.#taken.add(info.name)
      void this.#recover(info)
        .catch((error: unknown) => this.#host.log.warn({ journal: info.name, err: error }, 'a journal is not finished yet'))
        .finally(() => this.#taken.delete(info.name))
    }
  }

  async #recover(info: JournalInfo): Promise<void> {
    const { bus, log, deps } = this.#host
    const { journals } = bus
    const isNewOrder = isOrder(info.name) && info.last === 1 // whoever sees it takes it
    if (!isNewOrder && !this.#left.has(info.name) && (await this.#isOwned(info))) return
    await deps.finisher.prefix()
    this.#left.add(info.name)
    const { journal, entries } = await journals.takeOver<TxEvent | OrderEvent>(info.cage, 'tx', info.name)
    const orders: OrderEvent[] = []
    const events: { at: number; event: TxEvent }[] = []
    for (const { at, event } of entries) event.type === 'order' ? orders.push(event) : events.push({ at, event })
    const writer = new Writer(journal, deps)
    const left = [...fold(info.name, events).values()].filter(({ ended }) => ended === undefined)
    if (left.length > 0) log.warn({ journal: info.name, transactions: left.length }, 'finishing what a dead coordinator has left')
    for (const view of left) writer.views.add(view)
    const ends = await Promise.allSettled([
      ...left.map((view) => this.#finish(writer, view)),
      ...orders.map((order) => carryOut(order, this.#host, writer)),
    ])
    for (const end of ends) if (end.status === 'rejected' && !writer.signal.aborted) log.error({ err: end.reason }, 'left unfinished')
    await deps.history.flush()
    if (ends.every(({ status }) => status === 'fulfilled')) {
      await journal.remove()
      this.#left.delete(info.name)
    }
    if (journal.fenced) this.#left.delete(info.name)
    journal.close()
  }

  /** R2 */
  async #isOwned(info: JournalInfo): Promise<boolean> {
    const { journals } = this.#host.bus
    if (await journals.isOwned(info, OWNER_MS)) return true
    await pause(AGAIN_MS, this.#stopping.signal)
    return this.#stopping.signal.aborted || (await journals.isOwned(info, OWNER_MS))
  }

  async #finish(writer: Writer, view: TxView): Promise<void> {
    boundary('recover', view.id)
    const outcome = await new Settlement(writer, view).run()
    if (outcome === 'rolled back') await this.#outlast(writer, view)
    writer.ended(view)
    this.#host.log.info({ transaction: view.id, outcome }, 'transaction finished for a dead coordinator')
  }

  /** R4 */
  async #outlast({ finisher, signal }: Writer, view: TxView): Promise<void> {
    if (!view.plan.participants.some(({ kind }) => kind === 'state')) return
    await pause(Math.max(0, view.plan.deadline - Date.now()) + LATE_MS, signal)
    const scope = { deadline: Date.now() + JANITOR_ATTEMPT_MS, signal }
    await finisher.rollbackStates(view, scope)
  }

  /** R3 */
  async #clean(): Promise<void> {
    if (!(await this.#host.bus.journals.exist())) return
    const prefix = await this.#host.deps.finisher.prefix()
    for (const pool of this.#host.pools()) {
      if (pool.participant !== 'prepared' && (pool.participant !== undefined || this.#cleaned.has(pool))) continue
      const scope = { deadline: Date.now() + JANITOR_ATTEMPT_MS, signal: this.#stopping.signal }
      await this.#cleanPool(pool, prefix, scope).then(
        () => this.#cleaned.add(pool),
        (error: unknown) => this.#host.log.debug({ resource: pool.name, err: error }, 'prepared branches cannot be looked for'),
      )
    }
  }

  async #cleanPool(pool: Pool, prefix: string, scope: Scope): Promise<void> {
    const { log } = this.#host
    const leftovers = await pool.use(scope, async ({ connection, scope: within }) => (await connection.leftovers?.(prefix, within)) ?? [])
    if (leftovers.length === 0) return
    const known = await this.#known()
    for (const { branch, ageMs } of leftovers) {
      const transaction = branch.slice(prefix.length).replace(/\/\d+$/, '')
      const isKnown = known(transaction)
      if (ageMs > OLD_MS) log.warn({ resource: pool.name, branch, ageMs, known: isKnown }, 'a prepared branch is old, and holds its locks')
      if (isKnown) continue
      await pool.use(scope, async ({ connection, scope: within }) => await connection.finish?.(branch, 'rollback', within))
      log.warn({ resource: pool.name, branch, ageMs }, 'a prepared branch that no journal knows is rolled back')
    }
  }

  /** Tells whether a transaction is still somebody's. */
  async #known(): Promise<(transaction: string) => boolean> {
    const { bus, cage, incidents } = this.#host
    const [journals, open] = await Promise.all([bus.journals.list('tx', cage), incidents.list()])
    const names = new Set(journals.map(({ name }) => name))
    const ids = new Set(open.map(({ view }) => view.id))
    return (transaction) => {
      const journal = parseTransactionId(transaction)?.journal ?? ''
      if (ids.has(transaction)) return true
      return this.#host.isOwn(journal) ? this.#host.isRunning(transaction) : names.has(journal)
    }
  }
}
