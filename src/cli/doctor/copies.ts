/** What the copies of all cages tell about themselves, looked at together. Pure. */
import type { Discovered } from '../../bus/inspect/contract.ts'
import type { CopyStatus } from '../../bus/survey/contract.ts'
import { plural, showDuration } from '../values.ts'
import { type Finding, finding, listed, ok } from './finding.ts'

/** When they were asked and when all had answered, by our clock. */
export interface Asked {
  from: number
  to: number
}

const SKEW_MS = 1_000
const LATE_MS = 200
const HEAP_FULL = 0.9
/** Longer ago, a death is history. */
const RECENT_MS = 3_600_000

export function copyFindings(found: readonly Discovered[], copies: readonly CopyStatus[], asked: Asked): Finding[] {
  if (found.length === 0)
    return [
      finding('cages', 'note', 'no cage runs on this bus', 'nobody answers calls, and queued ones wait', 'menagerie start --cage NAME'),
    ]
  const cages = new Set(found.map(({ cage }) => cage))
  const answered = new Set(copies.map(({ id }) => id))
  const silent = found.filter(({ id }) => !answered.has(id))
  const single = [...cages].filter(
    (cage) => new Set(found.filter((copy) => copy.cage === cage).map(({ node, pid }) => `${node} ${pid}`)).size === 1,
  )
  return [
    ok('cages', `${plural(cages.size, 'cage')} in ${plural(found.length, 'copy', 'copies')}`),
    ...(silent.length > 0
      ? [
          finding(
            'survey',
            'warning',
            `${listed(silent.map(({ cage, node, pid }) => `${cage} on ${node} (${pid})`))} does not tell of itself`,
            'it is busy or of an older version: what follows says nothing of it',
          ),
        ]
      : []),
    ...(single.length > 0
      ? [
          finding(
            'copies',
            'note',
            `${listed(single)}: one copy only`,
            'while its node is down or restarted nobody answers its calls; queued ones wait',
            'start the same cage on a second node',
          ),
        ]
      : []),
    ...versionFindings(found),
    ...hashFindings(copies),
    ...clockFindings(copies, asked),
    ...healthFindings(copies, asked.to),
  ]
}

function versionFindings(found: readonly Discovered[]): Finding[] {
  const findings: Finding[] = []
  const runtimes = [...new Set(found.map(({ runtime }) => runtime))]
  const versions = [...new Set(found.map(({ nodeVersion }) => nodeVersion))]
  if (runtimes.length > 1)
    findings.push(
      finding(
        'versions',
        'warning',
        `copies run ${runtimes.sort().join(' and ')}`,
        'they work together while you move from one to the other; newer abilities hold once the last one has moved',
        'restart the older ones',
      ),
    )
  if (versions.length > 1)
    findings.push(
      finding(
        'versions',
        'note',
        `copies run Node ${versions.sort().join(' and ')}`,
        'code may behave otherwise from copy to copy',
        'one version on all machines',
      ),
    )
  if (findings.length === 0) findings.push(ok('versions', `all copies run ${runtimes[0]} on Node ${versions[0]}`))
  return findings
}

/** Copies of a cage whose modules were compiled from different sources, or do not run the newest. */
function hashFindings(copies: readonly CopyStatus[]): Finding[] {
  const findings: Finding[] = []
  const hashes = new Map<string, Set<string>>()
  for (const { cage, modules } of copies)
    for (const { module, hash } of modules)
      if (hash !== undefined) hashes.set(`${cage}.${module}`, (hashes.get(`${cage}.${module}`) ?? new Set()).add(hash))
  const differing = [...hashes].filter(([, known]) => known.size > 1).map(([name]) => name)
  if (differing.length > 0)
    findings.push(
      finding(
        'code',
        'warning',
        `copies run different code of ${listed(differing)}`,
        'the same call may do this or that: fine while a deploy is under way, else a forgotten machine',
        'menagerie ls CAGE tells the versions; bring the sources of all nodes to the same state',
      ),
    )
  for (const { cage, node, modules } of copies)
    for (const { module, broken } of modules)
      if (broken !== undefined)
        findings.push(
          finding(
            'code',
            'problem',
            `${cage}.${module} on ${node}: its newest file is not in service: ${broken}`,
            'the version before goes on, if there was one; after a restart there is none',
            'mend the file, it is taken over when it is saved',
          ),
        )
  return findings.length > 0 || copies.length === 0 ? findings : [ok('code', 'all copies run the same code, and their newest')]
}

/** A copy looked at its clock between question and answer: what is outside of that is its clock's fault. */
function clockFindings(copies: readonly CopyStatus[], { from, to }: Asked): Finding[] {
  const skewed = copies.flatMap(({ node, host, at }) => {
    const ms = at < from ? at - from : at > to ? at - to : 0
    return Math.abs(ms) < SKEW_MS ? [] : [`${node} (${host}): ${showDuration(Math.abs(ms))} ${ms < 0 ? 'behind' : 'ahead'}`]
  })
  if (skewed.length === 0) return copies.length > 0 ? [ok('clocks', 'the clocks of all copies agree with ours within a second')] : []
  return [
    finding(
      'clocks',
      'warning',
      `clocks differ from ours: ${listed([...new Set(skewed)])}`,
      'timelines, ages and delays are off by so much; deadlines of calls are not, they travel as durations',
      'run a time service (chrony, systemd-timesyncd) on all machines',
    ),
  ]
}

function healthFindings(copies: readonly CopyStatus[], now: number): Finding[] {
  const findings: Finding[] = []
  for (const { cage, node, only, interfaces, resources, thread } of copies) {
    const where = `${cage}${only === undefined ? '' : `.${only}`} on ${node}`
    const { lastDeath, loopLag, heapUsed, heapLimit } = thread
    if (lastDeath && now - lastDeath.at < RECENT_MS)
      findings.push(
        finding(
          'workers',
          'warning',
          `the worker of ${where} died ${showDuration(now - lastDeath.at)} ago: ${lastDeath.reason}`,
          'the calls that it ran ended in an error, queued ones are run again; after five deaths in ten seconds the node ends',
          'the node’s log tells more',
        ),
      )
    if (loopLag.p99 >= LATE_MS)
      findings.push(
        finding(
          'workers',
          'warning',
          `the event loop of ${where} is ${Math.round(loopLag.p99)} ms late (p99)`,
          'everything in this cage waits so long: some method computes without a pause',
          'menagerie top tells the busiest; give that module a worker of its own (options: { isolate: true })',
        ),
      )
    if (heapUsed >= HEAP_FULL * heapLimit)
      findings.push(
        finding(
          'workers',
          'warning',
          `the heap of ${where} is nearly full`,
          'at its limit the worker is replaced',
          'memoryMb in the cage’s configuration, or look for what is kept',
        ),
      )
    for (const { interface: name, address, error } of interfaces)
      if (address === undefined && error !== undefined)
        findings.push(
          finding(
            'interfaces',
            copies.some((copy) => copy.cage === cage && copy.interfaces.some((one) => one.interface === name && one.address !== undefined))
              ? 'note'
              : 'problem',
            `interface ${name} of ${where} does not listen: ${error}`,
            'requests are answered by the cage’s other copies, or by nobody',
            'it is tried again with growing pauses',
          ),
        )
    for (const { resource, kind, open, failures } of resources)
      if (open)
        findings.push(
          finding(
            'resources',
            'problem',
            `resource ${resource} (${kind}) of ${where} is taken for broken after ${plural(failures, 'failure')}`,
            'its calls are refused with UNAVAILABLE at once, until one try succeeds',
            'look at the server behind it',
          ),
        )
  }
  if (findings.length === 0 && copies.length > 0) findings.push(ok('workers', 'workers, interfaces and resources are well'))
  return findings
}
