/**
 * Configuration: `config/node.ts`, `config/<cage>.ts` over `config/shared.ts`; TypeScript, checked with zod.
 * F1. All mistakes are found at once, each with file, path and what would be right.
 * F2. Defaults stand in the schemas (settings.ts) and nowhere else.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { Adapter } from './adapters/adapter.ts'
import { compile, evaluate } from './compile.ts'
import { didYouMean, isName } from './names.ts'
import { type CageSettings, cageSchema, type NodeSettings, nodeSchema } from './settings.ts'

/** A mistake of the user's, ready to be printed. */
export type Mistake = string

/** Configuration could not be used: every mistake in it. */
export type Read<T> = { ok: true; settings: T } | { ok: false; mistakes: Mistake[] }

/** Where configuration is read from, and what it is read with. */
export interface ConfigSource {
  configDir: string
  cacheDir: string
  /** What `import ... from 'menagerie'` gives a configuration file. */
  door: object
}

/** Reads `config/node.ts`; a missing file is an empty one. */
export async function readNodeConfig(source: ConfigSource): Promise<Read<NodeSettings>> {
  const loaded = await load(source, 'node')
  if (loaded.mistakes.length > 0) return { ok: false, mistakes: loaded.mistakes }
  return check(nodeSchema, loaded.value, loaded.file)
}

/** Reads a cage's configuration over the shared one. */
export async function readCageConfig(
  source: ConfigSource,
  cage: string,
  adapters: ReadonlyMap<string, Adapter>,
): Promise<Read<CageSettings>> {
  const [shared, own] = await Promise.all([load(source, 'shared'), load(source, cage)])
  const mistakes = [...shared.mistakes, ...own.mistakes]
  if (mistakes.length > 0) return { ok: false, mistakes }
  const checked = check(cageSchema, merge(shared.value, own.value), own.file)
  const interfaces: CageSettings['interfaces'] = {}
  const given = checked.ok ? checked.settings.interfaces : interfacesOf(merge(shared.value, own.value))
  mistakes.push(...(checked.ok ? [] : checked.mistakes))
  for (const [name, { kind, ...options }] of Object.entries(given)) {
    const place = `${own.file}: interfaces.${name}`
    if (!isName(name)) mistakes.push(`${place}: ${NAME_RULE}`)
    const adapter = adapters.get(kind)
    if (!adapter) {
      mistakes.push(
        `${place}.kind: unknown kind ${JSON.stringify(kind)}${didYouMean(String(kind), adapters.keys())} (known: ${[...adapters.keys()].join(', ')})`,
      )
      continue
    }
    const read = check(adapter.options, options, own.file, ['interfaces', name])
    if (read.ok) interfaces[name] = { kind, options: read.settings }
    else mistakes.push(...read.mistakes)
  }
  if (!checked.ok) return { ok: false, mistakes }
  const queues: CageSettings['queues'] = {}
  for (const [name, queue] of Object.entries(checked.settings.queues)) {
    if (!isName(name)) mistakes.push(`${own.file}: queues.${name}: ${NAME_RULE}`)
    queues[name] = { ...queue, timeoutMs: queue.timeoutMs ?? checked.settings.timeoutMs }
  }
  if (mistakes.length > 0) return { ok: false, mistakes }
  return { ok: true, settings: { ...checked.settings, interfaces, queues } }
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
  while (at instanceof z.ZodDefault || at instanceof z.ZodPrefault || at instanceof z.ZodOptional) at = at.unwrap()
  return at
}

function interfacesOf(value: unknown): Record<string, { kind: string }> {
  const { interfaces } = value as { interfaces?: unknown }
  if (typeof interfaces !== 'object' || interfaces === null) return {}
  return Object.fromEntries(
    Object.entries(interfaces).filter((entry): entry is [string, { kind: string }] => typeof entry[1]?.kind === 'string'),
  )
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
