/** Counters of one method: true from the node's start, over all versions of the module. */
import type { Endpoint } from '../bus/bus.ts'
import type { MethodStatus } from '../bus/survey/contract.ts'
import { Tally } from './tally.ts'

/** How much a new measurement weighs in the expected duration. */
const WEIGHT = 0.2

/** Characters of the last error's message. */
const MESSAGE_KEPT = 300

export class MethodStats implements Endpoint {
  readonly module: string
  readonly method: string
  /** `module.method` */
  readonly name: string
  /** Which arguments are secrets (src/words.ts), as the version in service names them. */
  secrets = 0
  metadata: Record<string, string> = {}
  requests = 0
  errors = 0
  lastError = ''
  /** Calls that have the method's slots. */
  running = 0
  processingTimeNs = 0
  /** How long a call is expected to run, ms: a moving average; 0 before the first. */
  expectedMs = 0
  /** The method's number in the stall watch's table. */
  readonly mark: number
  readonly #tally = new Tally()
  #last: MethodStatus['lastError']

  constructor(module: string, method: string, mark: number) {
    this.module = module
    this.method = method
    this.name = `${module}.${method}`
    this.mark = mark
  }

  /** A call ended after so long, undefined if it was not begun; in error if `error` says which. */
  count(ms: number | undefined, error?: { code: string; message: string }): void {
    this.requests++
    if (ms !== undefined) {
      this.processingTimeNs += ms * 1e6
      this.#tally.durations.add(ms)
    }
    if (error === undefined) return
    this.errors++
    this.lastError = error.message
    this.#last = { at: Date.now(), code: error.code, message: error.message.slice(0, MESSAGE_KEPT) }
    this.#tally.countError(error.code)
  }

  /** A method ran for so long, whatever came of it. */
  observe(ms: number): void {
    this.expectedMs = this.expectedMs === 0 ? ms : this.expectedMs + WEIGHT * (ms - this.expectedMs)
  }

  status(): MethodStatus {
    const { method, requests, running } = this
    const { errors, durations } = this.#tally.read()
    return { method, requests, errors, lastError: this.#last, running, durations }
  }
}
