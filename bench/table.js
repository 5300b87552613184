/** Figures → markdown. Pure. */

/** @param {number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/**
 * The median of `a` to `b` round by round: what drifts between rounds cancels out.
 * @param {number[]} a
 * @param {number[]} b
 */
export function ratio(a, b) {
  return median(a.map((value, round) => value / b[round]))
}

/** @param {number} value */
export function figure(value, digits = 0) {
  if (!Number.isFinite(value)) return '-'
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 */
export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, column) => (column === 0 ? '---' : '---:'))), ...rows.map(line)].join('\n')
}

/**
 * What is wanted beside what was measured.
 * @param {{ what: string, least?: number, below?: number, measured: number, digits?: number }[]} goals
 */
export function goalTable(goals) {
  const rows = goals.map(({ what, least, below, measured, digits = 2 }) => {
    const reached = least !== undefined ? measured >= least : measured < below
    return [what, least !== undefined ? `>= ${least}` : `< ${below}`, figure(measured, digits), reached ? 'reached' : 'not reached']
  })
  return table(['goal', 'wanted', 'measured', ''], rows)
}
