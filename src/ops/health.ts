/**
 * Health: whether a node lives, and whether it is ready, by what its workers tell. Pure.
 * E1. It lives while its main thread turns and each worker does: one that is stuck, or was lost and is not back, is a problem.
 * E2. It is ready once every cage is registered, its queues are consumed, the bus is there, and nothing ends. A queue that an engineer has paused,
 *     an interface that cannot listen and a module in a worker of its own are told, and keep nobody from being ready.
 */
import type { WorkerReport } from '../actors/report.ts'
import type { WorkerFacts } from '../actors/thread.ts'

/** A body of JSON, and the status that goes with it. */
export interface Answer {
  ok: boolean
  body: object
}

/** A worker that has stood still for this share of `stallMs` is stuck. */
const STUCK = 0.5

/** What is about the node as a whole. */
export interface NodeState {
  node: string
  /** Those that it is to run. */
  cages: readonly string[]
  /** It ends. */
  stopping: boolean
  /** Why it cannot be kept up. */
  failed: string | undefined
}

export function liveness({ node, failed }: NodeState, facts: readonly WorkerFacts[]): Answer {
  const problems: object[] = failed === undefined ? [] : [{ problem: 'the node cannot be kept up', reason: failed }]
  for (const { cage, only: module, life, silentMs, stallMs, stuckIn, restarts, lastDeath } of facts) {
    if (silentMs >= stallMs * STUCK) problems.push({ cage, module, problem: 'stuck', forMs: silentMs, method: stuckIn })
    else if (life === 'ended' || (life === 'starting' && restarts > 0))
      problems.push({ cage, module, problem: 'lost, and not back yet', restarts, reason: lastDeath?.reason })
  }
  return { ok: problems.length === 0, body: { status: problems.length === 0 ? 'ok' : 'failing', node, problems } }
}

export function readiness({ node, cages, stopping }: NodeState, facts: readonly WorkerFacts[], reports: readonly WorkerReport[]): Answer {
  const missing: string[] = stopping ? ['the node drains'] : []
  const notes: string[] = []
  for (const cage of cages) if (!facts.some((fact) => fact.cage === cage)) missing.push(`cage ${cage} has not begun`)
  for (const { cage, only } of facts) {
    const name = only === undefined ? `cage ${cage}` : `module ${cage}.${only}`
    const report = reports.find(({ copy }) => copy.cage === cage && copy.only === only)
    const found = report ? missingOf(name, report) : [`${name} does not answer`]
    if (only === undefined) missing.push(...found)
    else notes.push(...found)
    if (!report) continue
    for (const { queue, paused } of report.copy.queues) if (paused) notes.push(`queue ${queue} is paused`)
    for (const { interface: of, address, error } of report.copy.interfaces)
      if (address === undefined) notes.push(`interface ${cage}.${of} does not listen${error === undefined ? '' : `: ${error}`}`)
  }
  return { ok: missing.length === 0, body: { status: missing.length === 0 ? 'ready' : 'not ready', node, missing, notes } }
}

function missingOf(name: string, { copy, connected }: WorkerReport): string[] {
  const missing: string[] = []
  if (copy.state === 'starting') missing.push(`${name} starts`)
  if (copy.state === 'stopping') missing.push(`${name} drains`)
  if (!connected) missing.push(`${name} has no bus`)
  for (const { queue, consuming, paused } of copy.queues)
    if (!consuming && !paused) missing.push(`queue ${queue} is not consumed by ${name}`)
  return missing
}
