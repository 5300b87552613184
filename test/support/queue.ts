/** Queues without actors: a bus, a policy, and a function that runs the calls. */
import type { Bus, Call, Outcome } from '../../src/bus/bus.ts'
import type { DeadFilter, DeadLetter, EnqueueOptions, QueuePolicy } from '../../src/bus/queue/contract.ts'
import { toCageError } from '../../src/errors.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'

/** A policy whose delays suit a test. */
export function policy(more: Partial<QueuePolicy> = {}): QueuePolicy {
  const backoff = { firstMs: 100, maxMs: 1_000, factor: 2, jitter: 0 }
  return { concurrency: 16, expiresMs: 60_000, timeoutMs: 10_000, backoff, dedupMs: 86_400_000, ...more }
}

export interface Worker {
  /** Every run so far, in the order of their starts. */
  readonly runs: Call[]
  /** Resolves with the n-th run (from 1) that `test` accepts. */
  ran(n: number, test?: (call: Call) => boolean): Promise<Call>
  stop(): Promise<void>
}

/** Runs the calls of `cage` in a queue with `run`, until its owner is done. */
export async function work(
  owner: Owner,
  bus: Bus,
  queue: string,
  given: QueuePolicy,
  run: (call: Call, signal: AbortSignal) => unknown,
  cage = 'shop',
): Promise<Worker> {
  const runs: Call[] = []
  const waiting = new Set<() => void>()
  const signals = new Map<Call, AbortController>()
  const handle = async (call: Call): Promise<Outcome> => {
    const controller = new AbortController()
    signals.set(call, controller)
    runs.push(call)
    for (const look of waiting) look()
    try {
      return { ok: true, result: await run(call, controller.signal) }
    } catch (error) {
      return { ok: false, error: toCageError(error) }
    }
  }
  const consumer = await bus.consume(queue, cage, () => given, {
    handle: (call, settle) => void handle(call).then(settle),
    cancel: (call) => signals.get(call)?.abort(),
  })
  atEnd(owner, () => consumer.stop())
  return {
    runs,
    ran: (n, test = () => true) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = runs.filter(test)[n - 1]
          if (!found) return
          waiting.delete(look)
          resolve(found)
        }
        waiting.add(look)
        look()
      }),
    stop: () => consumer.stop(),
  }
}

/** Enqueues `shop.jobs.<method>`. */
export function put(bus: Bus, queue: string, method: string, args: unknown[] = [], options: Partial<EnqueueOptions> = {}): Promise<string> {
  return bus.enqueue(queue, 'shop', 'jobs', method, args, { request: { id: 'test' }, deadline: Date.now() + 10_000, ...options })
}

/** All dead letters that a filter finds. */
export async function letters(bus: Bus, filter: DeadFilter): Promise<DeadLetter[]> {
  const found: DeadLetter[] = []
  for await (const letter of bus.queues.dead(filter)) found.push(letter)
  return found
}
