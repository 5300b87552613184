/** What the streams guarantee: where they lie, how full they are, what of them somebody has changed. Pure. */
import type { Inspection, StreamFacts } from '../../bus/inspect/contract.ts'
import { showBytes, showDuration } from '../values.ts'
import { type Finding, finding, listed, ok } from './finding.ts'
import { isBefore } from './version.ts'

const FULL = 0.8
const DUPLICATE_WINDOW_MS = 120_000

/** `wanted`: replicas, as `config/node.ts` says. */
export function streamFindings(inspection: Inspection, wanted: number | undefined): Finding[] {
  return [diskFinding(inspection), ...replicaFindings(inspection, wanted), ...limitFindings(inspection), ...windowFindings(inspection)]
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

function replicaFindings({ server, streams }: Inspection, wanted: number | undefined): Finding[] {
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

function namesOf(streams: readonly StreamFacts[]): string[] {
  return streams.map(({ name }) => name)
}
