/**
 * Store: the durable values of one module, shared by all copies of its cage.
 * V1. Every write is a compare-and-set: it replaces exactly what was read, or is decided anew on what is there now. Nothing is lost.
 * V2. A write whose answer was lost is found again by its mark in what is there; where that cannot tell either, the error says so.
 * V3. Reads ask the stream's leader: other servers of a cluster may lag behind.
 * V4. What has expired is absent. It is cleaned away by whoever meets it.
 */
import { randomBytes } from 'node:crypto'
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { StateChange, StateStore, StateWrite } from '../bus.ts'
import { isCode, type JetStream, type StoredMessage } from '../jetstream.ts'
import { encodeResult } from '../wire.ts'
import type { Bucket } from './bucket.ts'
import {
  type Entry,
  fateOf,
  isPresent,
  keyOf,
  lastToken,
  noEntry,
  storedEntry,
  subjectOf,
  tokenOfKey,
  valueIn,
  writersOf,
} from './entry.ts'
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
    if (entry.written && !isPresent(entry, now)) await this.#clean(entry, deadline)
    return valueIn(entry, now)
  }

  async update(key: string, change: StateChange, { deadline, ttlMs }: StateWrite): Promise<unknown> {
    const token = tokenOfKey(key)
    if (ttlMs !== undefined && !(ttlMs > 0)) throw new CageError('INVALID_ARGUMENT', `ttlMs must be a positive number, not ${ttlMs}`)
    const { sharesIds } = await this.bucket.open()
    const mark = randomBytes(6).toString('base64url')
    let unclear: { seq: number; value: unknown } | undefined
    for (let tries = 1; ; tries++) {
      const entry = await this.#read(token, deadline).catch((error: unknown) => {
        throw unclear ? unknown(key, error) : error
      })
      const fate = unclear && fateOf(mark, unclear.seq, entry) // V2
      if (unclear && fate === 'stored') return unclear.value
      if (unclear && fate === undefined) throw unknown(key)
      if (fate === 'refused') unclear = undefined
      const before = valueIn(entry, Date.now())
      const value = unclear ? unclear.value : await change(before) // the same again: only one of the two can be stored
      if (value === undefined && before === undefined && !unclear) return undefined
      const refused = await this.#write(entry, value, mark, { sharesIds, deadline, ttlMs })
      if (!refused) return value
      if (refused.repeated || unclear) unclear = { seq: entry.seq, value }
      await pause(Math.random() * Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** tries))
      if (Date.now() >= deadline) throw unclear ? unknown(key) : outrun(key, tries)
    }
  }

  async keys(deadline: number): Promise<string[]> {
    await this.bucket.open()
    const { entries } = await this.list(deadline)
    const now = Date.now()
    const dead = entries.filter((entry) => !isPresent(entry, now) && (entry.written || entry.time + DELETED_MS < now))
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
    const tokens: string[] = []
    let lastSeq = 0
    for (let total = 1; tokens.length < total; ) {
      const page = await this.#js.api<SubjectsPage>(
        `STREAM.INFO.${this.bucket.stream}`,
        { subjects_filter: this.#subject('*'), offset: tokens.length },
        deadline,
      )
      if (tokens.length === 0) lastSeq = page.state.last_seq
      const found = Object.keys(page.state.subjects ?? {}).map(lastToken)
      tokens.push(...found)
      total = found.length === 0 ? 0 : page.total
    }
    const entries: Entry[] = []
    for (let at = 0; at < tokens.length; at += BATCH)
      entries.push(...(await Promise.all(tokens.slice(at, at + BATCH).map((token) => this.#read(token, deadline)))))
    return { lastSeq, entries: entries.filter(({ seq }) => seq > 0) }
  }

  /** The module's newest entry, by which one sees whether anything was missed. */
  async newest(deadline: number): Promise<StoredMessage | undefined> {
    return this.#js.get(this.bucket.stream, { last_by_subj: this.#subject('*') }, deadline)
  }

  async #read(token: string, deadline: number): Promise<Entry> {
    const message = await this.#js.get(this.bucket.stream, { last_by_subj: this.#subject(token) }, deadline) // V3
    return message ? storedEntry(message) : noEntry(token)
  }

  /** Replaces an entry; resolves with how it was refused, if so. */
  async #write(
    entry: Entry,
    value: unknown,
    mark: string,
    { sharesIds, deadline, ttlMs }: StateWrite & { sharesIds: boolean },
  ): Promise<{ repeated: boolean } | undefined> {
    const { token, seq } = entry
    const data = encodeResult(value, 'envelope')
    const headers: Record<string, string> = { Writers: writersOf(mark, entry) }
    if (value === undefined) headers['KV-Operation'] = 'DEL'
    else if (ttlMs !== undefined) headers['Ttl-Ms'] = String(ttlMs)
    // whether a subject is empty is compared exactly everywhere, and after a cleaning it is empty again
    const msgId = sharesIds && seq > 0 ? `${this.module}.${token}@${seq}` : undefined
    try {
      const { duplicate, repeated } = await this.#js.publish(this.#subject(token), data, { msgId, expectedLast: seq, headers, deadline })
      return duplicate ? { repeated } : undefined
    } catch (error) {
      if (isCode(error, 'CONFLICT')) return error.details as { repeated: boolean } // jetstream.ts put it there
      if (isCode(error, 'PAYLOAD_TOO_LARGE'))
        throw new CageError(
          'PAYLOAD_TOO_LARGE',
          `the value of the key ${JSON.stringify(keyOf(token))} takes ${data.length} bytes: ${error.message}`,
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

interface SubjectsPage {
  total: number
  state: { last_seq: number; subjects?: Record<string, number> | null }
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
