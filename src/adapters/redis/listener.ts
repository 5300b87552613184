/**
 * Redis's messages as an interface: each message of a channel is a call, `orders.told(message, channel)`, and so is what becomes of a key
 * (keyspace notifications), `users.changed(key, event)`; all text.
 * L1. At most once, as Redis has it: what is published while nobody listens is lost, and so is a message whose call fails, unless it goes to a
 *     `queue`. `onConnect` is called whenever listening begins, to look for what was missed.
 * L2. One copy of the cage listens: who holds a key of the interface's name, for LOCK_MS at a time. The others wait for it. A copy that was
 *     stopped for longer may listen beside its successor until it goes on: then a message is two calls.
 * L3. At most `concurrency` calls run, and `maxPending` messages wait; what comes beyond is lost, and told.
 * L4. A lost connection is made again, with back-off.
 *
 *   news: { kind: 'redis', url: env('REDIS_URL'), channels: { 'orders.*': 'orders.told' }, keys: { 'user:*': 'users.changed' } }
 *   export async function told(ctx: Context, message: string, channel: string): Promise<void> { ... }
 *
 * redis.io/docs: Pub/Sub, keyspace notifications.
 */
import { randomUUID } from 'node:crypto'
import { toCageError } from '../../errors.ts'
import { backOffMs, pause } from '../../pause.ts'
import type { InterfaceHost, Listener, Scope } from '../adapter.ts'
import { decoded } from './codec.ts'
import type { RedisListenOptions } from './options.ts'
import { Session } from './session.ts'

const CONNECT_MS = 5_000
/** The key is held for so long, and taken anew, or asked for, so often, ms. */
const LOCK_MS = 4_000
const RENEW_MS = 1_000
const BACK_OFF = { firstMs: 100, maxMs: 3_000 }

/** Ours, or nobody's: then it is ours from now on. */
const LOCK = `if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('pexpire', KEYS[1], ARGV[2])
return 1`
const UNLOCK = `if redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) end`

export async function listen(options: RedisListenOptions, host: InterfaceHost): Promise<Listener> {
  const stopping = new AbortController()
  const { signal } = stopping
  const deliveries = new Deliveries(options, host)
  const within = (ms: number): Scope => ({ deadline: Date.now() + ms, signal })
  const connect = (): Promise<Session> => Session.open(options, host.name, within(CONNECT_MS))
  const key = `menagerie:listener:${host.cage}.${host.name}`
  const token = randomUUID()
  const ended = keep(await connect())
  return {
    address: `redis://${options.host}:${options.port}/${options.database}`,
    done: ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }

  /** L4. Resolves when it was stopped and what ran has ended. */
  async function keep(first: Session): Promise<void> {
    let session: Session | undefined = first
    for (let failures = 0; !signal.aborted; session = undefined) {
      try {
        session ??= await connect()
        await serve(session, () => (failures = 0))
      } catch (error) {
        if (signal.aborted) break
        host.log[failures++ === 0 ? 'warn' : 'debug']({ err: toCageError(error) }, 'listening was interrupted, trying again')
        await pause(backOffMs(failures, BACK_OFF, Math.random()), signal)
      }
    }
    await deliveries.settled()
  }

  /** Until it is stopped, or the session or the key is lost, which rejects. */
  async function serve(session: Session, begun: () => void): Promise<void> {
    try {
      while (!(await locked(session))) await rest(session)
      await subscribe(session)
      begun()
      host.log.info({ channels: Object.keys(options.channels), keys: Object.keys(options.keys) }, 'listening to messages')
      if (options.onConnect !== undefined) deliveries.take(options.onConnect, [])
      do await rest(session)
      while (await locked(session))
      throw new Error('another copy listens')
    } finally {
      if (!session.broken)
        await session
          .send(['EVAL', UNLOCK, '1', key, token], { ...within(CONNECT_MS), signal: new AbortController().signal })
          .catch(() => {}) // it ends by itself
      session.destroy()
    }
  }

  async function subscribe(session: Session): Promise<void> {
    const take =
      (target: string, name: (channel: string) => string, isKey: boolean) =>
      (message: string, channel: string): void => {
        if (signal.aborted || session.broken) return
        deliveries.take(target, isKey ? [name(channel), message] : [message, name(channel)])
      }
    for (const [pattern, target] of Object.entries(options.channels))
      await session.listen(
        pattern,
        take(target, (channel) => channel, false),
        within(CONNECT_MS),
      )
    const prefix = `__keyspace@${options.database}__:`
    for (const [pattern, target] of Object.entries(options.keys)) {
      await session.listen(
        `${prefix}${pattern}`,
        take(target, (channel) => channel.slice(prefix.length), true),
        within(CONNECT_MS),
      )
    }
    if (Object.keys(options.keys).length > 0) await tellIfSilent(session)
  }

  /** A server tells of keys only if it is configured to. */
  async function tellIfSilent(session: Session): Promise<void> {
    const name = 'notify-keyspace-events'
    const found = await session.send(['CONFIG', 'GET', name], within(CONNECT_MS)).catch(() => undefined) // not everybody may ask
    const { [name]: flags } = (found === undefined ? {} : decoded(found, false)) as Record<string, unknown> // a map, as asked for
    if (typeof flags === 'string' && !(flags.includes('K') && flags.length > 1)) {
      host.log.warn({ flags }, 'the server tells nothing of its keys: notify-keyspace-events needs K and the events, e.g. KA')
    }
  }

  /** L2. */
  async function locked(session: Session): Promise<boolean> {
    return Number(await session.send(['EVAL', LOCK, '1', key, token, String(LOCK_MS)], within(RENEW_MS))) === 1
  }

  async function rest(session: Session): Promise<void> {
    const woken = new AbortController()
    const wake = (): void => woken.abort()
    session.onEnd(wake)
    signal.addEventListener('abort', wake)
    if (!session.broken) await pause(RENEW_MS, woken.signal)
    signal.removeEventListener('abort', wake)
    session.offEnd(wake)
    signal.throwIfAborted()
  }
}

/** L1, L3. */
class Deliveries {
  readonly #options: RedisListenOptions
  readonly #host: InterfaceHost
  readonly #pending: { target: string; args: string[] }[] = []
  readonly #running = new Set<Promise<void>>()
  #lost = 0

  constructor(options: RedisListenOptions, host: InterfaceHost) {
    this.#options = options
    this.#host = host
  }

  take(target: string, args: string[]): void {
    if (this.#pending.length < this.#options.maxPending) this.#pending.push({ target, args })
    else if (this.#lost++ === 0)
      this.#host.log.warn({ call: target, maxPending: this.#options.maxPending }, 'messages are lost: too many wait for their turn')
    this.#pump()
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
    if (this.#lost === 0 || this.#pending.length > 0) return
    this.#host.log.warn({ lost: this.#lost }, 'messages were lost: too many had waited for their turn')
    this.#lost = 0
  }

  async #run(target: string, args: string[]): Promise<void> {
    const { queue, timeoutMs } = this.#options
    const host = this.#host
    const id = host.newRequestId()
    try {
      if (queue === undefined) await host.call(target, args, { timeoutMs, requestId: id, protocol: 'redis' })
      else await host.enqueue(queue, target, args, { id: `message:${id}`, requestId: id, protocol: 'redis' })
    } catch (error) {
      host.log.warn({ call: target, err: error }, 'a message was lost: its call failed')
    }
  }
}
