/** `menagerie queue`: queues, seen and steered. */
import { setTimeout as pause } from 'node:timers/promises'
import type { QueueAdmin, QueueDetails } from '../bus/queue/contract.ts'
import { type Command, command } from './command.ts'
import { agree, type Cell, note, Progress, print, printFields, printJson, printTable } from './output.ts'
import { BUS_WORDS, withQueues } from './session.ts'
import { plural, readName, showBytes, showDuration, showTime } from './values.ts'
import { flag, operand, option } from './words.ts'

const NAME = operand('NAME', readName)
const POLL_MS = 500

const ls = command({
  name: 'queue ls',
  summary: 'lists the queues with what they hold',
  words: BUS_WORDS,
  examples: ['queue ls', 'queue ls --json | jq -r "select(.dead > 0).queue"'],
  run: (values) =>
    withQueues('queue ls', values, async ({ queues }) => {
      const found = await queues.list()
      if (values.json) for (const queue of found) printJson(queue)
      else if (found.length === 0) note('there are no queues yet: the first call or the first cage makes one')
      else
        printTable(
          ['QUEUE', 'MODE', 'WAITING', 'RUNNING', 'DELAYED', 'DEAD', 'OLDEST', 'SIZE'],
          found.map(({ queue, mode, waiting, running, delayed, dead, oldestAt, bytes }) => [
            ...[queue, modeCell(mode), waiting, running, delayed],
            dead > 0 ? { text: String(dead), style: 'red' } : dead,
            oldestAt === undefined ? '-' : showDuration(Date.now() - oldestAt),
            showBytes(bytes),
          ]),
        )
      return 0
    }),
})

const show = command({
  name: 'queue show',
  summary: 'shows a queue with the cages that run it, their methods and lanes',
  words: { name: NAME, ...BUS_WORDS },
  examples: ['queue show retry'],
  run: (values) =>
    withQueues('queue show', values, async ({ queues }) => {
      const details = await queues.show(values.name)
      if (values.json) printJson(details)
      else showQueue(details)
      return 0
    }),
})

const pauseQueue = modeCommand('pause', 'paused', 'has a queue take calls in and begin none', 'What runs ends. Calls expire all the same.')
const resume = modeCommand('resume', 'open', 'opens a queue again that is paused or being drained')

const drain = command({
  name: 'queue drain',
  summary: 'has a queue take no new calls, and waits until it is empty',
  notes:
    'New calls are refused with UNAVAILABLE until `menagerie queue resume NAME`, also when the waiting is broken off.\nDelayed calls and those that wait for another attempt are waited for.',
  words: {
    name: NAME,
    'no-wait': flag('does not wait'),
    reason: option('TEXT', 'for colleagues: `queue show` tells it'),
    ...BUS_WORDS,
  },
  examples: ['queue drain retry --reason "move to the new cluster"'],
  run: (values) =>
    withQueues('queue drain', values, async ({ queues }) => {
      await queues.setMode(values.name, 'draining', values.reason)
      const empty = values['no-wait'] || (await untilEmpty(queues, values.name))
      const { waiting, running, delayed } = await queues.show(values.name)
      const left = waiting + running + delayed
      if (values.json) printJson({ queue: values.name, mode: 'draining', left })
      else print(`queue ${values.name} takes no calls, ${left === 0 ? 'and is empty' : `${plural(left, 'call')} left`}`)
      return empty ? 0 : 1
    }),
})

const purge = command({
  name: 'queue purge',
  summary: 'deletes the calls that wait or are delayed; what runs ends',
  words: {
    name: NAME,
    cage: option('CAGE', 'only the calls of this cage', readName),
    yes: flag('does not ask'),
    ...BUS_WORDS,
  },
  examples: ['queue purge retry --cage mail', 'queue purge retry --yes'],
  run: (values) =>
    withQueues('queue purge', values, async ({ queues }) => {
      const { waiting, delayed, cages } = await queues.show(values.name)
      const share = cages.find(({ cage }) => cage === values.cage)?.waiting ?? 0
      const what =
        values.cage === undefined
          ? `${plural(waiting + delayed, 'call')} of queue ${values.name}`
          : `${plural(share, 'waiting call')} and all delayed ones of cage ${values.cage} in queue ${values.name}`
      const answer = await agree(`delete ${what} for good?`, values.yes)
      if (answer !== undefined) return answer
      const purged = await queues.purge(values.name, values.cage)
      if (values.json) printJson({ queue: values.name, purged })
      else print(`${plural(purged, 'call')} deleted`)
      return 0
    }),
})

export const QUEUE_COMMANDS: Command[] = [ls, show, pauseQueue, resume, drain, purge]

function modeCommand(verb: string, mode: 'paused' | 'open', summary: string, notes = ''): Command {
  return command({
    name: `queue ${verb}`,
    summary,
    notes,
    words: { name: NAME, reason: option('TEXT', 'for colleagues: `queue show` tells it'), ...BUS_WORDS },
    examples: [mode === 'open' ? 'queue resume retry' : 'queue pause retry --reason "the ledger is being moved"'],
    run: (values) =>
      withQueues(`queue ${verb}`, values, async ({ queues }) => {
        await queues.setMode(values.name, mode, values.reason)
        if (values.json) printJson({ queue: values.name, mode })
        else print(`queue ${values.name} is ${mode}`)
        return 0
      }),
  })
}

/** False if Ctrl-C ended the waiting. */
async function untilEmpty(queues: QueueAdmin, queue: string): Promise<boolean> {
  const asked = new AbortController()
  const stop = (): void => asked.abort()
  process.once('SIGINT', stop)
  const progress = new Progress()
  try {
    while (!asked.signal.aborted) {
      const { waiting, running, delayed } = await queues.show(queue)
      if (waiting + running + delayed === 0) return true
      progress.update(`queue ${queue}: ${waiting} waiting, ${running} running, ${delayed} delayed`)
      await pause(POLL_MS, undefined, { signal: asked.signal }).catch(() => {}) // told by the loop
    }
    return false
  } finally {
    progress.end()
    process.off('SIGINT', stop)
  }
}

function showQueue({ queue, mode, order, waiting, running, delayed, dead, bytes, oldestAt, cages }: QueueDetails): void {
  const since = order.at > 0 ? ` since ${showTime(order.at)}` : ''
  const told = mode === 'open' ? undefined : `${mode}${since}${order.reason === undefined ? '' : `: ${order.reason}`}`
  printFields([
    ['queue', { text: queue, style: 'bold' }],
    ['mode', told === undefined ? 'open' : { text: told, style: 'yellow' }],
    ['waiting', waiting],
    ['running', running],
    ['delayed', delayed],
    ['dead', dead > 0 ? { text: String(dead), style: 'red' } : dead],
    ['oldest', oldestAt === undefined ? '-' : `${showDuration(Date.now() - oldestAt)} (${showTime(oldestAt)})`],
    ['size', showBytes(bytes)],
  ])
  if (cages.length > 0) {
    print('')
    printTable(
      ['CAGE', 'WAITING', 'RUNNING', 'ASKING', 'METHODS'],
      cages.map(({ cage, waiting: left, running: now, asking, methods }) => [cage, left, now, asking, countsOf(methods)]),
    )
  }
  const lanes = cages.flatMap(({ cage, lanes: own = [] }) => own.map((lane): Cell[] => laneRow(cage, lane)))
  if (lanes.length > 0) {
    print('')
    printTable(['CAGE', 'LANE', 'WAITING', 'RUNNING', 'HELD UNTIL'], lanes)
  }
}

function laneRow(cage: string, { lane, waiting, running, heldUntil }: NonNullable<QueueDetails['cages'][number]['lanes']>[number]): Cell[] {
  return [
    cage,
    lane === '' ? '(all)' : lane,
    waiting,
    running,
    heldUntil === undefined ? '-' : { text: showTime(heldUntil), style: 'yellow' },
  ]
}

function countsOf(methods: Record<string, number>): string {
  const entries = Object.entries(methods).sort(([, a], [, b]) => b - a)
  return entries.map(([method, count]) => `${method} ${count}`).join(', ') || '-'
}

function modeCell(mode: string): Cell {
  return mode === 'open' ? mode : { text: mode, style: 'yellow' }
}
