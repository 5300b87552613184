/** A command of `menagerie`: its words, its help and what it does, declared at once. */
import { fail, refuse } from './output.ts'
import { asksFor, operandsHelp, optionsHelp, readWords, type Values, type Words } from './words.ts'

/** How a command is declared. */
export interface CommandSpec<W extends Words> {
  /** `queue ls` */
  name: string
  /** A line for the list of commands. */
  summary: string
  /** What else its user should know. */
  notes?: string
  words: W
  /** Without `menagerie`. */
  examples: string[]
  /** What is wrong with words that are right by themselves; those with mistakes are undefined. */
  check?(values: Partial<Values<W>>): string[]
  /** Resolves with the exit status. An error that it throws is told in one line. */
  run(values: Values<W>): Promise<number>
}

/** A command as the entry sees it. */
export interface Command {
  name: string
  /** `queue show NAME` */
  usage: string
  summary: string
  /** What it takes: the shell's completion asks. */
  words: Words
  /** Not in the list of commands: only programs call it. */
  hidden?: boolean
  run(argv: string[]): Promise<number>
}

/** Makes a command. */
export function command<W extends Words>(spec: CommandSpec<W>): Command {
  const { name, summary, words, check, run } = spec
  const usage = `${name}${operandsHelp(words)}`
  const start = async (argv: string[]): Promise<number> => {
    if (asksFor(argv, 'help', 'h')) {
      process.stdout.write(help(spec, usage))
      return 0
    }
    const { values, mistakes, misspelt } = readWords(argv, words)
    if (!misspelt && check) mistakes.push(...check(values))
    if (mistakes.length > 0) return refuse([...mistakes, `see menagerie ${name} --help`])
    try {
      return await run(values)
    } catch (error) {
      return fail(error, 'json' in values && values.json === true)
    }
  }
  return { name, usage, summary, words, run: start }
}

function help<W extends Words>({ summary, notes, words, examples }: CommandSpec<W>, usage: string): string {
  const sentence = `${summary[0]?.toUpperCase()}${summary.slice(1)}.`
  const shown = examples.map((example) => `  menagerie ${example}\n`).join('')
  return `${sentence}\n\nusage: menagerie ${usage} [options]\n\n${optionsHelp(words)}\n${notes ? `${notes}\n\n` : ''}example:\n${shown}`
}
