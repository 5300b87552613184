// @ts-check
/** The page of the flow map: all of it by cages or by modules, or what touches one cage; and the same as a table. */
import { h } from './dom.js'
import { byCage, cageOf, drawn, layout, ofCage } from './flow.js'
import { duration, rate } from './format.js'
import { errorShare } from './home.js'
import { empty, heading, section, table } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').FlowView} FlowView */

/** More ways than these and the map is by cages, unless somebody asks for more. */
const MANY = 40

/** The map of these names, as long as they are the same. @type {{ names: string, map: import('./flow.js').Layout } | undefined} */
let kept

/** @param {App} app */
export function flowPage(app) {
  const all = app.overview.flows
  if (all.length === 0)
    return [heading('Flow map'), empty('Nothing was called yet', 'Calls between interfaces, queues, modules and resources are drawn here')]
  const asked = app.route.query.get('by') ?? (all.length > MANY ? 'cages' : 'modules')
  const flows = asked === 'cages' ? byCage(all) : asked === 'modules' ? all : ofCage(all, asked)
  const names = JSON.stringify(flows.map(({ from, to }) => [from, to]).sort())
  if (kept?.names !== names) kept = { names, map: layout(flows) }
  const choose = (/** @type {string | undefined} */ id) => {
    app.chosen = id
    app.draw()
  }
  const shown = app.chosen === undefined ? flows : flows.filter(({ from, to }) => from === app.chosen || to === app.chosen)
  return [
    heading('Flow map', {
      note: 'Calls per second, and in red what share of them fails. Choose a place to see only what touches it.',
      actions: choices(all, asked),
    }),
    flows.length === 0
      ? empty(asked === 'cages' ? 'No cage calls another' : `Nothing calls ${asked}, and it calls nothing`)
      : h(
          'div.scroll.map',
          { key: 'map', tabindex: '0', role: 'region', 'aria-label': 'Flow map' },
          drawn(kept.map, flows, app.chosen, choose, app.room),
        ),
    section(
      'Figures',
      table(
        'Flows',
        [
          { head: 'From', cell: ({ from }) => from },
          { head: 'To', cell: ({ to }) => to },
          { head: 'Calls/s', number: true, cell: (flow) => rate(flow.rate) },
          { head: 'Errors', number: true, cell: (flow) => errorShare(flow.errorRate, flow.rate) },
          { head: 'p95', number: true, cell: ({ p95 }) => duration(p95) },
        ],
        [...shown].sort((a, b) => (a.from === b.from ? (a.to < b.to ? -1 : 1) : a.from < b.from ? -1 : 1)),
        ({ from, to }) => `${from} > ${to}`,
      ),
    ),
  ]
}

/** @param {FlowView[]} flows @param {string} asked */
function choices(flows, asked) {
  const cages = [
    ...new Set(
      flows
        .flatMap(({ from, to }) => [from, to])
        .filter((id) => !id.startsWith('queue '))
        .map(cageOf),
    ),
  ].sort()
  const others = !['cages', 'modules'].includes(asked)
  return h(
    'div.choices',
    { key: 'choices' },
    h(
      'div.choice',
      { role: 'group', 'aria-label': 'Drawn by' },
      [
        ['cages', 'Cages'],
        ['modules', 'Modules'],
      ].map(([by, text]) => h('a', { key: String(by), href: `#/flow?by=${by}`, 'aria-current': by === asked ? 'true' : undefined }, text)),
    ),
    h(
      'select',
      {
        'aria-label': 'Only one cage',
        value: others ? asked : '',
        key: asked,
        onchange: (/** @type {Event} */ event) => {
          const { value } = /** @type {HTMLSelectElement} */ (event.target)
          location.hash = value === '' ? '#/flow' : `#/flow?by=${encodeURIComponent(value)}`
        },
      },
      h('option', { value: '', key: '' }, 'One cage …'),
      cages.map((cage) => h('option', { value: cage, key: cage }, cage)),
    ),
  )
}
