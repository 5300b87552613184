/**
 * Bucket: the stream of one cage's state, made when it is first needed.
 * B1. Compare-and-set is exact everywhere. The server's own is on a single server, and on clusters from 2.11 on. Before, a cluster compares
 *     with what is applied and not with what is under way, so that several writers of one revision win (measured on 2.9.10: up to 12 of 12).
 *     There, the writers of one revision share a message id: deduplication happens as entries are applied, in one order for all
 *     servers, and lets the first one through.
 */
import { CageError } from '../../errors.ts'
import { isCode, type JetStream, NS } from '../jetstream.ts'
import { streamOf } from './entry.ts'

/** How long writers of one revision can be under way together (B1): what comes later is compared with what is applied. */
const DUPLICATE_WINDOW_MS = 120_000

/** The first version whose clusters compare with what is under way. */
const EXACT_SINCE = [2, 11] as const

/** What a write needs to know of its bucket. */
export interface OpenBucket {
  readonly stream: string
  /** Writers of one revision need a common message id (B1). */
  readonly sharesIds: boolean
}

export class Bucket {
  readonly stream: string
  readonly #js: JetStream
  readonly #cage: string
  readonly #replicas: number | undefined
  readonly #serverVersion: () => string
  readonly #maxAgeMs: number | undefined
  #opening: Promise<OpenBucket> | undefined

  constructor(js: JetStream, cage: string, replicas: number | undefined, serverVersion: () => string, maxAgeMs?: number) {
    this.#js = js
    this.#cage = cage
    this.#replicas = replicas
    this.#serverVersion = serverVersion
    this.#maxAgeMs = maxAgeMs
    this.stream = streamOf(cage)
  }

  /** Makes it if need be. Rejects with UNAVAILABLE if the bus has no JetStream. */
  open(): Promise<OpenBucket> {
    this.#opening ??= this.#make().catch((error: unknown) => {
      this.#opening = undefined
      if (isCode(error, 'UNAVAILABLE')) throw new CageError('UNAVAILABLE', `state cannot be reached: ${error.message}`, { cause: error })
      throw error
    })
    return this.#opening
  }

  /** Somebody has deleted it: it is made anew at the next use. */
  forget(): void {
    this.#opening = undefined
  }

  async #make(): Promise<OpenBucket> {
    const { config } = await this.#js.ensureStream({
      name: this.stream,
      subjects: [`$KV.${this.#cage}.>`],
      ...{ max_msgs_per_subject: 1, discard: 'new', allow_rollup_hdrs: true, deny_delete: true, allow_direct: true }, // ADR-8
      duplicate_window: DUPLICATE_WINDOW_MS * NS,
      republish: { src: `$KV.${this.#cage}.>`, dest: `$STATE.${this.#cage}.>` }, // for watch.ts: only what was stored, unlike a plain subscription
      ...(this.#maxAgeMs === undefined ? {} : { max_age: this.#maxAgeMs * NS }),
      ...(this.#replicas === undefined ? {} : { num_replicas: this.#replicas }),
    })
    return { stream: this.stream, sharesIds: needsSharedIds(config.num_replicas, this.#serverVersion()) }
  }
}

/** Whether this server's own compare-and-set is not exact (B1). Pure. */
export function needsSharedIds(replicas: number, version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return replicas > 1 && (major < EXACT_SINCE[0] || (major === EXACT_SINCE[0] && minor < EXACT_SINCE[1]))
}
