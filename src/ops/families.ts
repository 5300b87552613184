/**
 * Families: what the workers of a node tell, as Prometheus has it. Pure.
 * N1. Labels are names of the program's own: cage, module, method, code, queue, resource, interface. Nothing that a caller chose becomes one.
 * N2. Seconds and bytes, counters end in `_total`, histograms are cumulative over `BOUNDS`.
 * https://prometheus.io/docs/practices/naming/
 */
import type { WorkerReport } from '../actors/report.ts'
import type { WorkerFacts } from '../actors/thread.ts'
import type { QueueSummary } from '../bus/queue/contract.ts'
import type { Durations, Flow, MethodStatus } from '../bus/survey/contract.ts'
import { addDurations, upperMs } from '../histogram.ts'

export type Labels = Record<string, string>

/** One line: a suffix of the family's name, labels and a value. */
export interface Sample {
  suffix: string
  labels: Labels
  value: number
}

export interface Family {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  samples: Sample[]
}

/** Upper bounds of a histogram's buckets, ms. A duration within a bucket's width (12 %) of a bound may be counted above it. */
const BOUNDS = [0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000]

/** All families that have something to tell. */
export function familiesOf(facts: readonly WorkerFacts[], reports: readonly WorkerReport[], now: number): Family[] {
  const families = new Families()
  for (const fact of facts) addFacts(families, fact, reports)
  for (const report of reports) addReport(families, report)
  addQueues(families, reports, now)
  return families.all()
}

function addFacts(to: Families, { cage, only, life, silentMs, restarts, stalls }: WorkerFacts, reports: readonly WorkerReport[]): void {
  const labels = worker(cage, only)
  const answers = reports.some(({ copy }) => copy.cage === cage && copy.only === only)
  to.gauge('worker_up', 'Whether the worker serves and has told of itself for this scrape.', labels, life === 'ready' && answers ? 1 : 0)
  to.gauge('worker_silent_seconds', 'How long the event loop of the worker has stood still.', labels, silentMs / 1_000)
  to.counter('worker_restarts_total', 'Starts of the worker after its first one.', labels, restarts)
  to.counter('worker_stalls_total', 'Times that the worker was ended because its event loop stood still.', labels, stalls)
}

function addReport(to: Families, { copy, connected, sagas }: WorkerReport): void {
  const { cage, only, thread, connection } = copy
  const labels = worker(cage, only)
  for (const module of copy.modules) {
    const named = { cage, module: module.module }
    to.gauge('module_calls_running', 'Calls that have a slot of the module.', named, module.running)
    to.gauge('module_calls_waiting', 'Calls in the mailbox of the module.', named, module.waiting)
    to.gauge('module_concurrency', 'Slots of the module.', named, module.concurrency)
    to.counter('module_refused_total', 'Calls that the mailbox has refused.', named, module.refused)
    to.gauge(
      'module_version',
      'Version in service, counted from the start of the worker; 0: none was ever good.',
      named,
      module.version ?? 0,
    )
    to.counter('module_reloads_total', 'Versions that came into service.', named, module.reloads)
    to.gauge('module_broken', 'Whether the newest file is not in service.', named, module.broken === undefined ? 0 : 1)
    if (module.reloadMs !== undefined)
      to.gauge('module_reload_seconds', 'How long the last reload took, from the change on.', named, module.reloadMs / 1_000)
    if (module.since !== undefined)
      to.gauge('module_loaded_timestamp_seconds', 'Since when the version is in service.', named, module.since / 1_000)
    for (const method of module.methods) addMethod(to, { ...named, method: method.method }, method)
  }
  for (const { interface: name, address } of copy.interfaces)
    to.gauge('interface_up', 'Whether the interface listens.', { cage, interface: name }, address === undefined ? 0 : 1)
  for (const [from, flows] of byCaller(copy.flows)) {
    const [word, name = ''] = from.split(' ')
    if (word === 'interface') addCalls(to, 'interface', { cage, interface: name }, callsOf(flows))
    if (word === 'queue') addCalls(to, 'queue_attempt', { cage, queue: name }, callsOf(flows))
  }
  for (const resource of copy.resources) {
    const named = { cage, ...(only === undefined ? {} : { module: only }), resource: resource.resource }
    to.gauge('resource_connections', 'Connections of the pool.', named, resource.size)
    to.gauge('resource_connections_busy', 'Connections in use.', named, resource.busy)
    to.gauge('resource_connections_limit', 'Connections at most.', named, resource.limit)
    to.gauge('resource_waiting', 'Work that waits for a connection.', named, resource.waiting)
    to.counter('resource_connects_total', 'Connections made.', named, resource.connects)
    to.counter('resource_connect_failures_total', 'Connections that could not be made.', named, resource.failures)
    to.gauge('resource_broken', 'Whether the resource is taken for broken.', named, resource.open ? 1 : 0)
    to.histogram('resource_wait_seconds', 'How long work waited for its connections.', named, resource.waits)
    addCalls(to, 'resource', named, resource)
  }
  for (const { queue, consuming, running, done, retried, dead } of copy.queues) {
    const named = { cage, queue }
    to.gauge('queue_consuming', 'Whether this copy takes calls of the queue.', named, consuming ? 1 : 0)
    to.gauge('queue_calls_running', 'Queued calls that run in this copy.', named, running)
    to.counter('queue_done_total', 'Queued calls that this copy has done.', named, done)
    to.counter('queue_retried_total', 'Attempts of this copy that are repeated.', named, retried)
    to.counter('queue_dead_total', 'Queued calls that this copy has given up.', named, dead)
  }
  if (sagas) {
    to.gauge('sagas_open', 'Sagas of the cage that have not ended.', { cage }, sagas.open)
    to.gauge('saga_incidents', 'Sagas that wait for a decision.', { cage }, sagas.incidents)
  }
  if (thread.threadCpuMs !== undefined)
    to.counter('worker_cpu_seconds_total', 'CPU time of the thread.', labels, thread.threadCpuMs / 1_000)
  to.gauge('worker_heap_used_bytes', 'Heap in use.', labels, thread.heapUsed)
  to.gauge('worker_heap_limit_bytes', 'Heap at most.', labels, thread.heapLimit)
  to.gauge('worker_loop_utilization', 'Share of time that the event loop worked, 0 to 1.', labels, thread.utilization)
  to.gauge('worker_loop_lag_mean_seconds', 'How late the event loop was in the last minute: mean.', labels, thread.loopLag.mean / 1_000)
  to.gauge('worker_loop_lag_p99_seconds', 'How late the event loop was in the last minute: p99.', labels, thread.loopLag.p99 / 1_000)
  to.gauge('worker_loop_lag_max_seconds', 'How late the event loop was in the last minute: at most.', labels, thread.loopLag.max / 1_000)
  to.gauge('bus_connected', 'Whether the worker is connected to the bus.', labels, connected ? 1 : 0)
  if (connection.roundTripMs !== undefined)
    to.gauge('bus_round_trip_seconds', 'To the server and back, measured for this scrape.', labels, connection.roundTripMs / 1_000)
  to.counter('bus_reconnects_total', 'Times that the connection came back.', labels, connection.reconnects)
  to.counter('bus_late_replies_total', 'Replies that nobody waited for any more.', labels, connection.lateReplies)
  to.gauge('bus_calls_in_flight', 'Calls that wait for their answers.', labels, connection.inFlight)
}

function addMethod(to: Families, labels: Labels, { requests, errors, running, durations }: MethodStatus): void {
  addCalls(to, 'method', labels, { calls: requests, errors, durations })
  to.gauge('method_calls_running', 'Calls of the method that run.', labels, running)
}

/** What there is of everything that is called: how many, errors by code, how long. */
function addCalls(to: Families, word: string, labels: Labels, { calls, errors, durations }: Calls): void {
  to.counter(`${word}_calls_total`, 'Calls that have ended.', labels, calls)
  for (const [code, count] of Object.entries(errors))
    to.counter(`${word}_errors_total`, 'Those that ended in an error, by code.', { ...labels, code }, count)
  to.histogram(`${word}_duration_seconds`, 'How long they took, from begin to outcome.', labels, durations)
  to.gauge(`${word}_duration_max_seconds`, 'The longest since the start of the worker.', labels, durations.max / 1_000)
}

/** What the queues hold, whoever of the node consumes them. */
function addQueues(to: Families, reports: readonly WorkerReport[], now: number): void {
  const queues = new Map<string, QueueSummary>()
  for (const report of reports) for (const summary of report.queues) queues.set(summary.queue, summary)
  for (const { queue, waiting, running, delayed, dead, bytes, oldestAt, mode } of queues.values()) {
    const labels = { queue }
    to.gauge('queue_waiting', 'Calls that wait, of all cages.', labels, waiting)
    to.gauge('queue_running', 'Calls that run, in all copies.', labels, running)
    to.gauge('queue_delayed', 'Calls that wait for their time.', labels, delayed)
    to.gauge('queue_dead_letters', 'Dead letters.', labels, dead)
    to.gauge('queue_bytes', 'What the queue holds.', labels, bytes)
    to.gauge('queue_paused', 'Whether an engineer has paused the queue.', labels, mode === 'paused' ? 1 : 0)
    const ageMs = oldestAt === undefined ? 0 : Math.max(0, now - oldestAt)
    to.gauge('queue_oldest_age_seconds', 'Age of the oldest call that is not done; 0: there is none.', labels, ageMs / 1_000)
  }
}

interface Calls {
  calls: number
  errors: Record<string, number>
  durations: Durations
}

function byCaller(flows: readonly Flow[]): Map<string, Flow[]> {
  const callers = new Map<string, Flow[]>()
  for (const flow of flows) callers.set(flow.from, [...(callers.get(flow.from) ?? []), flow])
  return callers
}

function callsOf(flows: readonly Flow[]): Calls {
  const errors: Record<string, number> = {}
  for (const { codes } of flows) for (const [code, count] of Object.entries(codes)) errors[code] = (errors[code] ?? 0) + count
  return {
    calls: flows.reduce((sum, { calls }) => sum + calls, 0),
    errors,
    durations: addDurations(flows.map(({ durations }) => durations)),
  }
}

function worker(cage: string, only: string | undefined): Labels {
  return only === undefined ? { cage } : { cage, module: only }
}

/** Families by name, in the order of their first sample. */
class Families {
  readonly #families = new Map<string, Family>()

  all(): Family[] {
    return [...this.#families.values()]
  }

  counter(name: string, help: string, labels: Labels, value: number): void {
    this.#of(name, help, 'counter').push({ suffix: '', labels, value })
  }

  gauge(name: string, help: string, labels: Labels, value: number): void {
    this.#of(name, help, 'gauge').push({ suffix: '', labels, value })
  }

  histogram(name: string, help: string, labels: Labels, { count, sum, buckets }: Durations): void {
    const samples = this.#of(name, help, 'histogram')
    let below = 0
    let at = 0
    for (const bound of BOUNDS) {
      for (; at + 1 < buckets.length && upperMs(buckets[at] ?? 0) <= bound; at += 2) below += buckets[at + 1] ?? 0
      samples.push({ suffix: '_bucket', labels: { ...labels, le: String(bound / 1_000) }, value: below })
    }
    samples.push({ suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count })
    samples.push({ suffix: '_sum', labels, value: sum / 1_000 })
    samples.push({ suffix: '_count', labels, value: count })
  }

  #of(name: string, help: string, type: Family['type']): Sample[] {
    const full = `menagerie_${name}`
    let family = this.#families.get(full)
    if (!family) {
      family = { name: full, help, type, samples: [] }
      this.#families.set(full, family)
    }
    return family.samples
  }
}
