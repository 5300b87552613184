/**
 * Configuration: `config/node.ts`, `config/<cage>.ts` over `config/shared.ts`; TypeScript, checked with zod.
 * F1. All mistakes are found at once, each with file, path and what would be right.
 * F2. Defaults stand in the schemas and nowhere else.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { ModuleOptions } from './actors/contract.ts'
import type { Adapter } from './adapters/adapter.ts'
import { compile, evaluate } from './compile.ts'
import { LOG_LEVELS, type LogLevel } from './log.ts'
import { didYouMean, isName } from './names.ts'

/** `config/node.ts` as it is written. */
export interface NodeConfig {
  /** This node's name. Default: the host's. */
  name?: string | undefined
  bus?: {
    /** NATS servers. Default: the embedded one. */
    servers?: string[] | undefined
    user?: string | undefined
    password?: string | undefined
    token?: string | undefined
    /** File with an nkey seed. */
    nkeyFile?: string | undefined
    /** File with user credentials, as nsc writes it. */
    credentialsFile?: string | undefined
    tls?: { caFile?: string | undefined; certFile?: string | undefined; keyFile?: string | undefined } | undefined
    /** The server that a node starts where none is named. Default port 4222. */
    embedded?: { port?: number | undefined } | undefined
  }
  logLevel?: LogLevel | undefined
  /** Where the node keeps what it makes: compiled modules, certificates, the embedded server's data. Default `.menagerie`. */
  dataDir?: string | undefined
}

/** A cage's configuration as it is written. */
export interface CageConfig {
  /** Deadline of a call whose caller names none, and the limit of every call, ms. Default 10,000. */
  timeoutMs?: number | undefined
  /** A worker whose event loop is stuck for so long is replaced, ms. Default 5,000. */
  stallMs?: number | undefined
  /** Heap limit of the cage's worker, MB. Default 1,024. */
  memoryMb?: number | undefined
  /** How long a stopping cage waits for running calls, ms. Default 15,000. */
  drainMs?: number | undefined
  /** Yours: `ctx.config`. */
  values?: Record<string, unknown> | undefined
  modules?: Record<string, ModuleOptions> | undefined
  /** Each with its `kind`; docs/adapters tells each kind's options. */
  interfaces?: Record<string, { kind: string; [option: string]: unknown }> | undefined
  /** OTP's words: more than `intensity` (5) deaths of one child in `periodMs` (10,000) end the cage. */
  supervision?: { intensity?: number | undefined; periodMs?: number | undefined } | undefined
}

/** `config/node.ts`, checked and complete. */
export interface NodeSettings {
  name?: string | undefined
  bus: Omit<NonNullable<NodeConfig['bus']>, 'embedded'> & { embedded: { port: number } }
  logLevel: LogLevel
  dataDir: string
}

/** A cage's configuration, checked and complete. */
export interface CageSettings {
  timeoutMs: number
  stallMs: number
  memoryMb: number
  drainMs: number
  values: Record<string, unknown>
  modules: Record<string, ModuleOptions>
  /** Each with its `kind` and the options that its adapter's schema made of it. */
  interfaces: Record<string, { kind: string; options: unknown }>
  supervision: { intensity: number; periodMs: number }
}

const positiveMs = z.number().positive()
const file = z.string().min(1)

const nodeSchema = z.strictObject({
  name: z.string().min(1).optional(),
  bus: z
    .strictObject({
      servers: z.array(z.string().min(1)).min(1).optional(),
      user: z.string().optional(),
      password: z.string().optional(),
      token: z.string().optional(),
      nkeyFile: file.optional(),
      credentialsFile: file.optional(),
      tls: z.strictObject({ caFile: file.optional(), certFile: file.optional(), keyFile: file.optional() }).optional(),
      embedded: z.strictObject({ port: z.number().int().min(1).max(65_535).default(4222) }).prefault({}),
    })
    .prefault({}),
  logLevel: z.enum(LOG_LEVELS).default('info'),
  dataDir: z.string().min(1).default('.menagerie'),
})

const moduleSchema = z.strictObject({
  concurrency: z.number().int().positive().optional(),
  maxQueued: z.number().int().nonnegative().optional(),
  timeoutMs: positiveMs.optional(),
  isolate: z.boolean().optional(),
})

const cageSchema = z.strictObject({
  timeoutMs: positiveMs.default(10_000),
  stallMs: z.number().min(100).default(5_000),
  memoryMb: z.number().int().min(16).default(1_024),
  drainMs: positiveMs.default(15_000),
  values: z.record(z.string(), z.unknown()).default({}),
  modules: z.record(z.string(), moduleSchema).default({}),
  interfaces: z.record(z.string(), z.looseObject({ kind: z.string() })).default({}),
  supervision: z.strictObject({ intensity: z.number().int().positive().default(5), periodMs: positiveMs.default(10_000) }).prefault({}),
})

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
    if (!isName(name)) mistakes.push(`${place}: a name has letters, digits, _ and -, at most 32, and begins with a letter`)
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
  if (!checked.ok || mistakes.length > 0) return { ok: false, mistakes }
  return { ok: true, settings: { ...checked.settings, interfaces } }
}

/** Types a cage's configuration: `export default defineCage({ ... })`. */
export function defineCage(config: CageConfig): CageConfig {
  return config
}

/** Types `config/node.ts`: `export default defineNode({ ... })`. */
export function defineNode(config: NodeConfig): NodeConfig {
  return config
}

/** A value of the environment, for secrets and what differs from machine to machine. A missing one without a fallback is a mistake in the configuration. */
export function env(name: string, fallback?: string): string {
  const value = process.env[name] ?? fallback
  if (value === undefined) throw new Error(`the environment has no ${name}, which the configuration needs`)
  return value
}

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
