/** `menagerie log`: how much a cage logs, changed for a while and without a restart. */
import { CageError } from '../errors.ts'
import { LOG_LEVELS } from '../levels.ts'
import { didYouMean } from '../names.ts'
import { type Command, command } from './command.ts'
import { print, printJson } from './output.ts'
import { BUS_WORDS, withBus } from './session.ts'
import { plural, readDuration, readOneOf, readPlace, showDuration } from './values.ts'
import { operand, option } from './words.ts'

const FOR_MS = 600_000

const log = command({
  name: 'log',
  summary: 'has all copies of a cage, or one of its modules, log more or less for a while',
  notes: 'LEVEL `default` undoes it. A copy that is started meanwhile logs as configured.',
  words: {
    place: operand('CAGE[.MODULE]', readPlace),
    level: operand('LEVEL', readOneOf(...LOG_LEVELS, 'default')),
    for: option('DURATION', 'then as configured again (default: 10m)', readDuration),
    ...BUS_WORDS,
  },
  examples: ['log sample debug --for 5m', 'log sample.greeter trace', 'log sample default'],
  check: ({ level, for: forMs }) => (level === 'default' && forMs !== undefined ? ['--for is for a level, not for default'] : []),
  run: (values) =>
    withBus('log', values, async (bus) => {
      const { place, level, for: forMs = FOR_MS, json } = values
      const { cage, module } = place
      const name = module === undefined ? cage : `${cage}.${module}`
      const copies = await bus.survey.setLogLevel({ cage, module, level: level === 'default' ? undefined : level, forMs })
      if (copies === 0) {
        const found = await bus.discover()
        const known = found.flatMap((one) => [one.cage, ...one.methods.map((method) => `${one.cage}.${method.module}`)])
        if (known.includes(name))
          throw new CageError('UNAVAILABLE', `the copies of ${cage} do not take it: they are of an older version, or busy`)
        throw new CageError('NOT_FOUND', `nobody runs ${name}${didYouMean(name, new Set(known))}`)
      }
      if (json) printJson({ cage, module, level, forMs: level === 'default' ? undefined : forMs, copies })
      else {
        const where = copies === 1 ? 'one copy' : plural(copies, 'copy', 'copies')
        print(
          level === 'default' ? `${name} logs as configured, on ${where}` : `${name} logs ${level} for ${showDuration(forMs)}, on ${where}`,
        )
      }
      return 0
    }),
})

export const LEVEL_COMMANDS: Command[] = [log]
