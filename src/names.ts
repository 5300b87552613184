/** Names of cages, modules, methods, queues: what is legal, and which known one was probably meant. */
import { distance } from 'fastest-levenshtein'

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,31}$/
const METHOD = /^[A-Za-z$][\w$]*$/

/** A cage, module, queue, interface or resource. */
export function isName(text: string): boolean {
  return NAME.test(text)
}

/** A public method: a JavaScript identifier of ASCII letters that does not begin with `_`. */
export function isMethodName(text: string): boolean {
  return METHOD.test(text)
}

/** `module.method`, or `cage.module.method`. */
export function isTarget(text: string): boolean {
  const parts = text.split('.')
  const method = parts.pop() ?? ''
  return (parts.length === 1 || parts.length === 2) && parts.every(isName) && isMethodName(method)
}

/** The known name nearest to a misspelt one, if any is near enough to be meant. */
export function nearest(text: string, known: Iterable<string>): string | undefined {
  const limit = Math.max(2, Math.floor(text.length / 3))
  let best: string | undefined
  let bestDistance = limit + 1
  for (const name of known) {
    const d = distance(text.toLowerCase(), name.toLowerCase())
    if (d < bestDistance) [best, bestDistance] = [name, d]
  }
  return best
}

/** `, did you mean greeter?` or nothing. */
export function didYouMean(text: string, known: Iterable<string>): string {
  const name = nearest(text, known)
  return name === undefined ? '' : `, did you mean ${name}?`
}
