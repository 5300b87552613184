/**
 * Store: the durable values of one module, shared by all copies of its cage.
 * V1. Every write is a compare-and-set: it replaces exactly what was read, or is decided anew on what is there now. Nothing is lost.
 * V2. A write whose answer was lost is found again by its mark in what is there; where that cannot tell either, the error says so.
 * V3. Reads ask the stream's leader: other servers of a cluster may lag behind.
 * V4. What has expired is absent. It is cleaned away by whoever meets it.
 * V5. A prepared change (intent.ts) is seen by nobody but its own branch, and other writers wait until it is committed or rolled back.
 */
import { randomBytes } from 'node:crypto'
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { StateChange, StateIntent, StateStore, StateWrite } from '../bus.ts'
import { isCode, type JetStream, type StoredMessage } from '../jetstream.ts'
import { encodeResult } from '../wire.ts'
import type { Bucket } from './bucket.ts'
import {
  type Entry,
  fateOf,
  isPresent,
  isRubbish,
  keyOf,
  lastToken,
  noEntry,
  storedEntry,
  subjectOf,
  tokenOfKey,
  valueIn,
  writersOf,
} from './entry.ts'
import { encodeIntent, type Intent, packed, unpacked } from './intent.ts'
import { Watch, type WatchDeps } from './watch.ts'

/** All entries of a module, and the stream's last sequence when they were listed. */
export interface Listing {
  lastSeq: number
  entries: Entry[]
}

/** Marks of deletion stay for so long, for those who were away. */
const DELETED_MS = 600_000

/** How many entries a listing reads at once, and how many it cleans away. */
const BATCH = 64

/** Between two tries of a write: random, up to this, ms. */
const FIRST_PAUSE_MS = 2
const MAX_PAUSE_MS = 64

/** Between two looks at a key that a transaction holds, ms. */
const HELD_MS = 25

export class Store implements StateStore {
  readonly cage: string
  readonly module: string
  readonly bucket: Bucket
  readonly #js: JetStream
  readonly #watching: WatchDeps

  constructor(js: JetStream, bucket: Bucket, watching: WatchDeps, cage: string, module: string) {
    this.#js = js
    this.bucket = bucket
    this.#watching = watching
    this.cage = cage
    this.module = module
  }

  async get(key: string, deadline: number): Promise<unknown> {
    const token = tokenOfKey(key)
    await this.bucket.open()
    const entry = await this.#read(token, deadline)
    const now = Date.now()
    if (isRubbish(entry, now, 0)) await this.#clean(entry, deadline)
    return valueIn(entry, now)
  }

  async update(key: string, change: StateChange, { deadline, ttlMs }: StateWrite): Promise<unknown> {
    checkTtl(ttlMs)
    return this.#replace(key, deadline, async (entry) => {
      if (entry.intent) return { heldBy: entry.intent.branch } // V5
      const before = valueIn(entry, Date.now())
      const value = await change(before)
      return value === undefined && before === undefined ? { result: undefined } : plain(value, ttlMs)
    })
  }

  async prepare(key: string, change: StateChange, { branch, deadline, ttlMs }: StateIntent): Promise<unknown> {
    checkTtl(ttlMs)
    return this.#replace(key, deadline, async (entry) => {
      const { intent, seq, expiresAt } = entry
      if (intent && intent.branch !== branch) return { heldBy: intent.branch }
      const old = valueIn(entry, Date.now())
      const before = intent ? unpacked(intent.new) : old
      const value = await change(before)
      if (!intent && value === undefined && before === undefined) return { result: undefined }
      const oldExpiresAt = old === undefined || expiresAt === Number.POSITIVE_INFINITY ? null : expiresAt
      const next: Intent = { branch, old: packed(old), oldExpiresAt, new: packed(value), ttlMs: ttlMs ?? null }
      return { result: value, data: encodeIntent(next), headers: { Intent: 'pending', 'Same-As': String(seq) } }
    })
  }

  async finish(key: string, branch: string, end: 'commit' | 'rollback', deadline: number): Promise<unknown> {
    return this.#replace(key, deadline, (entry) => {
      const { intent, seq, expiresAt } = entry
      const now = Date.now()
      const old = valueIn(entry, now)
      if (intent ? intent.branch !== branch : end === 'commit') return { result: old } // it was finished before
      if (intent && end === 'commit') return plain(unpacked(intent.new), intent.ttlMs ?? undefined)
      // written anew even if there is no intent: one that is still under way replaces another revision, and is refused
      const leftMs = expiresAt === Number.POSITIVE_INFINITY ? undefined : expiresAt - now
      const { result, data, headers } = plain(old, leftMs)
      return { result, data, headers: { ...headers, 'Same-As': String(seq) } }
    })
  }

  async keys(deadline: number): Promise<string[]> {
    await this.bucket.open()
    const { entries } = await this.list(deadline)
    const now = Date.now()
    const dead = entries.filter((entry) => isRubbish(entry, now, now - DELETED_MS))
    await Promise.all(dead.slice(0, BATCH).map((entry) => this.#clean(entry, deadline)))
    return entries
      .filter((entry) => isPresent(entry, now))
      .map(({ token }) => keyOf(token))
      .sort()
  }

  async watch(listener: (key: string, value: unknown) => void, deadline: number): Promise<() => void> {
    await this.bucket.open()
    const watch = new Watch(this, this.#watching, listener)
    await watch.start(deadline)
    return () => watch.stop()
  }

  /** Everything of this module, deleted and expired entries too. */
  async list(deadline: number): Promise<Listing> {
    const { subjects, lastSeq } = await this.#js.subjects(this.bucket.stream, this.#subject('*'), deadline)
    const tokens = subjects.map(lastToken)
    const entries: Entry[] = []
    for (let at = 0; at < tokens.length; at += BATCH)
      entries.push(...(await Promise.all(tokens.slice(at, at + BATCH).map((token) => this.#read(token, deadline)))))
    return { lastSeq, entries: entries.filter(({ seq }) => seq > 0) }
  }

  /** The module's newest entry, by which one sees whether anything was missed. */
  async newest(deadline: number): Promise<StoredMessage | undefined> {
    return this.#js.get(this.bucket.stream, { last_by_subj: this.#subject('*') }, deadline)
  }

  /** Replaces an entry by what `decide` makes of it (V1, V2); resolves with the result of that. */
  async #replace(key: string, deadline: number, decide: (entry: Entry) => Decision | Promise<Decision>): Promise<unknown> {
    const token = tokenOfKey(key)
    const { sharesIds } = await this.bucket.open()
    const mark = randomBytes(6).toString('base64url')
    let unclear: { seq: number; next: Next } | undefined
    for (let tries = 1; ; ) {
      const entry = await this.#read(token, deadline).catch((error: unknown) => {
        throw unclear ? unknown(key, error) : error
      })
      const fate = unclear && fateOf(mark, unclear.seq, entry) // V2
      if (unclear && fate === 'stored') return unclear.next.result
      if (unclear && fate === undefined) throw unknown(key)
      if (fate === 'refused') unclear = undefined
      const next = unclear ? unclear.next : await decide(entry) // the same again: only one of the two can be stored
      if ('heldBy' in next) {
        if (Date.now() + HELD_MS >= deadline) throw held(key, next.heldBy)
        await pause(HELD_MS)
        continue
      }
      if (!('data' in next)) return next.result
      const refused = await this.#write(entry, next, mark, sharesIds, deadline)
      if (!refused) return next.result
      if (refused.repeated || unclear) unclear = { seq: entry.seq, next }
      await pause(Math.random() * Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries))
      if (Date.now() >= deadline) throw unclear ? unknown(key) : outrun(key, tries)
      tries++
    }
  }

  async #read(token: string, deadline: number): Promise<Entry> {
    const message = await this.#js.get(this.bucket.stream, { last_by_subj: this.#subject(token) }, deadline) // V3
    return message ? storedEntry(message) : noEntry(token)
  }

  /** Replaces an entry; resolves with how it was refused, if so. */
  async #write(
    entry: Entry,
    { data, headers }: Next,
    mark: string,
    sharesIds: boolean,
    deadline: number,
  ): Promise<{ repeated: boolean } | undefined> {
    const { token, seq } = entry
    // whether a subject is empty is compared exactly everywhere, and after a cleaning it is empty again
    const msgId = sharesIds && seq > 0 ? `${this.module}.${token}@${seq}` : undefined
    const options = { msgId, expectedLast: seq, headers: { Writers: writersOf(mark, entry), ...headers }, deadline }
    try {
      const { duplicate, repeated } = await this.#js.publish(this.#subject(token), data, options)
      return duplicate ? { repeated } : undefined
    } catch (error) {
      if (isCode(error, 'CONFLICT')) return error.details as { repeated: boolean } // jetstream.ts put it there
      if (isCode(error, 'PAYLOAD_TOO_LARGE'))
        throw new CageError(
          'PAYLOAD_TOO_LARGE',
          `the value of the key ${JSON.stringify(keyOf(token))} takes ${data.length} bytes${headers.Intent ? ' together with the one that it replaces' : ''}: ${error.message}`,
        )
      if (isCode(error, 'DEADLINE_EXCEEDED')) throw unknown(keyOf(token), error)
      if (isCode(error, 'UNAVAILABLE') && this.#js.connected) this.bucket.forget()
      if (error instanceof CageError && (error.details as { repeated?: boolean } | undefined)?.repeated) throw unknown(keyOf(token), error)
      throw error
    }
  }

  /** Takes an entry away for good, and nothing that is newer. */
  async #clean({ token, seq }: Entry, deadline: number): Promise<void> {
    await this.#js.api(`STREAM.PURGE.${this.bucket.stream}`, { filter: this.#subject(token), seq: seq + 1 }, deadline)
  }

  #subject(token: string): string {
    return subjectOf(this.cage, this.module, token)
  }
}

/** What is to replace an entry, and what its writer is told then. */
interface Next {
  result: unknown
  data: Uint8Array
  headers: Readonly<Record<string, string>>
}

/** `result` alone: nothing is to be written. `heldBy`: a transaction has prepared a change. */
type Decision = Next | { result: unknown } | { heldBy: string }

/** A value without an intent. */
function plain(value: unknown, ttlMs: number | undefined): Next {
  const headers: Record<string, string> = {}
  if (value === undefined) headers['KV-Operation'] = 'DEL'
  else if (ttlMs !== undefined) headers['Ttl-Ms'] = String(ttlMs)
  return { result: value, data: encodeResult(value, 'envelope'), headers }
}

function checkTtl(ttlMs: number | undefined): void {
  if (ttlMs !== undefined && !(ttlMs > 0)) throw new CageError('INVALID_ARGUMENT', `ttlMs must be a positive number, not ${ttlMs}`)
}

function held(key: string, branch: string): CageError {
  const message = `the key ${JSON.stringify(key)} was not written: the transaction ${branch} has prepared a change of it`
  return new CageError('CONFLICT', message, { details: { branch }, retryable: true })
}

function unknown(key: string, cause?: unknown): CageError {
  const message = `the key ${JSON.stringify(key)} may have been written or not: the bus did not say in time`
  return new CageError('DEADLINE_EXCEEDED', message, cause === undefined ? {} : { cause })
}

function outrun(key: string, tries: number): CageError {
  return new CageError('CONFLICT', `the key ${JSON.stringify(key)} was not written: others were faster, ${tries} times`, {
    retryable: true,
  })
}
