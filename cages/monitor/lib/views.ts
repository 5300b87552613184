/** Views: what the page shows of what the collector has counted. Pure. */
import { type CopyStatus, type MethodStatus, NO_DURATIONS, quantile } from 'menagerie'
import type { Collector, Seen } from './collector.ts'
import { rounded } from './history.ts'
import type { CageView, CopyView, FlowView, MethodView, ModuleView, ResourceView } from './model.ts'

/** Every cage, sorted by name. */
export function cageViews(collector: Collector): CageView[] {
  const cages = new Map<string, Seen[]>()
  for (const seen of collector.copies()) cages.set(seen.status.cage, [...(cages.get(seen.status.cage) ?? []), seen])
  return [...cages]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([cage, copies]) => ({
      cage,
      copies: copies.map((seen) => copyView(collector, seen)),
      modules: moduleViews(collector, cage, copies),
    }))
}

/** Who calls what, busiest first. */
export function flowViews(collector: Collector): FlowView[] {
  const found: FlowView[] = []
  for (const [name, track] of collector.tracks()) {
    const [kind, from, to] = name.split('\n')
    if (kind !== 'flow' || from === undefined || to === undefined || track.sums().requests + track.rate === 0) continue
    const { rate, errorRate } = track
    found.push({ from, to, rate: rounded(rate), errorRate: rounded(errorRate), p95: rounded(quantile(track.durations(), 0.95)) })
  }
  return found.sort((a, b) => b.rate - a.rate || a.from.localeCompare(b.from) || a.to.localeCompare(b.to))
}

function copyView(collector: Collector, seen: Seen): CopyView {
  const { status, cpu } = seen
  const { id, node, host, pid, only, runtime, nodeVersion, startedAt, thread, connection } = status
  return {
    ...{ id, node, host, pid, only, runtime, nodeVersion, startedAt },
    state: collector.isGone(seen) ? 'gone' : status.state,
    restarts: thread.restarts,
    lastDeath: thread.lastDeath,
    cpu: rounded(cpu),
    utilization: rounded(thread.utilization),
    loopLagP99: rounded(thread.loopLag.p99),
    ...{ rss: thread.rss, heapUsed: thread.heapUsed, heapLimit: thread.heapLimit },
    roundTripMs: connection.roundTripMs === undefined ? undefined : rounded(connection.roundTripMs),
    ...{ reconnects: connection.reconnects, server: connection.server },
    interfaces: status.interfaces.map(({ interface: name, kind, address, error }) => ({ interface: name, kind, address, error })),
    resources: status.resources.map((resource) => resourceView(collector, `resource\n${id} ${only ?? ''}\n${resource.resource}`, resource)),
  }
}

function resourceView(
  collector: Collector,
  name: string,
  { resource, kind, limit, size, busy, waiting, open, retryAt }: CopyStatus['resources'][number],
): ResourceView {
  const track = collector.track(name)
  const durations = track?.durations() ?? NO_DURATIONS
  const waits = collector.track(`${name}\nwaits`)?.durations() ?? NO_DURATIONS
  return {
    ...{ resource, kind, limit, size, busy, waiting, open, retryAt },
    ...{ rate: rounded(track?.rate ?? 0), errorRate: rounded(track?.errorRate ?? 0) },
    ...{ p50: rounded(quantile(durations, 0.5)), p99: rounded(quantile(durations, 0.99)), waitP99: rounded(quantile(waits, 0.99)) },
  }
}

function moduleViews(collector: Collector, cage: string, copies: readonly Seen[]): ModuleView[] {
  const modules = new Map<string, CopyStatus['modules']>()
  for (const seen of copies) {
    if (collector.isGone(seen)) continue
    for (const module of seen.status.modules) {
      const known = modules.get(module.module)
      if (known) known.push(module)
      else modules.set(module.module, [module])
    }
  }
  const sum = <T>(all: readonly T[], of: (one: T) => number): number => all.reduce((total, one) => total + of(one), 0)
  return [...modules]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([module, all]) => {
      const versions: Record<string, number> = {}
      for (const { hash } of all) if (hash !== undefined) versions[hash] = (versions[hash] ?? 0) + 1
      return {
        ...{
          module,
          versions,
          reloads: sum(all, ({ reloads }) => reloads),
          broken: all.find(({ broken }) => broken !== undefined)?.broken,
        },
        isolated: all.some(({ isolated }) => isolated),
        ...{ running: sum(all, ({ running }) => running), waiting: sum(all, ({ waiting }) => waiting) },
        refusedRate: rounded(collector.track(`refused\n${cage}.${module}`)?.rate ?? 0),
        methods: methodViews(collector, `${cage}.${module}`, all),
      }
    })
}

function methodViews(collector: Collector, module: string, copies: CopyStatus['modules']): MethodView[] {
  const methods = new Map<string, MethodStatus[]>()
  for (const copy of copies) {
    for (const method of copy.methods) {
      const known = methods.get(method.method)
      if (known) known.push(method)
      else methods.set(method.method, [method])
    }
  }
  return [...methods]
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([method, all]) => methodView(collector, `${module}.${method}`, method, all))
}

function methodView(collector: Collector, name: string, method: string, all: readonly MethodStatus[]): MethodView {
  const track = collector.track(name)
  const durations = track?.durations() ?? NO_DURATIONS
  const errors: Record<string, number> = {}
  let requests = 0
  let running = 0
  let lastError: MethodStatus['lastError']
  for (const one of all) {
    requests += one.requests
    running += one.running
    for (const code in one.errors) errors[code] = (errors[code] ?? 0) + (one.errors[code] ?? 0)
    if (one.lastError && one.lastError.code !== 'SNOOZED' && one.lastError.at > (lastError?.at ?? 0)) lastError = one.lastError
  }
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => rounded(quantile(durations, q))) as [number, number, number] // as many as went in
  return {
    ...{ method, rate: rounded(track?.rate ?? 0), errorRate: rounded(track?.errorRate ?? 0), p50, p95, p99, max: rounded(durations.max) },
    ...{ running, requests, errors, lastError, spark: collector.spark(name, 'rate'), errorSpark: collector.spark(name, 'errorRate') },
  }
}
