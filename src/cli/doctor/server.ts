/** What server, streams and credentials guarantee, and what they do not. Pure. */
import type { Inspection, StreamFacts } from '../../bus/inspect/contract.ts'
import { plural, showBytes, showDuration } from '../values.ts'
import { type Finding, finding, listed, ok } from './finding.ts'

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
const FULL = 0.8
const DUPLICATE_WINDOW_MS = 120_000
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
    ...(account
      ? [diskFinding(inspection), ...replicaFindings(inspection, access), ...limitFindings(inspection), ...windowFindings(inspection)]
      : []),
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

/** How much of what was confirmed a power cut may take. */
function diskFinding({ server, streams }: Inspection): Finding {
  const single = streams.filter(({ replicas }) => replicas < 3)
  if (server.cluster && streams.length > 0 && single.length === 0)
    return ok('disk', 'what is confirmed lies on two servers at least: the power cut of one of them loses nothing')
  const canSync = !isBefore(server.version, 2, 10)
  return finding(
    'disk',
    'note',
    canSync
      ? 'how often the server has the disk write (sync_interval) cannot be seen by a client; the default is every 2 minutes'
      : `nats-server ${server.version} has the disk write every 2 minutes, and cannot be told otherwise`,
    'kill -9 of the server loses nothing that was confirmed; a power cut, or a crash of the operating system, may lose what was confirmed since',
    `${canSync ? 'jetstream { sync_interval: always }, which costs speed' : 'nats-server 2.10 or newer with jetstream { sync_interval: always }'}, or three servers with bus: { replicas: 3 } in config/node.ts`,
  )
}

function replicaFindings({ server, streams }: Inspection, { replicas: wanted }: Access): Finding[] {
  const findings: Finding[] = []
  const lagging = streams.filter((stream) => stream.lagging.length > 0)
  const orphaned = server.cluster ? streams.filter(({ leader }) => !leader) : []
  const single = streams.filter(({ replicas }) => replicas === 1)
  if (orphaned.length > 0)
    findings.push(
      finding(
        'replicas',
        'problem',
        `${listed(namesOf(orphaned))}: no server leads`,
        'nothing can be stored there, and nothing read',
        'start the servers that are away: more than half of a stream’s replicas must be there',
      ),
    )
  if (lagging.length > 0)
    findings.push(
      finding(
        'replicas',
        'problem',
        lagging.map(({ name, lagging: late }) => `${name}: ${late.join(', ')} is away or behind`).join('; '),
        'one more lost server may stop these streams, or lose what they hold',
        'nats server report jetstream',
      ),
    )
  if (!server.cluster)
    findings.push(
      finding(
        'replicas',
        'note',
        'there is one NATS server, no cluster',
        'while it is down no call goes through; queued calls wait. Lost disks lose queues, state, sagas and transactions',
        'in production: three servers that are a cluster, and bus: { replicas: 3 }',
      ),
    )
  else if (single.length > 0)
    findings.push(
      finding(
        'replicas',
        'warning',
        `${listed(namesOf(single))}: on one server only of cluster ${server.cluster.name}`,
        'while that server is down they cannot be used, and its disk is all that there is of them',
        'bus: { replicas: 3 } in config/node.ts; nodes change their streams when they start',
      ),
    )
  else if (streams.length > 0 && findings.length === 0)
    findings.push(ok('replicas', `every stream lies on ${Math.min(...streams.map(({ replicas }) => replicas))} servers at least`))
  const other = wanted === undefined ? [] : streams.filter(({ replicas }) => replicas !== wanted)
  if (other.length > 0)
    findings.push(
      finding(
        'replicas',
        'warning',
        `${listed(namesOf(other))}: not on ${wanted} servers, as config/node.ts wants`,
        'they were made when it said otherwise, or by a node that is configured otherwise',
        'start a node with this configuration: it changes what it uses',
      ),
    )
  return findings
}

function limitFindings({ account, streams }: Inspection): Finding[] {
  const full = streams.filter(({ bytes, maxBytes }) => maxBytes !== undefined && bytes >= FULL * maxBytes)
  const findings = full.map(({ name, bytes, maxBytes = 0 }) =>
    finding(
      'limits',
      bytes >= maxBytes * 0.99 ? 'problem' : 'warning',
      `${name} holds ${showBytes(bytes)} of ${showBytes(maxBytes)}`,
      'once it is full, what would be stored is refused with OVERLOADED',
      'find out why its calls are not run (menagerie queue ls), or give the queue more maxBytes',
    ),
  )
  for (const [what, used, most] of account
    ? ([
        ['bytes', account.bytes, account.maxBytes],
        ['streams', account.streams, account.maxStreams],
        ['consumers', account.consumers, account.maxConsumers],
      ] as const)
    : [])
    if (most !== undefined && used >= FULL * most)
      findings.push(
        finding(
          'limits',
          'warning',
          `the account uses ${what === 'bytes' ? showBytes(used) : used} of ${what === 'bytes' ? showBytes(most) : `${most} ${what}`}`,
          'beyond it nothing new is stored, or made',
          'raise the limits of the account',
        ),
      )
  return findings.length > 0 ? findings : [ok('limits', 'no stream is near its limit, nor the account')]
}

/** Within it the server drops a repetition by itself. */
function windowFindings({ streams }: Inspection): Finding[] {
  const short = streams.filter(({ queue, duplicateWindowMs }) => queue !== undefined && duplicateWindowMs !== DUPLICATE_WINDOW_MS)
  if (short.length === 0) return [ok('duplicates', `the server drops repeated publications of ${showDuration(DUPLICATE_WINDOW_MS)}`)]
  const found = short.map(({ name, duplicateWindowMs }) => `${name}: ${showDuration(duplicateWindowMs)}`).join(', ')
  return [
    finding(
      'duplicates',
      'warning',
      `the duplicate window is not ${showDuration(DUPLICATE_WINDOW_MS)}: ${found}`,
      'a call without an id whose answer was lost may be stored twice',
      'somebody has changed the stream: start a node, which sets it right',
    ),
  ]
}

/** Consumers that are not as cages make them. */
export function driftFindings(streams: readonly StreamFacts[]): Finding[] {
  const drifted = streams.flatMap(({ name, consumers }) =>
    consumers.filter(({ drift }) => drift.length > 0).map((consumer) => `${name} ${consumer.name}: ${consumer.drift.join(', ')}`),
  )
  if (drifted.length === 0) return [ok('consumers', 'the queues’ consumers are as cages make them')]
  return [
    finding(
      'consumers',
      'warning',
      listed(drifted),
      'somebody else has made or changed them: calls may come late, be run twice or never',
      'restart the cages that run these queues: they set their consumers right; delete those of nobody (nats consumer rm)',
    ),
  ]
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

function namesOf(streams: readonly StreamFacts[]): string[] {
  return streams.map(({ name }) => name)
}

function urlOf(server: string): URL {
  return new URL(server.includes('://') ? server : `nats://${server}`)
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || /^127\./.test(host) || host === '[::1]' || host === '::1'
}

/** Whether a version is older. */
function isBefore(version: string, ...than: number[]): boolean {
  const parts = version.split(/[.-]/).map(Number)
  for (const [i, part] of than.entries()) if ((parts[i] ?? 0) !== part) return (parts[i] ?? 0) < part
  return false
}
