/** `menagerie call`: one call from the command line; its answer, or with `--queue` its id. */
import type { Bus, RequestInfo } from '../bus/bus.ts'
import { CageError } from '../errors.ts'
import { LOG_LEVELS, type LogLevel } from '../levels.ts'
import { type Command, command } from './command.ts'
import { note, print, printJson } from './output.ts'
import { BUS_WORDS, withBus, withQueues } from './session.ts'
import { readArguments, readDuration, readName, readOneOf, readTarget } from './values.ts'
import { operand, option, optional, type Values } from './words.ts'

const QUEUED = {
  id: option('ID', 'the call’s id: a second call with it is not run'),
  delay: option('DURATION', 'not before: 30s, 5m, 2h, 3d or milliseconds', readDuration),
  expires: option('DURATION', 'dead after so long (default: as the queue says)', readDuration),
  key: option('KEY', 'what order and limits of the queue go by'),
  priority: option('high|normal', 'urgent calls have slots of their own', readOneOf('high', 'normal')),
}

const WORDS = {
  target: operand('CAGE.MODULE.METHOD', readTarget),
  args: optional('JSON', readArguments),
  timeout: option('DURATION', 'how long to wait for the answer (default: 10s)', readDuration),
  log: option('LEVEL', 'what is done for the call logs this much at least: debug, trace', readOneOf(...LOG_LEVELS)),
  queue: option('NAME', 'makes a durable call of it, and prints its id', readName),
  ...QUEUED,
  ...BUS_WORDS,
}

const call = command({
  name: 'call',
  summary: 'calls a method and prints its result as JSON',
  notes: `JSON is the list of arguments, '["World"]', or one argument; text needs its quotes: '"World"'.
With --queue the call is stored, and run by whoever runs the queue: menagerie queue status ID tells what comes of it.`,
  words: WORDS,
  examples: [`call sample.greeter.hello '["World"]'`, `call sample.greeter.hello '["World"]' --queue retry --id greeting-1 --delay 5m`],
  check: (values) =>
    values.queue === undefined
      ? (Object.keys(QUEUED) as (keyof typeof QUEUED)[])
          .filter((name) => values[name] !== undefined)
          .map((name) => `--${name} needs --queue NAME: only queued calls have it`)
      : [],
  run: (values) => {
    const { queue } = values
    if (queue !== undefined) return withQueues('call', values, (bus) => enqueue(bus, queue, values))
    return withBus('call', values, async (bus) => {
      const { cage, module, method } = values.target
      printJson(await bus.call(cage, module, method, values.args ?? [], { deadline: deadlineIn(values), request: requestIn(values) }))
      return 0
    })
  },
})

export const CALL_COMMANDS: Command[] = [call]

async function enqueue(bus: Bus, queue: string, values: Values<typeof WORDS>): Promise<number> {
  const { target, args = [], id, delay: delayMs, expires: expiresMs, key, priority, json } = values
  const { cage, module, method } = target
  await bus.queues.show(queue).catch((error: unknown) => {
    if (!(error instanceof CageError) || error.code !== 'NOT_FOUND') throw error
    note(`menagerie: ${error.message} (the queue is made now, and the call waits for a cage that runs it)`)
  })
  const options = { id, delayMs, expiresMs, key, priority, request: requestIn(values), deadline: deadlineIn(values) }
  const given = await bus.enqueue(queue, cage, module, method, args, options)
  if (json) printJson({ id: given, queue })
  else print(given)
  return 0
}

function requestIn({ log }: { log?: LogLevel | undefined }): RequestInfo {
  return log === undefined ? { id: '' } : { id: '', log }
}

function deadlineIn({ timeout = 10_000 }: { timeout?: number | undefined }): number {
  return Date.now() + timeout
}
