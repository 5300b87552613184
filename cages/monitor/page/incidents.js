// @ts-check
/** Incidents: what neither retries nor compensations could settle, and waits for somebody to decide. */
import { orders, resolveIncident } from './actions.js'
import { h } from './dom.js'
import { badge, button, empty, heading, loaded, since, when } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').IncidentView} IncidentView */

/** @param {App} app @param {string | undefined} id only this one */
export function incidentsPage(app, id) {
  return [
    heading('Incidents', {
      note: 'Sagas and transactions that cannot go on alone. Look at what was done, then decide.',
      ...(id === undefined ? {} : { up: ['All incidents', '#/incidents'] }),
    }),
    loaded(app, '/api/incidents', (/** @type {IncidentView[]} */ incidents) => {
      const shown = incidents.filter((incident) => id === undefined || incident.id === id)
      return shown.length === 0 ? empty(id === undefined ? 'Nothing waits for a decision' : 'This one is settled') : h('div.cards', { key: 'cards' }, shown.map((incident) => card(app, incident)))
    }),
  ]
}

/** @param {App} app @param {IncidentView} incident */
function card(app, incident) {
  const { kind, id, cage, at, part, problem, error, attempts } = incident
  return h(
    'article.card',
    { key: `${kind} ${id} ${part}`, 'aria-label': `Incident: ${part} of ${kind} ${id}` },
    h('header', null, h('h2', null, part), badge('quiet', kind), h('span.quiet', null, cage), h('span.since', null, since(at, app.now()))),
    h('p', null, problem),
    h('p', null, badge('error', error.code), ' ', error.message),
    attempts.length > 0 &&
      h(
        'ul.attempts',
        { 'aria-label': 'What was tried' },
        attempts.map(({ at: then, by, action, reason, error: failed }) => h('li', { key: `${then} ${by}` }, when(then, app.now()), ` ${by}: ${action}, “${reason}”: `, h('span.wrong', null, failed))),
      ),
    h(
      'footer',
      null,
      h('a', { href: `#/${kind}s/${encodeURIComponent(id)}` }, 'Timeline'),
      app.may && h('div.actions', null, orders.map(([order, label]) => button(label, () => void resolveIncident(app, incident, order), { about: part }))),
    ),
  )
}
