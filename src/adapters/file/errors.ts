/** What the file system says, as ours. Pure. No path is told that the caller has not given. */
import { CageError, type Code } from '../../errors.ts'

/** `what`: the resource, and the name that the caller gave. */
export function fromFileSystem(error: unknown, what: string): CageError {
  if (error instanceof CageError) return error
  const code = errnoOf(error) ?? ''
  const known = Object.hasOwn(CODES, code) ? CODES[code] : undefined
  if (!known) return new CageError('INTERNAL', `${what}: the file system has failed`, { cause: error })
  return new CageError(known[0], `${what}: ${known[1]} (${code})`, { cause: error })
}

/** E.g. `ENOENT`. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
}

const CODES: Readonly<Record<string, readonly [Code, string]>> = {
  ENOENT: ['NOT_FOUND', 'it is not there'],
  EEXIST: ['CONFLICT', 'it is there already'],
  ENOTEMPTY: ['CONFLICT', 'it is a folder with something in it'],
  EBUSY: ['CONFLICT', 'it is in use'],
  ETXTBSY: ['CONFLICT', 'it is in use'],
  EISDIR: ['INVALID_ARGUMENT', 'it is a folder'],
  ENOTDIR: ['INVALID_ARGUMENT', 'what leads to it is no folder'],
  ELOOP: ['INVALID_ARGUMENT', 'a symbolic link is not followed'],
  ENXIO: ['INVALID_ARGUMENT', 'it is no file'],
  ENAMETOOLONG: ['INVALID_ARGUMENT', 'the name is too long'],
  EXDEV: ['INVALID_ARGUMENT', 'it is in another file system'],
  EMLINK: ['INVALID_ARGUMENT', 'it has too many names'],
  EFBIG: ['PAYLOAD_TOO_LARGE', 'the file is too large'],
  EACCES: ['FORBIDDEN', 'the system does not allow it'],
  EPERM: ['FORBIDDEN', 'the system does not allow it'],
  EROFS: ['FORBIDDEN', 'the file system is read-only'],
  ENOSPC: ['OVERLOADED', 'the disk is full'],
  EDQUOT: ['OVERLOADED', 'the quota is used up'],
  EMFILE: ['OVERLOADED', 'too many files are open'],
  ENFILE: ['OVERLOADED', 'too many files are open'],
  ENOMEM: ['OVERLOADED', 'there is no memory'],
  EIO: ['UNAVAILABLE', 'the disk has failed'],
  ESTALE: ['UNAVAILABLE', 'the file system is gone'],
  ENODEV: ['UNAVAILABLE', 'the file system is gone'],
  ENOTCONN: ['UNAVAILABLE', 'the file system is gone'],
  ETIMEDOUT: ['UNAVAILABLE', 'the file system does not answer'],
}
