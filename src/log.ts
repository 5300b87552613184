/** Logging as the rest of the source sees it: pino's shape, fields first, a constant message. `openLog` makes one. */
import { type DestinationStream, destination, pino } from 'pino'
import { CageError } from './errors.ts'
import type { LogLevel } from './levels.ts'
import { SECRET_NAMES } from './secrets.ts'
import { mapStack } from './stack.ts'

/** What everyone logs with. */
export interface Log {
  trace(fields: object, message: string): void
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
  fatal(fields: object, message: string): void
  /** The same with more fields, and at a level of its own if it is given one. */
  child(fields: object, options?: { level: LogLevel }): Log
  level: string
}

/** Fields that never reach a log, wherever they stand. */
const REDACTED = SECRET_NAMES.flatMap((name) => [name, `*.${name}`])

/** Opens the log on standard output: pretty on a terminal unless it is to be `json`, JSON elsewhere. Synchronous, so a dying thread loses no line. */
export async function openLog(level: LogLevel, fields: object, json: boolean = false): Promise<Log> {
  const stdout = destination({ fd: 1, sync: true })
  let stream: DestinationStream = stdout
  if (process.stdout.isTTY && !json) {
    const { prettyFactory } = await import('pino-pretty')
    const pretty = prettyFactory({ colorize: !process.env.NO_COLOR, ignore: 'pid,hostname,node', translateTime: 'HH:MM:ss.l' })
    stream = { write: (line) => void stdout.write(pretty(JSON.parse(line))) }
  }
  const serializers = { err: serializeError }
  const log = pino({ level, base: fields, redact: { paths: REDACTED, censor: '[redacted]' }, serializers }, stream)
  return log as Log // pino's own type carries an index signature that hides what we promise
}

/** An error with its causes, its stack in the sources' own lines, and what a CageError adds. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const own = { type: error.constructor.name, message: error.message, stack: mapStack(error.stack ?? '') }
  const cause = error.cause === undefined ? {} : { cause: serializeError(error.cause) }
  return error instanceof CageError ? { ...own, code: error.code, details: error.details, ...cause } : { ...own, ...cause }
}
