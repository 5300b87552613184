/**
 * Settled: the messages that this copy has settled of late. A server that is killed forgets what it has confirmed in its last 100 ms (2.9.10,
 * server/filestore.go, flushLoop) and gives it out again: then it is acknowledged again, not run.
 * A ring, because a Map of the newest is searched through all its deleted entries for the oldest one.
 */
import type { Delivery } from '../jetstream.ts'

const REMEMBERED = 16_384

export class Settled {
  readonly #seqs = new Float64Array(REMEMBERED)
  /** When each was stored: a stream that was made anew counts from 1 again. */
  readonly #times = new Float64Array(REMEMBERED)

  has({ seq, time }: Delivery): boolean {
    const at = seq % REMEMBERED
    return this.#seqs[at] === seq && this.#times[at] === time
  }

  add({ seq, time }: Delivery): void {
    const at = seq % REMEMBERED
    this.#seqs[at] = seq
    this.#times[at] = time
  }
}
