// @ts-check
/** Charts as SVG: a small one for a row of a table, and one with axes for a history. Each says in words what it draws. */
import { h } from './dom.js'
import { minute } from './format.js'

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {{ name: string, shade: string, values: (number | null)[] }} Series */

const SPARK = { width: 96, height: 22 }

/**
 * A small line without axes, and what of it went wrong.
 * @param {number[]} values oldest first
 * @param {number[]} errors
 * @param {string} label what it is, in words
 */
export function spark(values, errors, label) {
  const { width, height } = SPARK
  const top = Math.max(...values, 0)
  if (values.length < 2) return h('svg.spark', { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' })
  const x = (/** @type {number} */ i) => (i * width) / (values.length - 1)
  const y = (/** @type {number} */ value) => height - 1.5 - (top > 0 ? (value / top) * (height - 4) : 0)
  const line = values.map((value, i) => `${i === 0 ? 'M' : 'L'}${fixed(x(i))} ${fixed(y(value))}`).join('')
  const bad = errors.some((value) => value > 0)
  const wrong =
    bad && errors.map((value, i) => (value > 0 ? `M${fixed(x(i))} ${height}V${fixed(Math.min(y(value), height - 4))}` : '')).join('')
  return h(
    'svg.spark',
    { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    h('path.area', { d: `${line}V${height}H0Z` }),
    h('path.line', { d: line }),
    wrong && h('path.wrong', { d: wrong }),
  )
}

/**
 * A chart with axes, a legend and its figures as a table.
 * @param {{ title: string, times: number[], series: Series[], format: (value: number) => string, narrow: boolean }} chart
 */
export function history({ title, times, series, format, narrow }) {
  const box = narrow ? { width: 330, height: 170 } : { width: 560, height: 190 }
  const [left, right, top, bottom] = [52, 8, 10, 22]
  const highest = Math.max(...series.flatMap(({ values }) => values.map((value) => value ?? 0)))
  const limit = niceAbove(highest)
  const [first = 0, last = 0] = [times[0], times.at(-1)]
  const x = (/** @type {number} */ at) => left + (last > first ? (at - first) / (last - first) : 1) * (box.width - left - right)
  const y = (/** @type {number} */ value) => box.height - bottom - (value / limit) * (box.height - top - bottom)
  const latest = series.map(({ name, values }) => `${name} ${said(values.at(-1), format)}`).join(', ')
  return h(
    'figure.chart',
    { key: title },
    h(
      'figcaption',
      null,
      h('span.chart-title', null, title),
      series.map(({ name, shade, values }) =>
        h(
          'span.legend',
          { key: name },
          h(`i.swatch.${shade}`, { 'aria-hidden': 'true' }),
          `${name} `,
          h('b', null, values.length === 0 ? 'none' : said(values.at(-1), format)),
        ),
      ),
    ),
    h(
      'svg',
      { viewBox: `0 0 ${box.width} ${box.height}`, role: 'img', 'aria-label': `${title}, now: ${latest}; highest ${format(highest)}` },
      [0, limit / 2, limit].map((value) =>
        h(
          'g.tick',
          { key: `y${value}` },
          h('line', { x1: left, x2: box.width - right, y1: fixed(y(value)), y2: fixed(y(value)) }),
          h('text', { x: left - 8, y: fixed(y(value) + 4), 'text-anchor': 'end' }, format(value)),
        ),
      ),
      hours(first, last, narrow ? 3 : 5).map((at) =>
        h(
          'g.tick',
          { key: `x${at}` },
          h('text', { x: fixed(x(at)), y: box.height - 5, 'text-anchor': anchor(x(at), box.width) }, minute(at)),
        ),
      ),
      series.map(({ name, shade, values }) => h(`path.series.${shade}`, { key: name, d: pathOf(values, times, x, y) })),
    ),
    h('details', null, h('summary', null, 'Figures'), figures(title, times, series, format)),
  )
}

/** @param {string} title @param {number[]} times @param {Series[]} series @param {(value: number) => string} format */
function figures(title, times, series, format) {
  const every = Math.ceil(times.length / 30)
  const rows = times.map((at, i) => ({ at, i })).filter(({ i }) => (times.length - 1 - i) % every === 0)
  return h(
    'div.scroll.figures',
    { tabindex: '0', role: 'region', 'aria-label': `${title}: figures` },
    h(
      'table',
      null,
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          h('th', { scope: 'col' }, 'Time'),
          series.map(({ name }) => h('th.number', { scope: 'col', key: name }, name)),
        ),
      ),
      h(
        'tbody',
        null,
        rows.reverse().map(({ at, i }) =>
          h(
            'tr',
            { key: at },
            h('th', { scope: 'row' }, minute(at)),
            series.map(({ name, values }) => h('td.number', { key: name }, said(values[i], format))),
          ),
        ),
      ),
    ),
  )
}

/** @param {number | null | undefined} value @param {(value: number) => string} format */
function said(value, format) {
  return value === null || value === undefined ? '–' : format(value)
}

/** A path with gaps where nothing was seen. @param {(number | null)[]} values @param {number[]} times @param {(at: number) => number} x @param {(value: number) => number} y */
function pathOf(values, times, x, y) {
  let pen = 'M'
  let path = ''
  values.forEach((value, i) => {
    if (value === null) {
      pen = 'M'
      return
    }
    const alone = pen === 'M' && (values[i + 1] ?? null) === null
    path += `${pen}${fixed(x(times[i] ?? 0))} ${fixed(y(value))}${alone ? 'h1.5' : ''}`
    pen = 'L'
  })
  return path
}

/** The next of 1, 2, 5, 10 ... @param {number} value */
function niceAbove(value) {
  if (!(value > 0)) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value) ?? value
}

/** Times on round minutes. @param {number} first @param {number} last @param {number} most */
function hours(first, last, most) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((minutes) => minutes * 60_000)
  const step = steps.find((size) => (last - first) / size <= most) ?? 86_400_000
  const zone = new Date(first).getTimezoneOffset() * 60_000
  const times = []
  for (let at = Math.ceil((first - zone) / step) * step + zone; at <= last; at += step) times.push(at)
  return times
}

/** @param {number} x @param {number} width */
function anchor(x, width) {
  return x > width - 24 ? 'end' : 'middle'
}

/** @param {number} value */
function fixed(value) {
  return Math.round(value * 10) / 10
}
