import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CopyStatus, ModuleStatus } from '../../src/bus/survey/contract.ts'
import { problemsOf, ratesOf } from '../../src/cli/rates.ts'
import { Histogram, NO_DURATIONS } from '../../src/histogram.ts'

const SECOND = 1_000

function copyOf(id: string, at: number, modules: ModuleStatus[], more: Partial<CopyStatus> = {}): CopyStatus {
  const loopLag = { mean: 0, p99: 0, max: 0 }
  const memory = { rss: 1, heapUsed: 1, heapLimit: 10 }
  return {
    ...{ cage: 'shop', only: undefined, node: `node-${id}`, host: 'here', pid: 1, id, runtime: 'menagerie 1.0.0', nodeVersion: 'v24.0.0' },
    ...{ startedAt: 0, at, state: 'serving', modules, interfaces: [], resources: [], queues: [], flows: [] },
    thread: { processCpuMs: 1, threadCpuMs: 1, ...memory, loopLag, utilization: 0, restarts: 0 },
    connection: { roundTripMs: 1, reconnects: 0, lateReplies: 0, inFlight: 0, server: 'nats://here' },
    ...more,
  }
}

function mail(
  requests: number,
  durations: number[] = [],
  more: Partial<ModuleStatus> = {},
  errors: Record<string, number> = {},
): ModuleStatus {
  const histogram = new Histogram()
  for (const ms of durations) histogram.add(ms)
  return {
    ...{ module: 'mail', version: 1, hash: 'a', since: 0, reloads: 0, reloadMs: undefined, isolated: false },
    ...{ concurrency: 64, maxQueued: 10, running: 0, waiting: 0, refused: 0 },
    methods: [{ method: 'send', requests, errors, running: 1, durations: durations.length > 0 ? histogram.read() : NO_DURATIONS }],
    ...more,
  }
}

test('rates: what came since the survey before, over all copies', () => {
  const before = [copyOf('a', 0, [mail(10, [5, 5])]), copyOf('b', 0, [mail(0)])]
  const now = [
    copyOf('a', 2 * SECOND, [mail(30, [5, 5, 20, 20], {}, { REFUSED: 4 })]),
    copyOf('b', SECOND, [mail(5, [20, 20])]),
    copyOf('new', SECOND, [mail(99, [900])]),
  ]
  const [send] = ratesOf(before, now)
  assert.deepEqual([send?.method, send?.rate, send?.errorRate, send?.running, send?.copies], ['shop.mail.send', 15, 2, 3, 3])
  for (const quantile of [send?.p50, send?.p95, send?.p99]) assert.ok(Math.abs(Number(quantile) - 20) < 1.3, `${quantile}`)
})

test('rates: a copy that began anew, or is silent, counts nothing below zero', () => {
  const [send] = ratesOf([copyOf('a', 0, [mail(50, [1])])], [copyOf('a', SECOND, [mail(3)])])
  assert.deepEqual([send?.rate, send?.p50], [0, undefined])
})

test('rates: what an engineer should look at is told, worst first', () => {
  const late = { mean: 50, p99: 400, max: 900 }
  const copies = [
    copyOf('a', 0, [mail(0, [], { broken: 'mail.ts:1:1: unexpected end', waiting: 10 })], {
      interfaces: [
        { interface: 'web', kind: 'http', address: undefined, since: undefined, error: 'the port is taken' },
        { interface: 'own', kind: 'http', address: undefined, since: undefined, error: 'the port is taken' },
      ],
      thread: { ...copyOf('a', 0, []).thread, loopLag: late },
    }),
    copyOf('b', 0, [], { interfaces: [{ interface: 'web', kind: 'http', address: 'http://here', since: 0 }] }),
  ]
  const paused = { queue: 'calls', mode: 'paused' as const, waiting: 3, running: 0, delayed: 0, dead: 0, bytes: 0, oldestAt: undefined }
  assert.deepEqual(problemsOf(copies, [paused]), [
    'shop.mail on node-a: its newest file is not in service: mail.ts:1:1: unexpected end',
    'interface shop.own: the port is taken',
    'shop.mail on node-a is overloaded: 10 wait',
    'shop on node-a: its event loop is 400 ms late (p99)',
    'queue calls is paused with 3 calls',
  ])
})
