import type { Context } from 'menagerie'

/** The time of day in a time zone, `14:05`. */
export async function now(_ctx: Context, timeZone: string): Promise<string> {
  return new Intl.DateTimeFormat('en-GB', { timeZone, hour: '2-digit', minute: '2-digit' }).format(new Date())
}
