/** What `menagerie doctor` finds: one thing that was looked at, and what it means for those who rely on it. */

/** ok: the guarantee is given. note: good to know. warning: something can be lost, or go wrong. problem: something is wrong now. */
export type Severity = 'ok' | 'note' | 'warning' | 'problem'

export interface Finding {
  /** What was looked at: the same in every version, for scripts. */
  check: string
  severity: Severity
  /** What is so. */
  found: string
  /** What that means. */
  means?: string | undefined
  /** What to do about it. */
  advice?: string | undefined
}

export function ok(check: string, found: string): Finding {
  return { check, severity: 'ok', found }
}

/** Anything but good news has its meaning, and what to do. */
export function finding(check: string, severity: Exclude<Severity, 'ok'>, found: string, means: string, advice?: string): Finding {
  return { check, severity, found, means, advice }
}

/** `a, b, c and 4 more`. */
export function listed(names: readonly string[], most: number = 5): string {
  const more = names.length - most
  return more > 0 ? `${names.slice(0, most).join(', ')} and ${more} more` : names.join(', ')
}
