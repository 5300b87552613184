/**
 * Module: one actor. A mailbox, counters, and a current version that is swapped while calls go on.
 * O1. A version that does not start never replaces the one that works.
 * O2. New calls go to the new version from the moment it is taken; running calls end on theirs; then the old one's `stop` runs.
 * O3. If the new `start` takes a state, the order is the other way round, with new calls held in the mailbox meanwhile:
 *     drain, old `stop`, new `start(ctx, state)`; if that throws, the old one is started with the same state.
 * It is just over 300 lines, because a swap and the calls that go on meanwhile are one state.
 */
import { Bag } from '../bag.ts'
import type { Bus, Call, CallHandler, Outcome, Subscription } from '../bus/bus.ts'
import type { ModuleStatus } from '../bus/survey/contract.ts'
import { CageError } from '../errors.ts'
import { didYouMean } from '../names.ts'
import { Ticker } from '../ticker.ts'
import { secretPlaces } from '../words.ts'
import { Activation, type ActivationHost } from './activation.ts'
import { CallContext, type ContextSource } from './context.ts'
import type { ModuleOptions } from './contract.ts'
import { Mailbox, type MailboxLimits } from './mailbox.ts'
import { type Begun, Once } from './once.ts'
import { parametersOf } from './signature.ts'
import { MethodStats } from './stats.ts'
import type { Trail } from './trail.ts'
import { COMPENSATIONS, type Version } from './version.ts'

/** Limits of a module where neither its `options` nor the configuration say otherwise. */
export const DEFAULT_LIMITS = { concurrency: 64, maxQueued: 1_000 } as const

/** What a module needs of its cage. */
export interface ModuleHost {
  readonly bus: Bus
  /** The cage's configuration for this module, and its default timeout; read at each use. */
  readonly configured: () => ModuleOptions & { defaultTimeoutMs: number }
  readonly newRequestId: () => string
  readonly trail: Trail
  /** A number for `module.method` in the stall watch's table. */
  readonly markOf: (module: string, method: string) => number
  /** Tells the stall watch which method is entered. */
  readonly enter: (mark: number) => void
}

/** Time that `start` and `stop` may take, ms. */
const LIFECYCLE_MS = 30_000

export class ModuleActor implements CallHandler, ActivationHost {
  readonly name: string
  readonly #host: ModuleHost
  readonly source: ContextSource
  readonly #stats = new Map<string, MethodStats>()
  readonly #activations = new Bag<Activation>()
  readonly #mailbox: Mailbox
  readonly #once: Once
  /** Calls with a key, from their arrival until nothing is left to do for them; aborted when their callers go away. */
  readonly #keyed = new Map<Call, AbortController>()
  readonly #ticker = new Ticker((now) => this.#sweep(now))
  #version: Version | undefined
  #subscription: Subscription | undefined
  #limits: Limits
  #changed: (() => void)[] = []
  #refusals = 0

  constructor(name: string, host: ModuleHost, source: ContextSource) {
    this.name = name
    this.#host = host
    this.source = source
    this.#limits = limits({}, host.configured())
    this.#mailbox = new Mailbox(this.#limits)
    this.#once = new Once(host.bus, source.cage, source.log)
  }

  get version(): Version | undefined {
    return this.#version
  }

  /** The methods of the current version with their counters, for discovery. */
  *endpoints(): Iterable<MethodStats> {
    for (const method of this.#version?.methods.keys() ?? []) yield this.#statsOf(method)
  }

  /** What the module knows of itself. The methods are those of all versions so far: their counters go on. */
  status(): Pick<ModuleStatus, 'version' | 'hash' | 'concurrency' | 'maxQueued' | 'running' | 'waiting' | 'refused' | 'methods'> {
    const { concurrency, maxQueued } = this.#limits
    const { running, waiting } = this.#mailbox
    const methods = Array.from(this.#stats.values(), (stats) => stats.status())
    const { number: version, hash } = this.#version ?? {}
    return { version, hash, concurrency, maxQueued, running, waiting, refused: this.#refusals, methods }
  }

  /** Starts a version and takes it into service (O1-O3). Rejects, changing nothing, if it does not start. */
  async swap(next: Version): Promise<void> {
    if (next.takesState && this.#version) await this.#swapWithState(this.#version, next)
    else {
      await this.#lifecycle(next, 'start')
      const old = this.#take(next)
      if (old) {
        await this.#drain(old)
        await this.#lifecycle(old, 'stop').catch((error: unknown) =>
          this.source.log.error({ err: error }, 'the old version did not stop well'),
        )
      }
    }
    this.#subscription ??= await this.#host.bus.serve(this.source.cage, this.name, this)
  }

  /** Takes no more calls, lets those accepted end, and stops the version. */
  async stop(): Promise<void> {
    await this.#subscription?.drain()
    this.#subscription = undefined
    while (this.#activations.size + this.#keyed.size > 0) await this.#change()
    const version = this.#version
    this.#version = undefined
    if (version)
      await this.#lifecycle(version, 'stop').catch((error: unknown) =>
        this.source.log.error({ err: error }, 'the module did not stop well'),
      )
  }

  /** The configuration has changed. */
  reconfigure(): void {
    this.#limits = limits(this.#version?.options ?? {}, this.#host.configured())
    this.#mailbox.setLimits(this.#limits)
  }

  handle(call: Call, settle: (outcome: Outcome) => void): void {
    if (call.key === undefined) this.#post(call, settle)
    else void this.#handleOnce(call, call.key, settle)
  }

  cancel(call: Call): void {
    this.#keyed.get(call)?.abort()
    this.#activations.find((activation) => activation.call === call)?.end(new CageError('CANCELLED', 'the caller has gone away'))
  }

  async #handleOnce(call: Call, key: string, settle: (outcome: Outcome) => void): Promise<void> {
    const { timeoutMs = this.#limits.timeoutMs } = call
    call.deadline = Math.min(call.deadline, Date.now() + timeoutMs)
    call.request = { ...call.request, key }
    const controller = new AbortController()
    this.#keyed.set(call, controller)
    await this.#once.handle(call, key, settle, () => this.#begin(call), controller.signal)
    this.#keyed.delete(call)
    this.#tell()
  }

  #begin(call: Call): Begun {
    let onEnd: (outcome: Outcome | undefined) => void = () => {}
    const ended = new Promise<Outcome | undefined>((resolve) => (onEnd = resolve))
    return { settled: new Promise((resolve) => this.#post(call, resolve, onEnd)), ended }
  }

  #post(call: Call, settle: (outcome: Outcome) => void, onEnd?: (outcome: Outcome | undefined) => void): void {
    const now = Date.now()
    const version = this.#version
    if (!version?.methods.has(call.method)) {
      onEnd?.(undefined)
      if (call.method === COMPENSATIONS) return settle({ ok: true, result: version?.compensations ?? {} })
      const hint = didYouMean(call.method, version?.methods.keys() ?? [])
      return settle({
        ok: false,
        error: new CageError('NOT_FOUND', `module ${this.source.cage}.${this.name} has no method ${call.method}${hint}`),
      })
    }
    const { timeoutMs = this.#limits.timeoutMs } = call
    const deadline = Math.min(call.deadline, now + timeoutMs)
    const activation = new Activation(this, call, deadline, deadline + timeoutMs, this.#statsOf(call.method), settle, onEnd)
    if (deadline <= now) return activation.refuse(this.#late(call))
    const refusal = this.#mailbox.post(activation, now)
    if (refusal) return activation.refuse(this.#refused(refusal))
    if (activation.finished) return
    this.#activations.add(activation)
    this.#ticker.wake()
  }

  begin(activation: Activation): Version | undefined {
    const { call, stats } = activation
    this.#host.enter(stats.mark)
    if (call.request.id === '') call.request = { ...call.request, id: this.#host.newRequestId() }
    activation.span = this.#host.trail.enter(this.name, call)
    return this.#version
  }

  settled(activation: Activation, outcome: Outcome): void {
    const { call, stats, startedAt } = activation
    const now = performance.now()
    const ms = startedAt === 0 ? 0 : now - startedAt
    stats.count(startedAt === 0 ? undefined : ms, outcome.ok ? undefined : outcome.error)
    this.#host.trail.ran(activation, now - ms, now, outcome)
    const { log } = this.source
    if (outcome.ok) return
    const { code } = outcome.error
    const fields = { method: call.method, request: call.request.id, ms: Math.round(ms), err: outcome.error }
    if (code === 'INTERNAL') log.error(fields, 'call failed')
    else if (call.oneWay) log.warn(fields, 'one-way call failed')
    else log.debug(fields, 'call ended in an error')
  }

  ended(activation: Activation): void {
    const { version, stats, startedAt } = activation
    if (version) {
      version.running--
      stats.running--
      stats.observe(performance.now() - startedAt)
    }
    this.#activations.delete(activation)
    this.#mailbox.release()
    this.#tell()
  }

  #statsOf(method: string): MethodStats {
    let stats = this.#stats.get(method)
    if (!stats) {
      stats = new MethodStats(this.name, method, this.#host.markOf(this.name, method))
      this.#stats.set(method, stats)
    }
    return stats
  }

  #take(next: Version): Version | undefined {
    const old = this.#version
    this.#version = next
    for (const [method, run] of next.methods) {
      const metadata = { version: String(next.number), args: parametersOf(run) }
      Object.assign(this.#statsOf(method), { metadata, secrets: secretPlaces(run) })
    }
    this.reconfigure()
    return old
  }

  async #swapWithState(old: Version, next: Version): Promise<void> {
    this.#mailbox.hold()
    try {
      await this.#drain(old)
      const state = await this.#lifecycle(old, 'stop')
      try {
        await this.#lifecycle(next, 'start', state)
      } catch (error) {
        await this.#lifecycle(old, 'start', state)
        throw error
      }
      this.#take(next)
    } finally {
      this.#mailbox.resume()
    }
  }

  /** Resolves when no call runs on the version any more: at their deadlines at the latest, plus as long again (Activation, A2). */
  async #drain(version: Version): Promise<void> {
    while (version.running > 0) await this.#change()
  }

  #tell(): void {
    if (this.#changed.length > 0) for (const resolve of this.#changed.splice(0)) resolve()
  }

  /** Resolves when the next call ends. */
  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve))
  }

  async #lifecycle(version: Version, phase: 'start' | 'stop', state?: unknown): Promise<unknown> {
    const run = version[phase]
    if (!run) {
      if (phase === 'stop') version.started?.close()
      return undefined
    }
    const context = new CallContext(this.source, phase, { id: this.#host.newRequestId() }, Date.now() + LIFECYCLE_MS)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => {
        const error = new CageError('DEADLINE_EXCEEDED', `${phase} took more than ${LIFECYCLE_MS / 1000} s`)
        context.end(error)
        reject(error)
      }, LIFECYCLE_MS)
    })
    if (phase === 'start') version.started = context
    try {
      return await Promise.race([run(context, state), late])
    } catch (error) {
      context.close()
      throw error
    } finally {
      clearTimeout(timer)
      if (phase === 'stop') for (const open of [context, version.started]) open?.close()
    }
  }

  #sweep(now: number): boolean {
    for (const activation of this.#activations.snapshot()) {
      if (!activation.settled && activation.deadline <= now) activation.end(this.#late(activation.call))
      if (activation.startedAt !== 0 && activation.abandonAt <= now) {
        this.source.log.warn({ method: activation.call.method }, 'method ignores its deadline, its slot is given to others')
        activation.finish()
        this.#keyed.delete(activation.call) // its key stays taken for as long as this connection lives
      }
    }
    return this.#activations.size > 0
  }

  #late(call: Call): CageError {
    return new CageError('DEADLINE_EXCEEDED', `${this.source.cage}.${this.name}.${call.method} did not answer in time`)
  }

  #refused(refusal: CageError): CageError {
    this.#refusals++
    return new CageError('OVERLOADED', `${this.source.cage}.${this.name} is overloaded: ${refusal.message}`)
  }
}

interface Limits extends MailboxLimits {
  timeoutMs: number
}

/** What holds for a module: its configuration over its own options over the defaults. Pure. */
function limits(own: ModuleOptions, configured: ModuleOptions & { defaultTimeoutMs: number }): Limits {
  const { defaultTimeoutMs } = configured
  return {
    concurrency: configured.concurrency ?? own.concurrency ?? DEFAULT_LIMITS.concurrency,
    maxQueued: configured.maxQueued ?? own.maxQueued ?? DEFAULT_LIMITS.maxQueued,
    timeoutMs: configured.timeoutMs ?? own.timeoutMs ?? defaultTimeoutMs,
  }
}
