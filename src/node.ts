#!/usr/bin/env node
/**
 * The node's entry, and the only wiring: arguments → configuration → bus → root supervisor → signals.
 * Exit status: 0 stopped as asked; 78 (EX_CONFIG of sysexits.h) a mistake in arguments or configuration; 1 a cage could not be kept up.
 */
import { existsSync, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { Root } from './actors/root.ts'
import { packageOf } from './actors/sources.ts'
import { SpareWorker } from './actors/thread.ts'
import { watch } from './actors/watcher.ts'
import { ownAdapters } from './adapters/own.ts'
import { NODE_HELP, type NodeArguments, parseNodeArguments } from './arguments.ts'
import { callKeeper } from './bus/callkeeper.ts'
import type { BusOptions } from './bus/connection.ts'
import type { Embedded } from './bus/embedded.ts'
import type { ConfigSource, Protocols } from './config.ts'
import { MEMORY_MB } from './defaults.ts'
import * as door from './index.ts'
import type { LogLevel } from './levels.ts'
import { type Log, openLog } from './log.ts'
import { didYouMean } from './names.ts'
import type { Ops, OpsSource } from './ops/server.ts'
import { serversOf } from './servers.ts'
import type { CageSettings, NodeSettings } from './settings.ts'
import { writeIndex } from './types.ts'

const EX_CONFIG = 78
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }

await main()

async function main(): Promise<void> {
  const parsed = parseNodeArguments(process.argv.slice(2))
  if (parsed.kind === 'help') return void process.stdout.write(NODE_HELP)
  if (parsed.kind === 'version') return void process.stdout.write(`${version}\n`)
  if (parsed.kind === 'mistakes') return refuse([...parsed.mistakes, 'see --help'])
  const { options } = parsed
  const spare = new SpareWorker(MEMORY_MB)
  const configured = await configure(options)
  if (!Array.isArray(configured)) return await run(options, configured, spare)
  await spare.stop()
  refuse(configured)
}

interface Configured {
  source: ConfigSource
  protocols: Protocols
  settings: NodeSettings
  cages: Map<string, CageSettings>
}

/** Reads everything that is configured; returns all mistakes of all files at once. */
async function configure(options: NodeArguments): Promise<Configured | string[]> {
  const cagesDir = resolve(options.cagesDir)
  const isPackaged = (cage: string): boolean => packageOf(cagesDir, cage) !== undefined
  const source: ConfigSource = {
    configDir: resolve(options.configDir),
    cacheDir: resolve('.menagerie', 'cache'),
    packageDir: (cage) => {
      const own = packageOf(cagesDir, cage)
      return own && join(own, 'config')
    },
    door,
  }
  const mistakes: string[] = []
  if (options.configDir !== 'config' && !existsSync(source.configDir))
    mistakes.push(`--config ${options.configDir}: there is no such folder`)
  const folders = await readdir(cagesDir, { withFileTypes: true }).catch(() => undefined)
  if (!folders && !options.cages.every(isPackaged)) mistakes.push(`--cages ${options.cagesDir}: there is no such folder`)
  const known = (folders ?? []).filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map((entry) => entry.name)
  const cages = new Map<string, CageSettings>()
  const { readCageConfig, readNodeConfig } = await import('./config.ts')
  const protocols = await protocolsOf(source)
  const node = await readNodeConfig(source)
  if (!node.ok) mistakes.push(...node.mistakes)
  for (const cage of options.cages) {
    if (folders && !known.includes(cage) && !isPackaged(cage))
      mistakes.push(`--cage ${cage}: there is no folder ${join(options.cagesDir, cage)}${didYouMean(cage, known)}`)
    const read = await readCageConfig(source, cage, protocols)
    if (read.ok) cages.set(cage, read.settings)
    else mistakes.push(...read.mistakes)
  }
  if (mistakes.length > 0 || !node.ok) return [...new Set(mistakes)].map((mistake) => mistake.replaceAll(`${process.cwd()}/`, ''))
  return { source, protocols, settings: node.settings, cages }
}

async function run(options: NodeArguments, configured: Configured, spare: SpareWorker): Promise<void> {
  const { settings, cages } = configured
  const name = options.name ?? settings.name ?? hostname()
  const logLevel: LogLevel = options.logLevel ?? settings.logLevel
  const log = await openLog(logLevel, { node: name }, options.json)
  const cagesDir = resolve(options.cagesDir)
  const dataDir = resolve(settings.dataDir)
  const startedAt = performance.now()
  log.info({ version, pid: process.pid, cages: options.cages }, 'node starts')
  const chosen = await chooseBus(options, settings, dataDir, log).catch((error: unknown) => {
    if (error instanceof Error) return error
    throw error
  })
  if (chosen instanceof Error) {
    log.fatal({ reason: chosen.message }, 'no bus, the node ends')
    process.exit(1)
  }
  const { bus, embedded } = chosen
  const keeper = callKeeper(`${name}/keeper`, bus, log.child({ connection: 'keeper' }))
  let failed: string | undefined
  let ops: Ops | undefined
  const root = new Root({
    node: name,
    version,
    cagesDir,
    dataDir,
    logLevel,
    bus,
    tracing: settings.tracing,
    keeper,
    spare,
    log,
    onEscalate: (error) => {
      failed = error.message
      log.fatal({ err: error }, 'a cage cannot be kept up, the node ends')
      void stop(1)
    },
    onReady: (cage) => {
      log.info({ cage, ms: Math.round(performance.now() - startedAt) }, 'cage is ready')
      keeper.connect()
    },
  })
  let stopping: Promise<void> | undefined
  const stop = (status: number): Promise<void> => {
    stopping ??= (async () => {
      await watcher?.close()
      await root.stop()
      await keeper.close()
      await embedded?.stop()
      await ops?.close()
      log.info({}, 'node has stopped')
      process.exit(status)
    })()
    return stopping
  }
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stopping !== undefined) process.exit(1) // asked twice: at once
      log.info({ signal }, 'node stops')
      void stop(0)
    })
  }
  let watcher: { close(): Promise<void> } | undefined
  const address = options.ops ?? settings.ops
  if (address) {
    const source: OpsSource = {
      state: () => ({ node: name, cages: [...cages.keys()], stopping: stopping !== undefined, failed }),
      facts: () => root.facts(),
      reports: (whole, withinMs) => root.reports(whole, withinMs),
    }
    ops = (await import('./ops/server.ts')).openOps(address, source, log)
  }
  for (const [cage, cageSettings] of cages) await root.run(cage, cageSettings)
  watcher = await watchFolders(options, configured, root, log)
}

/** Takes over changed configuration, and keeps the generated index of the cages current while developing. */
async function watchFolders(options: NodeArguments, configured: Configured, root: Root, log: Log): Promise<{ close(): Promise<void> }> {
  const { configDir } = configured.source
  const cagesDir = resolve(options.cagesDir)
  const development = process.env.NODE_ENV !== 'production' && existsSync(join(cagesDir, 'index.ts'))
  let changes = Promise.resolve()
  return await watch([configDir, ...(development ? [cagesDir] : [])], log, (paths) => {
    changes = changes.then(async () => {
      const inConfig = [...paths].some((path) => !relative(configDir, path).startsWith('..'))
      if (inConfig) await reconfigure(options.cages, configured, root, log)
      if (development && (await writeIndex(cagesDir))) log.info({}, 'cages/index.ts is written anew')
    })
    changes.catch((error: unknown) => log.error({ err: error }, 'a change could not be taken over'))
  })
}

async function reconfigure(cages: string[], { source, protocols }: Configured, root: Root, log: Log): Promise<void> {
  const { readCageConfig } = await import('./config.ts')
  for (const cage of cages) {
    const read = await readCageConfig(source, cage, protocols)
    if (read.ok) root.reconfigure(cage, read.settings)
    else {
      log.error({ cage, mistakes: read.mistakes }, 'new configuration refused, the old one goes on')
      root.refused(cage, read.mistakes)
    }
  }
}

/** Loaded late, while the spare worker boots: the schemas take a tenth of a second. */
async function protocolsOf({ cacheDir, door }: ConfigSource): Promise<Protocols> {
  const { ADAPTERS, RESOURCE_SCHEMAS } = await import('./adapters/registry.ts')
  return { adapters: ADAPTERS, resource: RESOURCE_SCHEMAS, loadOwn: ownAdapters({ dir: process.cwd(), cacheDir, door }) }
}

/** `--bus`, NATS_URL, `config/node.ts`, else a server of our own: in that order. */
async function chooseBus(
  options: NodeArguments,
  settings: NodeSettings,
  dataDir: string,
  log: Log,
): Promise<{ bus: BusOptions; embedded?: Embedded }> {
  const { embedded: own, ...configured } = settings.bus
  const named = serversOf(options.bus, process.env, configured.servers)
  if (named) return { bus: { ...configured, servers: named } }
  const { openEmbedded } = await import('./bus/embedded.ts')
  const { natsServerProgram } = await import('./bus/program.ts')
  const binary = (): Promise<string> => natsServerProgram(dataDir, (line) => log.info({}, line))
  const embedded = await openEmbedded({ binary, port: own.port, dir: join(dataDir, 'nats'), log })
  return { bus: { ...configured, servers: [embedded.url] }, embedded }
}

function refuse(mistakes: string[]): void {
  process.stderr.write(`${mistakes.map((mistake) => `menagerie: ${mistake}`).join('\n')}\n`)
  process.exitCode = EX_CONFIG
}
