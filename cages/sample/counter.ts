import type { Context } from 'menagerie'

/** Counts per key, in this copy's memory; handed over from version to version. */
let counts = new Map<string, number>()

export function start(_ctx: Context, state?: Map<string, number>): void {
  counts = state ?? counts
}

export function stop(_ctx: Context): Map<string, number> {
  return counts
}

/** The next number of `key`, from 1. */
export async function next(_ctx: Context, key: string): Promise<number> {
  const n = (counts.get(key) ?? 0) + 1
  counts.set(key, n)
  return n
}
