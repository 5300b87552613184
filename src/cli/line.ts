/** A line of `menagerie repl`: a call as one writes it by hand, or JavaScript. Pure. */
import { isMethodName, isName } from '../names.ts'
import type { Target } from './values.ts'

/** `sample.greeter.hello World 5 {"a":1}`: each word is JSON if it can be, else text; quotes keep words together. */
export interface CallLine {
  target: Target
  args: unknown[]
}

/** Undefined: it is JavaScript, because it looks so, or because `isKnown` says that its first word is a variable. Throws an Error for an open quote. */
export function readCall(line: string, isKnown: (name: string) => boolean): CallLine | undefined {
  const found = /^\s*([A-Za-z][\w-]*)\.([A-Za-z][\w-]*)\.([A-Za-z$][\w$]*)(?=\s|$)(.*)$/s.exec(line)
  if (!found) return undefined
  const [, cage = '', module = '', method = '', rest = ''] = found
  if (isKnown(cage) || !isName(cage) || !isName(module) || !isMethodName(method)) return undefined
  if (/^\s*([=?:;,.&|<>!*%^)\]+]|-\s|\/|instanceof\b|in\b)/.test(rest)) return undefined // an expression goes on
  return { target: { cage, module, method }, args: wordsOf(rest).map(valueIn) }
}

/** Words at blanks; what is in quotes or brackets is one. */
function wordsOf(text: string): string[] {
  const words: string[] = []
  let word = ''
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ''
    if (char === '"' || (char === "'" && word === '')) {
      const end = endOfQuoted(text, at)
      word += text.slice(at, end + 1)
      at = end
    } else if (/\s/.test(char) && depth === 0) {
      if (word !== '') words.push(word)
      word = ''
    } else {
      if ('[{'.includes(char)) depth++
      if (depth > 0 && ']}'.includes(char)) depth--
      word += char
    }
  }
  if (depth > 0) throw new Error('a bracket is open')
  return word === '' ? words : [...words, word]
}

function endOfQuoted(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === text[from]) return at
  }
  throw new Error(`a quote is open: ${text.slice(from, from + 40)}`)
}

function valueIn(word: string): unknown {
  if (/^'.*'$/s.test(word)) return word.slice(1, -1)
  try {
    return JSON.parse(word)
  } catch {
    return word
  }
}

/** What the end of a line could be completed to, of `cage.module.method` names: whole next parts, and the text that they would replace. */
export function completeName(line: string, names: readonly string[]): [found: string[], replaced: string] | undefined {
  const [, prefix = '', typed = ''] = /(?:^|[^\w.$-])(cages\.)?([A-Za-z]?[\w.$-]*)$/.exec(line) ?? []
  const atStart = line.trimStart() === `${prefix}${typed}`
  if (prefix === '' && !atStart) return undefined // a variable, or an argument
  const depth = typed.split('.').length
  const next = names.filter((name) => name.startsWith(typed)).map((name) => name.split('.').slice(0, depth).join('.'))
  const found = [...new Set(next)].sort().map((name) => `${prefix}${name}`)
  return found.length === 0 ? undefined : [found, `${prefix}${typed}`]
}
