/** Scope: how work ends that is late, or that nobody wants any more. */

import type { Scope, ScopeWatch } from './adapters/adapter.ts'
import { CageError } from './errors.ts'
import { LONGEST_TIMER_MS } from './pause.ts'

/** A scope that is ended from outside. Its signal is made when somebody asks for it: most do not, and it costs as much as a tenth of a database's call. */
export class OpenScope implements Scope, ScopeWatch {
  readonly deadline: number
  #why: CageError | undefined
  #controller: AbortController | undefined
  #listeners: Set<(why: CageError) => void> | undefined

  constructor(deadline: number) {
    this.deadline = deadline
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#why) this.#controller.abort(this.#why)
    }
    return this.#controller.signal
  }

  get watch(): ScopeWatch {
    return this
  }

  ended(): CageError | undefined {
    return this.#why
  }

  onEnd(listener: (why: CageError) => void): () => void {
    this.#listeners ??= new Set()
    const listeners = this.#listeners
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** Once. */
  end(why: CageError): void {
    if (this.#why) return
    this.#why = why
    this.#controller?.abort(why)
    for (const listener of this.#listeners ?? []) listener(why)
  }
}

/** Why nothing should be begun in a scope that has ended; undefined if it has not. */
export function endOf(scope: Scope, now: number, what: string): CageError | undefined {
  const ended = scope.watch ? scope.watch.ended() : scope.signal.aborted ? reasonOf(scope.signal, what) : undefined
  return ended ?? (now >= scope.deadline ? late(what) : undefined)
}

/** Calls `end` once, at the scope's deadline or when its signal fires; returns what calls that off. */
export function whenEnded(scope: Scope, what: string, end: (why: CageError) => void): () => void {
  const off = (): void => {
    clearTimeout(timer)
    unwatch()
  }
  const finish = (why: CageError): void => {
    off()
    end(why)
  }
  const timer = setTimeout(() => finish(late(what)), Math.min(LONGEST_TIMER_MS, Math.max(0, scope.deadline - Date.now())))
  const unwatch = scope.watch ? scope.watch.onEnd(finish) : watchSignal(scope.signal, what, finish)
  return off
}

/** The same scope, but it ends sooner. */
export function shortened(scope: Scope, deadline: number): Scope {
  if (deadline >= scope.deadline) return scope
  return {
    deadline,
    get signal() {
      return scope.signal
    },
    watch: scope.watch,
    traceparent: scope.traceparent,
  }
}

/** The same scope, with a trace context. */
export function traced(scope: Scope, traceparent: string): Scope {
  return {
    deadline: scope.deadline,
    get signal() {
      return scope.signal
    },
    watch: scope.watch,
    traceparent,
  }
}

function late(what: string): CageError {
  return new CageError('DEADLINE_EXCEEDED', `${what}: the deadline has passed`)
}

function reasonOf(signal: AbortSignal, what: string): CageError {
  if (signal.reason instanceof CageError) return signal.reason
  return new CageError('CANCELLED', `${what}: nobody wants it any more`, { cause: signal.reason })
}

function watchSignal(signal: AbortSignal, what: string, end: (why: CageError) => void): () => void {
  const onAbort = (): void => end(reasonOf(signal, what))
  signal.addEventListener('abort', onAbort)
  return () => signal.removeEventListener('abort', onAbort)
}
