/** Why a connection could not be had, or was lost: what Node says of it, in a few words and its code. */

/** E.g. `the connection was lost (ECONNRESET)`; never what was sent. */
export function lostBecause(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return lostBecause(error.errors[0]) // one for each address of a name
  if (!(error instanceof Error)) return 'the connection was lost'
  const { code } = error as NodeJS.ErrnoException
  if (code === undefined) return error.cause instanceof Error ? lostBecause(error.cause) : 'the connection was lost'
  if (code.startsWith('ERR_TLS') || /CERT|SIGNATURE/.test(code)) {
    return /ALERT/.test(code) ? `the server refuses our certificate (${code})` : `the server's certificate is not trusted (${code})`
  }
  return `the connection was lost (${code})`
}
