/** Broker URLs: `stomp://user:password@host:port/virtualHost`, `stomp+ssl://...`. Pure. */

/** What a URL says. */
export interface BrokerUrl {
  host?: string
  port?: number
  user?: string
  password?: string
  virtualHost?: string
  /** `stomp+ssl:` says that it is; `stomp:` leaves it to the option. */
  tls?: boolean
}

/** The parts of a URL, or what is wrong with it, without the URL: it holds the password. */
export function parseUrl(text: string): BrokerUrl | string {
  const scheme = /^stomp(\+ssl)?:\/\//.exec(text)
  if (!scheme) return 'is neither a stomp:// nor a stomp+ssl:// URL'
  if (!URL.canParse(text)) return 'is no URL that can be read'
  const url = new URL(text)
  if (url.search !== '' || url.hash !== '') return 'has more than user, password, host, port and virtual host'
  const parts: BrokerUrl = scheme[1] === undefined ? {} : { tls: true }
  try {
    if (url.hostname === '') return 'names no host'
    parts.host = decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, '$1')
    if (url.port !== '') parts.port = Number(url.port)
    if (url.pathname.length > 1) parts.virtualHost = decodeURIComponent(url.pathname.slice(1))
    if (url.username !== '') parts.user = decodeURIComponent(url.username)
    if (url.password !== '') parts.password = decodeURIComponent(url.password)
  } catch {
    return 'has a % that begins no escape' // decodeURIComponent's only complaint
  }
  if (Object.values(parts).some((part) => typeof part === 'string' && /[\r\n\0]/.test(part))) return 'has a line break or a NUL'
  return parts
}
