/**
 * Queued calls under test: a project whose methods leave a trace of each run, the copies that run them, and what is left of the calls,
 * counted by a plain client. `npm run soak` runs the same scenarios as `npm test`, longer.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { AckPolicy, type JetStreamManager, type NatsConnection } from 'nats'
import type { Bus } from '../../src/bus/bus.ts'
import type { DeadLetter, EnqueueOptions } from '../../src/bus/queue/contract.ts'
import type { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { client } from '../../src/testing/nats.ts'
import type { Owner } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type NodeProcess, type Project, project, startNode } from './node.ts'

/** Set by scripts/soak.js. */
export const SOAK: boolean = process.env.MENAGERIE_SOAK === '1'

/** The size of a scenario: the one in `npm test`, or the one of the soak. */
export function sized(short: number, long: number): number {
  return SOAK ? long : short
}

/** Each run leaves `begin <n>` and, if it comes so far, `end <n>` in a file. */
const WORK = `
import { openSync, writeSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
const file = openSync(process.env.TRACE, 'a')
const trace = (what, n, ctx) => writeSync(file, [what, n, Date.now(), ctx.request.callId, ctx.self.node].join(' ') + '\\n')
export async function plain(ctx, n, ms = 0) {
  trace('begin', n, ctx)
  if (ms > 0) await setTimeout(ms)
  trace('end', n, ctx)
  return n
}
export async function named(ctx, n, ms = 0) {
  trace('begin', n, ctx)
  if (ms > 0) await setTimeout(ms)
  await ctx.queue('effects', { id: 'effect' }).module('sink', 'sink').take(n)
  trace('end', n, ctx)
  return n
}
export async function blocking(ctx, n, ms) {
  trace('begin', n, ctx)
  for (const until = Date.now() + ms; Date.now() < until; );
  trace('end', n, ctx)
}
export async function failing(ctx, n, times) {
  trace('begin', n, ctx)
  if (ctx.request.attempt <= times) throw new Error('not yet')
  trace('end', n, ctx)
}
export async function hanging(ctx, n) { trace('begin', n, ctx); await new Promise(() => {}) }
export async function murder(ctx, n) { trace('begin', n, ctx); process.kill(process.pid, 'SIGKILL') }
export async function loop(ctx, n) { trace('begin', n, ctx); for (;;) {} }
export async function exit(ctx, n) { trace('begin', n, ctx); await setTimeout(20); process.exit(7) }
export async function mixed(ctx, n) { await setTimeout(100); if (n % 8 === 3) process.exit(7); await setTimeout(50) }
export async function leak(ctx, n) {
  trace('begin', n, ctx)
  const kept = []
  for (;;) { kept.push(new Array(10_000).fill(kept.length)); if (kept.length % 100 === 0) await null }
}
`

export interface Trace {
  what: 'begin' | 'end'
  n: number
  at: number
  callId: string
  node: string
}

export interface Stage {
  readonly folder: Project
  readonly bus: Bus
  readonly nc: NatsConnection
  readonly jsm: JetStreamManager
  /** All copies that were started, the ended ones too. */
  readonly copies: NodeProcess[]
  start(env?: NodeJS.ProcessEnv): NodeProcess
  traces(): Trace[]
  /** Puts `soak.work.<method>` into the queue `work`; resolves with the id, or the error's code. */
  enqueue(method: string, args: unknown[], options?: Partial<EnqueueOptions>): Promise<string>
  /** Messages in a stream; 0 if there is none. */
  left(stream: string): Promise<number>
  /** Resolves when nothing waits, runs or is delayed. */
  idle(limitMs?: number): Promise<void>
}

/** Sets a project up on a server; `config` is the cage's configuration as text. */
export async function stage(owner: Owner, urls: string, config = '{ queues: { work: {} } }', options: object = {}): Promise<Stage> {
  const folder = project(owner, { 'cages/soak/work.js': WORK, 'config/soak.ts': `export default ${config}` })
  const file = join(folder.dir, 'trace')
  const nc = await client(owner, urls.split(',')[0] ?? '', {
    reconnectTimeWait: 50,
    ...(urls.includes(',') ? { servers: urls.split(',') } : {}),
  })
  const jsm = await nc.jetstreamManager({ checkAPI: false, timeout: 3_000 })
  const bus = await testBus(owner, urls, options)
  const copies: NodeProcess[] = []
  const left = async (stream: string): Promise<number> => {
    try {
      return (await jsm.streams.info(stream)).state.messages
    } catch (error) {
      if (error instanceof Error && error.message.includes('stream not found')) return 0
      throw error
    }
  }
  return {
    folder,
    bus,
    nc,
    jsm,
    copies,
    left,
    start: (env = {}) => {
      const words = ['--cage', 'soak', '--name', `copy-${copies.length}`, ...urls.split(',').flatMap((url) => ['--bus', url])]
      const copy = startNode(owner, folder.dir, words, { TRACE: file, ...env })
      copies.push(copy)
      return copy
    },
    traces: () => (existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1).map(parse) : []),
    enqueue: (method, args, more = {}) =>
      bus.enqueue('work', 'soak', 'work', method, args, { request: { id: 'test' }, deadline: Date.now() + 10_000, ...more }),
    idle: async (limitMs = 60_000) => {
      const settled = async (): Promise<boolean> => {
        // twice: a call may go from one to the other between two looks
        for (const stream of ['QUEUE_work', 'DELAYED_CALLS', 'QUEUE_work', 'DELAYED_CALLS'])
          if ((await left(stream).catch(() => 1)) > 0) return false
        return true
      }
      await eventually('all calls are settled', settled, limitMs).catch(async (error: unknown) => {
        throw new Error(`calls are left: ${JSON.stringify(await remains(jsm))}`, { cause: error })
      })
    },
  }
}

/** Where calls still are, and who is said to have them. */
async function remains(jsm: JetStreamManager): Promise<object[]> {
  const found: object[] = []
  for (const stream of ['QUEUE_work', 'DELAYED_CALLS']) {
    const info = await jsm.streams.info(stream).catch(() => undefined)
    if (!info) continue
    const { messages, first_seq, last_seq } = info.state
    const consumers = await jsm.consumers.list(stream).next()
    found.push({
      ...{ stream, messages, first_seq, last_seq },
      consumers: consumers.map(({ name, delivered, ack_floor, num_ack_pending, num_pending, num_redelivered, num_waiting }) => ({
        ...{
          name,
          delivered: delivered.stream_seq,
          floor: ack_floor.stream_seq,
          num_ack_pending,
          num_pending,
          num_redelivered,
          num_waiting,
        },
      })),
    })
  }
  return found
}

function parse(line: string): Trace {
  const [what, n, at, callId = '', node = ''] = line.split(' ')
  return { what: what === 'end' ? 'end' : 'begin', n: Number(n), at: Number(at), callId, node }
}

/** Calls `work(n)` for each n from `from` to below `to`, `width` at once. */
export async function each(from: number, to: number, width: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = from
  await Promise.all(
    Array.from({ length: width }, async () => {
      while (next < to) await work(next++)
    }),
  )
}

/** The error's code, for what may fail. */
export function codeOf(error: unknown): string {
  return (error as CageError).code ?? String(error)
}

/** How often each number ended. */
export function endsByNumber(traces: readonly Trace[]): Map<number, number> {
  const ends = new Map<number, number>()
  for (const { what, n } of traces) if (what === 'end') ends.set(n, (ends.get(n) ?? 0) + 1)
  return ends
}

/** What a plain client finds in the queue `effects`: how often each message id is there. */
export async function effects({ jsm, nc }: Stage): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  const { state } = await jsm.streams.info('QUEUE_effects')
  await jsm.consumers.add('QUEUE_effects', {
    ...{ durable_name: 'plain', ack_policy: AckPolicy.Explicit, filter_subject: 'queue.effects.>', max_ack_pending: -1, ack_wait: 600e9 },
  })
  const consumer = await nc.jetstream().consumers.get('QUEUE_effects', 'plain')
  for (let seen = 0; seen < state.messages; ) {
    for await (const msg of await consumer.fetch({ max_messages: Math.min(500, state.messages - seen), expires: 2_000 })) {
      seen++
      const id = decodeURIComponent(msg.headers?.get('Nats-Msg-Id') ?? '')
      found.set(id, (found.get(id) ?? 0) + 1)
    }
  }
  await jsm.consumers.delete('QUEUE_effects', 'plain')
  return found
}

/** All dead letters, as engineers see them. */
export async function deadLetters({ bus }: Stage): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  for await (const letter of bus.queues.dead()) letters.push(letter)
  return letters
}

/** Entries of the copies' logs that must never be there. */
export function scandals(copies: readonly NodeProcess[]): string[] {
  return copies.flatMap(({ log, stderr }) => [
    ...log.filter(({ msg }) => /unhandled rejection|uncaught exception/.test(msg)).map((entry) => JSON.stringify(entry)),
    ...(stderr() === '' ? [] : [stderr()]),
  ])
}
