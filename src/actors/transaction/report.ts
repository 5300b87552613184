/** Report: what the caller of a transaction that has failed is told. */
import { CageError, UNCERTAIN } from '../../errors.ts'
import type { TransactionReport } from './contract.ts'
import type { TxView } from './events.ts'

/** The error with all that is known of the transaction, in `details.transaction`. `culprit`: the position of who failed, if anybody did. */
export function reportOf(error: CageError, view: TxView, results: readonly unknown[], culprit: number | undefined): CageError {
  const outcomes = view.plan.participants.map(({ name, participant }, index) => {
    const result = results[index]
    const outcome = view.outcomes[index] ?? 'not begun'
    if (outcome === 'executed' && participant !== 'irreversible' && view.ended === undefined) return { name, outcome: 'pending' as const }
    if (!(result instanceof CageError))
      return { name, outcome: outcome === 'pending' && participant === 'irreversible' ? ('unknown' as const) : outcome }
    const uncertain = participant === 'irreversible' && UNCERTAIN.has(result.code)
    const told = outcome !== 'pending' ? outcome : uncertain ? ('unknown' as const) : ('failed' as const)
    return { name, outcome: told, error: { code: result.code, message: result.message } }
  })
  const name = culprit === undefined ? undefined : outcomes[culprit]?.name
  const report: TransactionReport = {
    id: view.id,
    participant: culprit === undefined || name === undefined ? undefined : { index: culprit, name },
    recoverable: view.ended === 'rolled back' && outcomes.every(({ outcome }) => outcome !== 'executed' && outcome !== 'unknown'),
    outcomes,
  }
  return new CageError(error.code, name === undefined ? error.message : `${name}: ${error.message}`, {
    details: { transaction: report, details: error.details },
    cause: error,
    retryable: error.retryable && report.recoverable,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  })
}
