/**
 * One version of a module: what its file exports, checked.
 * A function is a method; `start`, `stop`, `options`, `schemas` and `compensations` are the runtime's; what begins with `_` is private.
 */
import { createHash } from 'node:crypto'
import type { Compiled } from '../compile.ts'
import { CageError } from '../errors.ts'
import { didYouMean, isMethodName } from '../names.ts'
import type { Context, ModuleCompensations, ModuleOptions, ModuleSchemas } from './contract.ts'

export type Method = (ctx: Context, ...args: unknown[]) => unknown

export interface Version {
  /** 1, 2, 3 ... of this module in this worker. */
  readonly number: number
  /** Of its compiled source: the same wherever it is the same. */
  readonly hash: string
  /** Methods by name; a Map, so that no subject reaches `constructor`. */
  readonly methods: ReadonlyMap<string, Method>
  readonly schemas: ModuleSchemas
  readonly options: ModuleOptions
  readonly compensations: ModuleCompensations
  readonly start: ((ctx: Context, state?: unknown) => unknown) | undefined
  readonly stop: ((ctx: Context) => unknown) | undefined
  /** `start` declares a second parameter: the old version stops before it and hands its state over. */
  readonly takesState: boolean
  /** Every file that it was made of. */
  readonly inputs: readonly string[]
  /** How many calls run on it now. */
  running: number
  /** The context of its `start`, once that has run: what it has begun ends when the version has stopped. */
  started: { close(): void } | undefined
}

/** What coordinators ask a module: which of its methods undo which. No method of a user's begins so. */
export const COMPENSATIONS = '_compensations'

const OPTIONS = { concurrency: 'number', maxQueued: 'number', timeoutMs: 'number', isolate: 'boolean' } as const

/** Checks the exports of an evaluated file; throws INVALID_ARGUMENT. */
export function makeVersion(
  number: number,
  exports: Record<string, unknown>,
  { code, inputs }: Pick<Compiled, 'code' | 'inputs'>,
): Version {
  const methods = new Map<string, Method>()
  for (const [name, value] of Object.entries(exports)) {
    if (typeof value !== 'function' || name.startsWith('_') || name === 'start' || name === 'stop' || isClass(value)) continue
    if (!isMethodName(name)) throw invalid(`the export ${name} cannot be a method: a name has only A-Z, a-z, 0-9, _ and $`)
    methods.set(name, value as Method)
  }
  const start = optionalFunction(exports, 'start')
  return {
    number,
    hash: hashOf(code),
    methods,
    schemas: checkSchemas(exports.schemas, methods),
    options: checkOptions(exports.options),
    compensations: checkCompensations(exports.compensations, methods),
    start,
    stop: optionalFunction(exports, 'stop'),
    takesState: start !== undefined && hasSecondParameter(start),
    inputs,
    running: 0,
    started: undefined,
  }
}

/** What a compiled source is known by. */
export function hashOf(code: string): string {
  return createHash('sha256').update(code).digest('hex').slice(0, 12)
}

function optionalFunction(exports: Record<string, unknown>, name: string): Method | undefined {
  const value = exports[name]
  if (value === undefined) return undefined
  if (typeof value !== 'function') throw invalid(`the export ${name} must be a function`)
  return value as Method
}

function checkOptions(value: unknown): ModuleOptions {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null) throw invalid('the export options must be an object')
  for (const [key, given] of Object.entries(value)) {
    const expected = Object.hasOwn(OPTIONS, key) ? OPTIONS[key as keyof typeof OPTIONS] : undefined
    if (!expected) throw invalid(`unknown option ${key}${didYouMean(key, Object.keys(OPTIONS))}`)
    if (
      given !== undefined &&
      (typeof given !== expected || (expected === 'number' && !((given as number) >= (key === 'maxQueued' ? 0 : 1))))
    ) {
      throw invalid(`options.${key} must be a ${expected === 'number' ? 'positive number' : 'boolean'}, not ${String(given)}`)
    }
  }
  return value
}

function checkSchemas(value: unknown, methods: ReadonlyMap<string, Method>): ModuleSchemas {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null) throw invalid('the export schemas must be an object')
  for (const [name, schema] of Object.entries(value)) {
    if (!methods.has(name)) throw invalid(`schemas.${name} is of no method${didYouMean(name, methods.keys())}`)
    const standard: unknown = (schema as { '~standard'?: { validate?: unknown } } | null)?.['~standard']
    if (typeof (standard as { validate?: unknown } | undefined)?.validate !== 'function')
      throw invalid(`schemas.${name} is not a Standard Schema`)
  }
  return value as ModuleSchemas
}

function checkCompensations(value: unknown, methods: ReadonlyMap<string, Method>): ModuleCompensations {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null) throw invalid('the export compensations must be an object')
  for (const [name, undo] of Object.entries(value)) {
    if (!methods.has(name)) throw invalid(`compensations.${name} is of no method${didYouMean(name, methods.keys())}`)
    if (typeof undo !== 'string' || !methods.has(undo))
      throw invalid(`compensations.${name} must name a method, not ${JSON.stringify(undo)}`)
  }
  return value as ModuleCompensations
}

function isClass(value: object): boolean {
  return /^class\b/.test(Function.prototype.toString.call(value))
}

/** `length` stops counting at a default value, so `start(ctx, state = {})` needs a look at its text. */
function hasSecondParameter(start: Method): boolean {
  if (start.length > 1) return true
  const text = Function.prototype.toString.call(start)
  return /^[^(]*\(\s*[\w$]+\s*,\s*[\w$[{.]/.test(text) || /^(async\s+)?\(?\s*[\w$]+\s*,/.test(text)
}

function invalid(message: string): CageError {
  return new CageError('INVALID_ARGUMENT', message)
}
