/** Waiting for what happens, with a limit that only a failure reaches. */
import { setInterval } from 'node:timers/promises'

const LIMIT_MS = 30_000

/** Resolves with the first value of `check` that is neither undefined nor false; for what tells no event (files, ports, other processes). */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  limitMs: number = LIMIT_MS,
): Promise<T> {
  const giveUpAt = performance.now() + limitMs
  for await (const _ of setInterval(10)) {
    const value = await check()
    if (value !== undefined && value !== false) return value
    if (performance.now() > giveUpAt) break
  }
  throw new Error(`${what}: not within ${limitMs} ms`)
}

/** The promise, or an error that says what did not come. */
export async function within<T>(what: string, promise: Promise<T>, limitMs: number = LIMIT_MS): Promise<T> {
  const limit = AbortSignal.timeout(limitMs)
  return await new Promise<T>((resolve, reject) => {
    const late = (): void => reject(new Error(`${what}: not within ${limitMs} ms`))
    limit.addEventListener('abort', late, { once: true })
    promise.then(resolve, reject).finally(() => limit.removeEventListener('abort', late))
  })
}

/** A promise that is settled from outside. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((settle) => (resolve = settle))
  return { promise, resolve }
}
