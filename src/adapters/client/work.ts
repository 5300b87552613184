/**
 * Work: what a caller does with a session of its own, as `run` takes it.
 * W1. When the work has ended, its session takes no more calls (INVALID_ARGUMENT).
 * W2. Calls that it has not awaited are waited for: they belong to the transaction, which is not to end between their statements.
 */
import { CageError } from '../../errors.ts'

/** How a session calls a method of its connection. */
export type MethodCall = (method: string, args: readonly unknown[]) => Promise<unknown>

/** What the caller gives. */
export type Work<Session = never> = (session: Session) => unknown

/** Resolves or rejects as the work does, when none of its calls runs any more. `name` is the resource's, for messages. */
export async function withSession<Session>(
  name: string,
  methods: readonly string[],
  call: MethodCall,
  work: Work<Session>,
): Promise<unknown> {
  const running = new Set<Promise<unknown>>()
  let over = false
  const guarded = async (method: string, args: readonly unknown[]): Promise<unknown> => {
    if (over) throw new CageError('INVALID_ARGUMENT', `${name}: the transaction has ended`) // W1
    const made = call(method, args)
    running.add(made)
    try {
      return await made
    } finally {
      running.delete(made)
    }
  }
  const session = Object.fromEntries(methods.map((method) => [method, (...args: unknown[]) => guarded(method, args)]))
  try {
    return await work(session as Session) // it has the methods
  } finally {
    over = true
    await Promise.allSettled(running) // W2; who made them is told
  }
}
