/** A log that keeps what it is told. */
import type { Log } from '../log.ts'

export interface Said {
  level: string
  fields: Record<string, unknown>
  message: string
}

/** A log, and everything that was said to it. */
export function recordingLog(): { log: Log; said: Said[] } {
  const said: Said[] = []
  const at =
    (level: string) =>
    (fields: object, message: string): void =>
      void said.push({ level, fields: fields as Record<string, unknown>, message })
  const log: Log = {
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    fatal: at('fatal'),
    child: () => log,
    level: 'trace',
  }
  return { log, said }
}
