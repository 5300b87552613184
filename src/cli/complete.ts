/**
 * What may come next on a command line: pure, but for names that only the bus knows, which it asks for.
 * P1. The last word is the one that is being written; it may be empty.
 * P2. Where files are meant nothing is proposed: the shell does that by itself.
 */
import type { Command } from './command.ts'
import type { Word, Words } from './words.ts'

/** Names that only the bus knows. */
export type Live = 'method' | 'place' | 'cage' | 'queue' | 'schedule'

export interface Proposals {
  /** Words to choose from, those that begin with what is written. */
  words: string[]
  /** These besides, once they are known. */
  live?: Live | undefined
  /** What is written of the last word. */
  written: string
}

/** `typed`: the words after `menagerie`, up to the one that is being written (P1). */
export function propose(commands: readonly Pick<Command, 'name' | 'words'>[], typed: readonly string[]): Proposals {
  const written = typed.at(-1) ?? ''
  const before = typed.slice(0, -1)
  const found = commandOf(commands, before)
  if (!found) {
    const [first] = before
    const next = commands.flatMap(({ name }) => {
      const [family = '', member] = name.split(' ')
      if (before.length === 0) return [family]
      return before.length === 1 && family === first && member !== undefined ? [member] : []
    })
    return { words: chosen([...next, ...(before.length === 0 ? ['help', '--help', '--version'] : [])], written), written }
  }
  const { words } = found.command
  const [previous = ''] = found.rest.slice(-1)
  const option = previous.startsWith('--') ? words[previous.slice(2)] : undefined
  if (option && option.kind !== 'flag') return valuesOf(option, written, previous)
  if (written.startsWith('-')) {
    const names = Object.entries(words).filter(
      ([name, word]) => isOption(word) && !(word.kind !== 'options' && found.rest.includes(`--${name}`)),
    )
    return { words: chosen([...names.map(([name]) => `--${name}`), '--help'], written), written }
  }
  const place = operandAt(words, operandsIn(words, found.rest))
  return place ? valuesOf(place, written, found.command.name) : { words: [], written }
}

function commandOf<C extends Pick<Command, 'name'>>(
  commands: readonly C[],
  before: readonly string[],
): { command: C; rest: string[] } | undefined {
  for (const length of [2, 1]) {
    const command = commands.find(({ name }) => before.length >= length && name === before.slice(0, length).join(' '))
    if (command) return { command, rest: before.slice(length) }
  }
  return undefined
}

/** How many operands are written already. */
function operandsIn(words: Words, rest: readonly string[]): number {
  let count = 0
  for (let at = 0; at < rest.length; at++) {
    const text = rest[at] ?? ''
    if (!text.startsWith('--')) count++
    else if (!text.includes('=') && (words[text.slice(2)]?.kind ?? 'flag') !== 'flag') at++ // its value
  }
  return count
}

function operandAt(words: Words, index: number): Word<unknown> | undefined {
  const operands = Object.values(words).filter((word) => !isOption(word))
  return operands[index] ?? operands.filter(({ kind }) => kind === 'operands').at(-1)
}

const LIVE: Readonly<Record<string, Live>> = {
  'CAGE.MODULE.METHOD': 'method',
  'CAGE[.MODULE[.METHOD]]': 'method',
  'CAGE[.MODULE]': 'place',
  CAGE: 'cage',
}

/** `of`: the option, or the command whose operand it is. Other names are of things that are to be made. */
function valuesOf({ read, label }: Word<unknown>, written: string, of: string): Proposals {
  const { choices } = read as { choices?: readonly string[] } // readOneOf's
  if (choices) return { words: chosen(choices, written), written }
  if (label === 'NAME' && /^(--queue$|queue )/.test(of)) return { words: [], live: 'queue', written }
  if (label === 'CAGE.NAME' && of.startsWith('schedule ')) return { words: [], live: 'schedule', written }
  return { words: [], live: LIVE[label], written }
}

function chosen(words: readonly string[], written: string): string[] {
  return [...new Set(words)].filter((word) => word.startsWith(written)).sort()
}

function isOption({ kind }: Word<unknown>): boolean {
  return kind === 'flag' || kind === 'option' || kind === 'options'
}
