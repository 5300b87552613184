// @ts-check
/** Sagas: those under way and those that have ended, and each as a timeline. */
import { h } from './dom.js'
import { badge, empty, heading, loaded, section, since, table, when } from './parts.js'
import { timeline } from './timeline.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').SagaView} SagaView */
/** @typedef {import('./parts.js').Tone} Tone */

/** @param {App} app */
export function sagasPage(app) {
  return [
    heading('Sagas'),
    loaded(app, '/api/sagas', (/** @type {SagaView[]} */ sagas) =>
      sagas.length === 0
        ? empty('There is no saga', 'A saga is a queued call that keeps a journal of its steps')
        : table(
            'Sagas',
            [
              { head: 'Saga', cell: ({ id, method, cage }) => [h('a', { href: `#/sagas/${encodeURIComponent(id)}` }, `${cage}.${method}`), h('span.place', null, h('code', null, id))] },
              { head: 'State', cell: ({ state }) => stateOf(state) },
              { head: 'At', cell: ({ at }) => at ?? '–' },
              { head: 'Begun', number: true, cell: ({ begunAt }) => since(begunAt, app.now()) },
              { head: 'Changed', number: true, cell: ({ changedAt }) => since(changedAt, app.now()) },
              { head: 'Error', wide: true, cell: ({ error }) => error && h('span.clip', { title: error.message }, h('code', null, error.code), ` ${error.message}`) },
            ],
            sagas,
            ({ id }) => id,
          ),
    ),
  ]
}

/** @param {App} app @param {string} id */
export function sagaPage(app, id) {
  return loaded(app, `/api/sagas/${encodeURIComponent(id)}`, (/** @type {SagaView} */ { cage, method, state, at, begunAt, changedAt, error, timeline: moments }) => [
    heading(`${cage}.${method}`, { up: ['Sagas', '#/sagas'], note: h('code', null, id), actions: state === 'incident' && h('a.button', { href: `#/incidents/${encodeURIComponent(id)}` }, 'Decide') }),
    h(
      'dl.facts',
      { key: 'facts' },
      [
        ['State', stateOf(state)],
        ['At', at ?? '–'],
        ['Begun', when(begunAt, app.now())],
        ['Changed', when(changedAt, app.now())],
      ].map(([name, value]) => h('div', { key: String(name) }, h('dt', null, name), h('dd', null, value))),
    ),
    error && h('div.trouble', { key: 'error' }, h('p', null, badge('error', error.code), ' ', error.message)),
    section('Timeline', !moments || moments.length === 0 ? empty('Nothing is recorded') : timeline(moments)),
  ])
}

/** @param {string} state */
export function stateOf(state) {
  /** @type {Record<string, Tone>} */
  const tones = { done: 'good', committed: 'good', running: 'accent', 'under way': 'accent', incident: 'error', failed: 'error', compensating: 'warn', compensated: 'warn', 'rolled back': 'warn', resolved: 'quiet' }
  return badge(tones[state] ?? 'quiet', state)
}
