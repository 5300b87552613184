/** PostgreSQL's connection URLs: `postgres://user:password@host:port/database?sslmode=verify-full`. Pure. */

/** What a URL says. */
export interface PostgresUrl {
  host?: string
  port?: number
  database?: string
  user?: string
  password?: string
  tls?: boolean
}

/** sslmode → whether it is encrypted. With encryption the server is verified, be it asked for or not. */
const SSL_MODES: Readonly<Record<string, boolean>> = { disable: false, require: true, 'verify-ca': true, 'verify-full': true }

/** The parts of a URL, or what is wrong with it, without the URL: it holds the password. */
export function parseUrl(text: string): PostgresUrl | string {
  if (!/^postgres(ql)?:\/\//.test(text)) return 'is no postgres:// URL'
  if (!URL.canParse(text)) return 'is no URL that can be read'
  const url = new URL(text)
  const parts: PostgresUrl = {}
  for (const [name, value] of url.searchParams) {
    if (name !== 'sslmode') return `has ${name}, which is an option of its own here: applicationName, settings, tls`
    const encrypted = SSL_MODES[value]
    if (encrypted === undefined) return `has sslmode ${value}, which is none of ${Object.keys(SSL_MODES).join(', ')}`
    parts.tls = encrypted
  }
  try {
    if (url.hostname !== '') parts.host = decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1')
    if (url.port !== '') parts.port = Number(url.port)
    if (url.pathname.length > 1) parts.database = decodeURIComponent(url.pathname.slice(1))
    if (url.username !== '') parts.user = decodeURIComponent(url.username)
    if (url.password !== '') parts.password = decodeURIComponent(url.password)
  } catch {
    return 'has a % that begins no escape' // decodeURIComponent's only complaint
  }
  return parts
}
