/** What has happened between two surveys of all copies: rates, durations, and what is wrong now. Pure. */
import type { QueueSummary } from '../bus/queue/contract.ts'
import type { CopyStatus, Durations, MethodStatus, ModuleStatus } from '../bus/survey/contract.ts'
import { addDurations, durationsSince, NO_DURATIONS, quantile } from '../histogram.ts'
import { plural } from './values.ts'

/** A method over all its copies. Rates are per second, durations ms; without calls there are none. */
export interface MethodRate {
  method: string
  rate: number
  errorRate: number
  p50?: number | undefined
  p95?: number | undefined
  p99?: number | undefined
  running: number
  /** In its module's mailbox. */
  waiting: number
  copies: number
}

/** The busiest first. `before` and `now` are surveys; a copy that was not there before has no rates yet. */
export function ratesOf(before: readonly CopyStatus[], now: readonly CopyStatus[]): MethodRate[] {
  const earlier = new Map(before.map((copy) => [copy.id, copy]))
  const rows = new Map<string, MethodRate & { durations: Durations[] }>()
  for (const copy of now)
    for (const module of copy.modules)
      for (const method of module.methods) {
        const name = `${copy.cage}.${module.module}.${method.method}`
        const row = rows.get(name) ?? { method: name, rate: 0, errorRate: 0, running: 0, waiting: 0, copies: 0, durations: [] }
        rows.set(name, row)
        row.copies++
        row.running += method.running
        row.waiting += module.waiting
        const past = earlier.get(copy.id)
        const seconds = past === undefined ? 0 : (copy.at - past.at) / 1_000
        if (!past || seconds <= 0) continue
        const was = methodIn(past, module, method)
        row.rate += Math.max(0, method.requests - (was?.requests ?? 0)) / seconds
        row.errorRate += Math.max(0, sum(method.errors) - sum(was?.errors ?? {})) / seconds
        row.durations.push(durationsSince(method.durations, was?.durations ?? NO_DURATIONS))
      }
  return [...rows.values()]
    .map(({ durations, ...row }) => {
      const all = addDurations(durations)
      return all.count === 0 ? row : { ...row, p50: quantile(all, 0.5), p95: quantile(all, 0.95), p99: quantile(all, 0.99) }
    })
    .sort((a, b) => b.rate - a.rate || b.running - a.running || a.method.localeCompare(b.method))
}

/** What an engineer should look at, worst first, in a line each. */
export function problemsOf(copies: readonly CopyStatus[], queues: readonly QueueSummary[]): string[] {
  const broken = copies.flatMap(({ cage, node, modules }) =>
    modules.flatMap(({ module, broken: why }) =>
      why === undefined ? [] : [`${cage}.${module} on ${node}: its newest file is not in service: ${why}`],
    ),
  )
  const listening = copies.flatMap(({ cage, interfaces: all }) =>
    all.filter(({ address }) => address !== undefined).map((one) => `${cage}.${one.interface}`),
  )
  const interfaces = copies.flatMap(({ cage, interfaces: all }) =>
    all.flatMap(({ interface: name, address, error }) =>
      address === undefined && error !== undefined && !listening.includes(`${cage}.${name}`) ? [`interface ${cage}.${name}: ${error}`] : [],
    ),
  )
  const resources = copies.flatMap(({ cage, node, resources: all }) =>
    all.flatMap(({ resource, open }) => (open ? [`resource ${cage}.${resource} on ${node} is taken for broken`] : [])),
  )
  const refused = copies.flatMap(({ cage, node, modules }) =>
    modules.flatMap(({ module, waiting, maxQueued }) =>
      waiting > 0 && waiting >= maxQueued ? [`${cage}.${module} on ${node} is overloaded: ${waiting} wait`] : [],
    ),
  )
  const late = copies.flatMap(({ cage, node, thread: { loopLag } }) =>
    loopLag.p99 >= LATE_MS ? [`${cage} on ${node}: its event loop is ${Math.round(loopLag.p99)} ms late (p99)`] : [],
  )
  const held = queues.flatMap(({ queue, mode, waiting }) =>
    mode === 'open' ? [] : [`queue ${queue} is ${mode} with ${plural(waiting, 'call')}`],
  )
  return [...broken, ...resources, ...interfaces, ...refused, ...late, ...held]
}

const LATE_MS = 200

function methodIn(copy: CopyStatus, { module }: ModuleStatus, { method }: MethodStatus): MethodStatus | undefined {
  return copy.modules.find((one) => one.module === module)?.methods.find((one) => one.method === method)
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}
