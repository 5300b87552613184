/** `menagerie tail`: what cages do, as it happens. */
import type { Step } from '../bus/survey/contract.ts'
import { type Command, command } from './command.ts'
import { note, paint, plain, print, printJson } from './output.ts'
import { BUS_WORDS, withBus } from './session.ts'
import { plural, readDuration, readPrefix } from './values.ts'
import { flag, option, optional } from './words.ts'

const tail = command({
  name: 'tail',
  summary: 'shows calls, resource calls and requests as they end, until it is interrupted',
  notes: `A line is: when it ended, how long it took, what it was, its request, its error.
Copies tell at most a few thousand steps a second: what was too much is counted.`,
  words: {
    target: optional('CAGE[.MODULE[.METHOD]]', readPrefix),
    errors: flag('only what ends in an error'),
    slow: option('DURATION', 'only what takes so long at least', readDuration),
    text: option('TEXT', 'only what has this as its request, its call’s id or one of its words'),
    ...BUS_WORDS,
  },
  examples: ['tail', 'tail shop.payment --errors', 'tail --slow 200ms --json | jq .what'],
  run: (values) =>
    withBus('tail', values, async (bus) => {
      const [cage, module, method] = values.target?.split('.') ?? []
      let missed = 0
      const stop = await bus.survey.tail(
        { cage, module, method, errors: values.errors, minMs: values.slow, text: values.text },
        (step, dropped) => {
          if (dropped > 0) note(`${plural(dropped, 'step')} not shown: too many at once`)
          missed += dropped
          if (values.json) printJson(step)
          else print(lineOf(step))
        },
      )
      note('waiting for calls')
      const interrupted = new Promise<void>((resolve) => {
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
      })
      await Promise.race([interrupted, bus.done])
      stop()
      if (missed > 0) note(`${plural(missed, 'step')} not shown in all`)
      return 0
    }),
})

export const TAIL_COMMANDS: Command[] = [tail]

/** `12:00:01.123    3.2 ms  shop.payment.charge  r7  REFUSED: no money`. */
export function lineOf({ at, ms, kind, cage, what, request, code, message, queue, attempt }: Step): string {
  const time = new Date(at + ms - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(11, 23)
  const name = plain(`${kind === 'call' ? '' : `${kind} `}${cage}.${what}`)
  const from = queue === undefined ? '' : plain(`  queue ${queue}${attempt !== undefined && attempt > 1 ? ` attempt ${attempt}` : ''}`)
  const took = `${ms < 1_000 ? ms.toFixed(1) : Math.round(ms)} ms`.padStart(10)
  const error = code === undefined ? '' : `  ${paint(plain(`${code}: ${message ?? ''}`), 'red')}`
  return `${paint(time, 'dim')} ${took}  ${name}${from}  ${paint(plain(request), 'dim')}${error}`
}
