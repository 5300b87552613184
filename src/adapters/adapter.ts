/**
 * The contract between the runtime and a protocol. An adapter knows this file and its driver, neither bus nor actors.
 * A1. `listen` resolves once the world can reach the interface, and rejects if it cannot (port taken, server down): the
 *     cage goes on and tries again with back-off.
 * A2. `host.call` never leaves the adapter waiting past `timeoutMs`: it resolves, or rejects with a CageError.
 * A3. `stop` takes no new work, lets what runs end, and resolves; it is idempotent.
 */
import type { ZodType } from 'zod'
import type { Log } from '../log.ts'

/** What the runtime gives an interface. */
export interface InterfaceHost {
  /** The interface's name in the configuration, e.g. `web`. */
  readonly name: string
  readonly log: Log
  /** The cage's default deadline, ms. */
  readonly timeoutMs: number
  /** A directory of the cage's own for files made at run time (certificates). */
  readonly dataDir: string
  /** Calls `module.method` of this cage, or `cage.module.method`, over the bus. */
  call(target: string, args: unknown[], options?: InterfaceCallOptions): Promise<unknown>
}

/** How one call of an interface is made. */
export interface InterfaceCallOptions {
  /** Default: the cage's. */
  timeoutMs?: number
  /** Aborted when the outside caller goes away: the call is cancelled, its callee's signal fires. */
  signal?: AbortSignal
  /** Becomes `ctx.request.id`. Default: a new one. */
  requestId?: string
  /** W3C trace context of the outside request. */
  traceparent?: string
  /** Becomes `ctx.request.protocol`, e.g. `http`. */
  protocol?: string
}

/** A running interface. */
export interface Listener {
  /** Where it can be reached, for the log: `http://127.0.0.1:8080`. */
  readonly address: string
  stop(): Promise<void>
  /** Rejects when the interface dies by itself; never resolves before `stop`. */
  readonly done: Promise<void>
}

/** One protocol. */
export interface Adapter<Options = unknown> {
  /** The word in the configuration's `kind`. */
  readonly kind: string
  /** Schema of the options, defaults included. */
  readonly options: ZodType<Options>
  /** The world calls us. */
  listen?(options: Options, host: InterfaceHost): Promise<Listener>
}
