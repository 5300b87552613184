// @ts-check
/** Which page a hash names. */
import { cagePage, methodPage } from './cage.js'
import { deadPage, letterPage } from './dead.js'
import { flowPage } from './flowpage.js'
import { heading } from './parts.js'
import { h } from './dom.js'
import { homePage } from './home.js'
import { incidentsPage } from './incidents.js'
import { notificationsPage } from './notifications.js'
import { queuesPage } from './queues.js'
import { resourcesPage } from './resources.js'
import { sagaPage, sagasPage } from './sagas.js'
import { schedulesPage } from './schedules.js'
import { searchPage } from './search.js'
import { transactionPage, transactionsPage } from './transactions.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('./app.js').Route} Route */
/** @typedef {{ title: string, nav: string, show: () => import('./dom.js').Child }} Page */

/** `#/dead/17?queue=retry`. @param {string} hash @returns {Route} */
export function parse(hash) {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?')
  const parts = path.split('/').filter((part) => part !== '')
  return { path: parts.map(decoded), query: new URLSearchParams(query) }
}

/** @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** @param {App} app @returns {Page} */
export function pageOf(app) {
  const [name = '', id, more] = app.route.path
  switch (name) {
    case '':
      return { title: 'Home', nav: '#/', show: () => homePage(app) }
    case 'cage':
      if (id === undefined) break
      if (more !== undefined) return { title: `${id}.${more}`, nav: `#/cage/${id}`, show: () => methodPage(app, id, more) }
      return { title: id, nav: `#/cage/${id}`, show: () => cagePage(app, id) }
    case 'flow':
      return { title: 'Flow map', nav: '#/flow', show: () => flowPage(app) }
    case 'queues':
    case 'queue':
      return { title: 'Queues', nav: '#/queues', show: () => queuesPage(app, id) }
    case 'dead':
      if (id !== undefined) return { title: `Dead letter ${id}`, nav: '#/dead', show: () => letterPage(app, id) }
      return { title: 'Dead letters', nav: '#/dead', show: () => deadPage(app) }
    case 'sagas':
    case 'saga':
      if (id !== undefined) return { title: `Saga ${id}`, nav: '#/sagas', show: () => sagaPage(app, id) }
      return { title: 'Sagas', nav: '#/sagas', show: () => sagasPage(app) }
    case 'transactions':
    case 'transaction':
      if (id !== undefined) return { title: `Transaction ${id}`, nav: '#/transactions', show: () => transactionPage(app, id) }
      return { title: 'Transactions', nav: '#/transactions', show: () => transactionsPage(app) }
    case 'incidents':
    case 'incident':
      return { title: 'Incidents', nav: '#/incidents', show: () => incidentsPage(app, id) }
    case 'schedules':
    case 'schedule':
      return { title: 'Schedules', nav: '#/schedules', show: () => schedulesPage(app) }
    case 'resources':
    case 'resource':
      return { title: 'Resources', nav: '#/resources', show: () => resourcesPage(app) }
    case 'notifications':
    case 'notification':
      return { title: 'Notifications', nav: '#/notifications', show: () => notificationsPage(app) }
    case 'search':
      return { title: id === undefined ? 'Search' : `Search: ${id}`, nav: '', show: () => searchPage(app, id) }
  }
  return { title: 'No such page', nav: '', show: () => [heading('No such page'), h('p', null, h('a', { href: '#/' }, 'To the home page'))] }
}
