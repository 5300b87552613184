/** How a transaction begins: its options. Pure. MySQL 8.4, 15.3.7 (SET TRANSACTION); MariaDB: SET TRANSACTION. */
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'

/** Default: as the server has it, which is `repeatable read` and writing. */
export interface TransactionOptions {
  isolation?: 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable'
  readOnly?: boolean
}

const ISOLATIONS = ['read uncommitted', 'read committed', 'repeatable read', 'serializable']
const KNOWN = ['isolation', 'readOnly']

/** SQL of the next transaction's characteristics; undefined if there are none. INVALID_ARGUMENT. */
export function characteristics(given: Readonly<Record<string, unknown>>): string | undefined {
  for (const key of Object.keys(given)) {
    if (!KNOWN.includes(key)) throw new CageError('INVALID_ARGUMENT', `a transaction has no option ${key}${didYouMean(key, KNOWN)}`)
  }
  const { isolation, readOnly } = given
  const words: string[] = []
  if (isolation !== undefined) {
    if (typeof isolation !== 'string' || !ISOLATIONS.includes(isolation))
      throw new CageError('INVALID_ARGUMENT', `isolation is none of ${ISOLATIONS.join(', ')}`)
    words.push(`ISOLATION LEVEL ${isolation.toUpperCase()}`)
  }
  if (readOnly !== undefined) {
    if (typeof readOnly !== 'boolean') throw new CageError('INVALID_ARGUMENT', 'readOnly is neither true nor false')
    words.push(readOnly ? 'READ ONLY' : 'READ WRITE')
  }
  return words.length === 0 ? undefined : `SET TRANSACTION ${words.join(', ')}`
}
