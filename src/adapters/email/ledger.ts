/**
 * Ledger: what the copies of a cage know of the messages of a mailbox, in one value of the interface's memory. The marks are pure data.
 * G1. A message is claimed before it is fetched, by compare-and-set, for as long as its copy renews the claim. One whose claim has run out is
 *     another's: at least once, and mostly once.
 * G2. The claim counts as an attempt: a message that kills its reader, or at whose fetch the server is lost each time, is set aside in the end.
 * G3. A message is marked as done before it is disposed of: whoever finds it in the mailbox afterwards only disposes of it.
 * G4. A mark outlives its message by GRACE_MS, and nobody claims from a list that is half as old: clocks may differ by the other half.
 * Changes that come while one is being written are written together.
 */
import type { InterfaceMemory } from '../adapter.ts'

/** A copy that does not renew its claims for so long has lost them, ms. */
export const LEASE_MS = 10_000
/** G4 */
export const GRACE_MS = 20_000

/** What is known of one message. Times are epoch ms. */
export type Mark =
  /** `by` has it. */
  | { is: 'claimed'; attempts: number; by: string; until: number }
  /** It has failed, and is tried again. */
  | { is: 'waiting'; attempts: number; until: number }
  /** It is to be disposed of so. */
  | { is: 'done' | 'aside'; at: number }
  /** It has been; if it is there again, that is somebody's wish. */
  | { is: 'gone'; at: number }

/** Name → mark. */
export type Book = Map<string, Mark>

export interface Claiming {
  by: string
  now: number
  /** When the mailbox was asked what it has. */
  listedAt: number
  /** How many at most. */
  room: number
  attempts: number
}

/** What is to be done about listed messages. */
export interface Claims {
  taken: { name: string; attempt: number }[]
  disposals: { name: string; how: 'done' | 'aside' }[]
  /** Among the disposals: have just been found to have no attempt left. */
  exhausted: string[]
  /** Of the others: nothing is to be done about them before. */
  rest: Map<string, number>
}

/** Claims messages that wait, and forgets what is no longer there; `listed` is what the mailbox has. */
export function claim(book: Book, listed: readonly string[], { by, now, listedAt, room, attempts }: Claiming): Claims {
  const claims: Claims = { taken: [], disposals: [], exhausted: [], rest: new Map() }
  if (now - listedAt > GRACE_MS / 2) return claims // G4
  const there = new Set(listed)
  for (const [name, mark] of book) if (!there.has(name) && isOver(mark, now)) book.delete(name)
  for (const name of listed) {
    const mark = book.get(name)
    if (mark?.is === 'done' || mark?.is === 'aside') claims.disposals.push({ name, how: mark.is })
    else if (mark && restsUntil(mark) > now) {
      const isOwn = mark.is === 'claimed' && mark.by === by // it ends before, and whoever claims knows when
      if (!isOwn) claims.rest.set(name, restsUntil(mark))
    } else {
      const before = mark && 'attempts' in mark ? mark.attempts : 0
      if (before >= attempts) {
        book.set(name, { is: 'aside', at: now }) // G2
        claims.disposals.push({ name, how: 'aside' })
        claims.exhausted.push(name)
      } else if (claims.taken.length < room) {
        book.set(name, { is: 'claimed', attempts: before + 1, by, until: now + LEASE_MS })
        claims.taken.push({ name, attempt: before + 1 })
      }
    }
  }
  return claims
}

/** G1. */
export function renew(book: Book, names: Iterable<string>, by: string, now: number): void {
  for (const name of names) {
    const mark = book.get(name)
    if (mark?.is === 'claimed' && mark.by === by) book.set(name, { ...mark, until: now + LEASE_MS })
  }
}

/** Sets a mark, unless another copy has the message by now; that one it has been done is true all the same. */
export function settle(book: Book, name: string, by: string, mark: Mark): void {
  const known = book.get(name)
  if (mark.is === 'done' || known === undefined || (known.is === 'claimed' && known.by === by)) book.set(name, mark)
}

function restsUntil(mark: Mark): number {
  return mark.is === 'claimed' || mark.is === 'waiting' ? mark.until : mark.at + GRACE_MS
}

function isOver(mark: Mark, now: number): boolean {
  return restsUntil(mark) <= now
}

type Change = (book: Book) => void

export class Ledger {
  readonly #memory: InterfaceMemory
  readonly #key: string
  #pending: { change: Change; resolve: () => void; reject: (error: unknown) => void }[] = []
  #writing = false

  constructor(memory: InterfaceMemory, key: string) {
    this.#memory = memory
    this.#key = key
  }

  /** `change` may be asked several times, each time with the newest book. UNAVAILABLE, DEADLINE_EXCEEDED: nobody knows whether it was written. */
  update<T>(change: (book: Book) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const results: T[] = []
      const settled = (): void => {
        for (const result of results.slice(-1)) resolve(result)
      }
      this.#pending.push({ change: (book) => void results.push(change(book)), resolve: settled, reject })
      if (!this.#writing) void this.#write()
    })
  }

  async #write(): Promise<void> {
    this.#writing = true
    while (this.#pending.length > 0) {
      const batch = this.#pending
      this.#pending = []
      try {
        await this.#memory.update(this.#key, (current) => {
          const book = parseBook(current)
          for (const { change } of batch) change(book)
          return book.size === 0 ? undefined : Object.fromEntries(book)
        })
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    this.#writing = false
  }
}

function parseBook(value: unknown): Book {
  return new Map(Object.entries((value ?? {}) as Record<string, Mark>)) // nobody else writes it
}
