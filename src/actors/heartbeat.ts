/**
 * Heartbeat: what a worker tells the main thread even when it cannot run: memory that both share.
 * H1. `beat` grows while the worker's event loop turns. H2. `mark` is the method that was entered last.
 * H3. `culprit` is the method that ends the worker by `process.exit()`.
 */
const BEAT = 0
const MARK = 1
const CULPRIT = 2

/** The worker's end. */
export class Heartbeat {
  readonly #cells: Int32Array
  readonly #marks = new Map<string, number>()
  readonly #onMark: (mark: number, name: string) => void

  /** `onMark` tells the other side what a number stands for. */
  constructor(shared: SharedArrayBuffer, onMark: (mark: number, name: string) => void, everyMs: number) {
    this.#cells = new Int32Array(shared)
    this.#onMark = onMark
    Atomics.add(this.#cells, BEAT, 1) // from here on it is watched: also a module that loops while it is loaded
    setInterval(() => Atomics.add(this.#cells, BEAT, 1), everyMs).unref()
  }

  /** The number of `module.method`. */
  markOf(module: string, method: string): number {
    const name = `${module}.${method}`
    let mark = this.#marks.get(name)
    if (mark === undefined) {
      mark = this.#marks.size + 1
      this.#marks.set(name, mark)
      this.#onMark(mark, name)
    }
    return mark
  }

  /** A plain write: the reader is in no hurry. */
  enter(mark: number): void {
    this.#cells[MARK] = mark
  }

  /** H3. */
  blame(mark: number): void {
    Atomics.store(this.#cells, CULPRIT, mark)
  }
}

/** Memory for one worker's heartbeat. */
export function sharedHeartbeat(): SharedArrayBuffer {
  return new SharedArrayBuffer(12)
}

/** The main thread's view. */
export function readHeartbeat(shared: SharedArrayBuffer): { beat: number; mark: number; culprit: number } {
  const cells = new Int32Array(shared)
  return { beat: Atomics.load(cells, BEAT), mark: Atomics.load(cells, MARK), culprit: Atomics.load(cells, CULPRIT) }
}
