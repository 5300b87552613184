/**
 * Pool: at most `size` connections to one resource, made when they are needed and used again, the latest first.
 * P1. `acquire` is all or none, and first come first served: who waits for two is not overtaken by who waits for one.
 * P2. Nobody waits past its scope. Attempts to connect are the pool's own: who asked may be gone when one has succeeded.
 * P3. With an idle connection there, nothing is waited for.
 * P4. While the resource is taken for broken (breaker.ts), all are refused at once; then one attempt is made for all.
 * P5. A connection is never used again once it is broken, older than `maxAgeMs`, or did not answer after a long rest.
 * P6. `stop` lets those who wait or work come to their end.
 * It is somewhat long, because who waits, who works and what is idle are one state.
 */
import { setMaxListeners } from 'node:events'
import { CageError, toCageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { endOf, shortened, whenEnded } from '../../scope.ts'
import type { ParticipantClass, Resource, ResourceConnection, Scope } from '../adapter.ts'
import { afterFailure, afterLoss, type Breaker, CLOSED, whenAsked } from './breaker.ts'
import type { Lease, Pool, PoolSettings, PoolSource, PoolStats } from './contract.ts'

/** Makes a pool; nothing is connected before somebody asks, unless `standby` says so. */
export function openPool(source: PoolSource): Pool {
  return new ConnectionPool(source)
}

/** A connection that has rested for so long is asked whether it is still there, ms. */
const RESTED_MS = 5_000
/** It has so long to answer, ms. */
const CHECK_MS = 2_000

interface Idle {
  readonly connection: ResourceConnection
  readonly madeAt: number
  idleSince: number
}

interface Waiter {
  readonly scope: Scope
  readonly count: number
  settle(result: Lease[] | CageError): void
}

class PoolLease implements Lease {
  readonly connection: ResourceConnection
  readonly scope: Scope
  #end: ((usable: boolean) => void) | undefined

  constructor(connection: ResourceConnection, scope: Scope, end: (usable: boolean) => void) {
    this.connection = connection
    this.scope = scope
    this.#end = end
  }

  release(): void {
    this.#over(true)
  }

  destroy(): void {
    this.#over(false)
  }

  #over(usable: boolean): void {
    const end = this.#end
    this.#end = undefined
    end?.(usable)
  }
}

class ConnectionPool implements Pool {
  readonly name: string
  readonly settings: PoolSettings
  readonly #open: () => Promise<Resource>
  readonly #log: Log
  readonly #onWaited: PoolSource['onWaited']
  readonly #onCircuit: PoolSource['onCircuit']
  readonly #stopping = new AbortController()
  /** The longest at rest first. */
  readonly #idle: Idle[] = []
  readonly #waiting: Waiter[] = []
  readonly #closings = new Set<Promise<void>>()
  #resource: Promise<Resource> | undefined
  #participant: ParticipantClass | undefined
  #breaker: Breaker = CLOSED
  #busy = 0
  /** Connections that those who wait want. */
  #asked = 0
  /** Being connected, or asked whether they are still there. */
  #coming = 0
  #connects = 0
  #failures = 0
  #lastError: CageError | undefined
  #sweep: NodeJS.Timeout | undefined
  #retry: NodeJS.Timeout | undefined
  #stopped: Promise<void> | undefined
  #onDrained: (() => void) | undefined

  constructor({ name, settings, open, log, onWaited, onCircuit }: PoolSource) {
    this.#onCircuit = onCircuit
    this.name = name
    this.settings = settings
    this.#open = open
    this.#log = log
    this.#onWaited = onWaited
    setMaxListeners(0, this.#stopping.signal) // each connection that is being made has one
    this.#grow()
  }

  get participant(): ParticipantClass | undefined {
    return this.#participant
  }

  acquire(scope: Scope, count: number = 1): Promise<Lease[]> {
    const refusal = this.#refusal(scope, count)
    if (refusal) {
      this.#onWaited?.(0, refusal.code)
      return Promise.reject(refusal)
    }
    const leases = this.#waiting.length === 0 ? this.#take(scope, count) : undefined // P3
    if (leases) {
      this.#onWaited?.(0)
      return Promise.resolve(leases)
    }
    const begun = performance.now()
    return new Promise((resolve, reject) => {
      const leave = whenEnded(scope, this.#waitsFor, (why) => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        this.#asked -= count
        this.#onWaited?.(performance.now() - begun, why.code)
        reject(why)
        this.#pump() // who comes next may want less
      })
      const waiter: Waiter = {
        scope,
        count,
        settle: (result) => {
          leave()
          this.#onWaited?.(performance.now() - begun, result instanceof CageError ? result.code : undefined)
          if (result instanceof CageError) reject(result)
          else resolve(result)
        },
      }
      this.#waiting.push(waiter)
      this.#asked += count
      this.#grow()
    })
  }

  async use<T>(scope: Scope, work: (lease: Lease) => Promise<T>): Promise<T> {
    const [lease] = await this.acquire(scope)
    if (!lease) throw new CageError('INTERNAL', `resource ${this.name} gave no connection`)
    try {
      return await work(lease)
    } finally {
      lease.release()
    }
  }

  stats(): PoolStats {
    const open = this.#breaker.state !== 'closed'
    return {
      size: this.settings.size,
      busy: this.#busy,
      idle: this.#idle.length,
      waiting: this.#waiting.length,
      connects: this.#connects,
      failures: this.#failures,
      open,
      retryAt: this.#breaker.state === 'open' ? this.#breaker.retryAt : undefined,
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#end()
    return this.#stopped
  }

  get #waitsFor(): string {
    return `resource ${this.name}`
  }

  #refusal(scope: Scope, count: number): CageError | undefined {
    const { size, minRemainingMs } = this.settings
    const now = Date.now()
    if (this.#stopped !== undefined) return new CageError('UNAVAILABLE', `resource ${this.name} has been stopped`)
    if (count > size) return new CageError('OVERLOADED', `resource ${this.name} has ${size} connections, never ${count} at once`)
    const ended = endOf(scope, now, this.#waitsFor)
    if (ended) return ended
    if (scope.deadline - now < minRemainingMs) {
      const left = Math.round(scope.deadline - now)
      return new CageError('OVERLOADED', `resource ${this.name} needs ${minRemainingMs} ms, the call has ${left}`)
    }
    this.#breaker = whenAsked(this.#breaker, now)
    return this.#breaker.state === 'open' ? this.#broken(this.#breaker.retryAt - now) : undefined
  }

  /** P4. When it may be tried again is a detail: as `retryAfterMs` of the error it would overrule the back-off of a queue. */
  #broken(retryAfterMs: number): CageError {
    const last = this.#lastError
    return new CageError('UNAVAILABLE', `resource ${this.name} is broken${last ? `: ${last.message}` : ''}`, {
      details: { resource: this.name, reason: last?.code, retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)) },
      cause: last,
    })
  }

  /** Serves who waits, as far as that can be done now. */
  #pump(): void {
    for (let head = this.#waiting[0]; head; head = this.#waiting[0]) {
      const leases = this.#take(head.scope, head.count)
      if (!leases) break
      this.#waiting.shift()
      this.#asked -= head.count
      head.settle(leases)
    }
    this.#grow()
    if (this.#busy === 0 && this.#waiting.length === 0) this.#onDrained?.()
  }

  /** P1, P3: so many connections, if all are at hand. */
  #take(scope: Scope, count: number): Lease[] | undefined {
    const now = Date.now()
    if (this.#busy + count > this.settings.size || this.#breaker.state !== 'closed') return undefined
    for (let n = this.#idle.length - 1; n >= this.#idle.length - count && n >= 0; n--) {
      const idle = this.#idle[n]
      if (!idle) break
      const worn = idle.connection.broken || now - idle.madeAt > this.settings.maxAgeMs
      const rested = idle.connection.check !== undefined && now - idle.idleSince > RESTED_MS
      if (!worn && !rested) continue
      this.#idle.splice(n, 1)
      if (worn) this.#close(idle.connection)
      else void this.#ask(idle)
    }
    if (this.#idle.length < count) return undefined
    return this.#idle.splice(-count).map((idle) => this.#lease(idle, scope, now))
  }

  #lease({ connection, madeAt }: Idle, scope: Scope, now: number): Lease {
    const { maxCallMs } = this.settings
    this.#busy++
    return new PoolLease(connection, maxCallMs === undefined ? scope : shortened(scope, now + maxCallMs), (usable) => {
      this.#busy--
      this.#giveBack(connection, madeAt, usable)
      this.#pump()
    })
  }

  #giveBack(connection: ResourceConnection, madeAt: number, usable: boolean): void {
    const now = Date.now()
    if (connection.broken) {
      const before = this.#breaker.state
      this.#breaker = afterLoss(this.#breaker, now, this.settings.backoff, Math.random())
      if (before !== this.#breaker.state) this.#opened()
    } else if (usable && this.#breaker.state === 'closed') this.#breaker = CLOSED
    if (!usable || connection.broken || now - madeAt > this.settings.maxAgeMs) return this.#close(connection)
    this.#rest({ connection, madeAt, idleSince: now })
  }

  #rest(idle: Idle): void {
    this.#idle.push(idle)
    this.#armSweep(this.settings.idleMs)
  }

  /** Connects what those who wait, and `standby`, need and nobody has begun to connect. */
  #grow(): void {
    if (this.#breaker.state === 'open' || this.#stopping.signal.aborted) return
    const { size, standby } = this.settings
    const spare = this.#stopped !== undefined ? 0 : standby - this.#busy
    const wanted = Math.min(Math.max(this.#asked, spare), size - this.#busy) - this.#idle.length - this.#coming
    const limit = this.#breaker.state === 'half-open' ? 1 - this.#coming : wanted // P4
    for (let n = 0; n < Math.min(wanted, limit); n++) void this.#connect()
  }

  async #connect(): Promise<void> {
    this.#coming++
    const scope: Scope = { deadline: Date.now() + this.settings.connectMs, signal: this.#stopping.signal }
    try {
      this.#resource ??= this.#open()
      const resource = await this.#resource.catch((error: unknown) => {
        this.#resource = undefined
        throw error
      })
      const connection = await resource.connect(scope)
      this.#coming--
      this.#connects++
      this.#participant = connection.participant
      this.#arrived({ connection, madeAt: Date.now(), idleSince: Date.now() })
    } catch (error) {
      this.#coming--
      this.#failed(toCageError(error))
    }
  }

  #arrived(idle: Idle): void {
    if (this.#stopping.signal.aborted) return this.#close(idle.connection)
    const wasOpen = this.#breaker.state !== 'closed'
    this.#breaker = CLOSED
    if (wasOpen) {
      this.#log.info({ resource: this.name }, 'resource is reachable again')
      this.#onCircuit?.(false, undefined)
    }
    this.#rest(idle)
    this.#pump()
  }

  #failed(error: CageError): void {
    if (this.#stopping.signal.aborted) return
    this.#failures++
    this.#lastError = error
    if (error.code === 'OVERLOADED' && this.#busy > 0) {
      // the resource wants no more of us, but those who work will give back
      this.#retryIn(this.settings.backoff.maxMs)
      return
    }
    if (this.#breaker.state !== 'open') {
      // one outage is one failure, however many attempts it has ended
      this.#breaker = afterFailure(this.#breaker, Date.now(), this.settings.backoff, Math.random())
      this.#opened()
    }
    this.#asked = 0
    for (const waiter of this.#waiting.splice(0)) waiter.settle(error)
    this.#pump()
  }

  #opened(): void {
    if (this.#breaker.state !== 'open') return
    const { failures, retryAt } = this.#breaker
    const fields = { resource: this.name, err: this.#lastError, failures, delayMs: Math.round(retryAt - Date.now()) }
    this.#log[failures === 1 ? 'warn' : 'debug'](fields, 'resource is taken for broken')
    if (failures === 1) this.#onCircuit?.(true, this.#lastError)
    for (const idle of this.#idle.splice(0)) this.#close(idle.connection)
    if (this.settings.standby > 0) this.#retryIn(retryAt - Date.now()) // nobody needs to ask
  }

  #retryIn(delayMs: number): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(
      () => {
        this.#breaker = whenAsked(this.#breaker, Date.now())
        this.#pump()
      },
      Math.max(1, delayMs + 1),
    )
    this.#retry.unref()
  }

  /** P5. It comes back as if it were new, or is closed. */
  async #ask(idle: Idle): Promise<void> {
    this.#coming++
    try {
      await idle.connection.check?.({ deadline: Date.now() + CHECK_MS, signal: this.#stopping.signal })
      this.#coming--
      idle.idleSince = Date.now()
      this.#arrived(idle)
    } catch (error) {
      this.#coming--
      this.#log.debug({ resource: this.name, err: error }, 'a connection has not outlived its rest')
      this.#close(idle.connection)
      this.#pump()
    }
  }

  /** At the latest after `idleMs`: nothing that comes to rest meanwhile is to be closed sooner. */
  #armSweep(delayMs: number): void {
    if (this.#sweep || this.#idle.length === 0) return
    this.#sweep = setTimeout(() => this.#sweepIdle(), Math.max(1, Math.min(this.settings.idleMs, delayMs) + 1))
    this.#sweep.unref()
  }

  #expiry({ madeAt, idleSince }: Idle): number {
    const aged = madeAt + this.settings.maxAgeMs
    const needed = this.#busy + this.#idle.length <= this.settings.standby
    return needed ? aged : Math.min(aged, idleSince + this.settings.idleMs)
  }

  #sweepIdle(): void {
    this.#sweep = undefined
    const now = Date.now()
    for (const idle of [...this.#idle]) {
      if (now < this.#expiry(idle)) continue
      this.#idle.splice(this.#idle.indexOf(idle), 1)
      this.#close(idle.connection)
    }
    this.#armSweep(Math.min(...this.#idle.map((idle) => this.#expiry(idle))) - now)
    this.#grow()
  }

  #close(connection: ResourceConnection): void {
    const closing = connection
      .close()
      .catch((error: unknown) => this.#log.debug({ resource: this.name, err: error }, 'a connection did not close well'))
      .finally(() => this.#closings.delete(closing))
    this.#closings.add(closing)
  }

  /** P6. */
  async #end(): Promise<void> {
    if (this.#busy > 0 || this.#waiting.length > 0) await new Promise<void>((drained) => (this.#onDrained = drained))
    this.#stopping.abort()
    clearTimeout(this.#sweep)
    clearTimeout(this.#retry)
    for (const idle of this.#idle.splice(0)) this.#close(idle.connection)
    await Promise.all(this.#closings)
    const resource = await this.#resource?.catch(() => undefined) // what could not be opened need not be closed
    await resource?.close?.()
  }
}
