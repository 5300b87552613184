/** Versions of servers. Pure. */

/** Whether a version is older. */
export function isBefore(version: string, ...than: number[]): boolean {
  const parts = version.split(/[.-]/).map(Number)
  for (const [i, part] of than.entries()) if ((parts[i] ?? 0) !== part) return (parts[i] ?? 0) < part
  return false
}
