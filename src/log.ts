/** Logging as the rest of the source sees it: pino's shape, fields first, a constant message. `openLog` makes one. */
import { type DestinationStream, destination, type LoggerOptions, pino } from 'pino'
import { CageError } from './errors.ts'
import { DEADLINE, type LogLevel } from './levels.ts'
import { withoutPasswords, withoutSecrets } from './secrets.ts'
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

/** What a line tells beside its own fields; asked for with each line that is written, and for no other. */
function mixin(_fields: object, _level: number, log: object): object {
  const deadline = (log as { [DEADLINE]?: number })[DEADLINE]
  return deadline === undefined ? {} : { leftMs: Math.max(0, Math.round(deadline - Date.now())) }
}

/** Opens the log on standard output: pretty on a terminal unless it is to be `json`, JSON elsewhere. Synchronous, so a dying thread loses no line. */
export async function openLog(level: LogLevel, fields: object, json: boolean = false): Promise<Log> {
  const stdout = destination({ fd: 1, sync: true })
  let write = (line: string): void => void stdout.write(line)
  if (process.stdout.isTTY && !json) {
    const { prettyFactory } = await import('pino-pretty')
    const pretty = prettyFactory({ colorize: !process.env.NO_COLOR, ignore: 'pid,hostname,node', translateTime: 'HH:MM:ss.l' })
    write = (line) => void stdout.write(pretty(JSON.parse(line)))
  }
  return logTo({ write }, level, fields)
}

/** A log whose lines, in JSON, go to a stream. No secret is in them (secrets.ts). */
export function logTo(stream: DestinationStream, level: LogLevel, fields: object): Log {
  const options: LoggerOptions = {
    level,
    base: fields,
    mixin,
    serializers: { err: serializeError },
    formatters: { log: shown, bindings: shown },
  }
  const log = pino(options, { write: (line) => stream.write(withoutPasswords(line)) })
  const { child } = log
  log.child = function (this: typeof log, ...[more, how]: Parameters<typeof child>) {
    return child.call(this, shown(more), how) // pino formats the fields of the first log only
  } as typeof child
  return log as unknown as Log // pino's own type carries an index signature that hides what we promise
}

/** Fields without the secrets in them, errors among them as `err` is. */
function shown(fields: object): Record<string, unknown> {
  const safe = withoutSecrets(fields) as Record<string, unknown> // an object gives an object
  const errors = Object.entries(safe).filter(([name, value]) => value instanceof Error && name !== 'err')
  return errors.length === 0 ? safe : { ...safe, ...Object.fromEntries(errors.map(([name, error]) => [name, serializeError(error)])) }
}

/** An error with its causes, its stack in the sources' own lines, and what a CageError adds. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error)) return withoutSecrets(error)
  const own = { type: error.constructor.name, message: error.message, stack: mapStack(error.stack ?? '') }
  const cause = error.cause === undefined ? {} : { cause: serializeError(error.cause) }
  return error instanceof CageError ? { ...own, code: error.code, details: withoutSecrets(error.details), ...cause } : { ...own, ...cause }
}
