/**
 * The rule of the layers: the bus knows no actors; adapters know only their contract; actors know contracts, never NATS or a
 * driver; cages import only the package's public door; the entries introduce them to each other.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { builtinModules } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './support/node.ts'

interface Import {
  file: string
  /** A file of ours relative to the root, or a package. */
  target: string
  typeOnly: boolean
}

/** What a file imports and exports from elsewhere, by its text. */
function importsOf(file: string, text: string): Import[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  const found: Import[] = []
  for (const [, type, names = '', name = ''] of code.matchAll(
    /^(?:import|export)\s+(type\s+)?([^'"`;=()]*?)\s*from\s+['"]([^'"$]+)['"]/gm,
  )) {
    const listed = /\{([\s\S]*)\}/
      .exec(names)?.[1]
      ?.split(',')
      .filter((item) => item.trim() !== '')
    const onlyTypes = listed !== undefined && /^\{/.test(names.trim()) && listed.every((item) => /^\s*type\s/.test(item))
    found.push({ file, target: targetOf(file, name), typeOnly: type !== undefined || onlyTypes })
  }
  for (const [, name = ''] of code.matchAll(/^import\s+['"]([^'"$]+)['"]/gm))
    found.push({ file, target: targetOf(file, name), typeOnly: false })
  for (const [, type, name = ''] of code.matchAll(/(typeof\s+)?\bimport\(\s*['"]([^'"$]+)['"]/g)) {
    found.push({ file, target: targetOf(file, name), typeOnly: type !== undefined })
  }
  return found
}

function targetOf(file: string, name: string): string {
  if (name.startsWith('.')) return join(dirname(file), name)
  if (name.startsWith('node:')) return name
  return name.split('/', name.startsWith('@') ? 2 : 1).join('/')
}

/** Files under a folder, relative to the root. */
function filesUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|js)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .sort()
}

function textOf(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8')
}

function importsUnder(folder: string): Import[] {
  return filesUnder(folder).flatMap((file) => importsOf(file, textOf(file)))
}

/** Imports that break a rule, as one reads them. */
function offences(imports: Import[], allowed: (found: Import) => boolean): string[] {
  return imports
    .filter((found) => !allowed(found))
    .map(({ file, target, typeOnly }) => `${file} imports ${target}${typeOnly ? ' (types)' : ''}`)
}

const isOurs = ({ target }: Import): boolean => target.startsWith('src/')
const isUnder =
  (...places: string[]) =>
  (path: string): boolean =>
    places.some((place) => path === place || path.startsWith(`${place}/`))

const src = importsUnder('src')
const from = (...places: string[]): Import[] => src.filter(({ file }) => isUnder(...places)(file))

test('layering: imports are read as they are written', () => {
  const text = `
    // import { no } from 'comment'
    /* import { no } from 'comment' */
import 'a'
import b from 'b'
import type { C } from '../c.ts'
import { type D, type E } from '@scope/d/deep'
import {
  type F,
  f,
} from './f.ts'
export { g } from 'g'
export type * from 'h'
const i = await import('i')
type J = typeof import('./j.ts')`
  const found = importsOf('src/bus/x.ts', text).map(({ target, typeOnly }) => `${target} ${typeOnly ? 'types' : 'values'}`)
  assert.deepEqual(found.sort(), [
    '@scope/d types',
    'a values',
    'b values',
    'g values',
    'h types',
    'i values',
    'src/bus/f.ts values',
    'src/bus/j.ts types',
    'src/c.ts types',
  ])
})

test('layering: the bus knows no actors and no adapters', () => {
  const known = isUnder(
    'src/bus',
    'src/errors.ts',
    'src/levels.ts',
    'src/log.ts',
    'src/ticker.ts',
    'src/bag.ts',
    'src/names.ts',
    'src/json.ts',
    'src/pause.ts',
    'src/words.ts',
  )
  assert.deepEqual(
    offences(from('src/bus').filter(isOurs), ({ target }) => known(target)),
    [],
  )
})

/** Which adapters there are. */
const ADAPTER_LISTS = ['src/adapters/registry.ts', 'src/adapters/drivers.ts', 'src/adapters/own.ts']

/** A protocol that is spoken over others, or akin to them → their adapters. */
const BENEATH: Record<string, string[]> = {
  'src/adapters/xmlrpc': ['src/adapters/http'],
  'src/adapters/tcp': ['src/adapters/http'],
  'src/adapters/udp': ['src/adapters/tcp'],
}

test('layering: an adapter knows its contract, what clients share, errors, names, JSON, trace context, the shape of a log, its own folder and that of the protocol beneath', () => {
  const adapters = from('src/adapters').filter(({ file }) => !ADAPTER_LISTS.includes(file))
  const contract = isUnder(
    'src/adapters/adapter.ts',
    'src/adapters/client',
    'src/scope.ts',
    'src/errors.ts',
    'src/names.ts',
    'src/json.ts',
    'src/pause.ts',
    'src/traceparent.ts',
  )
  const own = ({ file, target }: Import): boolean =>
    dirname(file) !== 'src/adapters' && [dirname(file), ...(BENEATH[dirname(file)] ?? [])].includes(dirname(target))
  const allowed = (found: Import): boolean => contract(found.target) || own(found) || (found.target === 'src/log.ts' && found.typeOnly)
  assert.deepEqual(offences(adapters.filter(isOurs), allowed), [])
})

test('layering: actors know the bus and the adapters by their contracts only', () => {
  const contracts = isUnder(
    'src/bus/bus.ts',
    'src/bus/queue/contract.ts',
    'src/bus/journal/contract.ts',
    'src/bus/survey/contract.ts',
    'src/bus/connection.ts',
    'src/adapters/adapter.ts',
    'src/adapters/pool/contract.ts',
    'src/settings.ts',
    'src/log.ts',
  )
  const plain = isUnder(
    'src/actors',
    'src/errors.ts',
    'src/levels.ts',
    'src/names.ts',
    'src/bag.ts',
    'src/ticker.ts',
    'src/pause.ts',
    'src/compile.ts',
    'src/stack.ts',
    'src/scope.ts',
    'src/pending.ts',
    'src/histogram.ts',
    'src/words.ts',
  )
  const allowed = ({ target, typeOnly }: Import): boolean => plain(target) || (typeOnly && contracts(target))
  assert.deepEqual(offences(from('src/actors').filter(isOurs), allowed), [])
})

test('layering: only the entries introduce bus, actors and adapters to each other', () => {
  const introduces = isUnder('src/node.ts', 'src/worker.ts', 'src/cli.ts', 'src/cli', 'src/testing')
  const others = src.filter(({ file }) => !isUnder('src/bus', 'src/actors', 'src/adapters')(file) && !introduces(file))
  const layered = others.filter(({ target }) => isUnder('src/bus', 'src/actors', 'src/adapters')(target))
  assert.deepEqual(
    offences(layered, ({ typeOnly }) => typeOnly),
    [],
  )
})

test('layering: nothing imports an entry', () => {
  const entry = isUnder('src/node.ts', 'src/worker.ts', 'src/cli.ts', 'src/testing')
  assert.deepEqual(
    offences(
      src,
      ({ file, target }) => !entry(target) || (file === 'src/cli.ts' && target === 'src/node.ts') || isUnder('src/testing')(file),
    ),
    [],
  )
})

/** Package → the only places that import it. A driver belongs to its adapter. */
const PACKAGES: Record<string, string[]> = {
  nats: ['src/bus', 'src/testing'],
  msgpackr: ['src/bus/wire.ts'],
  'p-queue': ['src/actors/mailbox.ts'],
  chokidar: ['src/actors/watcher.ts'],
  '@standard-schema/spec': ['src/actors/contract.ts'],
  esbuild: ['src/compile.ts'],
  pino: ['src/log.ts'],
  'pino-pretty': ['src/log.ts'],
  '@opentelemetry/api': ['src/otlp.ts'],
  '@opentelemetry/exporter-trace-otlp-http': ['src/otlp.ts'],
  '@opentelemetry/resources': ['src/otlp.ts'],
  '@opentelemetry/sdk-trace-base': ['src/otlp.ts'],
  'fastest-levenshtein': ['src/names.ts'],
  'prom-client': ['src/ops/metrics.ts'],
  zod: ['src/config.ts', 'src/settings.ts', 'src/adapters'],
}

test('layering: a package is imported in its one place, a driver by its adapter', () => {
  const packages = src.filter((found) => !isOurs(found) && !found.target.startsWith('node:') && found.target !== 'menagerie')
  assert.deepEqual(
    offences(packages, ({ file, target }) => isUnder(...(PACKAGES[target] ?? ['src/adapters']))(file)),
    [],
  )
})

test('layering: what src imports is a dependency, and the other way round', () => {
  const { dependencies } = JSON.parse(textOf('package.json')) as { dependencies: Record<string, string> }
  const imported = new Set(src.filter((found) => !isOurs(found) && !found.target.startsWith('node:')).map(({ target }) => target))
  assert.deepEqual([...imported].sort(), Object.keys(dependencies).sort())
  assert.deepEqual(
    [...imported].filter((name) => builtinModules.includes(name)),
    [],
    'Node’s own modules are imported with node:',
  )
})

test('layering: cages and configuration import the public door, Node’s modules and their own files', () => {
  const own = ({ file, target }: Import): boolean => target.startsWith(`${file.split('/').slice(0, 2).join('/')}/`)
  const cages = importsUnder('cages').filter(({ file }) => file !== 'cages/index.ts')
  const config = importsUnder('config')
  const isPublic = ({ target }: Import): boolean => target === 'menagerie' || target.startsWith('node:')
  assert.deepEqual(
    offences(cages, (found) => isPublic(found) || own(found)),
    [],
  )
  assert.deepEqual(
    offences(config, (found) => isPublic(found) || found.target.startsWith('config/')),
    [],
  )
})

test('layering: a file of more than 300 lines says why in its header', () => {
  const long = filesUnder('src').filter((file) => textOf(file).trimEnd().split('\n').length > 300)
  const silent = long.filter((file) => !/\b(long|lines)\b/.test(/^\s*\/\*\*([\s\S]*?)\*\//.exec(textOf(file))?.[1] ?? ''))
  assert.deepEqual(silent, [])
})

test('layering: every file of src begins with what it is', () => {
  const silent = filesUnder('src').filter((file) => !/^(#!.*\n)?\/\*\*/.test(textOf(file)))
  assert.deepEqual(silent, [])
})
