/**
 * Signatures: what a method takes, read from its text. Pure, and tolerant: what it cannot read it leaves out.
 * A method that runs has lost its types, but not the names of its parameters (`parametersOf`); its source has both (`signaturesIn`).
 */

/** A method as its source declares it. */
export interface Signature {
  /** Without the context: `name: string, options?: Options`. */
  parameters: string
  /** Without `Promise<>`; undefined: none is declared. */
  returns: string | undefined
}

const OPEN = '([{'
const CLOSE = ')]}'
const LONGEST = 300

/** The names of a method's parameters behind the context: `name, options?, ...rest`. Empty if it takes none, or does not tell. */
export function parametersOf(method: (...args: never[]) => unknown): string {
  const text = method.toString()
  const open = text.indexOf('(')
  const arrow = text.indexOf('=>')
  if (open < 0 || (arrow >= 0 && arrow < open) || /\[native code\]\s*\}$/.test(text)) return ''
  const { items } = listAt(text, open, false)
  return short(items.slice(1).map(nameOf).join(', '))
}

/** The methods that a TypeScript or JavaScript source exports as functions, with what is declared of them. */
export function signaturesIn(source: string): Map<string, Signature> {
  const found = new Map<string, Signature>()
  const heads =
    /^export\s+(?:(?:async\s+)?function\s*\*?\s*([A-Za-z$][\w$]*)|(?:const|let)\s+([A-Za-z$][\w$]*)\s*=\s*(?:async\s*)?(?=[(<]))/gm
  for (const head of source.matchAll(heads)) {
    const name = head[1] ?? head[2] ?? ''
    let at = head.index + head[0].length
    while (/\s/.test(source[at] ?? '')) at++
    if (source[at] === '<') at = skipTo(source, at + 1, '>') + 1 // its type parameters
    if (source[at] !== '(') continue
    const { items, end } = listAt(source, at, true)
    const returns = /^\s*:/.test(source.slice(end + 1)) ? returnsAt(source, source.indexOf(':', end) + 1) : undefined
    found.set(name, { parameters: short(items.slice(1).map(squeeze).join(', ')), returns: returns && withoutPromise(returns) })
  }
  return found
}

/** What stands between the bracket at `open` and its end, at its commas. `typed`: `<` and `>` are brackets too. */
function listAt(text: string, open: number, typed: boolean): { items: string[]; end: number } {
  const items: string[] = []
  let begin = open + 1
  let depth = 0
  for (let at = begin; at < text.length; at++) {
    at = pastQuoted(text, at)
    const char = text[at] ?? ''
    if (OPEN.includes(char) || (typed && char === '<')) depth++
    else if (depth > 0 && (CLOSE.includes(char) || (typed && char === '>' && text[at - 1] !== '='))) depth--
    else if (depth === 0 && (char === ',' || char === ')')) {
      items.push(text.slice(begin, at))
      begin = at + 1
      if (char === ')') return { items: items.map(withoutComments).filter((item) => item !== ''), end: at }
    }
  }
  return { items: [], end: text.length }
}

/** The type from `at` to the body's `{` or `=>`. */
function returnsAt(text: string, from: number): string | undefined {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    at = pastQuoted(text, at)
    const char = text[at] ?? ''
    const begun = text.slice(from, at).trim()
    const isBody =
      (char === '{' && begun !== '' && !/[|&:<(,]$/.test(begun)) || (char === '=' && text[at + 1] === '>' && !begun.endsWith(')'))
    if (depth === 0 && isBody) return short(squeeze(withoutComments(begun)))
    if (`${OPEN}<`.includes(char)) depth++
    else if (CLOSE.includes(char) || (char === '>' && text[at - 1] !== '=')) depth--
  }
  return undefined
}

/** The place of a bracket's end. */
function skipTo(text: string, from: number, end: string): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    at = pastQuoted(text, at)
    const char = text[at] ?? ''
    if (depth === 0 && char === end && text[at - 1] !== '=') return at
    if (`${OPEN}<`.includes(char)) depth++
    else if (CLOSE.includes(char) || (char === '>' && text[at - 1] !== '=')) depth--
  }
  return text.length
}

/** The last character of the text in quotes, or of the comment, that begins at `at`; else `at`. */
function pastQuoted(text: string, at: number): number {
  const char = text[at] ?? ''
  if (char === '/' && text[at + 1] === '/') return endOr(text, text.indexOf('\n', at))
  if (char === '/' && text[at + 1] === '*') return endOr(text, text.indexOf('*/', at) + 1)
  if (char !== "'" && char !== '"' && char !== '`') return at
  for (let end = at + 1; end < text.length; end++) {
    if (text[end] === '\\') end++
    else if (text[end] === char) return end
  }
  return text.length
}

function endOr(text: string, end: number): number {
  return end <= 0 ? text.length : end
}

/** `options = {}` → `options?`. */
function nameOf(parameter: string): string {
  let depth = 0
  for (let at = 0; at < parameter.length; at++) {
    at = pastQuoted(parameter, at)
    const char = parameter[at] ?? ''
    if (OPEN.includes(char)) depth++
    else if (CLOSE.includes(char)) depth--
    else if (depth === 0 && char === '=') return `${squeeze(parameter.slice(0, at))}?`
  }
  return squeeze(parameter)
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '').trim()
}

function withoutPromise(type: string): string {
  return /^Promise<([\s\S]*)>$/.exec(type)?.[1] ?? type
}

function squeeze(text: string): string {
  return text.replace(/\s+/g, ' ').trim()
}

function short(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text
}
