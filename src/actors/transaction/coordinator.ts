/**
 * Coordinator: the actor that runs the transactions of one worker, and finishes those that dead coordinators of the cage have left.
 * O1. It has a journal of its own, which nobody else writes while it lives. Once another has taken it over, what it was running is theirs; what
 *     comes next goes into a new journal.
 * O2. What is left is looked for all the time, by every copy; that two find the same costs work, never correctness (bus/journal).
 */
import type { Scope } from '../../adapters/adapter.ts'
import type { Bus } from '../../bus/bus.ts'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { pause } from '../../pause.ts'
import type { Resources } from '../resources.ts'
import { Compensations } from './compensations.ts'
import type { TransactionOptions } from './contract.ts'
import { newView, type Plan, type TxEvent, type TxView, transactionId } from './events.ts'
import { Execution } from './execution.ts'
import { Finisher, type Pools } from './finisher.ts'
import { History } from './history.ts'
import { Incidents } from './incidents.ts'
import type { Participant } from './participant.ts'
import { Recovery } from './recovery.ts'
import { Writer, type WriterDeps } from './writer.ts'

/** What a coordinator needs of its cage. */
export interface CoordinatorSource {
  readonly bus: Bus
  readonly cage: string
  readonly log: Log
  readonly resources: Resources
  /** How long an undo that fails is repeated before people are asked, ms. */
  readonly patienceMs: () => number
  /** It looks for what others have left. */
  readonly recovers: boolean
}

/** How long a stopping coordinator waits for what it runs, ms. */
const STOP_MS = 10_000

export class Coordinator {
  readonly #source: CoordinatorSource
  readonly #deps: WriterDeps
  readonly #recovery: Recovery | undefined
  readonly #compensations: Compensations
  /** Transactions of this worker that have not been settled. */
  readonly #running = new Set<string>()
  readonly #stopping = new AbortController()
  #journals = 0
  #writer: Writer | undefined
  #transactions = 0
  #idle: (() => void) | undefined

  constructor(source: CoordinatorSource) {
    const { bus, cage, log, resources, patienceMs } = source
    const pools: Pools = (name) => resources.get(name)
    this.#source = source
    this.#compensations = new Compensations(source.bus)
    const finisher = new Finisher(bus, cage, pools)
    const incidents = new Incidents(bus)
    const history = new History(bus, cage, log, () => this.#writer?.trimmer() ?? (() => {}))
    this.#deps = { bus, finisher, pools, history, incidents, log, patienceMs, stopping: this.#stopping.signal }
    if (!source.recovers) return
    this.#recovery = new Recovery({
      ...{ bus, cage, log, incidents, deps: this.#deps },
      pools: () => resources.names().flatMap((name) => resources.get(name) ?? []),
      isOwn: (journal) => this.#writer !== undefined && this.#writer.journal.name === journal && !this.#writer.journal.fenced,
      isRunning: (transaction) => this.#running.has(transaction),
    })
  }

  start(): void {
    this.#recovery?.start()
  }

  /** Lets what runs end; what cannot be settled now is left to others. */
  async stop(): Promise<void> {
    const deadline = pause(STOP_MS, this.#stopping.signal)
    if (this.#running.size > 0) await Promise.race([new Promise<void>((resolve) => (this.#idle = resolve)), deadline])
    this.#stopping.abort(new CageError('CANCELLED', 'the coordinator stops'))
    await this.#recovery?.stop()
    await this.#deps.history.flush()
    const journal = this.#writer?.journal
    if (journal && this.#running.size === 0 && !journal.fenced)
      await journal
        .remove()
        .catch((error: unknown) => this.#source.log.debug({ err: error }, 'the journal is left to be removed by others'))
    journal?.close()
  }

  /** Runs a transaction; see `Transaction.execute`. */
  execute(
    participants: readonly Participant[],
    asker: Pick<Plan, 'by' | 'request'>,
    scope: Scope,
    options: TransactionOptions,
  ): Promise<unknown> {
    const asking = this.#compensations.apply(participants, asker.request, scope)
    if (asking !== undefined) return asking.then(() => this.#run(participants, asker, scope, options))
    return this.#run(participants, asker, scope, options)
  }

  #run(
    participants: readonly Participant[],
    { by, request }: Pick<Plan, 'by' | 'request'>,
    scope: Scope,
    options: TransactionOptions,
  ): Promise<unknown> {
    const writer = this.#open()
    const tx = ++this.#transactions
    const plan: Plan = { by, request, deadline: scope.deadline, participants: participants.map(({ record }) => record) }
    const view: TxView = newView(transactionId(writer.journal.name, tx), tx, plan)
    writer.views.add(view)
    this.#running.add(view.id)
    const settled = (): void => {
      this.#running.delete(view.id)
      if (this.#running.size === 0) this.#idle?.()
    }
    return new Execution(writer, view, participants, options).run(scope, settled)
  }

  /** O1 */
  #open(): Writer {
    if (this.#writer && !this.#writer.journal.fenced) return this.#writer
    const { bus, cage } = this.#source
    const name = `${bus.id}-${(this.#journals++).toString(36)}`
    this.#writer = new Writer(bus.journals.open<TxEvent>(cage, 'tx', name), this.#deps)
    return this.#writer
  }
}
