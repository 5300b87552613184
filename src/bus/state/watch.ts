/**
 * Watch: tells of a module's values as they are, and then as they change.
 * The server republishes what it has stored (ADR-28). A plain subscription to the bucket's subjects would also see what was refused.
 * N1. Of each key the listener hears the latest value, in the order of revisions, and never an older one after a newer one. It may miss
 *     values in between. Undefined: deleted or expired.
 * N2. What came while the connection was away is read afterwards. What a server forgot to tell (a leader that died after it had
 *     stored) is found within a minute.
 */
import type { Msg, NatsConnection, Subscription } from 'nats'
import type { Log } from '../../log.ts'
import { LONGEST_TIMER_MS } from '../../pause.ts'
import type { Connection } from '../connection.ts'
import { type Entry, entryOf, isPresent, keyOf, lastToken, newsOf, valueIn } from './entry.ts'
import type { Store } from './store.ts'

/** What a watch needs of its connection. */
export interface WatchDeps {
  nc: NatsConnection
  connection: Connection
  log: Log
}

/** How often a watch looks whether the connection was away, and how often whether it was told everything (N2). */
const LOOK_MS = 500
const CHECK_MS = 60_000

const READ_MS = 10_000

interface Known {
  seq: number
  present: boolean
  expiry: NodeJS.Timeout | undefined
}

export class Watch {
  readonly #store: Store
  readonly #deps: WatchDeps
  readonly #listener: (key: string, value: unknown) => void
  readonly #known = new Map<string, Known>()
  #subscription: Subscription | undefined
  #timer: NodeJS.Timeout | undefined
  #reconnects = 0
  #newest = 0
  #checkedAt = 0
  #reading = false
  #stopped = false

  constructor(store: Store, deps: WatchDeps, listener: (key: string, value: unknown) => void) {
    this.#store = store
    this.#deps = deps
    this.#listener = listener
  }

  /** Resolves when the listener has heard of everything that is there. */
  async start(deadline: number): Promise<void> {
    const { nc, connection } = this.#deps
    this.#reconnects = connection.reconnects
    this.#subscription = nc.subscribe(newsOf(this.#store.cage, this.#store.module, '*'), {
      callback: (error, msg) => {
        if (!error) this.#heard(msg)
      },
    })
    try {
      await nc.flush() // what is stored from now on is heard, what was before is read
      await this.#readAll(deadline)
    } catch (error) {
      this.stop()
      throw error
    }
    this.#checkedAt = Date.now()
    this.#timer = setInterval(() => void this.#look(), LOOK_MS)
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#timer)
    if (!this.#deps.nc.isClosed()) this.#subscription?.unsubscribe()
    for (const { expiry } of this.#known.values()) clearTimeout(expiry)
  }

  async #look(): Promise<void> {
    const { nc, connection, log } = this.#deps
    if (nc.isClosed()) return this.stop()
    const { reconnects, connected } = connection
    const wasAway = reconnects !== this.#reconnects
    if (this.#reading || !connected || (!wasAway && Date.now() - this.#checkedAt < CHECK_MS)) return
    this.#reading = true
    try {
      const deadline = Date.now() + READ_MS
      if (wasAway || ((await this.#store.newest(deadline))?.seq ?? 0) > this.#newest) await this.#readAll(deadline)
      this.#reconnects = reconnects
      this.#checkedAt = Date.now()
    } catch (error) {
      log.debug({ module: this.#store.module, err: error }, 'state could not be read again, it is tried again') // at the next look
    } finally {
      this.#reading = false
    }
  }

  async #readAll(deadline: number): Promise<void> {
    const { lastSeq, entries } = await this.#store.list(deadline)
    const there = new Set(entries.map(({ token }) => token))
    for (const entry of entries) this.#take(entry)
    for (const [token, { seq, present }] of this.#known)
      if (present && !there.has(token) && seq <= lastSeq) this.#tell(token, seq, undefined) // deleted and cleaned away
  }

  #heard(msg: Msg): void {
    const { headers } = msg
    const seq = Number(headers?.get('Nats-Sequence'))
    const header = (name: string): string | undefined => headers?.get(name) || undefined
    this.#take(entryOf({ token: lastToken(msg.subject), seq, data: msg.data, time: Date.now(), header }))
  }

  #take(entry: Entry): void {
    const { token, seq, expiresAt } = entry
    const known = this.#known.get(token)
    if (this.#stopped || (known && known.seq >= seq)) return
    this.#newest = Math.max(this.#newest, seq)
    try {
      const value = valueIn(entry, Date.now())
      if (value === undefined && !known?.present) {
        this.#known.set(token, { seq, present: false, expiry: undefined })
        return
      }
      const isSame = known?.seq === entry.sameAs && known.present === (value !== undefined) // a change was prepared or rolled back
      this.#tell(token, seq, value, isSame)
      if (isPresent(entry, Date.now()) && expiresAt < Number.POSITIVE_INFINITY) this.#expireAt(token, seq, expiresAt)
    } catch (error) {
      this.#deps.log.warn({ module: this.#store.module, stateKey: keyOf(token), err: error }, 'a value cannot be read, it is not told of')
    }
  }

  #tell(token: string, seq: number, value: unknown, isSame = false): void {
    clearTimeout(this.#known.get(token)?.expiry)
    this.#known.set(token, { seq, present: value !== undefined, expiry: undefined })
    if (!isSame) this.#listener(keyOf(token), value)
  }

  #expireAt(token: string, seq: number, expiresAt: number): void {
    const known = this.#known.get(token)
    if (this.#stopped || known?.seq !== seq) return
    const left = expiresAt - Date.now()
    if (left <= 0) return this.#tell(token, seq, undefined)
    known.expiry = setTimeout(() => this.#expireAt(token, seq, expiresAt), Math.min(left, LONGEST_TIMER_MS))
  }
}
