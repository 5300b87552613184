/** Problems: what is wrong, worst first. Pure. */
import type { Collector, Seen } from './collector.ts'
import type { Facts } from './facts.ts'
import type { CageView, Problem } from './model.ts'

const MIXED_MS = 60_000
const DEATH_SHOWN_MS = 600_000
const OLD_CALL_MS = 300_000
const LAG_MS = 200
const ERROR_SHARE = 0.05
/** Fewer calls in a minute say nothing about a share. */
const ENOUGH = 20
/** Some copy may be between two subscriptions. */
const SILENT_MS = 3_500

const WORST = ['alert', 'error', 'warn']

export function problemsOf(
  collector: Collector,
  cages: readonly CageView[],
  facts: Facts,
  excused: (seen: Seen) => boolean,
  now: number,
): Problem[] {
  const found: Problem[] = []
  const say = (severity: Problem['severity'], what: string, link: string, since?: number): void =>
    void found.push({ severity, what, since, link })
  for (const seen of collector.copies()) ofCopy(seen, collector, excused(seen), now, say)
  for (const { cage, modules } of cages) {
    const link = `#/cage/${cage}`
    for (const { module, broken, refusedRate, methods } of modules) {
      const name = `${cage}.${module}`
      if (broken !== undefined) say('error', `${name} is broken: ${firstLine(broken)}`, link)
      const mixedSince = collector.mixedSince(name)
      if (mixedSince !== undefined && now - mixedSince > MIXED_MS) say('warn', `copies of ${name} run different code`, link, mixedSince)
      if (refusedRate > 0) say('warn', `${name} is overloaded: ${refusedRate.toFixed(1)} calls a second are refused`, link)
      for (const { method, lastError } of methods) {
        const { requests, errors } = collector.track(`${name}.${method}`)?.sums() ?? { requests: 0, errors: 0 }
        if (requests < ENOUGH || errors / requests <= ERROR_SHARE) continue
        const last = lastError ? `, the last: ${lastError.code}: ${firstLine(lastError.message)}` : ''
        say('error', `${Math.round((100 * errors) / requests)} % of the calls of ${name}.${method} fail${last}`, link)
      }
    }
  }
  ofQueues(collector, facts, now, say)
  if (facts.jetStream === false) say('error', 'the bus has no JetStream: no queues, state, sagas or notifications', '#/')
  for (const { kind, id, cage, part, problem, at } of facts.incidents)
    say('alert', `incident of ${cage}: ${kind} ${id}, ${part === '' ? '' : `${part}: `}${problem}`, '#/incidents', at)
  return found.sort((a, b) => WORST.indexOf(a.severity) - WORST.indexOf(b.severity) || (a.since ?? now) - (b.since ?? now))
}

type Say = (severity: Problem['severity'], what: string, link: string, since?: number) => void

function ofCopy(seen: Seen, collector: Collector, isExcused: boolean, now: number, say: Say): void {
  const { status, at } = seen
  const { cage, node, only, thread, interfaces, resources } = status
  const link = `#/cage/${cage}`
  const name = `${only === undefined ? `cage ${cage}` : `module ${cage}.${only}`} on ${node}`
  if (collector.isGone(seen)) {
    if (!isExcused) say('alert', `${name} is gone`, link, at)
    return
  }
  if (now - at > SILENT_MS) say('error', `${name} does not answer`, link, at)
  const { lastDeath, restarts, loopLag } = thread
  if (lastDeath && now - lastDeath.at < DEATH_SHOWN_MS)
    say(
      'error',
      `${name} was restarted${restarts > 1 ? `, ${restarts} times in all` : ''}: ${firstLine(lastDeath.reason)}`,
      link,
      lastDeath.at,
    )
  if (loopLag.p99 > LAG_MS) say('warn', `${name}: its event loop is ${Math.round(loopLag.p99)} ms late`, link)
  for (const { interface: own, kind, error } of interfaces)
    if (error !== undefined) say('error', `${name}: ${kind} interface ${own} cannot listen: ${firstLine(error)}`, link)
  for (const { resource, open, retryAt } of resources)
    if (open)
      say('error', `${name}: resource ${resource} is taken for broken${retryAt === undefined ? '' : ', until it is tried again'}`, link)
}

function ofQueues(collector: Collector, { queues }: Facts, now: number, say: Say): void {
  const shares = collector.copies().filter((seen) => !collector.isGone(seen))
  for (const { queue, mode, waiting, running, dead, oldestAt } of queues) {
    const link = `#/queue/${queue}`
    if (mode !== 'open') say('warn', `queue ${queue} is ${mode}${waiting > 0 ? `, ${waiting} calls wait` : ''}`, link)
    const isConsumed = shares.some(({ status }) => status.queues.some((share) => share.queue === queue && share.consuming))
    if (waiting > 0 && !isConsumed && mode === 'open')
      say('error', `nobody runs the calls of queue ${queue}: ${waiting} wait`, link, oldestAt)
    else if (mode === 'open' && waiting + running > 0 && oldestAt !== undefined && now - oldestAt > OLD_CALL_MS)
      say('warn', `the oldest call of queue ${queue} waits for ${Math.round((now - oldestAt) / 60_000)} min`, link, oldestAt)
    if (dead > 0) say('warn', `queue ${queue} has ${dead} dead letter${dead === 1 ? '' : 's'}`, '#/dead')
  }
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? ''
}
