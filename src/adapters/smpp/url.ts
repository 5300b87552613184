/** SMPP's URLs: `smpp://systemId:password@host:port`, encrypted with `ssmpp://`. Pure. */

/** What a URL says. */
export interface SmppUrl {
  host?: string
  port?: number
  systemId?: string
  password?: string
  tls?: boolean
}

/** The parts of a URL, or what is wrong with it, without the URL: it holds the password. */
export function parseUrl(text: string): SmppUrl | string {
  if (!/^s?smpp:\/\//.test(text)) return 'is neither an smpp:// nor an ssmpp:// URL'
  if (!URL.canParse(text)) return 'is no URL that can be read'
  const { protocol, hostname, port, username, password, pathname, search } = new URL(text)
  if ((pathname !== '' && pathname !== '/') || search !== '') return 'has a path or parameters, of which nothing is known'
  const parts: SmppUrl = { tls: protocol === 'ssmpp:' }
  try {
    if (hostname !== '') parts.host = decodeURIComponent(hostname).replace(/^\[(.*)\]$/, '$1')
    if (port !== '') parts.port = Number(port)
    if (username !== '') parts.systemId = decodeURIComponent(username)
    if (password !== '') parts.password = decodeURIComponent(password)
  } catch {
    return 'has a % that begins no escape' // decodeURIComponent's only complaint
  }
  return parts
}
