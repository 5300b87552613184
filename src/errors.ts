/**
 * The one error class, and the one table of codes that every adapter maps to its own protocol.
 * E1. Callers test `error.code`; the message is for people.
 * E2. What crosses a border is `{ code, message, details, retryable }`; a stack never does.
 */

/** The codes of the runtime itself. */
export type KnownCode =
  | 'INVALID_ARGUMENT'
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'PAYLOAD_TOO_LARGE'
  | 'CANCELLED'
  | 'INTERNAL'
  | 'OVERLOADED'
  | 'UNAVAILABLE'
  | 'DEADLINE_EXCEEDED'

/** Code → its number: the HTTP status, and the `Nats-Service-Error-Code` of a reply. */
export const CODES: Readonly<Record<KnownCode, number>> = {
  INVALID_ARGUMENT: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  CONFLICT: 409,
  PAYLOAD_TOO_LARGE: 413,
  CANCELLED: 499,
  INTERNAL: 500,
  OVERLOADED: 503,
  UNAVAILABLE: 503,
  DEADLINE_EXCEEDED: 504,
}

/** Codes of failures after which nobody knows whether it was done. CRASHED is a queued call's. */
export const UNCERTAIN: ReadonlySet<string> = new Set(['DEADLINE_EXCEEDED', 'CANCELLED', 'CRASHED'])

/** A code of ours, or one of a module's own choice. */
export type Code = KnownCode | (string & {})

/** What may be said about an error besides its code and message. */
export interface ErrorOptions {
  /** Plain data for the caller; crosses the bus intact. */
  details?: unknown
  /** What led to it; stays in the node, for the log. */
  cause?: unknown
  /** Whether the same call may succeed later. Default: false for codes below 500, which are the caller's mistakes, else true. */
  retryable?: boolean
  /** A queued call is tried again after so long, instead of what its queue says. */
  retryAfterMs?: number
}

/** An error as it crosses the bus (docs/protocol.md). */
export interface ErrorBody {
  code: string
  message: string
  details?: unknown
  retryable?: boolean
  retryAfterMs?: number
}

/** The only error that a module or an adapter throws on purpose. */
export class CageError extends Error {
  override readonly name = 'CageError'
  readonly code: Code
  readonly details: unknown
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined

  constructor(code: Code, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details
    this.retryable = options.retryable ?? this.status >= 500
    this.retryAfterMs = options.retryAfterMs
  }

  /** The number of the code: 500 for a module's own code. */
  get status(): number {
    return Object.hasOwn(CODES, this.code) ? CODES[this.code as KnownCode] : 500
  }

  /** What a caller may see of it (E2). */
  toJSON(): ErrorBody {
    const body: ErrorBody = { code: this.code, message: this.message }
    if (this.details !== undefined) body.details = this.details
    if (this.retryable !== this.status >= 500) body.retryable = this.retryable
    if (this.retryAfterMs !== undefined) body.retryAfterMs = this.retryAfterMs
    return body
  }

  /** Rebuilds an error from a reply's body; anything odd becomes INTERNAL. */
  static from(body: unknown): CageError {
    if (!isRecord(body) || typeof body.code !== 'string') return new CageError('INTERNAL', 'the reply is an error without a code')
    const options: ErrorOptions = {}
    if (body.details !== undefined) options.details = body.details
    if (typeof body.retryable === 'boolean') options.retryable = body.retryable
    if (typeof body.retryAfterMs === 'number') options.retryAfterMs = body.retryAfterMs
    return new CageError(body.code, typeof body.message === 'string' ? body.message : body.code, options)
  }
}

/** Makes a CageError of anything thrown: a foreign error becomes INTERNAL with itself as cause. */
export function toCageError(thrown: unknown): CageError {
  if (thrown instanceof CageError) return thrown
  return new CageError('INTERNAL', 'internal error', { cause: thrown })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
