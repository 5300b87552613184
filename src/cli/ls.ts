/** `menagerie ls`: which cages run, where, with which modules and methods. */
import type { Discovered, DiscoveredMethod } from '../bus/inspect/contract.ts'
import type { CopyStatus } from '../bus/survey/contract.ts'
import { CageError } from '../errors.ts'
import { didYouMean } from '../names.ts'
import { type Command, command } from './command.ts'
import { type Cell, note, print, printJson, printTable } from './output.ts'
import { BUS_WORDS, withBus } from './session.ts'
import type { SourceTypes } from './sources.ts'
import { plural, readPlace, showDuration } from './values.ts'
import { flag, option, optional } from './words.ts'

const ls = command({
  name: 'ls',
  summary: 'lists nodes and cages, or the modules and methods of one with what they take',
  notes: `Methods are shown with the names of their parameters, as the code that runs has them.
With --types they are shown as the sources in this folder declare them; where those are not what runs, a line says so.`,
  words: {
    place: optional('CAGE[.MODULE]', readPlace),
    types: flag('methods as the sources here declare them'),
    cages: option('DIR', 'with --types: the cages’ folder (default: cages)'),
    ...BUS_WORDS,
  },
  examples: ['ls', 'ls sample', 'ls sample.greeter --types', 'ls --json | jq -r ".modules[].module"'],
  check: ({ cages, types }) => (cages !== undefined && !types ? ['--cages is for --types'] : []),
  run: (values) =>
    withBus('ls', values, async (bus) => {
      const { place, types, cages = 'cages', json } = values
      const [found, statuses] = await Promise.all([bus.discover(), bus.survey.status({ cage: place?.cage })])
      const listed = cagesOf(found, statuses).filter(({ cage }) => place === undefined || cage === place.cage)
      if (place && listed.length === 0) throw notFound(`cage ${place.cage} does not run`, place.cage, names(found))
      const [only] = listed
      if (place?.module !== undefined && only) {
        const known = only.modules.map(({ module }) => module)
        if (!known.includes(place.module)) throw notFound(`cage ${place.cage} has no module ${place.module}`, place.module, known)
        only.modules = only.modules.filter(({ module }) => module === place.module)
      }
      if (types) await declare(listed, cages)
      if (json) for (const cage of listed) printJson(cage)
      else if (listed.length === 0) note('no cage runs on this bus')
      else if (place || types) listed.forEach(showCage)
      else showAll(listed)
      return 0
    }),
})

export const LS_COMMANDS: Command[] = [ls]

interface ListedCopy extends Omit<Discovered, 'cage' | 'methods'> {
  host?: string | undefined
  state?: CopyStatus['state'] | undefined
  startedAt?: number | undefined
  /** The module that alone runs here. */
  only?: string | undefined
}

interface ListedMethod {
  method: string
  args: string
  /** As the sources here declare it: `hello(name: string): string`. */
  declared?: string | undefined
}

interface ListedModule {
  module: string
  /** Of the code that runs: more than one while copies differ. */
  hashes: string[]
  /** The sources here are not what runs. */
  stale?: boolean | undefined
  methods: ListedMethod[]
}

interface ListedCage {
  cage: string
  copies: ListedCopy[]
  modules: ListedModule[]
}

/** What discovery and survey tell, by cage. Pure. */
export function cagesOf(found: Discovered[], statuses: CopyStatus[]): ListedCage[] {
  const status = new Map(statuses.map((copy) => [copy.id, copy]))
  return names(found).map((cage) => {
    const copies = found.filter((copy) => copy.cage === cage)
    const methods = copies.flatMap((copy) => copy.methods)
    const modules = [...new Set(methods.map(({ module }) => module))].sort()
    return {
      cage,
      copies: copies.map(({ cage: _cage, methods: _methods, ...copy }) => {
        const { host, state, startedAt, only } = status.get(copy.id) ?? {}
        return { ...copy, host, state, startedAt, only }
      }),
      modules: modules.map((module) => ({
        module,
        hashes: hashesOf(
          copies.map(({ id }) => status.get(id)),
          module,
        ),
        methods: uniqueMethods(methods.filter((one) => one.module === module)),
      })),
    }
  })
}

function uniqueMethods(methods: DiscoveredMethod[]): ListedMethod[] {
  const unique = new Map(methods.map(({ method, args }) => [method, args]))
  return [...unique].map(([method, args]) => ({ method, args })).sort((a, b) => a.method.localeCompare(b.method))
}

function hashesOf(copies: (CopyStatus | undefined)[], module: string): string[] {
  const hashes = copies.flatMap((copy) => copy?.modules.filter((one) => one.module === module).map(({ hash }) => hash) ?? [])
  return [...new Set(hashes.filter((hash) => hash !== undefined))]
}

function names(found: Discovered[]): string[] {
  return [...new Set(found.map(({ cage }) => cage))].sort()
}

/** Fills in what the sources in this folder declare. */
async function declare(listed: ListedCage[], cagesDir: string): Promise<void> {
  const { sourceTypes } = await import('./sources.ts')
  for (const { cage, modules } of listed)
    for (const module of modules) {
      const types: SourceTypes | undefined = await sourceTypes(cagesDir, cage, module.module)
      if (!types) continue
      if (module.hashes.length > 0) module.stale = module.hashes.some((hash) => hash !== types.hash)
      for (const method of module.methods) {
        const declared = types.signatures.get(method.method)
        if (declared) method.declared = `${method.method}(${declared.parameters})${declared.returns ? `: ${declared.returns}` : ''}`
      }
    }
}

function showAll(listed: ListedCage[]): void {
  printTable(
    ['CAGE', 'NODE', 'PID', 'STATE', 'UP', 'RUNTIME', 'MODULES'],
    listed.flatMap(({ cage, copies, modules }) =>
      copies.map((copy): Cell[] => [
        ...[cage, copy.node, copy.pid, stateCell(copy), upOf(copy), copy.runtime.replace('menagerie ', '')],
        copy.only ?? modules.map(({ module }) => module).join(', '),
      ]),
    ),
  )
}

function showCage({ cage, copies, modules }: ListedCage): void {
  print(`${cage}  ${plural(copies.length, 'copy', 'copies')}: ${copies.map(({ node, pid }) => `${node} (${pid})`).join(', ')}`)
  for (const { module, hashes, stale, methods } of modules) {
    const differ = hashes.length > 1 ? `  copies run different code: ${hashes.join(', ')}` : ''
    print(`  ${module}${differ}${stale ? '  the sources here are not what runs' : ''}`)
    for (const { method, args, declared } of methods) print(`    ${declared ?? `${method}(${args})`}`)
  }
}

function stateCell({ state }: ListedCopy): Cell {
  if (state === undefined) return '-'
  return state === 'serving' ? state : { text: state, style: 'yellow' }
}

function upOf({ startedAt }: ListedCopy): string {
  return startedAt === undefined ? '-' : showDuration(Date.now() - startedAt)
}

function notFound(message: string, name: string, known: string[]): CageError {
  return new CageError('NOT_FOUND', `${message}${didYouMean(name, known)}`)
}
