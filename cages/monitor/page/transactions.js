// @ts-check
/** Transactions over several modules and databases: their participants and how each came out, and each as a timeline. */
import { h } from './dom.js'
import { duration } from './format.js'
import { badge, empty, heading, loaded, section, since, table, when } from './parts.js'
import { stateOf } from './sagas.js'
import { timeline } from './timeline.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').TransactionView} TransactionView */

/** @param {App} app */
export function transactionsPage(app) {
  return [
    heading('Transactions'),
    loaded(app, '/api/transactions', (/** @type {TransactionView[]} */ transactions) =>
      transactions.length === 0
        ? empty('There is no transaction', 'Those under way are here, and those that have ended lately')
        : table(
            'Transactions',
            [
              { head: 'Transaction', cell: ({ id, by, cage }) => [h('a', { href: `#/transactions/${encodeURIComponent(id)}` }, by || cage), h('span.place', null, h('code', null, id))] },
              { head: 'Outcome', cell: ({ outcome }) => stateOf(outcome ?? 'under way') },
              { head: 'Participants', wide: true, cell: ({ participants }) => participants.map(({ name, outcome }) => h('span.participant', { key: name }, name, ' ', h('span.quiet', null, outcome))) },
              { head: 'Begun', number: true, cell: ({ begunAt }) => since(begunAt, app.now()) },
              { head: 'Took', number: true, cell: ({ begunAt, endedAt }) => (begunAt === undefined || endedAt === undefined ? '–' : duration(endedAt - begunAt)) },
            ],
            transactions,
            ({ id }) => id,
          ),
    ),
  ]
}

/** @param {App} app @param {string} id */
export function transactionPage(app, id) {
  return loaded(app, `/api/transactions/${encodeURIComponent(id)}`, (/** @type {TransactionView} */ { cage, by, outcome, begunAt, endedAt, participants, timeline: moments }) => [
    heading(by || cage, { up: ['Transactions', '#/transactions'], note: h('code', null, id) }),
    h(
      'dl.facts',
      { key: 'facts' },
      [
        ['Outcome', stateOf(outcome ?? 'under way')],
        ['Cage', h('a', { href: `#/cage/${encodeURIComponent(cage)}` }, cage)],
        ['Begun', when(begunAt, app.now())],
        ['Ended', when(endedAt, app.now())],
      ].map(([name, value]) => h('div', { key: String(name) }, h('dt', null, name), h('dd', null, value))),
    ),
    section(
      'Participants',
      participants.length === 0
        ? empty('None is known')
        : table('Participants', [{ head: 'Participant', cell: ({ name }) => name }, { head: 'Outcome', cell: (one) => badge('quiet', one.outcome) }], participants, ({ name }) => name),
    ),
    section('Timeline', !moments || moments.length === 0 ? empty('Nothing is recorded') : timeline(moments)),
  ])
}
