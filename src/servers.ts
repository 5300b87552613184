/** Which servers are the bus, and where the node's own endpoint listens: what is named, and how it is written. Pure. */

/** Port of the server that the nodes of a machine share where none is named. */
export const EMBEDDED_PORT = 4222

/** Where metrics and health are served if only a port is named. */
export const OPS_HOST = '127.0.0.1'

/** The servers where any are named: by the command line, NATS_URL or `config/node.ts`, in that order. */
export function serversOf(flags: string[], env: NodeJS.ProcessEnv, configured: string[] | undefined): string[] | undefined {
  return flags.length > 0 ? flags : (env.NATS_URL?.split(',') ?? configured)
}

/** Reads servers with commas between them; throws an Error that says what would be right. */
export function readServers(text: string): string[] {
  const servers = text.split(',')
  if (servers.every(isServer)) return servers
  throw new Error('not a NATS server, it looks like nats://host:4222')
}

/** Whether a text names a NATS server. */
export function isServer(text: string): boolean {
  const url = text.includes('://') ? text : `nats://${text}`
  return URL.canParse(url) && /^(nats|tls):$/.test(new URL(url).protocol) && new URL(url).hostname !== ''
}

/** Reads `port`, `host:port` or `[v6]:port`; throws an Error that says what would be right. */
export function readListen(text: string): { host: string; port: number } {
  const [, host = OPS_HOST, digits = ''] = /^(?:(\[[0-9A-Fa-f:.]+\]|[\w.-]+):)?(\d{1,5})$/.exec(text) ?? []
  const port = Number(digits)
  if (digits === '' || port < 1 || port > 65_535) throw new Error('not a port, it looks like 9100 or 0.0.0.0:9100')
  return { host: host.replace(/^\[|\]$/g, ''), port }
}
