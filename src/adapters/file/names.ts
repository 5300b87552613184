/** Names of files in a folder, and patterns of them. Pure. */
import { CageError } from '../../errors.ts'

/** Our own folder in theirs: nobody else's name begins so. */
export const OWN = '.menagerie'

/** `a/b.txt` as its parts. INVALID_ARGUMENT for what leads out of the folder, or into our own. */
export function partsOf(name: unknown): string[] {
  if (typeof name !== 'string' || name === '') throw new CageError('INVALID_ARGUMENT', 'the name of a file is no text')
  const parts = name.split('/')
  const isPlain = (part: string): boolean => part !== '' && part !== '.' && part !== '..' && !part.includes('\0')
  if (!parts.every(isPlain) || parts[0] === OWN)
    throw new CageError('INVALID_ARGUMENT', `${JSON.stringify(name)} is no name of a file in this folder`)
  return parts
}

/** Tests names: `*` is any text, `?` any character, everything else itself. */
export function matcher(pattern: string): (name: string) => boolean {
  const signs = Array.from(pattern)
  return (name) => matches(signs, Array.from(name))
}

/** Only the last `*` is ever tried again: those before it have taken as little as they can. So no name takes long. */
function matches(signs: readonly string[], name: readonly string[]): boolean {
  let at = 0
  let afterStar = -1
  let retryFrom = 0
  for (let next = 0; next < name.length; ) {
    if (signs[at] === '*') {
      afterStar = ++at
      retryFrom = next
    } else if (signs[at] === '?' || signs[at] === name[next]) {
      at++
      next++
    } else if (afterStar >= 0) {
      at = afterStar
      next = ++retryFrom
    } else return false
  }
  return signs.slice(at).every((sign) => sign === '*')
}
