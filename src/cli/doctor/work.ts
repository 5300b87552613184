/** What becomes of the work that was given to queues, sagas and transactions. Pure. */
import type { StreamFacts } from '../../bus/inspect/contract.ts'
import type { QueueDetails } from '../../bus/queue/contract.ts'
import { plural, showDuration, showTime } from '../values.ts'
import { type Finding, finding, listed, ok } from './finding.ts'

export interface Work {
  queues: readonly QueueDetails[]
  dead: number
  /** Their ids. */
  incidents: readonly string[]
  sagas: readonly string[]
  /** Of the queues that are configured here: how long ids are to be remembered, ms. */
  dedup: readonly { cage: string; queue: string; dedupMs: number }[]
}

export function workFindings({ queues, dead, incidents, sagas, dedup }: Work, streams: readonly StreamFacts[]): Finding[] {
  const findings: Finding[] = []
  for (const { queue, mode, order, waiting, cages } of queues) {
    if (mode !== 'open')
      findings.push(
        finding(
          'queues',
          'warning',
          `queue ${queue} is ${mode} since ${showTime(order.at)}${order.reason === undefined ? '' : `: ${order.reason}`}`,
          mode === 'paused'
            ? `nothing of it is begun (${plural(waiting, 'call')}), and calls expire in the end`
            : 'new calls are refused with UNAVAILABLE',
          `menagerie queue resume ${queue}`,
        ),
      )
    const left = cages.filter((share) => share.waiting > 0 && share.asking === 0 && share.running === 0)
    if (mode === 'open')
      for (const share of left)
        findings.push(
          finding(
            'queues',
            'warning',
            `${plural(share.waiting, 'call')} of cage ${share.cage} in queue ${queue}, and nobody asks for them`,
            'it goes on once a copy runs the cage with this queue; calls expire after 7 days or as configured',
            `menagerie start --cage ${share.cage}, with queues: { ${queue}: {} } in config/${share.cage}.ts`,
          ),
        )
  }
  if (findings.length === 0) findings.push(ok('queues', `${plural(queues.length, 'queue')}, none is paused or left alone`))
  findings.push(...dedupFindings(dedup, streams))
  if (dead > 0)
    findings.push(
      finding(
        'dead letters',
        'warning',
        `${plural(dead, 'call')} will not be tried again`,
        'what they were to do is not done; they are kept for 30 days',
        'menagerie dead ls, then dead retry or dead drop',
      ),
    )
  else findings.push(ok('dead letters', 'there are none'))
  for (const [check, command, ids] of [
    ['transactions', 'tx', incidents],
    ['sagas', 'saga', sagas],
  ] as const)
    if (ids.length > 0)
      findings.push(
        finding(
          check,
          'problem',
          `people are needed for ${plural(ids.length, 'incident')}: ${listed(ids)}`,
          'what was begun is neither done nor undone, and nobody but you can decide',
          `menagerie ${command} show ID, then menagerie ${command} resolve ID ORDER`,
        ),
      )
    else findings.push(ok(check, 'there are no incidents'))
  return findings
}

/** The ledger of calls keeps ids for as long as the queue that wants it longest, if a node has told it. */
function dedupFindings(dedup: Work['dedup'], streams: readonly StreamFacts[]): Finding[] {
  const ledger = streams.find(({ name }) => name === 'CALLS')
  if (!ledger || dedup.length === 0) return []
  const keptMs = ledger.maxAgeMs ?? Number.POSITIVE_INFINITY
  const short = dedup.filter(({ dedupMs }) => dedupMs > keptMs)
  if (short.length === 0)
    return [
      ok(
        'ids',
        `ids of calls are remembered for ${keptMs === Number.POSITIVE_INFINITY ? 'ever' : showDuration(keptMs)}, as the queues here want`,
      ),
    ]
  return [
    finding(
      'ids',
      'warning',
      `${listed(short.map(({ cage, queue }) => `${cage}: ${queue}`))} wants ids of calls remembered for longer than the ${showDuration(keptMs)} that the server keeps them`,
      'a call that is repeated with its id after that is run a second time',
      'start the cage: it lengthens what the server keeps',
    ),
  ]
}
