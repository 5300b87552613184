/** What the operating system says of a command that cannot be started, as ours. Pure. */
import { CageError, type Code } from '../../errors.ts'

/** `what`: resource and command. */
export function fromSpawn(error: unknown, what: string): CageError {
  if (error instanceof CageError) return error
  const { code = '' } = error as NodeJS.ErrnoException // spawn fails with nothing else
  const known = Object.hasOwn(CODES, code) ? CODES[code] : undefined
  if (!known) return new CageError('INTERNAL', `${what} cannot be started`, { cause: error })
  return new CageError(known[0], `${what} cannot be started: ${known[1]} (${code})`, { cause: error })
}

const CODES: Readonly<Record<string, readonly [Code, string]>> = {
  ENOENT: ['UNAVAILABLE', 'its program or folder is not there'], // it may be installed yet
  ENOTDIR: ['UNAVAILABLE', 'its program or folder is not there'],
  ENOEXEC: ['UNAVAILABLE', 'it is no program'],
  EACCES: ['FORBIDDEN', 'it may not be run'],
  EPERM: ['FORBIDDEN', 'it may not be run'],
  E2BIG: ['INVALID_ARGUMENT', 'arguments and environment are too long'],
  EAGAIN: ['OVERLOADED', 'there are too many processes'],
  ENOMEM: ['OVERLOADED', 'there is no memory'],
  EMFILE: ['OVERLOADED', 'too many files are open'],
  ENFILE: ['OVERLOADED', 'too many files are open'],
}
