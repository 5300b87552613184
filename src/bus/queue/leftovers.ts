/**
 * Leftovers: settled messages that a killed server does not know as settled. It has them in the queue all the same, and gives them out again or
 * to nobody (streams.ts, W3); or has them no more, and waits for their acknowledgement all the same (W4).
 * O1. So each is acknowledged again, be it there or not.
 * O2. A message is known by its sequence and its time. A stream that was made anew, or has lost its end, has others under these sequences.
 */
import type { JetStream } from '../jetstream.ts'
import type { Settled } from './settled.ts'

/** So many are looked at abreast. */
const ABREAST = 32

/** Acknowledges again what is settled and not younger than the stream's first message; resolves with the number. */
export async function acknowledgeLeftovers(
  js: JetStream,
  settled: Settled,
  { stream, consumers }: { stream: string; consumers: readonly string[] },
): Promise<number> {
  await settled.reading()
  const { first_seq = 0, last_seq = 0 } = (await js.streamInfo(stream))?.state ?? {}
  const places = [...settled.places()].filter(({ seq }) => seq >= first_seq && seq <= last_seq)
  let acknowledged = 0
  const look = async (): Promise<void> => {
    for (let place = places.pop(); place; place = places.pop()) {
      const { seq, time } = place
      const found = await js.get(stream, { seq })
      if (found && found.time !== time) continue // O2
      acknowledged++
      for (const consumer of consumers) js.postAck(stream, consumer, seq) // O1: one of them had it
    }
  }
  await Promise.all(Array.from({ length: ABREAST }, look))
  return acknowledged
}
