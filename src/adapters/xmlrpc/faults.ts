/**
 * Faults ↔ errors. Pure. Codes from -32768 to -32000 are those of "Specification for Fault Code Interoperability" (xmlrpc-epi), which leaves
 * -32099 to -32000 to implementations: there lie the runtime's own codes, at the last digits of their HTTP status.
 * F1. What a client is told of an error is what HTTP tells (http/failure.ts): nothing of internals.
 */
import { CageError, type Code, type KnownCode } from '../../errors.ts'
import { failureOf } from '../http/failure.ts'

/** A fault as it is sent. */
export interface Fault {
  faultCode: number
  faultString: string
}

/** Codes of the specification. */
export const FAULTS = {
  malformed: -32_700,
  unsupportedEncoding: -32_701,
  invalidCharacter: -32_702,
  notConforming: -32_600,
  methodNotFound: -32_601,
  invalidParameters: -32_602,
  internal: -32_603,
  application: -32_500,
  system: -32_400,
  transport: -32_300,
} as const

const OURS: Readonly<Record<KnownCode, number>> = {
  INVALID_ARGUMENT: FAULTS.invalidParameters,
  INTERNAL: FAULTS.internal,
  UNAUTHENTICATED: -32_001,
  FORBIDDEN: -32_003,
  NOT_FOUND: -32_004,
  CONFLICT: -32_009,
  PAYLOAD_TOO_LARGE: -32_013,
  OVERLOADED: -32_029,
  UNAVAILABLE: -32_053,
  DEADLINE_EXCEEDED: -32_054,
  CANCELLED: -32_099,
}

const THEIRS: ReadonlyMap<number, Code> = new Map<number, Code>([
  [FAULTS.malformed, 'INVALID_ARGUMENT'],
  [FAULTS.unsupportedEncoding, 'INVALID_ARGUMENT'],
  [FAULTS.invalidCharacter, 'INVALID_ARGUMENT'],
  [FAULTS.notConforming, 'INVALID_ARGUMENT'],
  [FAULTS.methodNotFound, 'NOT_FOUND'],
  [FAULTS.system, 'UNAVAILABLE'],
  [FAULTS.transport, 'UNAVAILABLE'],
  ...Object.entries(OURS).map(([code, faultCode]) => [faultCode, code] as const),
])

/** A request or an answer that is not what it should be: INVALID_ARGUMENT that knows its fault's code. */
export function refusal(faultCode: number, message: string, cause?: unknown): CageError {
  return new CageError('INVALID_ARGUMENT', message, { details: { faultCode }, ...(cause === undefined ? {} : { cause }) })
}

/** What is answered for an error: `own` are faults of the modules' codes, from the configuration; an error may also bring its own in its details. */
export function faultOf(error: CageError, own: Readonly<Record<string, number>>): Fault {
  const { code, message, details } = failureOf(error, {}).body
  const brought = faultCodeOf(details)
  const known = Object.hasOwn(OURS, code) ? OURS[code as KnownCode] : FAULTS.application
  const faultCode = Object.hasOwn(own, code) ? (own[code] ?? known) : (brought ?? known)
  return { faultCode, faultString: `${code}: ${message}` }
}

/** The error that a fault is: of a known code, of one that `own` has, or FAULT. Its details are { faultCode, faultString }. */
export function errorOf(fault: Fault, own: Readonly<Record<string, number>>, resource: string): CageError {
  const { faultCode, faultString } = fault
  const configured = Object.entries(own).find(([, number]) => number === faultCode)?.[0]
  const code = configured ?? THEIRS.get(faultCode) ?? 'FAULT'
  return new CageError(code, `${resource}: fault ${faultCode}: ${faultString}`, { details: { faultCode, faultString } })
}

function faultCodeOf(details: unknown): number | undefined {
  const { faultCode } = (typeof details === 'object' && details !== null ? details : {}) as { faultCode?: unknown } // looked at next
  return typeof faultCode === 'number' && Number.isInteger(faultCode) && Math.abs(faultCode) < 2 ** 31 ? faultCode : undefined
}
