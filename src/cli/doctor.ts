/** `menagerie doctor`: every guarantee that this installation does not give, why, and what to do about it. */
import { readdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { parse, resolve } from 'node:path'
import type { Bus } from '../bus/bus.ts'
import type { StreamFacts } from '../bus/inspect/contract.ts'
import type { QueueDetails } from '../bus/queue/contract.ts'
import { CageError } from '../errors.ts'
import { isName } from '../names.ts'
import { type Command, command } from './command.ts'
import { copyFindings } from './doctor/copies.ts'
import { type Finding, finding, ok, type Severity } from './doctor/finding.ts'
import { fileFindings, nodeFinding, sharedServerFindings } from './doctor/machine.ts'
import { type Access, serverFindings } from './doctor/server.ts'
import { driftFindings } from './doctor/streams.ts'
import { type Work, workFindings } from './doctor/work.ts'
import { note, paint, plain, print, printJson, refuse } from './output.ts'
import { BUS_WORDS, busConfig, busOptions, connectOnce } from './session.ts'
import { plural } from './values.ts'
import { flag } from './words.ts'

const SURVEY_MS = 2_000

const doctor = command({
  name: 'doctor',
  summary: 'tells which guarantees this installation does not give, and what to do about it',
  notes: `problem: something is wrong now. warning: something can be lost, or go wrong. note: good to know. ok: as it should be.
It ends with 1 if there is a problem. What a client of the bus cannot see it says so; it changes nothing.`,
  words: { quiet: flag('leaves out what is well'), ...BUS_WORDS },
  examples: ['doctor', 'doctor --json | jq "select(.severity == \\"problem\\")"'],
  run: async (values) => {
    const { config = 'config', json, quiet } = values
    const configured = await busConfig(resolve(config))
    if (Array.isArray(configured)) return refuse(configured)
    const options = busOptions(values.bus, configured)
    const project = await readProject(resolve(config))
    const local = [nodeFinding(process.version, Date.now()), ...project.findings]
    const findings = await connectOnce('doctor', options).then(
      async (bus) => {
        try {
          return [...local, ...(await examine(bus, options, configured.embedded.port, project))]
        } finally {
          await bus.close()
        }
      },
      (error: unknown) => [...local, unreachable(error)],
    )
    return report(
      findings.filter(({ severity }) => !quiet || severity !== 'ok'),
      json,
    )
  },
})

export const DOCTOR_COMMANDS: Command[] = [doctor]

interface Project {
  findings: Finding[]
  dataDir: string
  dedup: Work['dedup']
}

/** Everything that the bus and those on it tell. */
async function examine(bus: Bus, access: Access, embeddedPort: number, { dataDir, dedup }: Project): Promise<Finding[]> {
  const inspection = await bus.inspect()
  const from = Date.now()
  const [found, copies] = await Promise.all([bus.discover({ withinMs: SURVEY_MS }), bus.survey.status({ withinMs: SURVEY_MS })])
  const asked = { from, to: Date.now() }
  const findings = [
    ...(await sharedServerFindings(inspection.server, embeddedPort, dataDir)),
    ...serverFindings(inspection, access),
    ...copyFindings(found, copies, asked),
    ...(await fileFindings(copies, hostname())),
  ]
  if (!inspection.account) return findings
  return [
    ...findings,
    ...driftFindings(inspection.streams),
    ...workFindings(await workOn(bus, inspection.streams, dedup), inspection.streams),
  ]
}

/** What has no stream yet is not looked for: that would make one. */
async function workOn(bus: Bus, streams: readonly StreamFacts[], dedup: Work['dedup']): Promise<Work> {
  const { incidents } = await import('../actors/transaction/admin.ts')
  const { openSagas } = await import('../actors/saga/listing.ts')
  const has = (stream: string): boolean => streams.some(({ name }) => name === stream)
  const queues: QueueDetails[] = []
  for (const { queue } of await bus.queues.list()) queues.push(await bus.queues.show(queue))
  return {
    queues,
    dead: has('DEAD_CALLS') ? await bus.queues.countDead() : 0,
    incidents: has('KV__menagerie') ? (await incidents(bus)).map(({ id }) => id) : [],
    sagas: has('JOURNAL') ? (await openSagas(bus)).filter(({ state }) => state === 'incident').map(({ id }) => id) : [],
    dedup,
  }
}

/** The configuration in this folder: its mistakes, and what its queues want. */
async function readProject(configDir: string): Promise<Project> {
  const files = await readdir(configDir).catch(() => [])
  const cages = [...new Set(files.filter((file) => /\.(ts|js)$/.test(file)).map((file) => parse(file).name))].filter(
    (name) => isName(name) && name !== 'node' && name !== 'shared',
  )
  const dataDir = resolve('.menagerie')
  if (files.length === 0) return { findings: [], dataDir, dedup: [] }
  const { ADAPTERS, RESOURCE_SCHEMAS } = await import('../adapters/registry.ts')
  const { ownAdapters } = await import('../adapters/own.ts')
  const { readCageConfig, readNodeConfig } = await import('../config.ts')
  const door = await import('../index.ts')
  const source = { configDir, cacheDir: resolve('.menagerie', 'cache'), door }
  const protocols = {
    ...{ adapters: ADAPTERS, resource: RESOURCE_SCHEMAS },
    loadOwn: ownAdapters({ dir: process.cwd(), cacheDir: source.cacheDir, door }),
  }
  const node = await readNodeConfig(source)
  const mistakes: string[] = []
  const dedup: { cage: string; queue: string; dedupMs: number }[] = []
  for (const cage of cages) {
    const read = await readCageConfig(source, cage, protocols)
    if (!read.ok) mistakes.push(...read.mistakes)
    else for (const [queue, { dedupMs }] of Object.entries(read.settings.queues)) dedup.push({ cage, queue, dedupMs })
  }
  const findings = [...new Set(mistakes)].map((mistake) =>
    finding(
      'configuration',
      'problem',
      mistake.replaceAll(`${process.cwd()}/`, ''),
      'a node that runs the cage does not start; one that runs already goes on with what it has',
      'mend the file',
    ),
  )
  if (findings.length === 0) findings.push(ok('configuration', `${plural(cages.length, 'cage')} configured here, without a mistake`))
  return { findings, dataDir: node.ok ? resolve(node.settings.dataDir) : dataDir, dedup }
}

function unreachable(error: unknown): Finding {
  if (!(error instanceof CageError)) throw error
  return finding(
    'bus',
    'problem',
    error.message,
    'nothing else could be looked at',
    'start a node or a NATS server, or name another bus: --bus',
  )
}

const ORDER: readonly Severity[] = ['problem', 'warning', 'note', 'ok']
const STYLES = { problem: 'red', warning: 'yellow', note: 'bold', ok: 'green' } as const

/** Worst first; returns the exit status. */
function report(findings: Finding[], json: boolean): number {
  const sorted = ORDER.flatMap((severity) => findings.filter((one) => one.severity === severity))
  const count = (severity: Severity): number => findings.filter((one) => one.severity === severity).length
  for (const one of sorted) {
    if (json) {
      printJson(one)
      continue
    }
    print(`${paint(one.severity.padEnd(8), STYLES[one.severity])} ${paint(one.check, 'dim')}: ${plain(one.found)}`)
    if (one.means !== undefined) print(`         means: ${plain(one.means)}`)
    if (one.advice !== undefined) print(`         do:    ${plain(one.advice)}`)
  }
  const problems = count('problem')
  if (!json) note(`${plural(problems, 'problem')}, ${plural(count('warning'), 'warning')}, ${plural(count('note'), 'note')}`)
  return problems > 0 ? 1 : 0
}
