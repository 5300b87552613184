/** Scope: how work ends that is late, or that nobody wants any more. Pure. */

import type { Scope } from './adapters/adapter.ts'
import { CageError } from './errors.ts'

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further

/** Why nothing should be begun in a scope that has ended; undefined if it has not. */
export function endOf(scope: Scope, now: number, what: string): CageError | undefined {
  if (scope.signal.aborted) return reasonOf(scope.signal, what)
  return now >= scope.deadline ? late(what) : undefined
}

/** The error of work that has not ended by its deadline. */
export function late(what: string): CageError {
  return new CageError('DEADLINE_EXCEEDED', `${what}: the deadline has passed`)
}

/** The error of work whose signal has fired. */
export function reasonOf(signal: AbortSignal, what: string): CageError {
  if (signal.reason instanceof CageError) return signal.reason
  return new CageError('CANCELLED', `${what}: nobody wants it any more`, { cause: signal.reason })
}

/** Calls `end` once, at the scope's deadline or when its signal fires; returns what calls that off. */
export function whenEnded(scope: Scope, what: string, end: (why: CageError) => void): () => void {
  const { signal, deadline } = scope
  const off = (): void => {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
  const timer = setTimeout(
    () => {
      off()
      end(late(what))
    },
    Math.min(LONGEST_MS, Math.max(0, deadline - Date.now())),
  )
  const onAbort = (): void => {
    off()
    end(reasonOf(signal, what))
  }
  signal.addEventListener('abort', onAbort)
  return off
}
