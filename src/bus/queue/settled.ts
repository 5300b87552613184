/**
 * Settled: the messages of a cage's share of a queue that are settled of late: their end is decided, and its effects are written. A server
 * that is killed forgets what it has confirmed in its last 100 ms (2.9.10, server/filestore.go, flushLoop) and gives it out again: then it is
 * acknowledged again, not run.
 * T1. This copy remembers what it has settled itself, and what the settlements of others tell: of copies that died with the server above all.
 * T2. The settlements are read at the start and after each reconnect. Nothing runs before that is done.
 * A ring, because a Map of the newest is searched through all its deleted entries for the oldest one.
 */
import type { Delivery } from '../jetstream.ts'
import type { Settlements } from './settlements.ts'

/** A message: its sequence, and when it was stored (epoch ms). */
export type Place = Pick<Delivery, 'seq' | 'time'>

const REMEMBERED = 16_384

export class Settled {
  readonly #seqs = new Float64Array(REMEMBERED)
  /** When each was stored: a stream that was made anew counts from 1 again. */
  readonly #times = new Float64Array(REMEMBERED)
  readonly #settlements: Settlements | undefined

  /** Without them, only this copy's memory counts: where each call has a record in the ledger. */
  constructor(settlements?: Settlements) {
    this.#settlements = settlements
  }

  /** Resolves when everything is known that others have written (T2); undefined if it is. */
  reading(): Promise<void> | undefined {
    return this.#settlements?.reading((seq, time) => {
      if (time > (this.#times[seq % REMEMBERED] ?? 0)) this.#remember(seq, time)
    })
  }

  /** Everything that is remembered. */
  *places(): Iterable<Place> {
    for (const [at, seq] of this.#seqs.entries()) if (seq > 0) yield { seq, time: this.#times[at] ?? 0 }
  }

  has({ seq, time }: Place): boolean {
    const at = seq % REMEMBERED
    return this.#seqs[at] === seq && this.#times[at] === time
  }

  /** Those who come after this copy are told as well. */
  add({ seq, time }: Place): void {
    this.#remember(seq, time)
    this.#settlements?.note(seq, time)
  }

  #remember(seq: number, time: number): void {
    const at = seq % REMEMBERED
    this.#seqs[at] = seq
    this.#times[at] = time
  }
}
