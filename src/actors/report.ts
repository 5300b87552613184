/**
 * Report: what a worker tells the node's main thread when that is asked for metrics or health.
 * P1. What the bus is to be asked for (queues, sagas) is asked at most every `FRESH_MS`, only when somebody wants it, and never waited for longer
 *     than `WAIT_MS`: then the last that is known is told.
 */
import type { Bus } from '../bus/bus.ts'
import type { QueueSummary } from '../bus/queue/contract.ts'
import type { CopyStatus } from '../bus/survey/contract.ts'
import type { Log } from '../log.ts'
import { within } from '../pause.ts'
import { type SagaEvent, viewOf } from './saga/events.ts'
import { infoOf } from './saga/listing.ts'

/** Plain data: it goes through a message port. */
export interface WorkerReport {
  copy: CopyStatus
  connected: boolean
  /** Those that this worker consumes; empty if nobody asked. */
  queues: QueueSummary[]
  /** Of the cage; undefined if nobody asked, or nothing is known. */
  sagas: { open: number; incidents: number } | undefined
}

const FRESH_MS = 3_000
const WAIT_MS = 400
/** Journals that are read for one report. */
const READS = 200

export class Reporter {
  readonly #bus: Bus
  readonly #cage: string
  readonly #log: Log
  readonly #read: () => Promise<CopyStatus>
  readonly #sagaStates = new Map<string, { last: number; incident: boolean }>()
  #queues: QueueSummary[] = []
  #sagas: WorkerReport['sagas']
  #askedAt = Number.NEGATIVE_INFINITY
  #asking: Promise<void> = Promise.resolve()

  constructor(bus: Bus, cage: string, log: Log, read: () => Promise<CopyStatus>) {
    this.#bus = bus
    this.#cage = cage
    this.#log = log
    this.#read = read
  }

  /** `whole`: with what the bus is to be asked for. */
  async report(whole: boolean): Promise<WorkerReport> {
    const [copy] = await Promise.all([this.#read(), whole ? this.#fresh() : undefined])
    const mine = new Set(copy.queues.map(({ queue }) => queue))
    const queues = whole ? this.#queues.filter(({ queue }) => mine.has(queue)) : []
    return { copy, connected: this.#bus.connected, queues, sagas: whole && copy.only === undefined ? this.#sagas : undefined }
  }

  /** P1. */
  async #fresh(): Promise<void> {
    const now = performance.now()
    if (now - this.#askedAt >= FRESH_MS && this.#bus.connected) {
      this.#askedAt = now
      this.#asking = this.#ask().catch((error: unknown) => this.#log.debug({ err: error }, 'queues and sagas cannot be counted'))
    }
    await within(WAIT_MS, this.#asking)
  }

  async #ask(): Promise<void> {
    const [queues] = await Promise.all([this.#bus.queues.list(), this.#countSagas()])
    this.#queues = queues
  }

  /** A journal is read again once it has grown. */
  async #countSagas(): Promise<void> {
    const journals = await this.#bus.journals.list('saga', this.#cage)
    const names = new Set(journals.map(({ name }) => name))
    for (const name of this.#sagaStates.keys()) if (!names.has(name)) this.#sagaStates.delete(name)
    const grown = journals.filter(({ name, last }) => this.#sagaStates.get(name)?.last !== last).slice(0, READS)
    const reads = grown.map(async ({ name, last }) => {
      const info = infoOf(this.#cage, name, viewOf(await this.#bus.journals.read<SagaEvent>(this.#cage, 'saga', name)))
      this.#sagaStates.set(name, { last, incident: info?.state === 'incident' })
    })
    await Promise.all(reads)
    const incidents = [...this.#sagaStates.values()].filter(({ incident }) => incident).length
    this.#sagas = { open: journals.length, incidents }
  }
}
