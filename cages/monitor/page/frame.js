// @ts-check
/** What stands around every page: search, state of the connection, theme, login, navigation. */
import { h } from './dom.js'
import { count } from './format.js'
import { badge } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('./routes.js').Page} Page */
/**
 * @typedef {object} Frame
 * @property {Page} page
 * @property {boolean} ready
 * @property {boolean} connected
 * @property {string | undefined} lastAt
 * @property {string} told
 * @property {boolean} menu
 * @property {(open: boolean) => void} onMenu
 * @property {() => void} onLogIn
 * @property {() => void} onLogOut
 */

/** @param {App} app @param {Frame} frame */
export function frame(app, { page, ready, connected, lastAt, told, menu, onMenu, onLogIn, onLogOut }) {
  const { session } = app
  return [
    h('a.skip', { key: 'skip', href: '#title', onclick: toContent }, 'Skip to the content'),
    h(
      'header.top',
      { key: 'top' },
      h('button.menu', { type: 'button', 'aria-expanded': menu ? 'true' : 'false', 'aria-controls': 'nav', onclick: () => onMenu(!menu) }, 'Menu'),
      h('a.brand', { href: '#/' }, logo(), h('span', null, 'Menagerie')),
      h(
        'form.search',
        { role: 'search', onsubmit: search },
        h('label.unseen', { for: 'search' }, 'Search for anything: a request, a call, an order, a name'),
        h('input', { id: 'search', type: 'search', placeholder: 'Search a request, a call, an order …', autocomplete: 'off', spellcheck: 'false', 'aria-keyshortcuts': '/' }),
        h('kbd', { 'aria-hidden': 'true' }, '/'),
      ),
      h('span.state', { class: connected ? 'live' : 'lost', title: connected ? 'Figures come in as they change' : 'No connection to the monitor' }, connected ? 'Live' : ready ? 'Lost' : 'Connecting'),
      h('button.theme', { type: 'button', onclick: () => turnTheme(app), title: 'Light, dark, or as the system has it' }, h('span.unseen', null, 'Theme: '), themeName()),
      session.user !== undefined
        ? h('span.who', { key: 'who' }, h('b', null, session.user), h('button', { type: 'button', onclick: onLogOut }, 'Log out'))
        : session.canLogIn && h('button.primary', { key: 'login', type: 'button', onclick: onLogIn }, 'Log in'),
    ),
    h('nav', { key: 'nav', id: 'nav', 'aria-label': 'Pages', class: menu ? 'open' : undefined }, ready && links(app, page)),
    h(
      'main',
      { key: 'main', class: ready && !connected ? 'stale' : undefined },
      h(
        'div',
        { role: 'alert', key: 'alert' },
        !connected && ready && h('p.banner', null, h('b', null, 'The monitor does not answer. '), `What you see is of ${lastAt}; it goes on by itself once it is back.`),
      ),
      h('div.page', { key: app.route.path.join('/') }, ready ? page.show() : h('p.loading', null, connected ? 'Loading …' : 'Waiting for the monitor …')),
    ),
    told !== '' && h('p.told', { key: 'told', 'aria-hidden': 'true' }, told),
  ]
}

/** @param {App} app @param {Page} page */
function links(app, { nav }) {
  const { counts, cages, problems } = app.overview
  const to = (/** @type {string} */ href, /** @type {string} */ text, /** @type {number} */ amount = 0, wrong = true) =>
    h(
      'li',
      { key: href },
      h('a', { href, 'aria-current': nav === href ? 'page' : undefined }, text, amount > 0 && badge(wrong ? 'error' : 'quiet', count(amount))),
    )
  const broken = new Set(problems.map(({ link }) => link))
  return [
    h('ul', { key: 'first' }, to('#/', 'Home', problems.length), to('#/flow', 'Flow map')),
    h('h2', { key: 'work' }, 'Work'),
    h(
      'ul',
      { key: 'works' },
      to('#/queues', 'Queues'),
      to('#/dead', 'Dead letters', counts.dead),
      to('#/incidents', 'Incidents', counts.incidents),
      to('#/sagas', 'Sagas', counts.openSagas, false),
      to('#/transactions', 'Transactions', counts.openTransactions, false),
      to('#/schedules', 'Schedules'),
    ),
    h('h2', { key: 'system' }, 'System'),
    h('ul', { key: 'systems' }, to('#/resources', 'Resources'), to('#/notifications', 'Notifications')),
    h('h2', { key: 'cages' }, 'Cages'),
    h(
      'ul',
      { key: 'all' },
      cages.map(({ cage }) => {
        const href = `#/cage/${encodeURIComponent(cage)}`
        const wrong = [...broken].some((link) => link === href || link.startsWith(`${href}/`))
        return h('li', { key: cage }, h('a', { href, 'aria-current': nav === `#/cage/${cage}` ? 'page' : undefined }, cage, wrong && badge('error', '!', 'has a problem')))
      }),
    ),
  ]
}

/** @param {SubmitEvent} event */
function search(event) {
  event.preventDefault()
  const text = /** @type {HTMLInputElement} */ (document.getElementById('search')).value.trim()
  if (text !== '') location.hash = `#/search/${encodeURIComponent(text)}`
}

/** The hash belongs to the pages, so the skip link sets the focus itself. @param {Event} event */
function toContent(event) {
  event.preventDefault()
  document.getElementById('title')?.focus()
}

function logo() {
  return h(
    'svg.logo',
    { viewBox: '0 0 16 16', 'aria-hidden': 'true' },
    h('rect', { width: 16, height: 16, rx: 4 }),
    h('path', { d: 'M3.5 12V5l4.5 4 4.5-4v7' }),
  )
}

function themeName() {
  return { light: 'Light', dark: 'Dark' }[document.documentElement.dataset.theme ?? ''] ?? 'Auto'
}

/** @param {App} app */
function turnTheme(app) {
  const next = { Auto: 'light', Light: 'dark', Dark: '' }[themeName()] ?? ''
  if (next === '') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = next
  try {
    localStorage.setItem('theme', next)
  } catch {} // no storage: for as long as the page is open
  app.draw()
}
