// @ts-check
/** A cage: its copies, its modules with their versions, their methods with rates, errors and times. And a method's history. */
import { setLogLevel } from './actions.js'
import { history, spark } from './chart.js'
import { h } from './dom.js'
import { bytes, count, duration, percent, plural, rate } from './format.js'
import { copyName, errorShare, stateOf } from './home.js'
import { badge, bar, button, empty, heading, headOf, line, loaded, section, since, table, upFor } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').CageView} CageView */
/** @typedef {import('../lib/model.ts').CopyView} CopyView */
/** @typedef {import('../lib/model.ts').ModuleView} ModuleView */
/** @typedef {import('../lib/model.ts').MethodView} MethodView */
/** @typedef {import('../lib/model.ts').History} History */

/** @param {App} app @param {string} name */
export function cagePage(app, name) {
  const cage = app.overview.cages.find(({ cage }) => cage === name)
  if (!cage) return [heading(name, { up: ['Home', '#/'] }), empty('No copy of this cage is on the bus', 'It comes back here once one runs')]
  const { copies, modules } = cage
  const broken = modules.filter((module) => module.broken !== undefined)
  return [
    heading(name, {
      up: ['Home', '#/'],
      note: `${plural(copies.length, 'copy', 'copies')}, ${plural(modules.length, 'module')}, ${plural(
        modules.reduce((n, { methods }) => n + methods.length, 0),
        'method',
      )}`,
      actions:
        app.may &&
        button(
          'Log level …',
          () =>
            void setLogLevel(
              app,
              name,
              modules.map(({ module }) => module),
            ),
        ),
    }),
    broken.map((module) =>
      h(
        'div.trouble',
        { key: `broken ${module.module}` },
        h('h2', null, badge('error', 'broken'), ` ${module.module}`),
        h('p', null, 'Its newest file is not in service; the version before goes on serving.'),
        h('pre', null, module.broken ?? ''),
      ),
    ),
    section('Copies', copyTable(app, copies)),
    section('Methods', modules.length === 0 ? empty('This cage has no module') : methodTable(name, modules)),
    interfaces(copies),
  ]
}

/** @param {App} app @param {CopyView[]} copies */
function copyTable(app, copies) {
  return table(
    'Copies',
    [
      { head: 'Node', cell: copyName },
      { head: 'State', cell: stateOf },
      { head: 'Up', number: true, cell: ({ startedAt }) => upFor(startedAt, app.now()) },
      { head: 'CPU', number: true, title: 'Share of a core', cell: ({ cpu }) => [percent(cpu), bar(cpu, `CPU ${percent(cpu)}`)] },
      {
        head: 'Loop busy',
        number: true,
        title: 'Share of the time that the event loop works',
        cell: ({ utilization }) => [percent(utilization), bar(utilization, `event loop ${percent(utilization)}`)],
      },
      {
        head: 'Heap',
        number: true,
        cell: ({ heapUsed, heapLimit }) => [bytes(heapUsed), bar(heapUsed / heapLimit, `heap: ${bytes(heapUsed)} of ${bytes(heapLimit)}`)],
      },
      { head: 'RSS', number: true, title: "The process's memory", cell: ({ rss }) => bytes(rss) },
      {
        head: 'Loop p99',
        number: true,
        title: 'How late the event loop was, over the last minute',
        cell: ({ loopLagP99 }) => duration(loopLagP99),
      },
      {
        head: 'Bus',
        number: true,
        title: 'To the server and back',
        cell: ({ roundTripMs, server, reconnects }) =>
          h('span', { title: `${server}, ${plural(reconnects, 'reconnect')}` }, duration(roundTripMs)),
      },
      {
        head: 'Runs',
        class: 'runs',
        cell: ({ runtime, nodeVersion }) => h('span.quiet', null, `${runtime}, Node ${nodeVersion.replace(/^v/, '')}`),
      },
    ],
    copies,
    ({ id, only }) => `${id} ${only ?? ''}`,
  )
}

/** One table, so that figures stand below each other whatever module they are of. @param {string} cage @param {ModuleView[]} modules */
function methodTable(cage, modules) {
  /** @type {import('./parts.js').Column<{ module: string, method: MethodView }>[]} */
  const columns = [
    { head: 'Method', cell: ({ module, method }) => h('a', { href: methodLink(cage, module, method.method) }, method.method) },
    { head: 'Calls/s', number: true, cell: ({ method }) => rate(method.rate) },
    { head: 'Last minutes', cell: ({ method }) => sparkOf(method) },
    { head: 'Errors', number: true, cell: ({ method }) => errorShare(method.errorRate, method.rate) },
    { head: 'p50', number: true, cell: ({ method }) => timeOf(method, 'p50') },
    { head: 'p95', number: true, cell: ({ method }) => timeOf(method, 'p95') },
    { head: 'p99', number: true, cell: ({ method }) => timeOf(method, 'p99') },
    { head: 'Running', number: true, cell: ({ method }) => count(method.running) },
    { head: 'Calls', number: true, title: 'Since the copies started', cell: ({ method }) => count(method.requests) },
    {
      head: 'Last error',
      wide: true,
      cell: ({ method: { lastError } }) =>
        lastError && h('span.clip', { title: lastError.message }, h('code', null, lastError.code), ` ${lastError.message}`),
    },
  ]
  return h(
    'div.scroll',
    { key: 'methods' },
    h(
      'table.grouped',
      null,
      h('caption.unseen', null, 'Methods of each module'),
      headOf(columns),
      modules.map((module) =>
        h(
          'tbody',
          { key: module.module },
          h('tr.head', { key: 'head' }, h('th', { scope: 'rowgroup', colspan: columns.length }, moduleHead(module))),
          module.methods.map((method) => line(columns, { module: module.module, method }, method.method, 'part')),
        ),
      ),
    ),
  )
}

/** Of the last minute; where nothing was called there is no time. @param {MethodView} method @param {'p50' | 'p95' | 'p99'} of */
function timeOf(method, of) {
  return method.rate > 0 ? duration(method[of]) : '–'
}

/** @param {ModuleView} module */
function moduleHead({ module, versions, reloads, broken, isolated, running, waiting, refusedRate, methods }) {
  const hashes = Object.entries(versions)
  return h(
    'div.module-head',
    null,
    h('h3', null, module),
    broken !== undefined && badge('error', 'broken'),
    isolated && badge('quiet', 'own worker'),
    hashes.length > 1 && badge('warn', `${hashes.length} versions`, 'Copies run different code: a deploy is under way, or was forgotten'),
    refusedRate > 0 && badge('error', `${rate(refusedRate)}/s refused`, 'Answered with OVERLOADED'),
    h(
      'span.quiet',
      null,
      hashes.map(([hash, copies]) => h('span.version', { key: hash, title: hash }, h('code', null, hash.slice(0, 8)), ` × ${copies}`)),
    ),
    h('span.quiet', null, plural(reloads, 'reload')),
    h('span.quiet', null, methods.length === 0 ? 'not called yet' : `${count(running)} running, ${count(waiting)} waiting`),
  )
}

/** @param {string} cage @param {string} module @param {string} method */
function methodLink(cage, module, method) {
  return `#/cage/${encodeURIComponent(cage)}/${encodeURIComponent(`${module}.${method}`)}`
}

/** @param {MethodView} method */
function sparkOf({ method, spark: values, errorSpark }) {
  return spark(
    values,
    errorSpark,
    `${method}, calls per second over the last minutes: highest ${rate(Math.max(0, ...values))}, now ${rate(values.at(-1) ?? 0)}`,
  )
}

/** @param {CopyView[]} copies */
function interfaces(copies) {
  const all = copies.flatMap(({ node, interfaces }) => interfaces.map((one) => ({ node, ...one })))
  if (all.length === 0) return false
  return section(
    'Interfaces',
    table(
      'Interfaces',
      [
        { head: 'Interface', cell: (one) => one.interface },
        { head: 'Kind', cell: ({ kind }) => kind },
        { head: 'Node', cell: ({ node }) => node },
        {
          head: 'Listens at',
          wide: true,
          cell: ({ address, error }) => (error === undefined ? (address ?? '–') : [badge('error', 'does not listen'), ` ${error}`]),
        },
      ],
      all,
      (one) => `${one.node} ${one.interface}`,
    ),
  )
}

/** @param {App} app @param {string} cage @param {string} name `module.method` */
export function methodPage(app, cage, name) {
  const [module = '', method = ''] = name.split('.')
  const view = app.overview.cages
    .find((one) => one.cage === cage)
    ?.modules.find((one) => one.module === module)
    ?.methods.find((one) => one.method === method)
  const range = app.route.query.get('range') === '24h' ? '24h' : '15m'
  const link = (/** @type {string} */ to) => `${methodLink(cage, module, method)}?range=${to}`
  return [
    heading(name, {
      up: [cage, `#/cage/${encodeURIComponent(cage)}`],
      actions: h(
        'div.choice',
        { role: 'group', 'aria-label': 'Range' },
        [
          ['15m', '15 min'],
          ['24h', '24 h'],
        ].map(([to = '', text]) => h('a', { key: to, href: link(to), 'aria-current': to === range ? 'true' : undefined }, text)),
      ),
    }),
    view && now(view),
    loaded(app, `/api/history?name=${encodeURIComponent(`${cage}.${module}.${method}`)}&range=${range}`, (/** @type {History} */ data) =>
      charts(app, data),
    ),
    view && wrongs(app, view),
  ]
}

/** @param {MethodView} method */
function now({ rate: calls, errorRate, p50, p95, p99, max, running, requests }) {
  /** @type {[string, import('./dom.js').Child][]} */
  const all = [
    ['Calls per second', rate(calls)],
    ['Errors', errorShare(errorRate, calls)],
    ['p50', duration(p50)],
    ['p95', duration(p95)],
    ['p99', duration(p99)],
    ['Slowest', duration(max)],
    ['Running', count(running)],
    ['Calls in all', count(requests)],
  ]
  return h(
    'ul.figures-row',
    { key: 'now', 'aria-label': 'Last minute' },
    all.map(([what, value]) => h('li', { key: what }, h('b', null, value), h('span', null, what))),
  )
}

/** @param {App} app @param {History} history */
function charts(app, { points, stepMs }) {
  if (!points.some((point) => point !== null)) return empty('Nothing was seen in this time', 'Figures are here once the method is called')
  const known = points.findIndex((point) => point !== null)
  const begin = (points[known]?.at ?? 0) - known * stepMs
  const times = points.map((point, i) => point?.at ?? begin + i * stepMs)
  const values = (/** @type {'rate' | 'errorRate' | 'p50' | 'p95' | 'p99'} */ of) => points.map((point) => point?.[of] ?? null)
  return h(
    'div.charts',
    { key: 'charts' },
    history({
      title: 'Calls per second',
      times,
      series: [
        { name: 'calls', shade: 'strong', values: values('rate') },
        { name: 'errors', shade: 'bad', values: values('errorRate').some((rate) => rate) ? values('errorRate') : [] },
      ],
      format: rate,
      narrow: app.narrow,
    }),
    history({
      title: 'Time',
      times,
      series: [
        { name: 'p50', shade: 'strong', values: values('p50') },
        { name: 'p95', shade: 'middle', values: values('p95') },
        { name: 'p99', shade: 'light', values: values('p99') },
      ],
      format: duration,
      narrow: app.narrow,
    }),
  )
}

/** @param {App} app @param {MethodView} method */
function wrongs(app, { errors, lastError }) {
  const codes = Object.entries(errors).sort(([, a], [, b]) => b - a)
  if (codes.length === 0) return section('Errors', empty('It has not failed since the copies started'))
  return section(
    'Errors',
    lastError && h('p', null, 'The last ', since(lastError.at, app.now()), ': ', h('code', null, lastError.code), ` ${lastError.message}`),
    table(
      'Errors by code',
      [
        { head: 'Code', cell: ([code]) => h('code', null, code) },
        { head: 'How often', number: true, title: 'Since the copies started', cell: ([, times]) => count(times) },
      ],
      codes,
      ([code]) => code,
    ),
  )
}
