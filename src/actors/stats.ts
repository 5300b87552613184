/** Counters of one method: true from the node's start, over all versions of the module. */
import type { Endpoint } from '../bus/bus.ts'

/** How much a new measurement weighs in the expected duration. */
const WEIGHT = 0.2

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
  processingTimeNs = 0
  /** How long a call is expected to run, ms: a moving average; 0 before the first. */
  expectedMs = 0
  /** The method's number in the stall watch's table. */
  readonly mark: number

  constructor(module: string, method: string, mark: number) {
    this.module = module
    this.method = method
    this.name = `${module}.${method}`
    this.mark = mark
  }

  /** A call ended after so long, in error if `error` says which. */
  count(ms: number, error: string | undefined): void {
    this.requests++
    this.processingTimeNs += ms * 1e6
    if (error === undefined) return
    this.errors++
    this.lastError = error
  }

  /** A method ran for so long, whatever came of it. */
  observe(ms: number): void {
    this.expectedMs = this.expectedMs === 0 ? ms : this.expectedMs + WEIGHT * (ms - this.expectedMs)
  }
}
