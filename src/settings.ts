/**
 * Settings: what can be configured, as it is written and as it is once checked. Defaults stand in the schemas and nowhere else.
 */
import { z } from 'zod'
import type { ModuleOptions } from './actors/contract.ts'
import type { CacheSettings, PoolSettings } from './adapters/pool/contract.ts'
import type { Backoff, QueuePolicy } from './bus/queue/contract.ts'
import { MEMORY_MB } from './defaults.ts'
import { LOG_LEVELS, type LogLevel } from './levels.ts'
import { EMBEDDED_PORT, OPS_HOST } from './servers.ts'

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
    /** Copies of each stream in a cluster of servers: 1, 3 or 5. Default: 1. */
    replicas?: number | undefined
    /** The server that a node starts where none is named. Default port 4222. */
    embedded?: { port?: number | undefined } | undefined
  }
  logLevel?: LogLevel | undefined
  /** Where /metrics, /healthz and /readyz are served (docs/monitoring.md). Default host 127.0.0.1. Default: nowhere. */
  ops?: { port: number; host?: string | undefined } | undefined
  /** Where the node keeps what it makes: compiled modules, certificates, the embedded server's data. Default `.menagerie`. */
  dataDir?: string | undefined
  /** Whom traces are told, over OTLP/HTTP. Default: as OTEL_EXPORTER_OTLP_ENDPOINT says, else nobody. */
  tracing?: TracingSettings | undefined
}

/** Traces, as OpenTelemetry has them; the rest is its environment's. */
export interface TracingSettings {
  /** A collector's base URL, e.g. `http://127.0.0.1:4318`. Default: OTEL_EXPORTER_OTLP_ENDPOINT. */
  endpoint?: string | undefined
  /** The share of the traces that begin here: 0 to 1. Default: OTEL_TRACES_SAMPLER, else all. */
  sampleRatio?: number | undefined
  /** Of the requests to the collector. */
  headers?: Record<string, string> | undefined
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
  /** What modules call outside, each with its `kind`; docs/resources.md tells what all have, docs/adapters each kind's options. */
  resources?: Record<string, ResourceConfig> | undefined
  /** The durable queues whose calls this cage runs. Default: `{ retry: {} }`. */
  queues?: Record<string, QueueConfig> | undefined
  /** An undo that fails is repeated for so long, ms, before people are asked. Default 60,000. */
  transactions?: { patienceMs?: number | undefined } | undefined
  /** OTP's words: more than `intensity` (5) deaths of one child in `periodMs` (10,000) end the cage. */
  supervision?: { intensity?: number | undefined; periodMs?: number | undefined } | undefined
}

/** A resource as it is written: its adapter's options beside these. */
export interface ResourceConfig {
  kind: string
  pool?: PoolConfig | undefined
  /** Without it nothing is cached; see `CacheSettings`. */
  cache?: Partial<CacheSettings> | undefined
  [option: string]: unknown
}

/** A resource's pool as it is written; see `PoolSettings`. */
export interface PoolConfig extends Partial<Omit<PoolSettings, 'backoff'>> {
  backoff?: Partial<PoolSettings['backoff']> | undefined
}

/** A queue as it is written; see `QueuePolicy`. Defaults: 16 at once, expires after 7 days, back-off from 1 s to 10 min, ids kept for 3 days, told after an hour of waiting. */
export interface QueueConfig extends Partial<Omit<QueuePolicy, 'backoff'>> {
  backoff?: Partial<Backoff> | undefined
}

/** `config/node.ts`, checked and complete. */
export interface NodeSettings {
  name?: string | undefined
  bus: Omit<NonNullable<NodeConfig['bus']>, 'embedded'> & { embedded: { port: number } }
  logLevel: LogLevel
  ops?: { port: number; host: string } | undefined
  dataDir: string
  tracing?: TracingSettings | undefined
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
  resources: Record<string, ResourceSettings>
  queues: Record<string, QueuePolicy>
  transactions: { patienceMs: number }
  supervision: { intensity: number; periodMs: number }
}

/** A resource, checked and complete. */
export interface ResourceSettings {
  kind: string
  /** What its adapter's schema made of them. */
  options: unknown
  pool: PoolSettings
  cache?: CacheSettings | undefined
}

const DAY_MS = 86_400_000
const positiveMs = z.number().positive()
const file = z.string().min(1)

/** Of `config/node.ts`. */
export const nodeSchema: z.ZodType<NodeSettings> = z.strictObject({
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
      replicas: z.number().int().min(1).max(5).optional(),
      embedded: z.strictObject({ port: z.number().int().min(1).max(65_535).default(EMBEDDED_PORT) }).prefault({}),
    })
    .prefault({}),
  logLevel: z.enum(LOG_LEVELS).default('info'),
  ops: z.strictObject({ port: z.number().int().min(1).max(65_535), host: z.string().min(1).default(OPS_HOST) }).optional(),
  dataDir: z.string().min(1).default('.menagerie'),
  tracing: z
    .strictObject({
      endpoint: z.url({ protocol: /^https?$/, error: 'is no URL of http or https' }).optional(),
      sampleRatio: z.number().min(0).max(1).optional(),
      headers: z.record(z.string().min(1), z.string()).optional(),
    })
    .optional(),
})

const moduleSchema = z.strictObject({
  concurrency: z.number().int().positive().optional(),
  maxQueued: z.number().int().nonnegative().optional(),
  timeoutMs: positiveMs.optional(),
  isolate: z.boolean().optional(),
})

const queueSchema = z.strictObject({
  concurrency: z.number().int().min(1).max(1_000).default(16),
  totalConcurrency: z.number().int().positive().optional(),
  maxAttempts: z.number().int().positive().optional(),
  expiresMs: positiveMs.default(7 * DAY_MS),
  timeoutMs: positiveMs.optional(),
  backoff: z
    .strictObject({
      firstMs: positiveMs.default(1_000),
      maxMs: positiveMs.default(600_000),
      factor: z.number().min(1).default(2),
      jitter: z.number().min(0).max(1).default(0.5),
    })
    .prefault({}),
  dedupMs: positiveMs.default(3 * DAY_MS),
  ordered: z.enum(['cage', 'key']).optional(),
  limits: z
    .strictObject({
      key: z.enum(['key', 'method', 'queue']).default('queue'),
      ratePerSecond: z.number().positive().optional(),
      concurrency: z.number().int().positive().optional(),
    })
    .optional(),
  maxBytes: z.number().int().positive().optional(),
  alertAfterMs: positiveMs.default(3_600_000),
})

/** A cage's configuration, checked by itself: the options of its interfaces and resources are their adapters' to check. */
export interface CheckedCage extends Omit<CageSettings, 'interfaces' | 'resources' | 'queues'> {
  interfaces: Record<string, Adapted>
  resources: Record<string, Adapted>
  queues: Record<string, Omit<QueuePolicy, 'timeoutMs'> & { timeoutMs?: number | undefined }>
}

/** Something that an adapter does, as it is written. */
export interface Adapted {
  kind: string
  [option: string]: unknown
}

/** Of `config/<cage>.ts`. */
export const cageSchema: z.ZodType<CheckedCage> = z.strictObject({
  timeoutMs: positiveMs.default(10_000),
  stallMs: z.number().min(100).default(5_000),
  memoryMb: z.number().int().min(16).default(MEMORY_MB),
  drainMs: positiveMs.default(15_000),
  values: z.record(z.string(), z.unknown()).default({}),
  modules: z.record(z.string(), moduleSchema).default({}),
  interfaces: z.record(z.string(), z.looseObject({ kind: z.string() })).default({}),
  resources: z.record(z.string(), z.looseObject({ kind: z.string() })).default({}),
  queues: z.record(z.string(), queueSchema).prefault({ retry: {} }),
  transactions: z.strictObject({ patienceMs: positiveMs.default(60_000) }).prefault({}),
  supervision: z.strictObject({ intensity: z.number().int().positive().default(5), periodMs: positiveMs.default(10_000) }).prefault({}),
})
