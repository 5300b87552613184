/** A wait that a signal cuts short, and how long to wait. */

/** Node's timers count no further, ms. */
export const LONGEST_TIMER_MS: number = 2 ** 31 - 1

/** Resolves after so long, or when the signal fires. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.resolve()
  return new Promise((resolve) => {
    const timer = setTimeout(finish, ms)
    signal?.addEventListener('abort', finish, { once: true })
    function finish(): void {
      clearTimeout(timer)
      signal?.removeEventListener('abort', finish)
      resolve()
    }
  })
}

/** What `work` resolves with, or undefined after so long: nobody waits longer. */
export async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const done = new AbortController()
  try {
    return await Promise.race([work, pause(ms, done.signal).then(() => undefined)])
  } finally {
    done.abort()
  }
}

/** How long something is left alone after its n-th failure in a row (n from 1), ms: it doubles up to `maxMs`, with half of it at random. */
export function backOffMs(failures: number, { firstMs, maxMs }: { firstMs: number; maxMs: number }, random: number): number {
  return Math.min(maxMs, firstMs * 2 ** Math.min(failures - 1, 30)) * (0.5 + random / 2)
}
