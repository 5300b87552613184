/**
 * Words: the short texts and numbers of a call's arguments, which it is found by.
 * W1. Nothing under a secret's name: the key of an object, a parameter of the request, or the parameter of the method.
 * W2. It costs a few hundred nanoseconds at most: the first arguments, one level deep, no text that is long, nothing copied.
 */
import { isSecret } from './secrets.ts'

export type Word = string | number | bigint

const ARGUMENTS = 4
const VALUES = 8
const LONGEST = 64
const NO_PARAMETERS: Readonly<Record<string, unknown>> = {}

/** `secrets`: the places of arguments that are secrets (see secretPlaces). */
export function wordsOf(args: readonly unknown[], parameters: Readonly<Record<string, unknown>> = NO_PARAMETERS, secrets = 0): Word[] {
  const words: Word[] = []
  const last = Math.min(args.length, ARGUMENTS)
  for (let i = 0; i < last; i++) {
    if ((secrets & (1 << i)) !== 0) continue
    const value = args[i]
    if (isWord(value)) words.push(value)
    else if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype)
      addValues(words, value as Record<string, unknown>)
  }
  if (parameters !== NO_PARAMETERS) addValues(words, parameters)
  return words
}

/** Which of a method's arguments are secrets, by the names of its parameters after `ctx`: a bit for each. Pure, and slow. */
export function secretPlaces(method: (...args: never[]) => unknown): number {
  const source = method.toString().slice(0, 500)
  const head = /^[^(]*\(([^)]*)/.exec(source)?.[1] ?? ''
  const [, ...names] = head.split(',').map((one) => /^[\s.]*([\w$]+)/.exec(one)?.[1] ?? '')
  return names.slice(0, ARGUMENTS).reduce((bits, name, i) => (isSecret(name) ? bits | (1 << i) : bits), 0)
}

/** Whether something is found by a text: its request or call as a whole, or one of its words. Pure. */
export function holds(step: { request: string; callId?: string | undefined; words: readonly Word[] }, text: string): boolean {
  const { request, callId, words } = step
  if (request === text || callId === text || callId?.startsWith(`${text}/`) === true) return true
  for (const word of words) if (word === text || (typeof word !== 'string' && String(word) === text)) return true
  return false
}

function addValues(words: Word[], values: Readonly<Record<string, unknown>>): void {
  let n = 0
  for (const name in values) {
    if (n++ === VALUES) return
    const value = values[name]
    if (isWord(value) && !OURS.has(name) && !isSecret(name)) words.push(value)
  }
}

/** Parameters that every request of an interface has. */
const OURS: ReadonlySet<string> = new Set(['interface', 'protocol'])

function isWord(value: unknown): value is Word {
  return typeof value === 'string' ? value.length <= LONGEST && value !== '' : typeof value === 'number' || typeof value === 'bigint'
}
