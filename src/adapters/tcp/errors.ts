/** What Node says of sockets, as ours; for TCP, TLS and UDP. Pure. */
import { CageError } from '../../errors.ts'

/** `what`: the resource's name. */
export function fromSocket(error: unknown, what: string): CageError {
  if (error instanceof CageError) return error
  if (error instanceof AggregateError && error.errors.length > 0) return fromSocket(error.errors[0], what) // one for each address of a name
  const { code = '' } = (error instanceof Error ? error : {}) as NodeJS.ErrnoException
  const options = { cause: error }
  if (REFUSALS.test(code))
    return new CageError('UNAUTHENTICATED', `${what}: our certificate is refused (${code})`, { ...options, retryable: true })
  if (code.startsWith('ERR_TLS') || /CERT|SIGNATURE/.test(code))
    return new CageError('UNAVAILABLE', `${what}: the server's certificate is not trusted (${code})`, options)
  if (code.startsWith('ERR_SSL') || code === 'EPROTO')
    return new CageError('UNAVAILABLE', `${what}: the server does not speak TLS as we do (${code})`, options)
  if (code === 'EMFILE' || code === 'ENFILE' || code === 'ENOBUFS')
    return new CageError('OVERLOADED', `${what}: no socket can be had (${code})`, options)
  if (code === 'EMSGSIZE') return new CageError('PAYLOAD_TOO_LARGE', `${what}: the datagram is too large`, options)
  if (code === 'EACCES' || code === 'EPERM') return new CageError('FORBIDDEN', `${what}: the system does not allow it (${code})`, options)
  if (LOSSES.has(code)) return new CageError('UNAVAILABLE', `${what}: the connection cannot be had, or was lost (${code})`, options)
  return new CageError('INTERNAL', `${what}: the socket has failed`, options)
}

/** Alerts of RFC 8446, 6.2, by which a server says what it thinks of our certificate. */
const REFUSALS = /^ERR_SSL_.*(ALERT_(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|BAD_CERTIFICATE|HANDSHAKE_FAILURE))/

const LOSSES: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'EHOSTDOWN', 'ENETUNREACH', 'ENETDOWN'],
  ...[
    'ENOTFOUND',
    'EAI_AGAIN',
    'EAI_FAIL',
    'EAI_NODATA',
    'EAI_NONAME',
    'EADDRNOTAVAIL',
    'ERR_STREAM_WRITE_AFTER_END',
    'ERR_STREAM_DESTROYED',
  ],
])
