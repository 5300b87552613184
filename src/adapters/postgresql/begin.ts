/** How a transaction begins: its options, and limits that the server keeps by itself. Pure. PostgreSQL 18: BEGIN, 19.11.1. */
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
import { LONGEST_TIMER_MS } from '../../pause.ts'

export type Isolation = 'read uncommitted' | 'read committed' | 'repeatable read' | 'serializable'

/** Default: as the server has it, which is `read committed` and writing. */
export interface TransactionOptions {
  isolation?: Isolation
  readOnly?: boolean
  /** Of a serializable, read-only one: waits for a moment at which it cannot fail. */
  deferrable?: boolean
}

const ISOLATIONS: readonly Isolation[] = ['read uncommitted', 'read committed', 'repeatable read', 'serializable']
const KNOWN = ['isolation', 'readOnly', 'deferrable']

/** Checks what a caller gave. INVALID_ARGUMENT. */
export function transactionOptions(given: unknown): TransactionOptions {
  if (typeof given !== 'object' || given === null) throw new CageError('INVALID_ARGUMENT', 'the options of a transaction are no object')
  for (const key of Object.keys(given)) {
    if (!KNOWN.includes(key)) throw new CageError('INVALID_ARGUMENT', `a transaction has no option ${key}${didYouMean(key, KNOWN)}`)
  }
  const { isolation, readOnly, deferrable } = given as Record<string, unknown>
  const options: TransactionOptions = {}
  if (isolation !== undefined) {
    const known = ISOLATIONS.find((name) => name === isolation)
    if (known === undefined) throw new CageError('INVALID_ARGUMENT', `isolation is none of ${ISOLATIONS.join(', ')}`)
    options.isolation = known
  }
  for (const [key, value] of Object.entries({ readOnly, deferrable })) {
    if (value !== undefined && typeof value !== 'boolean') throw new CageError('INVALID_ARGUMENT', `${key} is neither true nor false`)
  }
  if (readOnly !== undefined) options.readOnly = readOnly === true
  if (deferrable !== undefined) options.deferrable = deferrable === true
  return options
}

/** SQL of one round trip. With 17 the whole is limited; before, each statement and each pause between them is. */
export function beginning({ isolation, readOnly, deferrable }: TransactionOptions, remainingMs: number, version: number): string {
  const begin = [
    'BEGIN',
    isolation === undefined ? '' : ` ISOLATION LEVEL ${isolation.toUpperCase()}`,
    readOnly === undefined ? '' : readOnly ? ' READ ONLY' : ' READ WRITE',
    deferrable === undefined ? '' : deferrable ? ' DEFERRABLE' : ' NOT DEFERRABLE',
  ].join('')
  const limitMs = Math.min(LONGEST_TIMER_MS, Math.max(1, Math.ceil(remainingMs)))
  const limits = ['statement_timeout', 'idle_in_transaction_session_timeout', ...(version >= 170_000 ? ['transaction_timeout'] : [])]
  return [begin, ...limits.map((name) => `SET LOCAL ${name} = ${limitMs}`)].join('; ')
}
