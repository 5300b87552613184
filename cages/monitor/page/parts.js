// @ts-check
/** What several pages have in common: headings, badges, times, tables, and what is there when nothing is there. */
import { h, oneOfMany } from './dom.js'
import { ago, duration, instant, moment } from './format.js'

/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('./app.js').App} App */
/** @typedef {'alert' | 'error' | 'warn' | 'good' | 'quiet' | 'accent'} Tone */
/** @template T @typedef {{ head: string, cell: (row: T) => Child, number?: boolean, wide?: boolean, class?: string, title?: string }} Column */

/** The page's heading; `up` leads back. @param {string} title @param {{ up?: [string, string], note?: Child, actions?: Child }} [more] */
export function heading(title, { up, note, actions } = {}) {
  return h(
    'header.page-head',
    { key: 'head' },
    up && h('a.up', { href: up[1] }, up[0]),
    h('div.page-title', null, h('h1', { tabindex: '-1', id: 'title' }, title), note && h('p.note', null, note)),
    actions && h('div.actions', null, actions),
  )
}

/** A part of a page. @param {string} title @param {...Child} children */
export function section(title, ...children) {
  const id = `section-${title.toLowerCase().replaceAll(' ', '-')}`
  return h('section', { key: title, 'aria-labelledby': id }, h('h2', { id }, title), children)
}

/** A word with a tone. @param {Tone} tone @param {Child} text @param {string} [title] */
export function badge(tone, text, title) {
  return h(`span.badge.${tone}`, { title }, text)
}

/** A time, relative to now; exact on hover. @param {number | undefined} at @param {number} now */
export function since(at, now) {
  if (at === undefined) return '–'
  return h('time', { datetime: new Date(at).toISOString(), title: moment(at, now) }, ago(at, now))
}

/** A time of the day; exact on hover. @param {number | undefined} at @param {number} now */
export function when(at, now) {
  if (at === undefined) return '–'
  return h('time', { datetime: new Date(at).toISOString(), title: `${new Date(at).toDateString()} ${instant(at)}` }, moment(at, now))
}

/** For how long it has been so. @param {number} at @param {number} now */
export function upFor(at, now) {
  return h(
    'time',
    { datetime: new Date(at).toISOString(), title: `since ${moment(at, now)}` },
    duration(Math.max(0, Math.floor((now - at) / 1000) * 1000)),
  )
}

/** Nothing is there, and that is all right. @param {string} text @param {string} [more] */
export function empty(text, more) {
  return h('div.empty', { key: 'empty' }, h('p', null, text), more && h('p.note', null, more))
}

/** @param {string} label @param {() => void} act @param {{ tone?: string, key?: string, about?: string }} [more] `about`: what it acts on, for those who do not see where it stands */
export function button(label, act, { tone = '', key, about } = {}) {
  return h('button', { type: 'button', class: tone, key: key ?? label, onclick: act, 'aria-label': about && `${label}: ${about}` }, label)
}

/**
 * A table that becomes cards where there is little room; the first column is the row's header.
 * @template T
 * @param {string} caption
 * @param {Column<T>[]} columns
 * @param {T[]} rows
 * @param {(row: T) => string | number} key
 * @param {(row: T) => string | false | undefined} [tone] a class of the row
 */
export function table(caption, columns, rows, key, tone) {
  return h(
    'div.scroll',
    { key: `table ${caption}` },
    h(
      'table',
      { class: columns.length === 2 ? 'two' : undefined },
      h('caption.unseen', null, caption),
      headOf(columns),
      h(
        'tbody',
        null,
        rows.map((row) => line(columns, row, key(row), tone?.(row))),
      ),
    ),
  )
}

/** @template T @param {Column<T>[]} columns */
export function headOf(columns) {
  return h(
    'thead',
    null,
    h(
      'tr',
      null,
      columns.map((column) => h('th', { scope: 'col', key: column.head, class: classOf(column), title: column.title }, column.head)),
    ),
  )
}

/** @template T @param {Column<T>[]} columns @param {T} row @param {string | number} key @param {string | false | undefined} [tone] */
export function line(columns, row, key, tone) {
  return oneOfMany('tr', String(key), () =>
    h(
      'tr',
      { class: tone || undefined },
      columns.map((column, i) =>
        i === 0
          ? h('th', { scope: 'row', key: column.head, class: classOf(column) }, column.cell(row))
          : h('td', { key: column.head, 'data-label': column.head, class: classOf(column) }, column.cell(row)),
      ),
    ),
  )
}

/** @param {{ number?: boolean, wide?: boolean, class?: string }} column */
function classOf({ number, wide, class: more }) {
  return [number && 'number', wide && 'wide', more].filter(Boolean).join(' ') || undefined
}

/**
 * What was asked for, once it is there.
 * @template T
 * @param {App} app
 * @param {string} path
 * @param {(data: T) => Child} show
 * @param {{ refreshMs?: number }} [options]
 * @returns {Child}
 */
export function loaded(app, path, show, options) {
  const { data, error } = app.load(path, options)
  if (data !== undefined) return show(/** @type {T} */ (data))
  if (error === undefined) return h('p.loading', { key: 'loading' }, 'Loading …')
  return h(
    'div.empty.failed',
    { key: 'failed' },
    h('p', null, error.status === 404 ? 'There is no such thing, or not any more' : 'This could not be loaded'),
    h('p.note', null, error.message),
    button('Try again', () => app.reload()),
  )
}

/** A share from 0 to 1 as a bar. @param {number} value @param {string} label */
export function bar(value, label) {
  const width = Math.round(Math.min(1, Math.max(0, value)) * 1000) / 10
  return h(
    'svg.bar',
    { viewBox: '0 0 100 6', preserveAspectRatio: 'none', role: 'img', 'aria-label': label, class: value >= 0.9 ? 'full' : undefined },
    h('rect.track', { width: 100, height: 6 }),
    h('rect.fill', { width, height: 6 }),
  )
}
