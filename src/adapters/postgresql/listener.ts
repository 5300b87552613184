/**
 * LISTEN as an interface: each notification of a channel is a call, `orders.changed(payload, channel)`, both text.
 * L1. One copy of the cage listens, so that a notification is one call: who holds an advisory lock of the interface's name. The others wait for it.
 * L2. A lost connection is made again, with back-off. What was notified meanwhile is lost, as PostgreSQL has it: `onConnect` is called whenever
 *     listening begins, to look for what was missed.
 * L3. At most `concurrency` calls run; more is not read from the server until one has ended.
 * L4. A notification whose call fails is told in the log, and is gone; with `queue` its call is durable from then on.
 *
 *   changes: { kind: 'postgresql', url: env('LEDGER_URL'), channels: { orders: 'orders.changed' }, onConnect: 'orders.reread' }
 *   export async function changed(ctx: Context, payload: string, channel: string): Promise<void> { ... }
 *
 * PostgreSQL 18: LISTEN, NOTIFY, 9.28.10 (advisory locks).
 */
import { toCageError } from '../../errors.ts'
import { backOffMs, pause } from '../../pause.ts'
import type { InterfaceHost, Listener, Scope } from '../adapter.ts'
import type { PostgresListenOptions } from './options.ts'
import { Session } from './session.ts'

const CONNECT_MS = 5_000
/** How often a copy that waits asks for the lock, and one that listens asks whether the server is there, ms. */
const LOCK_MS = 1_000
const CHECK_MS = 10_000
const BACKOFF = { firstMs: 200, maxMs: 3_000 }

export async function listen(options: PostgresListenOptions, host: InterfaceHost): Promise<Listener> {
  const stopping = new AbortController()
  const { signal } = stopping
  const deliveries = new Deliveries(options, host)
  const within = (ms: number): Scope => ({ deadline: Date.now() + ms, signal })
  const connect = (): Promise<Session> => Session.open({ options, name: host.name }, within(CONNECT_MS))
  let failures = 0
  const first = await connect()
  const ended = keep(first)
  return {
    address: `postgresql://${options.host}:${options.port}/${options.database}`,
    done: ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }

  /** L2. Resolves when it was stopped and what ran has ended. */
  async function keep(session: Session | undefined): Promise<void> {
    for (let current = session; !signal.aborted; current = undefined) {
      try {
        current ??= await connect()
        await serve(current)
      } catch (error) {
        if (signal.aborted) break
        host.log[failures++ === 0 ? 'warn' : 'debug']({ err: toCageError(error) }, 'listening was interrupted, trying again')
        await pause(backOffMs(failures, BACKOFF, Math.random()), signal)
      }
    }
    await deliveries.settled()
  }

  /** Until it is stopped, or the session is lost, which rejects. */
  async function serve(session: Session): Promise<void> {
    try {
      while (!(await locked(session))) {
        failures = 0 // another copy listens
        await rest(session, LOCK_MS)
      }
      session.onNotification((channel, payload) => {
        if (!signal.aborted) deliveries.take(channel, payload, session)
      })
      for (const channel of Object.keys(options.channels))
        await session.query(`listen "${channel.replaceAll('"', '""')}"`, within(CONNECT_MS))
      failures = 0
      host.log.info({ channels: Object.keys(options.channels) }, 'listening to notifications')
      if (options.onConnect !== undefined) deliveries.call(options.onConnect, [])
      for (;;) {
        await rest(session, CHECK_MS)
        await deliveries.room() // a session that is not read answers nothing
        await session.query('select 1', within(CONNECT_MS))
      }
    } finally {
      await session.close()
    }
  }

  /** L1. */
  async function locked(session: Session): Promise<boolean> {
    const key = `menagerie ${host.cage}.${host.name}`
    const { rows } = await session.query(
      { text: 'select pg_try_advisory_lock(hashtextextended($1, 0)) as locked', values: [key] },
      within(CONNECT_MS),
    )
    return rows[0]?.locked === true
  }

  async function rest(session: Session, ms: number): Promise<void> {
    const woken = new AbortController()
    const wake = (): void => woken.abort()
    session.onEnd(wake)
    signal.addEventListener('abort', wake)
    if (!session.broken) await pause(ms, woken.signal)
    signal.removeEventListener('abort', wake)
    session.offEnd(wake)
    signal.throwIfAborted()
  }
}

/** L3, L4. */
class Deliveries {
  readonly #options: PostgresListenOptions
  readonly #host: InterfaceHost
  readonly #pending: { target: string; args: unknown[] }[] = []
  readonly #running = new Set<Promise<void>>()
  #paused: Session | undefined

  constructor(options: PostgresListenOptions, host: InterfaceHost) {
    this.#options = options
    this.#host = host
  }

  take(channel: string, payload: string, session: Session): void {
    const target = this.#options.channels[channel]
    if (target === undefined) return
    this.call(target, [payload, channel])
    if (this.#pending.length === 0 || this.#paused) return
    this.#paused = session
    session.pause()
  }

  call(target: string, args: unknown[]): void {
    this.#pending.push({ target, args })
    this.#pump()
  }

  /** Resolves when nothing waits for its turn. */
  async room(): Promise<void> {
    while (this.#pending.length > 0) await Promise.race(this.#running)
  }

  async settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
  }

  #pump(): void {
    while (this.#running.size < this.#options.concurrency) {
      const next = this.#pending.shift()
      if (!next) break
      const run = this.#run(next.target, next.args).finally(() => {
        this.#running.delete(run)
        this.#pump()
      })
      this.#running.add(run)
    }
    if (this.#pending.length > 0 || !this.#paused) return
    this.#paused.resume()
    this.#paused = undefined
  }

  async #run(target: string, args: unknown[]): Promise<void> {
    const { queue, timeoutMs } = this.#options
    const host = this.#host
    const id = host.newRequestId()
    try {
      if (queue === undefined) await host.call(target, args, { timeoutMs, requestId: id, protocol: 'postgresql' })
      else await host.enqueue(queue, target, args, { id: `notify:${id}`, requestId: id, protocol: 'postgresql' })
    } catch (error) {
      host.log.warn({ call: target, channel: args[1], err: error }, 'a notification was lost: its call failed')
    }
  }
}
