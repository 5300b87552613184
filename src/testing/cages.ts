/**
 * Cages of a project on a bus of their own, for tests of its modules: a real nats-server and a real node, as in production.
 *
 *   const { cages } = await runCages(t, ['shop'])
 *   assert.equal(await cages.shop.mail.send('ann', 'hello'), 'sent')
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Cages } from '../actors/contract.ts'
import { cagesProxy } from '../actors/proxies.ts'
import type { Adapter } from '../adapters/adapter.ts'
import { ownAdapters } from '../adapters/own.ts'
import type { Bus } from '../bus/bus.ts'
import * as door from '../index.ts'
import { testBus } from './bus.ts'
import { startNats } from './nats.ts'
import { atEnd, type Owner } from './owner.ts'
import { within } from './wait.ts'

export interface RunningCages {
  /** As `ctx.cages` of a module: `await cages.shop.mail.send('ann')`. */
  readonly cages: Cages
  /** The bus that they run on. */
  readonly url: string
}

export interface RunOptions {
  /** The project's folder. Default: where the test is run. */
  dir?: string | undefined
  /** Environment of the node, over this process's own. */
  env?: Readonly<Record<string, string>> | undefined
  /** Of each call, ms. Default: 10,000. */
  timeoutMs?: number | undefined
}

const START_MS = 60_000
const STOP_MS = 30_000

/** Runs cages of the project in this folder until their owner, a test's context, is done. Rejects with what the node said if they do not start. */
export async function runCages(owner: Owner, cages: readonly string[], options: RunOptions = {}): Promise<RunningCages> {
  const { dir = '.', env = {}, timeoutMs = 10_000 } = options
  const server = await startNats(owner)
  const words = cages.flatMap((cage) => ['--cage', cage])
  const { NODE_TEST_CONTEXT: _test, NATS_URL: _url, ...inherited } = process.env // a node under test is no test
  const node = spawn(process.execPath, [nodeProgram(), ...words, '--bus', server.url], {
    cwd: resolve(dir),
    env: { ...inherited, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(node, 'exit')
  atEnd(owner, async () => {
    if (node.exitCode === null && node.signalCode === null) node.kill('SIGTERM')
    await within('the node ends', exited, STOP_MS)
  })
  const said: string[] = []
  const ready = new Promise<void>((resolveReady, reject) => {
    const starting = new Set(cages)
    createInterface({ input: node.stderr }).on('line', (line) => said.push(line))
    createInterface({ input: node.stdout }).on('line', (line) => {
      said.push(line)
      const { msg, cage } = entryOf(line)
      if (msg === 'cage is ready' && cage !== undefined) starting.delete(cage)
      if (starting.size === 0) resolveReady()
    })
    void exited.then(() => reject(new Error(`the node ended before its cages were ready; it said:\n${said.join('\n')}`)))
  })
  await within(`cages ${cages.join(', ')} are ready`, ready, START_MS)
  const bus: Bus = await testBus(owner, server.url)
  const call = (cage: string, module: string, method: string, args: unknown[]): Promise<unknown> =>
    bus.call(cage, module, method, args, { deadline: Date.now() + timeoutMs, request: { id: '' } })
  return { cages: cagesProxy(call) as unknown as Cages, url: server.url } // as `ctx.cages` is typed: by the project's index
}

/** An adapter of the project's own, a file or a package, loaded as a node loads it. Rejects with what is wrong with it. */
export async function loadAdapter(kind: string, dir: string = '.'): Promise<Adapter> {
  const load = ownAdapters({ dir: resolve(dir), cacheDir: resolve(dir, '.menagerie', 'cache'), door })
  const adapter = await load(kind)
  if (!adapter) throw new Error(`${kind} is no file, and no package that is installed here`)
  return adapter
}

/** The built node: beside this file, or in `dist` while the runtime tests itself from its sources. */
function nodeProgram(): string {
  const beside = join(import.meta.dirname, '..', 'node.js')
  return existsSync(beside) ? beside : join(import.meta.dirname, '..', '..', 'dist', 'node.js')
}

function entryOf(line: string): { msg?: string; cage?: string } {
  try {
    return JSON.parse(line) as { msg?: string; cage?: string }
  } catch {
    return {}
  }
}
