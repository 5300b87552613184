/** Which servers are the bus: what is named, and how a server is written. Pure. */

/** Port of the server that the nodes of a machine share where none is named. */
export const EMBEDDED_PORT = 4222

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
