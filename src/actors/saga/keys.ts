/**
 * Keys: the idempotency keys of the calls that a saga's steps make, `<saga>/<step>/do`, `<saga>/<step>/do/2` ... in their order.
 * They find their way to the calls by AsyncLocalStorage, which is switched off while no saga runs: it makes every promise of the thread dearer.
 */
import { AsyncLocalStorage } from 'node:async_hooks'

interface ActiveStep {
  readonly key: string
  calls: number
}

const steps = new AsyncLocalStorage<ActiveStep>()
let running = 0

/** Runs a step's action, or its compensation, whose calls have this key. */
export async function withKey<T>(key: string, work: () => T | Promise<T>): Promise<T> {
  running++
  try {
    return await steps.run({ key, calls: 0 }, work)
  } finally {
    running--
    if (running === 0) steps.disable()
  }
}

/** Whether this is asked within a step. */
export function isInStep(): boolean {
  return steps.getStore() !== undefined
}

/** The key of the next call of the step that runs here; undefined outside of steps. */
export function nextKey(): string | undefined {
  const step = steps.getStore()
  if (!step) return undefined
  step.calls++
  return step.calls === 1 ? step.key : `${step.key}/${step.calls}`
}
