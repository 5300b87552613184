/**
 * What a broker says in an ERROR frame, and what becomes of connections, as our errors. Pure.
 * E1. ERROR frames have no codes: what is known of the texts of ActiveMQ and RabbitMQ decides. A text that nobody knows is INTERNAL.
 * E2. Passwords and bodies are never told. An error that a broker has told is worth one line of its text.
 */
import { CageError, type Code } from '../../errors.ts'

const LONGEST_TEXT = 200

interface Known {
  pattern: RegExp
  code: Code
  retryable?: boolean
}

const KNOWN: readonly Known[] = [
  // ActiveMQ: simpleAuthenticationPlugin, JAAS; RabbitMQ: "Bad CONNECT" with "Access refused for user 'x'" in the body. Ours, not our caller's
  { pattern: /password is invalid|login failed|access refused for user|authentication/i, code: 'UNAUTHENTICATED', retryable: true },
  { pattern: /not authorized|access[_ ]refused|not[_ ]allowed|access denied/i, code: 'FORBIDDEN' },
  { pattern: /already connected|durable consumer is in use|resource[_ ]locked/i, code: 'UNAVAILABLE' }, // another copy has it
  { pattern: /invalid selector|cannot parse selector|InvalidSelector/i, code: 'INVALID_ARGUMENT' },
  { pattern: /maximum frame size|max(imum)? (data|message) (length|size)|too large/i, code: 'PAYLOAD_TOO_LARGE' },
  { pattern: /not[_ ]found|does not exist/i, code: 'NOT_FOUND' },
  { pattern: /usage manager|(memory|store|temp) limit|resourceallocation/i, code: 'OVERLOADED' },
  {
    pattern: /unknown destination|invalid destination|bad destination|missing .*header|not a valid destination/i,
    code: 'INVALID_ARGUMENT',
  },
  { pattern: /shut ?down|stopp(ed|ing)|server cancelled|disposed|connection[_ ]forced/i, code: 'UNAVAILABLE' },
]

/** An ERROR frame: its `message` header, and the first line of its body, as a stack trace may follow. */
export function fromErrorFrame(frame: { headers: Readonly<Record<string, string>>; body: Buffer }, who: string): CageError {
  const lines = [frame.headers.message ?? '', frame.body.toString()].map((text) => text.trim().split(/[\r\n]/, 1)[0] ?? '')
  for (const { pattern, code, retryable } of KNOWN) {
    const line = lines.find((text) => pattern.test(text))
    if (line !== undefined) return new CageError(code, `${who}: ${told(line)}`, retryable === undefined ? {} : { retryable })
  }
  return new CageError('INTERNAL', `${who}: ${told(lines.find((text) => text !== '') ?? '')}`)
}

/** A connection that could not be had, or was lost. */
export function lost(error: unknown, who: string): CageError {
  if (error instanceof CageError) return error
  return new CageError('UNAVAILABLE', `${who}: ${lostBecause(error)}`, { cause: error })
}

/** E2. */
function told(line: string): string {
  if (line === '') return 'the broker sent an ERROR frame that says nothing'
  return `the broker refuses: ${line.length > LONGEST_TEXT ? `${line.slice(0, LONGEST_TEXT)}...` : line}`
}

/** What Node and stompit say. */
function lostBecause(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return lostBecause(error.errors[0]) // one for each address of a name
  if (!(error instanceof Error)) return 'the connection was lost'
  const { code } = error as NodeJS.ErrnoException // Node's own have it
  if (code?.startsWith('ERR_TLS') || /CERT|SIGNATURE/.test(code ?? '')) return `the broker's certificate is not trusted (${code})`
  if (code?.startsWith('ERR_SSL')) return 'the broker does not encrypt, and tls is not false'
  if ((error as { isProtocolError?: () => boolean }).isProtocolError?.()) return `the broker does not keep to STOMP (${error.message})`
  return code === undefined ? `the connection was lost (${error.message})` : `the connection was lost (${code})`
}
