/** `menagerie repl`: calls by hand, one after the other, with completion from the bus. */
import { type Command, command } from './command.ts'
import { BUS_WORDS, withBus } from './session.ts'
import { readDuration } from './values.ts'
import { option } from './words.ts'

const HELP = `a call:       sample.greeter.hello World       words are JSON where they can be, else text
JavaScript:   await cages.sample.greeter.hello('World')
there are:    cages, call('sample.greeter.hello', ['World']), admin (queues, sagas, transactions, survey ...)
Tab completes the names of what runs; _ is the last result.`

const repl = command({
  name: 'repl',
  summary: 'makes calls by hand, with completion of cages, modules and methods',
  notes: `${HELP}
What is typed is kept in ~/.menagerie_history (MENAGERIE_HISTORY names another file; empty: none).
Without a terminal it reads lines from standard input, and ends with 1 if one of them failed.`,
  words: { timeout: option('DURATION', 'how long to wait for an answer (default: 10s)', readDuration), ...BUS_WORDS },
  examples: ['repl', `echo 'sample.greeter.hello World' | menagerie repl --json`],
  run: (values) =>
    withBus('repl', values, async (bus) => {
      const { Session } = await import('./interactive.ts')
      const { timeout = 10_000, json } = values
      return new Session(bus, timeout, json).run(HELP)
    }),
})

export const REPL_COMMANDS: Command[] = [repl]
