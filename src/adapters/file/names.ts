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
  const source = pattern
    .replace(/[\\^$.|+()[\]{}]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  const expression = new RegExp(`^${source}$`, 'su')
  return (name) => expression.test(name)
}
