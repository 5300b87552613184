/** Levels of the log, from the finest on. */

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** Where a log has its deadline, epoch ms: each of its lines, and of its children's, says what is left of it (log.ts). */
export const DEADLINE: unique symbol = Symbol('deadline')

/** Whether a word is a level: it may come from anywhere. */
export function isLogLevel(word: unknown): word is LogLevel {
  return LOG_LEVELS.some((level) => level === word)
}

/** Whether a log at `level` tells more than one at `than`. */
export function isFiner(level: LogLevel, than: string): boolean {
  const levels: readonly string[] = LOG_LEVELS
  return levels.indexOf(level) < levels.indexOf(than)
}
