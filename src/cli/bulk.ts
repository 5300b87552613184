/** The same for many: one after the other, at a rate, with progress. One that fails is told and stops no other; Ctrl-C ends it between two. */
import { setTimeout as pause } from 'node:timers/promises'
import { CageError } from '../errors.ts'
import { fail, note, Progress, printJson } from './output.ts'
import { plural } from './values.ts'

export interface Bulk {
  /** `retried` */
  verb: string
  noun: string
  /** Per second. */
  rate?: number | undefined
  json: boolean
}

/** Does it for each number; prints what came of each as JSON, or the sum. Returns the exit status: 1 if one failed or was not reached. */
export async function forEach(
  seqs: readonly number[],
  { verb, noun, rate, json }: Bulk,
  one: (seq: number) => Promise<object>,
): Promise<number> {
  const asked = new AbortController()
  const stop = (): void => asked.abort()
  process.once('SIGINT', stop)
  const progress = new Progress()
  const begun = performance.now()
  let [done, failed] = [0, 0]
  for (const seq of seqs) {
    if (rate !== undefined) {
      const early = begun + ((done + failed) * 1_000) / rate - performance.now()
      if (early > 0) await pause(early, undefined, { signal: asked.signal }).catch(() => {}) // the next line tells
    }
    if (asked.signal.aborted) break
    try {
      const outcome = await one(seq)
      done++
      if (json) printJson({ seq, ...outcome })
    } catch (error) {
      if (!(error instanceof CageError) || error.code === 'UNAVAILABLE') throw error // the others would fail alike
      failed++
      progress.end()
      if (json) printJson({ seq, error })
      else fail(new CageError(error.code, `${seq}: ${error.message}`), false)
    }
    progress.update(`${verb} ${done} of ${plural(seqs.length, noun)}${failed > 0 ? `, ${failed} failed` : ''}`)
  }
  progress.end()
  process.off('SIGINT', stop)
  const left = seqs.length - done - failed
  const rest = `${failed > 0 ? `, ${failed} failed` : ''}${left > 0 ? `, ${left} left` : ''}`
  if (!json) note(`${verb} ${plural(done, noun)}${rest}`)
  return failed + left > 0 ? 1 : 0
}
