/**
 * Statuses as errors, and errors as statuses. Pure.
 * E1. `details` of an error that a peer has told are { commandStatus, statusName }, and no more: what it was about is its caller's.
 * E2. A failure of ours is told to the peer by the status of its kind: whether to try again, not why. Internals are never told: there is no text.
 *
 * SMPP 3.4, 5.1.3.
 */
import smpp from 'smpp'
import { CageError, type Code } from '../../errors.ts'
import { lostBecause } from '../client/lost.ts'

const STATUS_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(smpp.errors).map(([name, status]) => [status, name]))

/** `ESME_RTHROTTLED`, or the number of a server's own. */
export function statusName(status: number): string {
  return STATUS_NAMES.get(status) ?? `0x${status.toString(16).padStart(8, '0')}`
}

/** The number of a status by its name without ESME_, e.g. `RSUBMITFAIL`. */
export function statusOf(name: string): number {
  return smpp.errors[`ESME_${name}`] ?? 0xff // ESME_RUNKNOWNERR
}

interface Kind {
  code: Code
  retryable?: boolean
  retryAfterMs?: number
}

const OURS: Kind = { code: 'UNAUTHENTICATED', retryable: true } // ours, not our caller's: a queued call waits until it is right
const KINDS: Readonly<Record<string, Kind>> = {
  ESME_RINVMSGLEN: { code: 'PAYLOAD_TOO_LARGE' },
  ESME_RINVBNDSTS: { code: 'FORBIDDEN' }, // bound in a way that does not allow it
  ESME_RALYBND: { code: 'UNAVAILABLE' },
  ESME_RSYSERR: { code: 'UNAVAILABLE' },
  ESME_RBINDFAIL: OURS,
  ESME_RINVPASWD: OURS,
  ESME_RINVSYSID: OURS,
  ESME_RINVSYSTYP: OURS,
  ESME_RINVMSGID: { code: 'NOT_FOUND' },
  ESME_RCANCELFAIL: { code: 'CONFLICT' },
  ESME_RREPLACEFAIL: { code: 'CONFLICT' },
  ESME_RQUERYFAIL: { code: 'CONFLICT' },
  ESME_RSUBMITFAIL: { code: 'CONFLICT' },
  ESME_RCNTSUBDL: { code: 'CONFLICT' },
  ESME_RDELIVERYFAILURE: { code: 'CONFLICT' },
  ESME_RMSGQFUL: { code: 'OVERLOADED', retryAfterMs: 1_000 },
  ESME_RTHROTTLED: { code: 'OVERLOADED', retryAfterMs: 1_000 },
  ESME_RX_T_APPN: { code: 'UNAVAILABLE' },
  ESME_RX_P_APPN: { code: 'CONFLICT' },
  ESME_RX_R_APPN: { code: 'CONFLICT' },
  ESME_RPROHIBITED: { code: 'FORBIDDEN' },
  ESME_RSERTYPUNAUTH: { code: 'FORBIDDEN' },
  ESME_RSERTYPDENIED: { code: 'FORBIDDEN' },
  ESME_RSERTYPUNAVAIL: { code: 'UNAVAILABLE' },
  ESME_RUNKNOWNERR: { code: 'INTERNAL' },
}

/** E1. What a status other than 0 says; `name`: whose. */
export function fromStatus(status: number, name: string, command: string): CageError {
  const word = statusName(status)
  const known = STATUS_NAMES.has(status)
  const { code, ...options }: Kind = KINDS[word] ?? { code: known ? 'INVALID_ARGUMENT' : 'INTERNAL' } // what remains names a wrong parameter
  return new CageError(code, `${name}: ${command} was answered with ${word}`, {
    ...options,
    details: { commandStatus: status, statusName: word },
  })
}

const FAILURES: Readonly<Record<string, string>> = {
  query_sm: 'RQUERYFAIL',
  cancel_sm: 'RCANCELFAIL',
  replace_sm: 'RREPLACEFAIL',
}

/** E2. What a server answers to a request that has failed so; `own`: statuses of the modules' own codes. */
export function serverStatus(error: CageError, command: string, own: Readonly<Record<string, number>>): number {
  const wished = Object.hasOwn(own, error.code) ? own[error.code] : undefined
  if (wished !== undefined) return wished
  const bind = command.startsWith('bind_')
  switch (error.code) {
    case 'UNAUTHENTICATED':
    case 'FORBIDDEN':
      return statusOf(bind ? 'RINVPASWD' : (FAILURES[command] ?? 'RSUBMITFAIL'))
    case 'NOT_FOUND':
      return statusOf(bind ? 'RINVSYSID' : FAILURES[command] ? 'RINVMSGID' : 'RINVDSTADR')
    case 'PAYLOAD_TOO_LARGE':
      return statusOf('RINVMSGLEN')
    case 'OVERLOADED':
      return statusOf(bind ? 'RSYSERR' : 'RTHROTTLED')
  }
  if (error.retryable || error.code === 'CANCELLED') return statusOf('RSYSERR')
  return statusOf(bind ? 'RBINDFAIL' : (FAILURES[command] ?? 'RSUBMITFAIL'))
}

/** E2. What an ESME answers to a delivery that has failed so: a temporary error has the server repeat it. */
export function receiverStatus(error: CageError): number {
  return statusOf(error.retryable || error.code === 'CANCELLED' ? 'RX_T_APPN' : 'RX_R_APPN')
}

/** Why a connection could not be had, or was lost. */
export function lost(name: string, error: unknown): CageError {
  if (error instanceof CageError) return error
  return new CageError('UNAVAILABLE', `${name}: ${lostBecause(error)}`, { cause: error })
}
