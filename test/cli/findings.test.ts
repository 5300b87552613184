/** What doctor makes of what it has seen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Inspection, StreamFacts } from '../../src/bus/inspect/contract.ts'
import type { Finding } from '../../src/cli/doctor/finding.ts'
import { nodeFinding } from '../../src/cli/doctor/machine.ts'
import { serverFindings } from '../../src/cli/doctor/server.ts'
import { driftFindings } from '../../src/cli/doctor/streams.ts'
import { workFindings } from '../../src/cli/doctor/work.ts'

function stream(name: string, more: Partial<StreamFacts> = {}): StreamFacts {
  const queue = name.startsWith('QUEUE_') ? name.slice(6) : undefined
  return { ...{ name, queue, messages: 0, bytes: 0, duplicateWindowMs: 120_000, replicas: 1, lagging: [], consumers: [] }, ...more }
}

function inspected(more: Partial<Omit<Inspection, 'server'>> & { server?: Partial<Inspection['server']> } = {}): Inspection {
  const server = {
    name: 's',
    version: '2.12.1',
    address: '127.0.0.1:4222',
    tls: false,
    authRequired: true,
    maxPayload: 1e6,
    roundTripMs: 1,
  }
  const account = { bytes: 0, streams: 1, consumers: 0 }
  return { account, streams: [], ...more, server: { ...server, ...more.server } }
}

const ACCESS = { servers: ['nats://127.0.0.1:4222'], password: 'a-long-password' }
const severities = (findings: Finding[]): Record<string, string> =>
  Object.fromEntries(findings.filter(({ severity }) => severity !== 'ok').map(({ check, severity }) => [check, severity]))

test('doctor: a cluster of three with passwords has nothing to be said against', () => {
  const cluster = { name: 'c', servers: 3 }
  const streams = [stream('QUEUE_retry', { replicas: 3, leader: 'n1' })]
  const findings = serverFindings(inspected({ server: { cluster }, streams, clock: { offsetMs: 3, withinMs: 1 } }), {
    ...ACCESS,
    replicas: 3,
  })
  assert.deepEqual(severities(findings), {})
})

test('doctor: of an old server it is told what it lacks, and of any what a power cut may take', () => {
  const findings = serverFindings(inspected({ server: { version: '2.9.10' } }), ACCESS)
  assert.deepEqual(severities(findings), { abilities: 'note', disk: 'note', replicas: 'note' })
  assert.match(
    findings.find(({ check }) => check === 'disk')?.found ?? '',
    /2\.9\.10 has the disk write every 2 minutes, and cannot be told otherwise/,
  )
  assert.equal(severities(serverFindings(inspected({ server: { version: '2.9.4' } }), ACCESS)).server, 'warning')
})

test('doctor: without JetStream it says what there is not', () => {
  const findings = serverFindings(inspected({ account: undefined }), ACCESS)
  assert.deepEqual(severities(findings), { jetstream: 'problem' })
})

test('doctor: who can get in, and who can listen', () => {
  const afar = { address: '10.1.2.3:4222' }
  const servers = ['nats://10.1.2.3:4222']
  assert.deepEqual(severities(serverFindings(inspected({ server: { ...afar, authRequired: false } }), { servers })), {
    ...{ credentials: 'problem', tls: 'problem', disk: 'note', replicas: 'note' },
  })
  const short = serverFindings(inspected(), { servers: ['nats://me:secret@127.0.0.1:4222'] }).filter(({ check }) => check === 'credentials')
  assert.deepEqual(
    short.map(({ found }) => found),
    ['the password has 6 characters', 'the URL of the bus has the password in it'],
  )
  assert.ok(!JSON.stringify(short).includes('secret'))
  assert.equal(severities(serverFindings(inspected({ server: { ...afar, tls: true } }), { ...ACCESS, servers })).tls, undefined)
})

test('doctor: streams on one server of a cluster, without a leader, behind, nearly full', () => {
  const cluster = { name: 'c', servers: 3 }
  const streams = [
    stream('QUEUE_a', { leader: 'n1' }),
    stream('CALLS', { replicas: 3, lagging: ['n2'], leader: 'n1' }),
    stream('QUEUE_b', { replicas: 3, bytes: 90, maxBytes: 100, leader: 'n1', duplicateWindowMs: 1_000 }),
    stream('SETTLED', { replicas: 3 }),
  ]
  const findings = serverFindings(inspected({ server: { cluster }, streams }), { ...ACCESS, replicas: 3 })
  const replicas = findings.filter(({ check }) => check === 'replicas')
  assert.deepEqual(
    replicas.map(({ severity, found }) => `${severity} ${found}`),
    [
      'problem SETTLED: no server leads',
      'problem CALLS: n2 is away or behind',
      'warning QUEUE_a: on one server only of cluster c',
      'warning QUEUE_a: not on 3 servers, as config/node.ts wants',
    ],
  )
  assert.deepEqual(severities(findings), { disk: 'note', replicas: 'warning', limits: 'warning', duplicates: 'warning' })
})

test('doctor: consumers that somebody has changed', () => {
  const consumer = { name: 'shop', pending: 0, ackPending: 0, redelivered: 0, asking: 1, drift: ['ack_wait 30000000000'] }
  assert.deepEqual(severities(driftFindings([stream('QUEUE_retry', { consumers: [consumer] })])), { consumers: 'warning' })
  assert.deepEqual(severities(driftFindings([stream('QUEUE_retry', { consumers: [{ ...consumer, drift: [] }] })])), {})
})

test('doctor: work that is held up, left alone, dead, or needs people', () => {
  const share = { cage: 'shop', waiting: 2, running: 0, asking: 0, lanes: undefined, methods: {} }
  const summary = { waiting: 2, running: 0, delayed: 0, dead: 0, bytes: 0, oldestAt: undefined, cages: [share] }
  const open = { ...summary, queue: 'calls', mode: 'open' as const, order: { mode: 'open' as const, at: 0 } }
  const paused = { ...summary, queue: 'held', mode: 'paused' as const, order: { mode: 'paused' as const, at: 0, reason: 'the move' } }
  const work = { queues: [open, paused], dead: 4, incidents: ['t/0'], sagas: [], dedup: [{ cage: 'shop', queue: 'calls', dedupMs: 9_000 }] }
  const findings = workFindings(work, [stream('CALLS', { maxAgeMs: 5_000 })])
  assert.deepEqual(
    findings
      .filter(({ severity }) => severity !== 'ok')
      .map(({ check, found }) => `${check}: ${found}`.replace(/since \S+ \S+:/, 'since then:')),
    [
      'queues: 2 calls of cage shop in queue calls, and nobody asks for them',
      'queues: queue held is paused since then: the move',
      'ids: shop: calls wants ids of calls remembered for longer than the 5s that the server keeps them',
      'dead letters: 4 calls will not be tried again',
      'transactions: people are needed for 1 incident: t/0',
    ],
  )
})

test('doctor: a line of Node that has come to its end', () => {
  const now = Date.parse('2026-06-01')
  assert.equal(nodeFinding('v20.20.2', now).severity, 'warning')
  assert.equal(nodeFinding('v24.1.0', now).severity, 'ok')
})
