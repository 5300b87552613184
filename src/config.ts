/**
 * Configuration: `config/node.ts`, `config/<cage>.ts` over `config/shared.ts`; TypeScript, checked with zod.
 * F1. All mistakes are found at once, each with file, path and what would be right.
 * F2. Defaults stand in the schemas (settings.ts) and nowhere else.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Adapter } from './adapters/adapter.ts'
import type { LoadAdapter } from './adapters/own.ts'
import type { CacheSettings, PoolSettings } from './adapters/pool/contract.ts'
import { compile, evaluate } from './compile.ts'
import { didYouMean, isName } from './names.ts'
import { type Adapted, type CageSettings, cageSchema, type NodeSettings, nodeSchema } from './settings.ts'

/** A mistake of the user's, ready to be printed. */
export type Mistake = string

/** Configuration could not be used: every mistake in it. */
export type Read<T> = { ok: true; settings: T } | { ok: false; mistakes: Mistake[] }

/** Where configuration is read from, and what it is read with. */
export interface ConfigSource {
  configDir: string
  cacheDir: string
  /** The folder that the configuration of a cage begins with which comes with the package; undefined: of no other one. */
  packageDir?: ((cage: string) => string | undefined) | undefined
  /** What `import ... from 'menagerie'` gives a configuration file. */
  door: object
}

/** What adapters can do, and what of a resource is not its adapter's. */
export interface Protocols {
  adapters: ReadonlyMap<string, Adapter>
  /** For kinds that are none of these. */
  loadOwn: LoadAdapter
  resource: { pool: z.ZodType<PoolSettings>; cache: z.ZodType<CacheSettings> }
}

/** Reads `config/node.ts`; a missing file is an empty one. */
export async function readNodeConfig(source: ConfigSource): Promise<Read<NodeSettings>> {
  const loaded = await load(source, 'node')
  if (loaded.mistakes.length > 0) return { ok: false, mistakes: loaded.mistakes }
  return check(nodeSchema, loaded.value, loaded.file)
}

/** Reads a cage's configuration over the shared one, and both over what a cage of the package brings along. */
export async function readCageConfig(source: ConfigSource, cage: string, protocols: Protocols): Promise<Read<CageSettings>> {
  const packageDir = source.packageDir?.(cage)
  const [brought, shared, own] = await Promise.all([
    packageDir === undefined ? undefined : load({ ...source, configDir: packageDir }, cage),
    load(source, 'shared'),
    load(source, cage),
  ])
  const mistakes = [...(brought?.mistakes ?? []), ...shared.mistakes, ...own.mistakes]
  if (mistakes.length > 0) return { ok: false, mistakes }
  const given = merge(merge(brought?.value ?? {}, shared.value), own.value)
  const checked = check(cageSchema, given, own.file)
  if (!checked.ok) mistakes.push(...checked.mistakes)
  const written = checked.ok ? checked.settings : { interfaces: adaptedOf(given, 'interfaces'), resources: adaptedOf(given, 'resources') } // F1
  const adapters = await allAdapters(written, protocols, own.file, mistakes)
  const interfaces: CageSettings['interfaces'] = {}
  for (const [name, { kind, ...options }] of Object.entries(written.interfaces)) {
    const schema = schemaOf('interface', name, kind, own.file, adapters, mistakes)
    const read = schema && check(schema, options, own.file, ['interfaces', name])
    if (read?.ok) interfaces[name] = { kind, options: read.settings }
    else mistakes.push(...(read?.mistakes ?? []))
  }
  const resources: CageSettings['resources'] = {}
  for (const [name, { kind, pool = {}, cache, ...options }] of Object.entries(written.resources)) {
    const schema = schemaOf('resource', name, kind, own.file, adapters, mistakes)
    const read = schema && check(schema, options, own.file, ['resources', name])
    const readPool = check(protocols.resource.pool, pool, own.file, ['resources', name, 'pool'])
    const readCache: Read<CacheSettings | undefined> =
      cache === undefined
        ? { ok: true, settings: undefined }
        : check(protocols.resource.cache, cache, own.file, ['resources', name, 'cache'])
    if (read?.ok && readPool.ok && readCache.ok)
      resources[name] = { kind, options: read.settings, pool: readPool.settings, cache: readCache.settings }
    for (const part of [read, readPool, readCache]) if (part && !part.ok) mistakes.push(...part.mistakes)
  }
  if (!checked.ok) return { ok: false, mistakes }
  const queues: CageSettings['queues'] = {}
  for (const [name, queue] of Object.entries(checked.settings.queues)) {
    if (!isName(name)) mistakes.push(`${own.file}: queues.${name}: ${NAME_RULE}`)
    queues[name] = { ...queue, timeoutMs: queue.timeoutMs ?? checked.settings.timeoutMs }
  }
  if (mistakes.length > 0) return { ok: false, mistakes }
  return { ok: true, settings: { ...checked.settings, interfaces, resources, queues } }
}

const NAME_RULE = 'a name has letters, digits, _ and -, at most 32, and begins with a letter'

interface Loaded {
  file: string
  value: unknown
  mistakes: Mistake[]
}

async function load({ configDir, cacheDir, door }: ConfigSource, name: string): Promise<Loaded> {
  const files = ['.ts', '.js'].map((extension) => join(configDir, name + extension))
  const file = files.find((candidate) => existsSync(candidate))
  if (!file) return { file: files[0] ?? name, value: {}, mistakes: [] }
  const missing: string[] = []
  // a missing variable is noted and read on, so that all of them are told at once (F1)
  const recordingEnv = (variable: string, fallback?: string): string => {
    const value = process.env[variable] ?? fallback
    if (value === undefined) missing.push(`${file}: the environment has no ${variable}`)
    return value ?? ''
  }
  try {
    const exports = evaluate(await compile(file, cacheDir), { ...door, env: recordingEnv })
    if (exports.default === undefined) return { file, value: {}, mistakes: [`${file}: has no default export`] }
    return { file, value: exports.default, mistakes: missing }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { file, value: {}, mistakes: [message.startsWith(file) ? message : `${file}: ${message}`, ...missing] }
  }
}

function check<T>(schema: z.ZodType<T>, value: unknown, file: string, prefix: PropertyKey[] = []): Read<T> {
  const result = schema.safeParse(value)
  if (result.success) return { ok: true, settings: result.data }
  return { ok: false, mistakes: result.error.issues.flatMap((issue) => describe(schema, issue, file, prefix)) }
}

function describe(schema: z.ZodType, issue: z.core.$ZodIssue, file: string, prefix: PropertyKey[]): Mistake[] {
  const path = [...prefix, ...issue.path].map(String).join('.')
  if (issue.code !== 'unrecognized_keys')
    return [`${file}: ${path || 'the configuration'}: ${issue.message.replace(/^Invalid input: /, '')}`]
  const known = keysAt(schema, issue.path)
  return issue.keys.map((key) => `${file}: ${path ? `${path}.` : ''}${key}: unknown option${didYouMean(key, known)}`)
}

/** Keys that a schema knows at a path. */
function keysAt(schema: unknown, path: readonly PropertyKey[]): string[] {
  let at: unknown = unwrap(schema)
  for (const step of path) {
    if (at instanceof z.ZodObject) at = unwrap((at.shape as Record<string, unknown>)[String(step)])
    else if (at instanceof z.ZodRecord) at = unwrap(at.valueType)
    else if (at instanceof z.ZodArray) at = unwrap(at.element)
    else return []
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : []
}

function unwrap(schema: unknown): unknown {
  let at = schema
  for (;;) {
    if (at instanceof z.ZodDefault || at instanceof z.ZodPrefault || at instanceof z.ZodOptional) at = at.unwrap()
    else if (at instanceof z.ZodPipe) at = at.in
    else return at
  }
}

/** The runtime's adapters, with those of the user's own that a configuration names; undefined: what is wrong with one was told. */
async function allAdapters(
  written: Pick<CageSettings, 'interfaces' | 'resources'> | Record<'interfaces' | 'resources', Record<string, Adapted>>,
  { adapters, loadOwn }: Protocols,
  file: string,
  mistakes: Mistake[],
): Promise<ReadonlyMap<string, Adapter | undefined>> {
  const all = new Map<string, Adapter | undefined>(adapters)
  for (const role of ['interfaces', 'resources'] as const) {
    for (const [name, { kind }] of Object.entries(written[role])) {
      if (adapters.has(kind)) continue
      try {
        const own = await loadOwn(kind)
        if (own) all.set(kind, own)
      } catch (error) {
        all.set(kind, undefined)
        mistakes.push(`${file}: ${role}.${name}.kind: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }
  return all
}

/** The schema of what an adapter is to do, or the mistakes in its name and kind. */
function schemaOf(
  role: 'interface' | 'resource',
  name: string,
  kind: string,
  file: string,
  adapters: ReadonlyMap<string, Adapter | undefined>,
  mistakes: Mistake[],
): z.ZodType | undefined {
  const key = role === 'interface' ? 'options' : 'resourceOptions'
  const place = `${file}: ${role}s.${name}`
  if (!isName(name)) mistakes.push(`${place}: ${NAME_RULE}`)
  const adapter = adapters.get(kind)
  const schema = adapter?.[key]
  if (schema || (!adapter && adapters.has(kind))) return schema
  const known = [...adapters.values()].flatMap((other) => (other?.[key] ? [other.kind] : []))
  const other = role === 'interface' ? 'a resource: it belongs under resources' : 'an interface: it belongs under interfaces'
  mistakes.push(
    adapter
      ? `${place}.kind: ${kind} is ${other} (here: ${known.join(', ')})`
      : `${place}.kind: unknown kind ${JSON.stringify(kind)}${didYouMean(String(kind), known)} (known: ${known.join(', ')})`,
  )
  return undefined
}

/** What is written well enough to be checked further, in a configuration that has mistakes elsewhere. */
function adaptedOf(value: unknown, key: 'interfaces' | 'resources'): Record<string, Adapted> {
  const written = (value as Record<string, unknown>)[key]
  if (typeof written !== 'object' || written === null) return {}
  return Object.fromEntries(Object.entries(written).filter((entry): entry is [string, Adapted] => typeof entry[1]?.kind === 'string'))
}

/** Plain objects are merged key by key; anything else of the upper one wins. */
function merge(lower: unknown, upper: unknown): unknown {
  if (!isPlain(lower) || !isPlain(upper)) return upper === undefined ? lower : upper
  const merged: Record<string, unknown> = { ...lower }
  for (const [key, value] of Object.entries(upper)) merged[key] = merge(merged[key], value)
  return merged
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}
