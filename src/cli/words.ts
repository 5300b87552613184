/**
 * Words of a command line: a table of what is allowed → its values, or every mistake at once. Pure.
 * L1. A mistake names the word, and what was probably meant.
 * L2. A value is read where the table says how: a reader returns what the text means, or throws an Error whose message completes `--rate 0: `.
 */
import { parseArgs } from 'node:util'
import { didYouMean, nearest } from '../names.ts'

/** One allowed word. `T` is what becomes of it. */
export interface Word<T> {
  kind: 'flag' | 'option' | 'options' | 'operand' | 'optional' | 'operands'
  /** Of its value in the help: `URL`. */
  label: string
  help: string
  read: (text: string) => unknown
  /** Only a type. */
  readonly type?: T
}

/** A table; operands come in its order. */
export type Words = Readonly<Record<string, Word<unknown>>>

export type Values<W extends Words> = { [Name in keyof W]: W[Name] extends Word<infer T> ? T : never }

export interface ReadWords<W extends Words> {
  /** Complete if there are no mistakes; a word with one is undefined. */
  values: Values<W>
  mistakes: string[]
  /** A word is misspelt: what seems to be missing may be there. */
  misspelt: boolean
}

const text = (given: string): string => given

/** `--json` */
export function flag(help: string): Word<boolean> {
  return { kind: 'flag', label: '', help, read: () => true }
}

/** `--queue NAME`; given twice, the last one counts. */
export function option(label: string, help: string): Word<string | undefined>
export function option<T>(label: string, help: string, read: (text: string) => T): Word<T | undefined>
export function option(label: string, help: string, read: (text: string) => unknown = text): Word<unknown> {
  return { kind: 'option', label, help, read }
}

/** `--bus URL --bus URL`. */
export function options<T>(label: string, help: string, read: (text: string) => T): Word<T[]> {
  return { kind: 'options', label, help, read }
}

/** `NAME` */
export function operand<T>(label: string, read: (text: string) => T): Word<T> {
  return { kind: 'operand', label, help: '', read }
}

/** `[JSON]` */
export function optional<T>(label: string, read: (text: string) => T): Word<T | undefined> {
  return { kind: 'optional', label, help: '', read }
}

/** `[SEQ...]` */
export function operands<T>(label: string, read: (text: string) => T): Word<T[]> {
  return { kind: 'operands', label, help: '', read }
}

/** Whether `--help` (`-h`) is among the words: it wins over every mistake. */
export function asksFor(argv: string[], name: string, short: string): boolean {
  const end = argv.indexOf('--')
  return (end < 0 ? argv : argv.slice(0, end)).some((word) => word === `--${name}` || word === `-${short}`)
}

/** Reads the words after a command. */
export function readWords<W extends Words>(argv: string[], words: W): ReadWords<W> {
  const named = Object.entries(words).filter(([, word]) => isOption(word))
  const names = named.map(([name]) => name)
  const config = Object.fromEntries(named.map(([name, { kind }]) => [name, { type: kind === 'flag' ? 'boolean' : 'string' } as const]))
  const { tokens } = parseArgs({ args: argv, options: config, strict: false, tokens: true, allowPositionals: true })
  const places = Object.entries(words).filter(([, word]) => !isOption(word))
  const given = new Map<string, unknown[]>()
  const unknown: string[] = []
  const wrong = new Set<string>()
  const mistakes: string[] = []
  const take = (name: string, word: Word<unknown>, shown: string, value: string): void => {
    const values = given.get(name) ?? []
    given.set(name, values)
    try {
      values.push(word.read(value))
    } catch (error) {
      mistakes.push(`${shown}: ${error instanceof Error ? error.message : error}`) // L2
      wrong.add(name)
    }
  }
  let valueOfUnknown = -1
  for (const token of tokens) {
    if (token.kind === 'positional') {
      if (token.index === valueOfUnknown) continue
      const [place] = places
      if (!place) {
        unknown.push(
          `${JSON.stringify(token.value)} is not an option${names.includes(token.value) ? `, did you mean --${token.value}?` : ''}`,
        )
        continue
      }
      if (place[1].kind !== 'operands') places.shift()
      take(...place, `${place[1].label.replace('...', '')} ${token.value}`, token.value)
    } else if (token.kind === 'option') {
      const { name, rawName, value, inlineValue } = token
      const word = names.includes(name) ? words[name] : undefined
      if (!word) {
        if (!inlineValue) valueOfUnknown = token.index + 1
        unknown.push(`unknown option ${rawName}${didYouMean(name, [...names, 'help']).replace('mean ', 'mean --')}`)
      } else if (word.kind === 'flag') {
        if (value !== undefined) mistakes.push(`${rawName} takes no value`)
        else take(name, word, rawName, '')
      } else if (!value || (value.startsWith('--') && !inlineValue)) {
        given.set(name, given.get(name) ?? [])
        mistakes.push(`${rawName} needs a value`)
      } else take(name, word, `${rawName} ${value}`, value)
    }
  }
  for (const [, { kind, label }] of places) if (kind === 'operand' && unknown.length === 0) mistakes.push(`${label} is missing`)
  const values = Object.fromEntries(
    Object.entries(words).map(([name, { kind }]) => {
      const all = given.get(name) ?? []
      if (wrong.has(name)) return [name, undefined]
      return [name, kind === 'flag' ? all.length > 0 : kind === 'options' || kind === 'operands' ? all : all.at(-1)]
    }),
  ) as Values<W> // the table says so
  return { values, mistakes: [...unknown, ...mistakes], misspelt: unknown.length > 0 }
}

/** The options, one a line, for the help. */
export function optionsHelp(words: Words): string {
  const lines = Object.entries(words)
    .filter(([, word]) => isOption(word))
    .map(([name, { label, help }]) => [`--${name}${label && ` ${label}`}`, help] as const)
  const width = Math.max(...lines.map(([left]) => left.length)) + 2
  return lines.map(([left, help]) => `  ${left.padEnd(width)}${help.replaceAll('\n', `\n  ${' '.repeat(width)}`)}\n`).join('')
}

/** The operands, for the line of the usage. */
export function operandsHelp(words: Words): string {
  return Object.values(words)
    .filter((word) => !isOption(word))
    .map(({ kind, label }) => (kind === 'operand' ? ` ${label}` : ` [${label}]`))
    .join('')
}

/** The command that was probably meant: by its whole name, `quue ls`, or by its last word only, `status`. */
export function meantCommand(words: string[], commands: string[]): string {
  const lastOf = (name: string): string => name.slice(name.lastIndexOf(' ') + 1)
  const last = (): string | undefined => nearest(words[0] ?? '', commands.map(lastOf))
  const meant = nearest(words.join(' '), commands) ?? commands.find((name) => lastOf(name) === last())
  return meant === undefined ? '' : `, did you mean ${meant}?`
}

function isOption({ kind }: Word<unknown>): boolean {
  return kind === 'flag' || kind === 'option' || kind === 'options'
}
