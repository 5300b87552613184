/** `menagerie schedule`: what runs by the clock, and running it now. */
import { type Command, command } from './command.ts'
import { note, print, printJson, printTable } from './output.ts'
import { BUS_WORDS, withBus } from './session.ts'
import { showTime } from './values.ts'
import { operand } from './words.ts'

const ls = command({
  name: 'schedule ls',
  summary: 'lists the schedules of all cages that run, with their next and last runs',
  words: BUS_WORDS,
  examples: ['schedule ls', 'schedule ls --json | jq .next'],
  run: (values) =>
    withBus('schedule ls', values, async ({ schedules }) => {
      const all = await schedules.list()
      if (values.json) for (const schedule of all) printJson(schedule)
      else if (all.length === 0) note('no cage that runs has schedules')
      else
        printTable(
          ['SCHEDULE', 'TIMING', 'CALLS', 'NEXT', 'LAST', 'OUTCOME'],
          all.map(({ cage, name, timing, call, queue, next, last }) => [
            `${cage}.${name}`,
            timing,
            queue === undefined ? call : `${call}, queue ${queue}`,
            next === undefined ? 'never' : showTime(Date.parse(next)),
            last === undefined ? '' : showTime(Date.parse(last.at)),
            last === undefined ? '' : `${last.outcome}${last.message === undefined ? '' : `: ${last.message}`}`,
          ]),
        )
      return 0
    }),
})

const run = command({
  name: 'schedule run',
  summary: 'has a schedule run now, whatever the clock says',
  words: { schedule: operand('CAGE.NAME', readSchedule), ...BUS_WORDS },
  examples: ['schedule run reports.nightly'],
  run: (values) =>
    withBus('schedule run', values, async ({ schedules }) => {
      const { id } = await schedules.run(...values.schedule)
      if (values.json) printJson({ id })
      else print(id)
      return 0
    }),
})

export const SCHEDULE_COMMANDS: Command[] = [ls, run]

function readSchedule(text: string): [cage: string, name: string] {
  const [cage = '', name = '', ...rest] = text.split('.')
  if (cage === '' || name === '' || rest.length > 0) throw new Error('a schedule is named CAGE.NAME, as in reports.nightly')
  return [cage, name]
}
