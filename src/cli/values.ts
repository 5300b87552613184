/** Values as people write and read them: durations, times, targets, JSON. Pure; a reader throws an Error that says what would be right. */
import { didYouMean, isMethodName, isName } from '../names.ts'

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** A cage's, module's or method's name. */
export interface Target {
  cage: string
  module: string
  method: string
}

/** `30s`, `5m`, `2h`, `3d`, `1h30m` or plain milliseconds → ms. */
export function readDuration(text: string): number {
  if (/^\d+$/.test(text)) return Number(text)
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)]
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text)
    throw new Error('not a duration, it looks like 30s, 5m, 2h, 3d or 1500 (milliseconds)')
  return parts.reduce((sum, [, number, unit = '']) => sum + Number(number) * (UNIT_MS[unit] ?? 0), 0)
}

/** How long ago, or ISO 8601 (local time unless it says otherwise) → epoch ms. */
export function readTime(text: string, now: number): number {
  if (/^\d{4}-\d\d/.test(text)) {
    const time = Date.parse(/T/.test(text) ? text : text.replace(' ', 'T').replace(/^[\d-]+$/, '$&T00:00'))
    if (!Number.isNaN(time)) return time
  }
  try {
    return now - readDuration(text)
  } catch {
    throw new Error('not a time, it looks like 2h (ago) or 2026-11-24T08:30')
  }
}

export function readName(text: string): string {
  if (isName(text)) return text
  throw new Error('a name has letters, digits, _ and -, at most 32, and begins with a letter')
}

/** `cage.module.method` */
export function readTarget(text: string): Target {
  const [cage = '', module = '', method = '', ...more] = text.split('.')
  if (more.length === 0 && isName(cage) && isName(module) && isMethodName(method)) return { cage, module, method }
  throw new Error('no method, it looks like sample.greeter.hello')
}

/** `cage`, `cage.module` or `cage.module.method` */
export function readPrefix(text: string): string {
  const [cage = '', module, method, ...more] = text.split('.')
  if (more.length === 0 && isName(cage) && (module === undefined || isName(module)) && (method === undefined || isMethodName(method)))
    return text
  throw new Error('it looks like sample, sample.greeter or sample.greeter.hello')
}

/** A list of arguments; any other JSON value is one argument. */
export function readArguments(text: string): unknown[] {
  const value = readJson(text)
  return Array.isArray(value) ? value : [value]
}

/** Any JSON value. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new Error(`not JSON; text needs its quotes: '"World"'`)
  }
}

/** A number from 1 on. */
export function readCount(text: string): number {
  const number = Number(text)
  if (Number.isSafeInteger(number) && number > 0) return number
  throw new Error('it must be a whole number from 1 on')
}

export function readPositive(text: string): number {
  const number = Number(text)
  if (number > 0 && Number.isFinite(number)) return number
  throw new Error('it must be a number above 0')
}

/** Why somebody decided something: it is kept. */
export function readReason(text: string): string {
  if (text.trim() !== '') return text
  throw new Error('it must say something')
}

/** `cage` or `cage.module` */
export function readPlace(text: string): { cage: string; module: string | undefined } {
  const [cage = '', module, ...more] = text.split('.')
  if (more.length === 0 && isName(cage) && (module === undefined || isName(module))) return { cage, module }
  throw new Error('it looks like sample or sample.greeter')
}

/** One of a few words, which the shell's completion knows too. */
export function readOneOf<const T extends string>(...known: T[]): ((text: string) => T) & { readonly choices: readonly T[] } {
  const read = (text: string): T => {
    const found = known.find((word) => word === text)
    if (found === undefined) throw new Error(`it must be ${known.join(' or ')}${didYouMean(text, known)}`)
    return found
  }
  return Object.assign(read, { choices: known })
}

/** `2026-11-24 08:30:00`, in this machine's time zone. */
export function showTime(ms: number | undefined): string {
  if (ms === undefined) return '-'
  const local = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000) // its UTC fields are the local ones
  return local.toISOString().slice(0, 19).replace('T', ' ')
}

/** `3d`, `2h 5m`, `41s`, `120ms`: the two largest units. */
export function showDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`
  let rest = ms
  const parts: string[] = []
  for (const unit of ['d', 'h', 'm', 's']) {
    const size = UNIT_MS[unit] ?? 1
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0) parts.push(`${count}${unit}`)
    else if (parts.length > 0) break
  }
  return parts.slice(0, 2).join(' ')
}

/** `1.5 MB` */
export function showBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let at = 0
  let size = bytes
  for (; size >= 1_000 && at < units.length - 1; at++) size /= 1_000
  return `${at === 0 ? size : size.toFixed(1)} ${units[at]}`
}

/** `1 call`, `1,204 calls` */
export function plural(count: number, noun: string, many: string = `${noun}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? noun : many}`
}
