// @ts-check
/** Home: what is wrong first, then how much there is of everything, then every cage with its copies. */
import { spark } from './chart.js'
import { h } from './dom.js'
import { bytes, count, duration, percent, rate, share } from './format.js'
import { notices } from './notifications.js'
import { badge, empty, heading, headOf, line, section, since, upFor } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('./dom.js').Child} Child */
/** @typedef {import('../lib/model.ts').CageView} CageView */
/** @typedef {import('../lib/model.ts').CopyView} CopyView */
/** @typedef {import('../lib/model.ts').MethodView} MethodView */

/** @param {App} app */
export function homePage(app) {
  const { cages, problems, notifications } = app.overview
  return [
    heading('What is wrong'),
    problems.length === 0
      ? h(
          'div.well',
          { key: 'well' },
          h('b', null, 'Nothing is wrong'),
          h('span', null, 'No module is broken, no call is dead, nothing waits for a decision.'),
        )
      : h(
          'ul.problems',
          { key: 'problems' },
          problems.map((problem) => problemOf(app, problem)),
        ),
    figures(app),
    section('Cages', cages.length === 0 ? empty('No cage is on the bus', 'Start one: menagerie --cage NAME') : cageTable(app, cages)),
    section(
      'Latest notifications',
      notifications.length === 0 ? empty('There was none') : notices(app, notifications.slice(0, 6)),
      h('p', null, h('a', { href: '#/notifications' }, 'All notifications')),
    ),
  ]
}

/** @param {App} app @param {import('../lib/model.ts').Problem} problem */
function problemOf(app, { severity, what, since: at, link }) {
  return h(
    'li',
    { key: `${link} ${what.replace(/[\d.]+/g, '#')}`, class: severity },
    badge(severity, severity),
    h('a', { href: link }, what),
    h('span.since', null, at === undefined ? '' : since(at, app.now())),
  )
}

/** @param {App} app */
function figures(app) {
  const { counts, cages, queues } = app.overview
  const methods = methodsOf(cages)
  const [calls, errors] = [sum(methods, ({ rate }) => rate), sum(methods, ({ errorRate }) => errorRate)]
  const waiting = sum(queues, ({ waiting }) => waiting)
  /** @type {[string, string, string, string?][]} */
  const all = [
    ['Nodes', count(counts.nodes), '#/'],
    ['Copies', count(counts.copies), '#/'],
    ['Calls/s', rate(calls), '#/flow'],
    ['Errors', share(errors, calls), '#/flow', errors > 0 ? 'error' : ''],
    ['Queued', count(waiting), '#/queues'],
    ['Dead letters', count(counts.dead), '#/dead', counts.dead > 0 ? 'error' : ''],
    ['Incidents', count(counts.incidents), '#/incidents', counts.incidents > 0 ? 'error' : ''],
    ['Sagas', count(counts.openSagas), '#/sagas'],
    ['Transactions', count(counts.openTransactions), '#/transactions'],
  ]
  return h(
    'ul.figures-row',
    { key: 'counts', 'aria-label': 'Counts' },
    all.map(([name, value, href, tone]) =>
      h('li', { key: name, class: tone || undefined }, h('a', { href }, h('b', null, value), h('span', null, name))),
    ),
  )
}

/** @typedef {{ cage: CageView, copy?: CopyView }} Row */

/** @param {App} app @param {CageView[]} cages */
function cageTable(app, cages) {
  /** @type {import('./parts.js').Column<Row>[]} */
  const columns = [
    { head: 'Cage', cell: ({ cage, copy }) => (copy ? copyName(copy) : cageName(cage)) },
    { head: 'State', cell: ({ cage, copy }) => (copy ? stateOf(copy) : statesOf(cage)) },
    {
      head: 'Calls/s',
      number: true,
      cell: ({ cage, copy }) =>
        !copy &&
        rate(
          sum(
            cage.modules.flatMap(({ methods }) => methods),
            (method) => method.rate,
          ),
        ),
    },
    { head: 'Last minutes', cell: ({ cage, copy }) => !copy && sparkOf(cage) },
    { head: 'Errors', number: true, cell: ({ cage, copy }) => !copy && errorsOf(cage) },
    { head: 'Slowest p95', number: true, cell: ({ cage, copy }) => !copy && slowest(cage) },
    {
      head: 'CPU',
      number: true,
      title: 'Share of a core',
      cell: ({ cage, copy }) => percent(copy ? copy.cpu : sum(cage.copies, ({ cpu }) => cpu)),
    },
    { head: 'Heap', number: true, cell: ({ cage, copy }) => bytes(copy ? copy.heapUsed : sum(cage.copies, ({ heapUsed }) => heapUsed)) },
    { head: 'Loop p99', number: true, title: 'How late the event loop was', cell: ({ copy }) => copy && duration(copy.loopLagP99) },
    { head: 'Up', number: true, cell: ({ copy }) => copy && upFor(copy.startedAt, app.now()) },
  ]
  return h(
    'div.scroll',
    { key: 'cages' },
    h(
      'table.grouped',
      null,
      h('caption.unseen', null, 'Cages and their copies'),
      headOf(columns),
      cages.map((cage) =>
        h(
          'tbody',
          { key: cage.cage },
          line(columns, { cage }, 'cage', 'head'),
          cage.copies.map((copy) => line(columns, { cage, copy }, `${copy.id} ${copy.only ?? ''}`, 'part quiet')),
        ),
      ),
    ),
  )
}

/** @param {CageView} cage */
function cageName({ cage, modules }) {
  const broken = modules.filter((module) => module.broken !== undefined)
  return [
    h('a', { href: `#/cage/${encodeURIComponent(cage)}` }, cage),
    broken.length > 0 && [' ', badge('error', `${broken.length} broken`)],
  ]
}

/** @param {CopyView} copy */
export function copyName({ node, host, pid }) {
  return [h('span', null, node), h('span.place', null, `${host} ${pid}`)]
}

/** @param {CopyView} copy */
export function stateOf({ state, only, restarts, lastDeath }) {
  const tone = /** @type {const} */ ({ starting: 'accent', serving: 'good', stopping: 'warn', gone: 'error' })[state]
  return [
    badge(tone, state),
    only !== undefined && [' ', badge('quiet', `only ${only}`, 'This module has a worker of its own')],
    restarts > 0 && [
      ' ',
      badge('warn', restarts === 1 ? '1 restart' : `${restarts} restarts`, lastDeath && `last because: ${lastDeath.reason}`),
    ],
  ]
}

/** @param {CageView} cage */
function statesOf({ copies }) {
  const whole = copies.filter(({ only }) => only === undefined)
  const serving = whole.filter(({ state }) => state === 'serving').length
  return badge(serving === 0 ? 'error' : serving < whole.length ? 'warn' : 'good', `${serving} of ${whole.length} serving`)
}

/** @param {CageView} cage */
function errorsOf({ modules }) {
  const methods = modules.flatMap((module) => module.methods)
  return errorShare(
    sum(methods, ({ errorRate }) => errorRate),
    sum(methods, ({ rate }) => rate),
  )
}

/** A share of errors, red if there are any. @param {number} errors @param {number} calls */
export function errorShare(errors, calls) {
  return errors > 0 ? h('span.wrong', null, share(errors, calls)) : h('span.quiet', null, '0 %')
}

/** @param {CageView} cage */
function slowest({ modules }) {
  const times = modules.flatMap(({ methods }) => methods.filter(({ rate }) => rate > 0).map(({ p95 }) => p95))
  return times.length === 0 ? '–' : duration(Math.max(...times))
}

/** @param {CageView} cage */
function sparkOf({ cage, modules }) {
  const methods = modules.flatMap((module) => module.methods)
  const rates = added(methods.map((method) => method.spark))
  return spark(
    rates,
    added(methods.map(({ errorSpark }) => errorSpark)),
    `Calls of ${cage} per second over the last minutes: highest ${rate(Math.max(0, ...rates))}, now ${rate(rates.at(-1) ?? 0)}`,
  )
}

/** Sums from the newest back. @param {number[][]} lists */
function added(lists) {
  const length = Math.max(0, ...lists.map((list) => list.length))
  return Array.from({ length }, (_, i) => sum(lists, (list) => list[list.length - length + i] ?? 0))
}

/** @param {CageView[]} cages */
function methodsOf(cages) {
  return cages.flatMap(({ modules }) => modules.flatMap(({ methods }) => methods))
}

/** @template T @param {T[]} list @param {(item: T) => number} of */
export function sum(list, of) {
  return list.reduce((total, item) => total + of(item), 0)
}
