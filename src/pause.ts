/** A wait that a signal cuts short. */

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
