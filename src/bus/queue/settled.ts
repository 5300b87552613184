/**
 * Settled: the messages that this copy has settled of late. A server that is killed forgets what it has confirmed in its last 100 ms (2.9.10,
 * server/filestore.go, flushLoop) and gives it out again: then it is acknowledged again, not run.
 */
import type { Delivery } from '../jetstream.ts'

const REMEMBERED = 10_000

export class Settled {
  /** When each was stored, by sequence: a stream that was made anew counts from 1 again. */
  readonly #times = new Map<number, number>()

  has({ seq, time }: Delivery): boolean {
    return this.#times.get(seq) === time
  }

  add({ seq, time }: Delivery): void {
    this.#times.delete(seq)
    this.#times.set(seq, time)
    if (this.#times.size <= REMEMBERED) return
    const [oldest] = this.#times.keys()
    if (oldest !== undefined) this.#times.delete(oldest)
  }
}
