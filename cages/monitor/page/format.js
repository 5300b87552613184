// @ts-check
/** Figures and times as one reads them: short, with a unit, never more exact than they are. */

const NONE = '–'
const WHOLE = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 })

/** `1,234`. @param {number | undefined} value */
export function count(value) {
  return value === undefined ? NONE : WHOLE.format(value)
}

/** A rate per second: `0`, `0.25`, `3.4`, `120`, `1.2k`. @param {number | undefined} value */
export function rate(value) {
  if (value === undefined) return NONE
  if (value === 0) return '0'
  if (value < 0.01) return '<0.01'
  if (value < 1) return value.toFixed(2)
  if (value < 10) return value.toFixed(1)
  if (value < 1000) return value.toFixed(0)
  return `${(value / 1000).toFixed(value < 10_000 ? 1 : 0)}k`
}

/** A share of a whole: `0.4 %`. @param {number} part @param {number} whole */
export function share(part, whole) {
  return whole > 0 ? percent(Math.min(1, part / whole)) : percent(part > 0 ? 1 : 0)
}

/** 0 to 1 and beyond: `12 %`. @param {number} value */
export function percent(value) {
  const hundredths = value * 100
  if (hundredths > 0 && hundredths < 0.1) return '<0.1 %'
  return `${hundredths > 0 && hundredths < 10 ? hundredths.toFixed(1) : hundredths.toFixed(0)} %`
}

/** A duration: `0.4 ms`, `12 ms`, `3.2 s`, `4 min`, `3 h 20 min`, `2 d 4 h`. @param {number | undefined} ms */
export function duration(ms) {
  if (ms === undefined) return NONE
  if (ms === 0) return '0 ms'
  if (ms < 0.1) return '<0.1 ms'
  if (ms < 10) return `${ms.toFixed(1)} ms`
  if (ms < 1000) return `${ms.toFixed(0)} ms`
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 100) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  if (minutes < 24 * 60) return joined(Math.floor(minutes / 60), 'h', minutes % 60, 'min')
  const hours = Math.floor(minutes / 60)
  return joined(Math.floor(hours / 24), 'd', hours % 24, 'h')
}

/** @param {number} a @param {string} unit @param {number} b @param {string} smaller */
function joined(a, unit, b, smaller) {
  return b === 0 ? `${a} ${unit}` : `${a} ${unit} ${b} ${smaller}`
}

/** `1.4 GB`. @param {number | undefined} value */
export function bytes(value) {
  if (value === undefined) return NONE
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let [size, unit] = [value, 0]
  while (size >= 1000 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1]
  return `${unit === 0 || size >= 100 ? size.toFixed(0) : size.toFixed(1)} ${units[unit]}`
}

/** Since then, or until then: `12 s ago`, `in 4 min`. @param {number | undefined} at @param {number} now */
export function ago(at, now) {
  if (at === undefined) return NONE
  const ms = now - at
  if (Math.abs(ms) < 1000) return 'now'
  const seconds = Math.floor(Math.abs(ms) / 1000)
  const long = seconds < 100 ? `${seconds} s` : duration(seconds * 1000)
  return ms > 0 ? `${long} ago` : `in ${long}`
}

/** The time of a day, with the date where it is not today: `14:03:22`, `24 Nov 14:03:22`. @param {number | undefined} at @param {number} now */
export function moment(at, now) {
  if (at === undefined) return NONE
  const [date, today] = [new Date(at), new Date(now)]
  const time = clock(date)
  if (date.toDateString() === today.toDateString()) return time
  const year = date.getFullYear() === today.getFullYear() ? '' : ` ${date.getFullYear()}`
  return `${date.getDate()} ${date.toLocaleString('en-GB', { month: 'short' })}${year} ${time}`
}

/** `14:03:22.123`. @param {number} at */
export function instant(at) {
  const date = new Date(at)
  return `${clock(date)}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/** @param {Date} date */
function clock(date) {
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, '0')).join(':')
}

/** `14:03`. @param {number} at */
export function minute(at) {
  return clock(new Date(at)).slice(0, 5)
}

/** `1 call`, `2 calls`. @param {number} amount @param {string} one @param {string} [many] */
export function plural(amount, one, many = `${one}s`) {
  return `${count(amount)} ${amount === 1 ? one : many}`
}

/** JSON over several lines, whatever it is. @param {unknown} value */
export function json(value) {
  try {
    return JSON.stringify(value, null, 2) ?? 'undefined'
  } catch {
    return String(value)
  }
}
