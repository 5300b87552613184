/**
 * What a command says. Results go to standard output, everything about them to standard error.
 * O1. `--json` prints a document a line: one for a thing, one for each item of a list.
 * O2. A terminal gets colours (NO_COLOR: none), lines cut at its edge, and progress in one line; anything else gets whole lines.
 * O3. Text from elsewhere cannot steer the terminal.
 */
import { createInterface } from 'node:readline/promises'
import { styleText } from 'node:util'
import { CageError } from '../errors.ts'
import { toJson } from '../json.ts'

/** EX_CONFIG of sysexits.h: the command cannot be understood, or not in this folder. */
export const EX_CONFIG = 78

type Style = 'bold' | 'dim' | 'red' | 'yellow' | 'green'

/** A cell: its text, and how it looks on a terminal. */
export type Cell = string | number | { text: string; style: Style }

/** A line of JSON (O1). */
export function printJson(value: unknown): void {
  process.stdout.write(`${toJson(value)}\n`)
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Something about the result, on standard error. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Every mistake; returns the exit status. */
export function refuse(mistakes: string[]): number {
  for (const mistake of mistakes) note(`menagerie: ${plain(mistake)}`)
  return EX_CONFIG
}

/** An error that ends the command; returns the exit status. */
export function fail(error: unknown, json: boolean): number {
  if (!(error instanceof CageError)) throw error
  if (json) note(toJson({ error }))
  else {
    const details = error.details === undefined ? '' : ` ${toJson(error.details)}`
    note(`menagerie: ${error.code}: ${plain(error.message)}${plain(details)}`)
  }
  return 1
}

/** Rows under their heads, aligned; a column of numbers to the right. */
export function printTable(heads: string[], rows: Cell[][]): void {
  for (const line of tableLines(heads, rows)) print(line)
}

/** The same, as lines. */
export function tableLines(heads: string[], rows: Cell[][]): string[] {
  const all = [heads.map((text): Cell => ({ text, style: 'dim' })), ...rows]
  const widths = heads.map((_, column) => Math.max(...all.map((row) => textOf(row[column]).length)))
  const numeric = heads.map((_, column) => rows.length > 0 && rows.every((row) => /^(\d[\d.,]*|-)$/.test(textOf(row[column]))))
  const edge = process.stdout.isTTY ? process.stdout.columns : Number.POSITIVE_INFINITY
  return all.map((row) => {
    let left = edge
    const cells = row.map((cell, column) => {
      const text = textOf(cell)
      const width = widths[column] ?? 0
      const last = column === row.length - 1
      const padded = numeric[column] ? text.padStart(width) : last ? text : text.padEnd(width)
      const cut = padded.length > left ? `${padded.slice(0, Math.max(0, left - 1))}…` : padded
      left = Math.max(0, left - cut.length - 2)
      return typeof cell === 'object' ? paint(cut, cell.style) : cut
    })
    return cells.join('  ').trimEnd()
  })
}

/** `name  value` lines. */
export function printFields(fields: [name: string, value: Cell | undefined][]): void {
  const shown = fields.filter((field): field is [string, Cell] => field[1] !== undefined)
  const width = Math.max(...shown.map(([name]) => name.length)) + 2
  for (const [name, value] of shown) {
    const text = textOf(value)
    print(`${paint(name.padEnd(width), 'dim')}${typeof value === 'object' ? paint(text, value.style) : text}`)
  }
}

/** Text with what would steer a terminal made visible (O3). */
export function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (char) =>
    char === '\n' ? ' ' : `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`,
  )
}

/** Tells how far a long work is: in place on a terminal, else a line every few seconds. */
export class Progress {
  readonly #terminal = process.stderr.isTTY
  #nextAt = Date.now() + (this.#terminal ? 100 : 5_000)
  #written = false

  update(text: string): void {
    const now = Date.now()
    if (now < this.#nextAt) return
    this.#nextAt = now + (this.#terminal ? 100 : 5_000)
    if (this.#terminal) process.stderr.write(`\r\x1b[2K${text.slice(0, process.stderr.columns - 1)}`)
    else note(text)
    this.#written = true
  }

  /** Clears the line. */
  end(): void {
    if (this.#terminal && this.#written) process.stderr.write('\r\x1b[2K')
    this.#written = false
  }
}

/** Asks before something is destroyed, unless `yes`. Undefined: go on; else the exit status: 1 for a no, 78 where nobody can be asked. */
export async function agree(question: string, yes: boolean): Promise<number | undefined> {
  if (yes) return undefined
  if (!process.stdin.isTTY || !process.stderr.isTTY) return refuse([`${question} there is no terminal to ask on: --yes says so`])
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await lines.question(`${question} [y/N] `).catch(() => '') // Ctrl-C, Ctrl-D
  lines.close()
  if (/^y(es)?$/i.test(answer.trim())) return undefined
  note('nothing was done')
  return 1
}

function textOf(cell: Cell | undefined): string {
  if (cell === undefined) return ''
  return typeof cell === 'object' ? plain(cell.text) : plain(String(cell))
}

/** On a terminal that wants colours. */
export function paint(text: string, style: Style): string {
  return process.stdout.isTTY && !process.env.NO_COLOR ? styleText(style, text) : text
}
