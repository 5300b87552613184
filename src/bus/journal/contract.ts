/** Journals as coordinators and sagas know them: append-only lists of events, each with one owner at a time. Types only. */

/** What a journal is about: the transactions of one coordinator, or one saga. */
export type JournalKind = 'tx' | 'saga'

/** Where a stored event stands: the number of its message, from 1. */
export type Position = number

/** An event and where it stands. */
export interface Entry<E> {
  readonly at: Position
  readonly event: E
}

/** A journal that is ours to write, until another owner takes it over. */
export interface Journal<E> {
  readonly cage: string
  readonly kind: JournalKind
  readonly name: string
  /** Another owner has taken it over: nothing of ours will ever be stored again. */
  readonly fenced: boolean
  /**
   * Stores an event; resolves once the server has it, with its position. Events that come while a message is under way go together in the next
   * one, in order. A bus that is away is waited for as long as it takes. Rejects with FENCED (another owner) or CANCELLED (closed: nobody knows).
   * `soon`: nobody waits for it: it goes with the next event, or by itself some milliseconds later.
   */
  append(event: E, soon?: boolean): Promise<Position>
  /** Deletes what stands before a position. Best effort. */
  trim(before: Position): Promise<void>
  /** Deletes all of it: it is over. */
  remove(): Promise<void>
  /** Nothing more is appended; what is under way ends in CANCELLED. */
  close(): void
}

/** A journal as others see it. */
export interface JournalInfo {
  readonly cage: string
  readonly kind: JournalKind
  readonly name: string
  readonly first: Position
  readonly last: Position
}

/** What has ended and is kept for people to look at, newest last. */
export interface HistoryFilter {
  cage?: string | undefined
  kind?: JournalKind | undefined
  /** Epoch ms. */
  since?: number | undefined
}

/** All journals of the bus. Made when the first one is needed. Rejects with UNAVAILABLE if the bus has no JetStream. */
export interface Journals {
  /** Whether anybody has ever needed one. */
  exist(): Promise<boolean>
  /** Of this installation of the bus, the same for as long as its journals are kept: eight letters and digits. */
  identity(): Promise<string>
  /** A new journal, or one that nobody else can be writing: nothing is read, nothing is stored before the first append. */
  open<E>(cage: string, kind: JournalKind, name: string): Journal<E>
  /**
   * Makes a journal ours: whoever wrote it is fenced from now on, be it asleep or alive. Resolves with all that it holds; an unknown one is empty.
   */
  takeOver<E>(cage: string, kind: JournalKind, name: string): Promise<{ journal: Journal<E>; entries: Entry<E>[] }>
  /** All that a journal holds, without a claim to it. */
  read<E>(cage: string, kind: JournalKind, name: string): Promise<Entry<E>[]>
  /** Those of a cage, or of all, that hold anything. */
  list(kind: JournalKind, cage?: string): Promise<JournalInfo[]>
  /** Whether whoever wrote a journal last is alive and within reach. Takes up to `withinMs`. */
  isOwned(journal: JournalInfo, withinMs: number): Promise<boolean>
  /** Keeps a record of something that has ended: once for each id within a kind of a cage; a second one is dropped. */
  keep(cage: string, kind: JournalKind, id: string, record: unknown): Promise<void>
  /** A record as `keepAll` takes it. */
  pack(record: unknown): Uint8Array
  /** Keeps many at once; they are found by `history` only. */
  keepAll(cage: string, kind: JournalKind, records: readonly Uint8Array[]): Promise<void>
  kept(cage: string, kind: JournalKind, id: string): Promise<unknown>
  history(filter?: HistoryFilter): AsyncIterable<unknown>
}
