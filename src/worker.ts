/**
 * The worker's entry: one thread, one cage. It introduces bus, adapters and cage to each other.
 * K0. It boots before it knows what for: the main thread reads the configuration meanwhile, and then says `begin`.
 * K1. What is thrown outside of any call (a timer, an unhandled rejection) is logged with its module where that can be told, and harms nobody.
 */
import { join } from 'node:path'
import { parentPort } from 'node:worker_threads'
import { Cage } from './actors/cage.ts'
import { Heartbeat } from './actors/heartbeat.ts'
import type { FromWorker, ToWorker, WorkerData } from './actors/thread.ts'
import type { Tracer } from './actors/tracer.ts'
import { allDrivers, ownAdapters } from './adapters/own.ts'
import { openPool } from './adapters/pool/pool.ts'
import { openBus } from './bus/nats.ts'
import * as door from './index.ts'
import { openLog } from './log.ts'
import { openTracing } from './tracing.ts'

/** A collector that is away holds up no end for longer. */
const LAST_TRACES_MS = 2_000

const stopping = new AbortController()
const exit = process.exit.bind(process)
let cage: Cage | undefined
let tracer: Tracer | undefined

const data = await new Promise<WorkerData>((begin) => {
  parentPort?.on('message', (message: ToWorker) => {
    if (message.type === 'begin') begin(message.data)
    else if (message.type === 'reconfigure') cage?.reconfigure(message.settings, message.placement)
    else if (message.type === 'died') cage?.died(message.module)
    else if (message.type === 'ask') void report(message.id, message.whole)
    else void stop()
  })
})
const log = await openLog(data.logLevel, { node: data.node, cage: data.cage })
const heartbeat = new Heartbeat(data.heartbeat, (mark, name) => tell({ type: 'mark', mark, name }), data.beatMs)

process.exit = (status) => {
  const culprit = cage?.methodOf(new Error().stack ?? '')
  if (culprit) heartbeat.blame(heartbeat.markOf(culprit.module, culprit.method))
  return exit(status)
}

process.on('unhandledRejection', (reason) => strayError(reason, 'unhandled rejection'))
process.on('uncaughtException', (error) => strayError(error, 'uncaught exception'))

try {
  const bus = await openBus(`${data.node}/${data.cage}`, data.bus, log, stopping.signal, { held: data.held })
  bus.done.catch((error: unknown) => fail(error))
  tracer = await openTracing(data.tracing, process.env, data, log)
  cage = new Cage(
    {
      node: data.node,
      cage: data.cage,
      cagesDir: data.cagesDir,
      dataDir: data.dataDir,
      version: data.version,
      past: data.past,
      bus,
      log,
      drivers: allDrivers(ownAdapters({ dir: process.cwd(), cacheDir: join(data.dataDir, 'cache'), door })),
      openPool,
      openCache: async (...words) => (await import('./adapters/pool/cache.ts')).openCache(...words),
      door,
      tracer,
      markOf: (module, method) => heartbeat.markOf(module, method),
      enter: (mark) => heartbeat.enter(mark),
      onIsolate: (module, isolate) => tell({ type: 'isolate', module, isolate }),
      onEscalate: fail,
    },
    data.settings,
    data.placement,
  )
  await cage.start()
  tell({ type: 'ready' })
} catch (error) {
  if (!stopping.signal.aborted) fail(error)
}

async function stop(): Promise<void> {
  stopping.abort()
  await cage?.stop()
  await tracer?.close(LAST_TRACES_MS)
  exit(0) // in a worker this ends the thread only
}

async function report(id: number, whole: boolean): Promise<void> {
  try {
    const told = await cage?.report(whole)
    if (told) tell({ type: 'report', id, report: told })
  } catch (error) {
    log.warn({ err: error }, 'what the cage does cannot be told')
  }
}

function fail(error: unknown): void {
  if (stopping.signal.aborted) return
  log.error({ err: error }, 'the cage cannot go on')
  exit(1)
}

function strayError(error: unknown, message: string): void {
  const module = cage?.moduleOf(error instanceof Error ? (error.stack ?? '') : '')
  log.error({ module, err: error }, message)
}

function tell(message: FromWorker): void {
  parentPort?.postMessage(message)
}
