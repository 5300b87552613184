/**
 * Gather: asks nobody knows how many at once. It is over when nobody has answered for `quietMs`, when as many have as were expected, or after
 * `withinMs`; at once if nobody serves the subject.
 */
import type { Msg, NatsConnection } from 'nats'

export interface GatherOptions {
  withinMs: number
  quietMs: number
  /** So many answer, as far as is known. Default: nobody knows. */
  expected?: number | undefined
}

/** What has come, and whether it is all there was: false if the rest was not waited for. */
export interface Gathered {
  answers: Msg[]
  whole: boolean
}

/** Those that answer together are heard together. */
const GRACE_MS = 20

export function gather(
  nc: NatsConnection,
  subject: string,
  data: Uint8Array,
  { withinMs, quietMs, expected = Number.POSITIVE_INFINITY }: GatherOptions,
): Promise<Gathered> {
  return new Promise((resolve) => {
    const answers: Msg[] = []
    const inbox = `_INBOX.${crypto.randomUUID()}`
    let grace: NodeJS.Timeout | undefined
    const end = (): void => {
      for (const timer of [quiet, limit, grace]) clearTimeout(timer)
      subscription.unsubscribe()
      resolve({ answers, whole: grace === undefined })
    }
    const subscription = nc.subscribe(inbox, {
      callback: (error, msg) => {
        if (error || msg.headers?.code === 503) return end() // nobody serves it
        answers.push(msg)
        if (answers.length >= expected) grace ??= setTimeout(end, GRACE_MS)
        else quiet.refresh()
      },
    })
    const quiet = setTimeout(end, Math.min(quietMs, withinMs))
    const limit = setTimeout(end, withinMs)
    if (nc.isClosed()) end()
    else nc.publish(subject, data, { reply: inbox })
  })
}
