/**
 * Flows: who calls what, counted by the caller.
 * L1. A target that does not exist makes no entry: only what has answered is one. Beyond `TARGETS` of them the rest is counted as `others`.
 */
import type { CallCounter } from '../bus/bus.ts'
import type { Flow } from '../bus/survey/contract.ts'
import { Tally } from './tally.ts'

/** Targets of all callers of a copy that are told apart. */
const TARGETS = 500
const OTHERS = 'others'

/** Answers that tell nothing of whether there is such a target. */
const NOBODY: ReadonlySet<string> = new Set(['UNAVAILABLE', 'NOT_FOUND', 'INVALID_ARGUMENT'])

export class Flows {
  readonly #callers = new Map<string, CallerFlows>()
  #targets = 0

  /** Those of a module, `interface web` or `queue retry`. */
  of(from: string): CallerFlows {
    let caller = this.#callers.get(from)
    if (!caller) {
      caller = new CallerFlows(() => ++this.#targets <= TARGETS)
      this.#callers.set(from, caller)
    }
    return caller
  }

  *read(): Iterable<Flow> {
    for (const [from, caller] of this.#callers) {
      for (const [to, tally] of caller.targets) {
        const { calls, errors: codes, durations } = tally.read()
        yield { from, to, calls, errors: tally.failed, codes, durations }
      }
    }
  }
}

/** The flows of one caller. */
export class CallerFlows implements CallCounter {
  /** By `cage.module`, `queue retry` or `resource ledger`. */
  readonly targets: Map<string, Tally> = new Map()
  /** The same by cage and module: no name is put together for each call. */
  readonly #modules = new Map<string, Map<string, Tally>>()
  readonly #mayGrow: () => boolean

  constructor(mayGrow: () => boolean) {
    this.#mayGrow = mayGrow
  }

  /** Counts a call once it has ended; hands it on as it is. */
  follow<T>(to: string, call: Promise<T>): Promise<T> {
    const begun = performance.now()
    call.then(
      () => this.count(to, performance.now() - begun, undefined),
      (error: unknown) => this.count(to, performance.now() - begun, codeOf(error)),
    )
    return call
  }

  /** A call on the bus has ended. */
  called(cage: string, module: string, ms: number, code: string | undefined): void {
    const known = this.#modules.get(cage)?.get(module)
    if (known) return known.count(ms, code)
    const to = `${cage}.${module}`
    this.count(to, ms, code)
    const tally = this.targets.get(to)
    if (!tally) return
    const modules = this.#modules.get(cage) ?? new Map<string, Tally>()
    this.#modules.set(cage, modules.set(module, tally))
  }

  /** A call to `to` ended after so long; `code` tells in which error. `exists`: the target is known to be there. */
  count(to: string, ms: number, code: string | undefined, exists = false): void {
    let tally = this.targets.get(to)
    if (!tally) {
      if (!exists && code !== undefined && NOBODY.has(code)) return
      const name = this.#mayGrow() ? to : OTHERS
      tally = this.targets.get(name) ?? new Tally()
      this.targets.set(name, tally)
    }
    tally.count(ms, code)
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code
  return typeof code === 'string' ? code : 'INTERNAL'
}
