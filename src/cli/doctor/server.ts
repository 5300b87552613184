/** What server and credentials guarantee, and what they do not. Pure. */
import type { Inspection } from '../../bus/inspect/contract.ts'
import { plural, showBytes, showDuration } from '../values.ts'
import { type Finding, finding, ok } from './finding.ts'
import { streamFindings } from './streams.ts'
import { isBefore } from './version.ts'

/** How this machine reaches the bus. */
export interface Access {
  servers: readonly string[]
  user?: string | undefined
  password?: string | undefined
  token?: string | undefined
  nkeyFile?: string | undefined
  credentialsFile?: string | undefined
  /** What `config/node.ts` wants. */
  replicas?: number | undefined
}

/** The oldest server that the runtime is tested with (README). */
const OLDEST = [2, 9, 10] as const
const SHORT = 12
const SKEW_MS = 1_000

export function serverFindings(inspection: Inspection, access: Access): Finding[] {
  const { server, account } = inspection
  const cluster = server.cluster ? `, cluster ${server.cluster.name}` : ''
  const found = `nats-server ${server.version} (${server.name}${cluster}) at ${server.address}, ${server.roundTripMs.toFixed(1)} ms away`
  return [
    versionFinding(found, server.version),
    ...abilities(server.version, server.cluster !== undefined),
    account
      ? ok('jetstream', `JetStream holds ${plural(account.streams, 'stream')}, ${showBytes(account.bytes)}`)
      : finding(
          'jetstream',
          'problem',
          'the bus has no JetStream',
          'there are calls, but no queues, no state, no sagas, no transactions over several participants, no notifications, and keys of calls are refused',
          'start the server with jetstream { store_dir: ... }, or enable JetStream for the account',
        ),
    ...credentialFindings(inspection, access),
    tlsFinding(inspection),
    ...clockFindings(inspection),
    ...(account ? streamFindings(inspection, access.replicas) : []),
  ]
}

function versionFinding(found: string, version: string): Finding {
  if (isBefore(version, ...OLDEST))
    return finding(
      'server',
      'warning',
      found,
      `it is older than ${OLDEST.join('.')}, the oldest that Menagerie is tested with`,
      'move to a newer nats-server',
    )
  return ok('server', found)
}

/** What newer servers have, as far as it matters here. */
function abilities(version: string, isCluster: boolean): Finding[] {
  const missing = [
    ...(isBefore(version, 2, 10) ? ['2.10: can write to the disk before it confirms (sync_interval: always)'] : []),
    ...(isCluster && isBefore(version, 2, 11)
      ? ['2.11: compares and sets exactly in a cluster; Menagerie does it itself meanwhile, with more messages']
      : []),
    ...(isBefore(version, 2, 12) ? ['2.12: refuses settings that it does not know; Menagerie reads them back meanwhile'] : []),
  ]
  if (missing.length === 0) return [ok('abilities', `nats-server ${version} has all that Menagerie makes use of`)]
  const found = `nats-server ${version} lacks what newer ones have`
  return [finding('abilities', 'note', found, missing.join('; '), 'nothing, unless you need one of them')]
}

function credentialFindings({ server }: Inspection, access: Access): Finding[] {
  const { servers, user, password, token, nkeyFile, credentialsFile } = access
  const findings: Finding[] = []
  const urls = servers.map(urlOf)
  const inUrl = urls.find(({ username }) => username !== '')
  const secret = password ?? token ?? (inUrl && decodeURIComponent(inUrl.password || inUrl.username))
  const local = urls.every(({ hostname }) => isLoopback(hostname))
  if (!server.authRequired)
    findings.push(
      finding(
        'credentials',
        local ? 'note' : 'problem',
        'the server lets everybody in',
        local
          ? 'every program on this machine, of every user, can call every method and read every queue'
          : 'whoever reaches its port can call every method, and read and delete what is stored',
        local
          ? 'give it users where the machine is not only yours'
          : 'authorization { ... } or accounts in the server’s configuration, best with nkeys',
      ),
    )
  else if (nkeyFile ?? credentialsFile) findings.push(ok('credentials', `we log in by ${nkeyFile ? 'an nkey' : 'a credentials file'}`))
  else if (secret !== undefined && secret.length < SHORT)
    findings.push(
      finding(
        'credentials',
        'warning',
        `the ${password !== undefined || inUrl?.password ? 'password' : 'token'} has ${secret.length} characters`,
        'it can be guessed',
        `${SHORT} characters at least, made by a program; better an nkey (bus: { nkeyFile })`,
      ),
    )
  else findings.push(ok('credentials', user !== undefined || inUrl?.password ? 'we log in by a password' : 'we log in by a token'))
  if (inUrl)
    findings.push(
      finding(
        'credentials',
        'warning',
        'the URL of the bus has the password in it',
        'it is seen in the list of processes, in the environment and in histories of shells',
        'bus: { user, password: env("...") } in config/node.ts, or an nkey or credentials file',
      ),
    )
  return findings
}

function tlsFinding({ server }: Inspection): Finding {
  const host = urlOf(server.address).hostname
  if (server.tls) return ok('tls', 'the connection to the bus is encrypted')
  if (isLoopback(host)) return ok('tls', 'the bus is on this machine: without TLS, nothing leaves it')
  return finding(
    'tls',
    'problem',
    `the connection to ${server.address} is not encrypted`,
    'who can listen in on the network reads arguments, results and passwords, and can change them',
    'tls { ... } in the server’s configuration, and tls://... or bus: { tls: { caFile } } here',
  )
}

function clockFindings({ clock }: Inspection): Finding[] {
  if (!clock) return []
  const { offsetMs, withinMs } = clock
  const ahead = Math.abs(offsetMs) - withinMs
  if (ahead < SKEW_MS) return [ok('clock', `the server’s clock and ours agree within ${Math.ceil(Math.abs(offsetMs) + withinMs)} ms`)]
  return [
    finding(
      'clock',
      'warning',
      `the server’s clock is ${showDuration(Math.abs(offsetMs))} ${offsetMs > 0 ? 'ahead of' : 'behind'} ours`,
      'delays, expiry of calls and lists by time are off by so much',
      'run a time service (chrony, systemd-timesyncd) on both machines',
    ),
  ]
}

function urlOf(server: string): URL {
  return new URL(server.includes('://') ? server : `nats://${server}`)
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || /^127\./.test(host) || host === '[::1]' || host === '::1'
}
