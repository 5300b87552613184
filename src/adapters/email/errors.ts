/**
 * Errors of SMTP, IMAP and POP3 as ours. Pure.
 * E1. Neither addresses nor texts of messages stand in `message`; what the server said is in `details.response`.
 * E2. SMTP: `details` are { status, enhanced, response }, e.g. 550 and `5.1.1` (RFC 3463), as far as the server says them.
 */
import { CageError, type Code, type ErrorOptions } from '../../errors.ts'

/** What nodemailer and imapflow say of a failure, as far as we look at it. */
interface Foreign extends Error {
  code?: string
  originalCode?: string
  responseCode?: number
  response?: unknown
  authenticationFailed?: boolean
  responseText?: string
  responseStatus?: string
  tlsFailed?: boolean
}

/** The error of a step of SMTP. `what` says which: `the message`, `the recipients`. */
export function fromSmtp(error: unknown, resource: string, what = 'the server'): CageError {
  if (error instanceof CageError) return error
  const { code, responseCode, response } = foreign(error)
  if (code === 'EAUTH') return refusedUs(error, resource, response)
  if (code === 'EMESSAGE' && responseCode === undefined)
    return new CageError('PAYLOAD_TOO_LARGE', `${resource}: ${what} is larger than the server takes`, { cause: error })
  if (code === 'EENVELOPE' && responseCode === undefined)
    return new CageError('INVALID_ARGUMENT', `${resource}: ${what} has a sender or recipient that is no address`, { cause: error })
  if (responseCode === undefined || code === 'ESOCKET' || code === 'ECONNECTION' || code === 'ETLS') return lost(error, resource)
  return refusal(responseCode, String(response ?? ''), `${resource}: ${what} was refused`)
}

/** E2. What a status says (RFC 5321, 4.2.1; RFC 3463). */
export function refusal(status: number, response: string, subject: string, more: object = {}): CageError {
  const enhanced = /^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\b/.exec(response)?.[1]
  const options: ErrorOptions = { details: { status, ...(enhanced === undefined ? {} : { enhanced }), response, ...more } }
  const { code, retryable } = classify(status, enhanced ?? '')
  if (retryable !== undefined) options.retryable = retryable
  return new CageError(code, `${subject} (${enhanced === undefined ? status : `${status} ${enhanced}`})`, options)
}

function classify(status: number, enhanced: string): { code: Code; retryable?: boolean } {
  if (status === 552 || status === 523 || /^5\.(3\.4|2\.3)$/.test(enhanced)) return { code: 'PAYLOAD_TOO_LARGE' }
  if (status === 452 || status === 450) return { code: 'OVERLOADED' } // full, or grey: later
  if (status < 500) return { code: 'UNAVAILABLE' }
  if (status === 530 || status === 535) return { code: 'UNAUTHENTICATED', retryable: true } // ours, not our caller's
  if (status < 550) return { code: 'INVALID_ARGUMENT' } // syntax
  if (/^5\.1\./.test(enhanced) || (enhanced === '' && (status === 550 || status === 551 || status === 553))) return { code: 'NOT_FOUND' } // no such mailbox
  return { code: 'FORBIDDEN' } // by a policy
}

/** The error of IMAP. */
export function fromImap(error: unknown, name: string): CageError {
  if (error instanceof CageError) return error
  const { authenticationFailed, responseText, responseStatus } = foreign(error)
  if (authenticationFailed) return refusedUs(error, name, responseText)
  if (responseStatus !== undefined)
    return new CageError('UNAVAILABLE', `${name}: the server refused a command`, { details: { response: responseText }, cause: error })
  return lost(error, name)
}

/** Our password is not our caller's: it may be right later. */
function refusedUs(cause: unknown, name: string, response: unknown): CageError {
  const details = typeof response === 'string' ? { details: { response } } : {}
  return new CageError('UNAUTHENTICATED', `${name}: the server does not accept user and password`, { retryable: true, ...details, cause })
}

/** A connection that could not be had, or was lost. */
export function lost(error: unknown, name: string): CageError {
  return error instanceof CageError ? error : new CageError('UNAVAILABLE', `${name}: ${lostBecause(error)}`, { cause: error })
}

function lostBecause(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return lostBecause(error.errors[0]) // one for each address of a name
  const { code, originalCode, tlsFailed, message } = foreign(error)
  const reason = originalCode ?? code
  if (/ERR_TLS_CERT|CERT_|SIGNATURE|SELF_SIGNED/.test(reason ?? '') || /certificate/i.test(message))
    return `the server's certificate is not trusted (${/ERR_TLS\w+|CERT\w+|SELF_SIGNED\w+/.exec(`${reason} ${message}`)?.[0] ?? message})`
  if (code === 'ETLS' || tlsFailed || /STARTTLS/.test(message)) return 'the server does not encrypt, or not as it should'
  return reason === undefined ? 'the connection was lost' : `the connection was lost (${reason})`
}

function foreign(error: unknown): Foreign {
  return error instanceof Error ? error : new Error(String(error))
}
