/**
 * MongoDB's connection strings: `mongodb://user:password@host:port,host:port/database?replicaSet=rs0`, `mongodb+srv://host/database`. Pure.
 * What the runtime decides itself (pool, timeouts, trust in certificates) cannot be said in one.
 */

/** What a connection string says besides the servers; the driver reads the rest. */
export interface MongoUrl {
  /** The first one's name, without its port. */
  hosts: string[]
  database?: string
  hasUser: boolean
  /** Of `tls` or `ssl`; with `+srv` it is on unless said otherwise. */
  tls?: boolean
}

const PARAMETERS = [
  ...['appName', 'authMechanism', 'authMechanismProperties', 'authSource', 'compressors', 'directConnection', 'loadBalanced', 'replicaSet'],
  ...['maxStalenessSeconds', 'readConcernLevel', 'readPreference', 'readPreferenceTags', 'retryReads', 'retryWrites', 'ssl', 'tls'],
  ...['srvMaxHosts', 'srvServiceName', 'w', 'journal', 'wTimeoutMS', 'heartbeatFrequencyMS', 'localThresholdMS', 'zlibCompressionLevel'],
]
const KNOWN = new Set(PARAMETERS.map((name) => name.toLowerCase()))

const FORM = /^mongodb(\+srv)?:\/\/(?:([^@/?]*)@)?([^@/?]+)(?:\/([^?]*))?(?:\?(.*))?$/

/** The parts of a connection string, or what is wrong with it, without the string: it holds the password. */
export function parseUrl(text: string): MongoUrl | string {
  const match = FORM.exec(text)
  if (!match) return /^mongodb(\+srv)?:\/\//.test(text) ? 'is no connection string that can be read' : 'is no mongodb:// URL'
  const [, srv, credentials, hosts = '', database = '', query = ''] = match
  const url: MongoUrl = { hosts: hosts.split(',').map(nameOf), hasUser: credentials !== undefined }
  for (const [name, value] of new URLSearchParams(query)) {
    const known = name.toLowerCase()
    if (!KNOWN.has(known)) return `has ${name}, which is not taken from a URL: see the options tls, user, pool`
    if (known === 'tls' || known === 'ssl') url.tls = value === 'true'
  }
  if (srv !== undefined) url.tls ??= true
  try {
    if (database !== '') url.database = decodeURIComponent(database)
  } catch {
    return 'has a % that begins no escape' // decodeURIComponent's only complaint
  }
  return url
}

/** Where it is, for the log: neither user nor password. */
export function addressOf(text: string, database: string): string {
  const [, srv = '', , hosts = ''] = FORM.exec(text) ?? []
  return `mongodb${srv}://${hosts}/${database}`
}

function nameOf(host: string): string {
  return decodeHost(host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1'))
}

/** A local socket's path is written with escapes. */
function decodeHost(host: string): string {
  return host.replace(/%2f/gi, '/')
}
