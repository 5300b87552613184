/**
 * Held: the calls that a worker has taken from its queues and not settled, in memory that its main thread shares.
 * D1. The main thread keeps them alive although the worker may be busy, and hands them back at once when the worker dies (keeper.ts).
 * D2. What only waits for its turn is marked as such: it has not to answer for the worker's death.
 * D3. A row is written before it is marked as taken and is read twice, so that no half-written row is ever believed.
 */

const ROW_BYTES = 512
/** Turn (0: free), length, begun. */
const HEADER_BYTES = 12
const ROWS = 1_024

/** What the table says of one held message. */
export interface HeldMessage {
  ackSubject: string
  /** `cage.module.method` */
  target: string
  /** The call's id, as a part of a URL. */
  id: string
  /** It has been handed to its module. */
  begun: boolean
}

/** Memory for one worker's held messages. */
export function sharedHeld(): SharedArrayBuffer {
  return new SharedArrayBuffer(ROWS * ROW_BYTES)
}

/** The worker's end. */
export class HeldTable {
  readonly #words: Int32Array
  readonly #bytes: Uint8Array
  readonly #free: number[] = Array.from({ length: ROWS }, (_, row) => ROWS - 1 - row)
  readonly #turns = new Int32Array(ROWS)

  constructor(shared: SharedArrayBuffer) {
    this.#words = new Int32Array(shared)
    this.#bytes = new Uint8Array(shared)
  }

  /** How many more messages can be held. */
  get free(): number {
    return this.#free.length
  }

  /** Notes a message; returns its row. */
  add({ ackSubject, target, id }: Omit<HeldMessage, 'begun'>): number {
    const row = this.#free.pop()
    if (row === undefined) throw new Error('the table of held messages is full')
    const text = `${ackSubject}\n${target}\n${id}`
    const start = row * ROW_BYTES
    const length = Math.min(text.length, ROW_BYTES - HEADER_BYTES)
    for (let i = 0; i < length; i++) this.#bytes[start + HEADER_BYTES + i] = text.charCodeAt(i)
    this.#words[start / 4 + 1] = length
    this.#words[start / 4 + 2] = 0
    this.#turns[row] = ((this.#turns[row] ?? 0) + 1) & 0x3fffffff
    Atomics.store(this.#words, start / 4, this.#turns[row] || 1)
    return row
  }

  /** The message is handed to its module. */
  begin(row: number): void {
    Atomics.store(this.#words, (row * ROW_BYTES) / 4 + 2, 1)
  }

  /** The message is settled, or given up. */
  remove(row: number): void {
    Atomics.store(this.#words, (row * ROW_BYTES) / 4, 0)
    this.#free.push(row)
  }
}

/** Everything that a table holds now (D3). */
export function readHeld(shared: SharedArrayBuffer): HeldMessage[] {
  const words = new Int32Array(shared)
  const bytes = Buffer.from(shared)
  const found: HeldMessage[] = []
  for (let row = 0; row < ROWS; row++) {
    const start = row * ROW_BYTES
    const turn = Atomics.load(words, start / 4)
    if (turn === 0) continue
    const length = words[start / 4 + 1] ?? 0
    const begun = words[start / 4 + 2] === 1
    const [ackSubject = '', target = '', id = ''] = bytes
      .toString('latin1', start + HEADER_BYTES, start + HEADER_BYTES + length)
      .split('\n')
    if (Atomics.load(words, start / 4) === turn && ackSubject.startsWith('$JS.ACK.')) found.push({ ackSubject, target, id, begun })
  }
  return found
}

/** Whether a worker that has ended leaves anything to be handed back. */
export function holdsAnything(shared: SharedArrayBuffer): boolean {
  return readHeld(shared).length > 0
}
