/** `menagerie top`: the busiest methods of all cages, live. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Bus } from '../bus/bus.ts'
import type { QueueSummary } from '../bus/queue/contract.ts'
import type { CopyStatus } from '../bus/survey/contract.ts'
import { type Command, command } from './command.ts'
import { type Cell, note, paint, plain, print, printJson, tableLines } from './output.ts'
import { type MethodRate, problemsOf, ratesOf } from './rates.ts'
import { Screen } from './screen.ts'
import { BUS_WORDS, withBus } from './session.ts'
import { plural, readDuration, readPlace, showTime } from './values.ts'
import { flag, option, optional } from './words.ts'

const EVERY_MS = 2_000
const MOST_PROBLEMS = 5

const top = command({
  name: 'top',
  summary: 'shows the busiest methods with rates, errors and durations, again and again',
  notes: `On a terminal it takes the whole screen, and q ends it; else it prints a table each time.
RATE and ERRORS are per second, durations those of the calls since the last picture.`,
  words: {
    place: optional('CAGE[.MODULE]', readPlace),
    every: option('DURATION', 'between two pictures (default: 2s)', readDuration),
    once: flag('one picture, of what happens until then'),
    ...BUS_WORDS,
  },
  examples: ['top', 'top shop --every 5s', 'top --once --json | jq ".methods[0]"'],
  check: ({ every }) => (every !== undefined && every < 100 ? ['--every: at least 100ms'] : []),
  run: (values) =>
    withBus('top', values, async (bus) => {
      const { place, every = EVERY_MS, once, json } = values
      const screen = !once && !json && process.stdout.isTTY ? new Screen() : undefined
      try {
        await follow(bus, { cage: place?.cage, module: place?.module, every, once }, screen, (picture) => {
          if (json) printJson(picture)
          else if (screen) screen.show(linesOf(picture, screen.rows))
          else print(`${linesOf(picture, Number.POSITIVE_INFINITY).join('\n')}\n`)
        })
      } finally {
        screen?.close()
      }
      return 0
    }),
})

export const TOP_COMMANDS: Command[] = [top]

interface Picture {
  at: number
  nodes: number
  copies: number
  /** Per second. */
  rate: number
  errorRate: number
  /** Undefined: the bus has no JetStream. */
  queues?: { waiting: number; running: number; delayed: number; dead: number } | undefined
  problems: string[]
  methods: MethodRate[]
}

interface Choice {
  cage: string | undefined
  module: string | undefined
  every: number
  once: boolean
}

/** Until it is interrupted, or once. */
async function follow(bus: Bus, choice: Choice, screen: Screen | undefined, show: (picture: Picture) => void): Promise<void> {
  const { cage, every, once } = choice
  const asked = new AbortController()
  const stop = (): void => asked.abort()
  if (screen) void screen.left.then(stop)
  else for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
  bus.done.then(stop, stop)
  const queuesOf = async (): Promise<QueueSummary[] | undefined> => bus.queues.list().catch(() => undefined) // no JetStream: it says so
  let before = await bus.survey.status({ cage })
  if (before.length === 0 && !screen) note(cage === undefined ? 'no cage tells of itself on this bus' : `nobody runs cage ${cage}`)
  if (screen) show(pictureOf(before, before, await queuesOf(), choice))
  while (!asked.signal.aborted) {
    await pause(every, undefined, { signal: asked.signal }).catch(() => {}) // the next line tells
    if (asked.signal.aborted) return
    const [now, queues] = await Promise.all([bus.survey.status({ cage }), queuesOf()])
    show(pictureOf(before, now, queues, choice))
    before = now
    if (once) return
  }
}

/** Pure. */
function pictureOf(
  before: CopyStatus[],
  now: CopyStatus[],
  queues: QueueSummary[] | undefined,
  { cage, module }: Pick<Choice, 'cage' | 'module'>,
): Picture {
  const methods = ratesOf(before, now).filter(({ method }) => module === undefined || method.startsWith(`${cage}.${module}.`))
  const total = (count: (queue: QueueSummary) => number): number => (queues ?? []).reduce((sum, queue) => sum + count(queue), 0)
  return {
    at: Math.max(Date.now(), ...now.map((copy) => copy.at)),
    nodes: new Set(now.map(({ node, host }) => `${host} ${node}`)).size,
    copies: now.length,
    rate: methods.reduce((sum, { rate }) => sum + rate, 0),
    errorRate: methods.reduce((sum, { errorRate }) => sum + errorRate, 0),
    queues: queues && {
      waiting: total(({ waiting }) => waiting),
      running: total(({ running }) => running),
      delayed: total(({ delayed }) => delayed),
      dead: total(({ dead }) => dead),
    },
    problems: problemsOf(now, queues ?? []),
    methods,
  }
}

function linesOf({ at, nodes, copies, rate, errorRate, queues, problems, methods }: Picture, rows: number): string[] {
  const errors = `${showRate(errorRate)} errors/s`
  const head = [
    paint(showTime(at), 'bold'),
    `${plural(nodes, 'node')}, ${plural(copies, 'copy', 'copies')}`,
    `${showRate(rate)} calls/s, ${errorRate > 0 ? paint(errors, 'red') : errors}`,
  ]
  const dead = queues && `${queues.dead} dead`
  const held = queues
    ? `queues: ${queues.waiting} waiting, ${queues.running} running, ${queues.delayed} delayed, ${queues.dead > 0 ? paint(String(dead), 'red') : dead}`
    : 'queues: the bus has no JetStream'
  const told = problems.slice(0, MOST_PROBLEMS).map((problem) => paint(`! ${plain(problem)}`, 'red'))
  if (problems.length > MOST_PROBLEMS) told.push(paint(`! and ${problems.length - MOST_PROBLEMS} more: menagerie doctor`, 'red'))
  const table = tableLines(['METHOD', 'RATE', 'ERRORS', 'P50', 'P95', 'P99', 'RUNNING', 'WAITING', 'COPIES'], methods.map(rowOf))
  const lines = [head.join('  '), held, ...told, '', ...table]
  return lines.slice(0, rows)
}

function rowOf({ method, rate, errorRate, p50, p95, p99, running, waiting, copies }: MethodRate): Cell[] {
  return [
    ...[method, showRate(rate), errorRate > 0 ? { text: showRate(errorRate), style: 'red' as const } : showRate(errorRate)],
    ...[showMs(p50), showMs(p95), showMs(p99), running, waiting, copies],
  ]
}

function showRate(rate: number): string {
  return rate >= 100 ? rate.toFixed(0) : rate.toFixed(1)
}

/** ms, to three digits. */
function showMs(ms: number | undefined): string {
  if (ms === undefined) return '-'
  return ms >= 100 ? ms.toFixed(0) : ms >= 10 ? ms.toFixed(1) : ms.toFixed(2)
}
