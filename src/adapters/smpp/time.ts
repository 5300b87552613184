/** Times as SMPP writes them (3.4, 7.1.1): `YYMMDDhhmmsstnnp`. Pure. */

const DAY_S = 86_400

/** An instant, in UTC, to the tenth of a second. */
export function absoluteTime(at: Date): string {
  const [date = '', time = ''] = at.toISOString().split('T')
  return `${date.slice(2).replaceAll('-', '')}${time.slice(0, 8).replaceAll(':', '')}${time.slice(9, 10)}00+`
}

/** So long from now, at most 30 days: whole seconds, rounded up. No clock of ours is asked. */
export function relativeTime(ms: number): string {
  const all = Math.max(1, Math.ceil(ms / 1000))
  const parts = [Math.floor(all / DAY_S), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60]
  return `0000${parts.map((part) => String(part).padStart(2, '0')).join('')}000R`
}

/** The instant of a time, absolute or relative to `now`; undefined if there is none, or it is none. */
export function parseTime(text: string, now: number): Date | undefined {
  const found = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d)(\d\d)([-+R])$/.exec(text)
  if (!found) return undefined
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, tenth = 0, quarters = 0] = found.slice(1, 9).map(Number)
  if (found[9] === 'R') {
    const at = new Date(now)
    at.setUTCFullYear(at.getUTCFullYear() + year, at.getUTCMonth() + month, at.getUTCDate() + day)
    return new Date(at.getTime() + ((hour * 60 + minute) * 60 + second) * 1000 + tenth * 100)
  }
  const local = Date.UTC(2000 + year, month - 1, day, hour, minute, second, tenth * 100)
  return new Date(local - (found[9] === '+' ? 1 : -1) * quarters * 900_000)
}
