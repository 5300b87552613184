/** A command's connection to the bus that the node of this folder uses. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Bus } from '../bus/bus.ts'
import type { BusOptions } from '../bus/connection.ts'
import { CageError } from '../errors.ts'
import type { Log } from '../log.ts'
import { EMBEDDED_PORT, readServers, serversOf } from '../servers.ts'
import type { NodeSettings } from '../settings.ts'
import { plain, refuse } from './output.ts'
import { flag, option, options, type Values, type Word } from './words.ts'

/** Words of every command that needs the bus. */
export const BUS_WORDS: { bus: Word<string[][]>; config: Word<string | undefined>; json: Word<boolean> } = {
  bus: options('URL', 'a NATS server; repeat it for a cluster (else NATS_URL, else config/node.ts, else this machine’s own)', readServers),
  config: option('DIR', 'configuration files (default: config)'),
  json: flag('prints JSON: one document a line'),
}

/** Connects, has `use` do its work, and closes. Returns its exit status, or 78 for a mistake in the configuration. */
export async function withBus(
  name: string,
  { bus: flags, config = 'config' }: Pick<Values<typeof BUS_WORDS>, 'bus' | 'config'>,
  use: (bus: Bus, options: BusOptions) => Promise<number>,
): Promise<number> {
  const configured = await busConfig(resolve(config))
  if (Array.isArray(configured)) return refuse(configured)
  const options = busOptions(flags, configured)
  const bus = await connectOnce(name, options)
  try {
    return await use(bus, options)
  } finally {
    await bus.close()
  }
}

/** The same for a command that needs queues: without JetStream it ends at once, and says so. */
export async function withQueues(
  name: string,
  values: Pick<Values<typeof BUS_WORDS>, 'bus' | 'config'>,
  use: (bus: Bus) => Promise<number>,
): Promise<number> {
  return withBus(name, values, async (bus) => {
    await bus.queues.check()
    return use(bus)
  })
}

/** How the bus is reached: as the command line, NATS_URL or the configuration say, else at this machine's own server. */
export function busOptions(flags: string[][], { embedded, ...rest }: NodeSettings['bus']): BusOptions {
  return { ...rest, servers: serversOf(flags.flat(), process.env, rest.servers) ?? [`nats://127.0.0.1:${embedded.port}`] }
}

/** What `config/node.ts` says of the bus, or its mistakes. Without one zod and the compiler are not loaded: half of a short command's time. */
export async function busConfig(configDir: string): Promise<NodeSettings['bus'] | string[]> {
  if (!['node.ts', 'node.js'].some((file) => existsSync(join(configDir, file)))) return { embedded: { port: EMBEDDED_PORT } }
  const [{ readNodeConfig }, door] = await Promise.all([import('../config.ts'), import('../index.ts')])
  const read = await readNodeConfig({ configDir, cacheDir: resolve('.menagerie', 'cache'), door })
  return read.ok ? read.settings.bus : read.mistakes.map((mistake) => mistake.replaceAll(`${process.cwd()}/`, ''))
}

/** A node waits for its bus; a person wants to know. */
export async function connectOnce(name: string, options: BusOptions): Promise<Bus> {
  const { openBus } = await import('../bus/nats.ts')
  try {
    return await openBus(`menagerie ${name}`, options, LOG, AbortSignal.abort())
  } catch (error) {
    const { cause } = error as { cause?: unknown }
    const places = options.servers.map((server) => server.replace(/^([a-z]+:\/\/)?.*@/, '$1')).join(', ') // no password on the screen
    const reason = cause instanceof Error ? cause.message : error instanceof Error ? error.message : String(error)
    throw new CageError('UNAVAILABLE', `the bus does not answer at ${places}: ${reason} (is a node running here? --bus names another bus)`)
  }
}

/** Only what an engineer must know at once. */
const LOG: Log = {
  level: 'error',
  child: () => LOG,
  ...{ trace: silent, debug: silent, info: silent, warn: silent, error: say, fatal: say },
}

function silent(): void {}

function say(fields: object, message: string): void {
  const { error, permission } = fields as { error?: unknown; permission?: unknown } // as connection.ts tells what the server refuses
  process.stderr.write(`menagerie: ${message}: ${plain(JSON.stringify(permission ?? error ?? fields))}\n`)
}
