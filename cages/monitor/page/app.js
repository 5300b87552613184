// @ts-check
/**
 * The monitor's page: what it knows, which page the hash names, and one function that draws all of it whenever something has changed.
 * Views are functions of `App`; the first time that one asks `load` for something it is fetched, and again while it is shown.
 */
import { logIn, logOut } from './actions.js'
import { session as askSession, get } from './api.js'
import { patch } from './dom.js'
import { moment } from './format.js'
import { frame } from './frame.js'
import { follow } from './live.js'
import { pageOf, parse } from './routes.js'

/** @typedef {import('../lib/model.ts').Overview} Overview */
/** @typedef {import('../lib/model.ts').Session} Session */
/** @typedef {import('./api.js').ApiError} ApiError */
/** @typedef {{ data?: unknown, error?: ApiError | undefined, at: number, loading: boolean, used: boolean }} Entry */
/** @typedef {{ path: string[], query: URLSearchParams }} Route */
/**
 * @typedef {object} App
 * @property {Overview} overview
 * @property {Route} route
 * @property {Session} session
 * @property {boolean} may somebody is logged in
 * @property {boolean} narrow
 * @property {number} room width that a page has
 * @property {string | undefined} chosen on the flow map
 * @property {() => number} now by the monitor's clock
 * @property {(path: string, options?: { refreshMs?: number }) => { data?: unknown, error?: ApiError | undefined }} load
 * @property {() => void} reload fetches again what is shown
 * @property {() => void} draw
 * @property {(text: string) => void} tell
 * @property {(session: Session) => void} setSession
 * @property {() => Promise<void>} renewSession
 */

const REFRESH_MS = 10_000
const TOLD_MS = 6_000

const root = /** @type {HTMLElement} */ (document.getElementById('app'))
const said = /** @type {HTMLElement} */ (document.getElementById('said'))
/** @type {Map<string, Entry>} */
const entries = new Map()
/** @type {Overview | undefined} */
let overview
let connected = false
/** By how much this clock is ahead of the monitor's. */
let aheadMs = 0
/** @type {Session} */
let session = { canLogIn: false }
let route = parse(location.hash)
let menu = false
let told = ''
/** @type {ReturnType<typeof setTimeout> | undefined} */
let toldTimer
let scheduled = false
/** @type {Map<string, string>} */
let problems = new Map()

/** @type {App} */
const app = {
  get overview() {
    return /** @type {Overview} */ (overview) // views are drawn only once there is one
  },
  get route() {
    return route
  },
  get session() {
    return session
  },
  get may() {
    return session.user !== undefined && connected
  },
  get narrow() {
    return innerWidth < 700
  },
  get room() {
    return (root.querySelector('.page')?.clientWidth ?? innerWidth) - 14 // the frame of what scrolls
  },
  chosen: undefined,
  now: () => Date.now() - aheadMs,
  load,
  reload: () => {
    for (const entry of entries.values()) entry.at = 0
    draw()
  },
  draw,
  tell,
  setSession: (next) => {
    session = next
    draw()
  },
  renewSession: async () => {
    session = await askSession().catch(() => ({ canLogIn: session.canLogIn }))
    draw()
  },
}

/** Draws once, soon, however often it is asked for. */
function draw() {
  if (scheduled) return
  scheduled = true
  requestAnimationFrame(() => {
    scheduled = false
    for (const entry of entries.values()) entry.used = false
    const page = pageOf(app)
    patch(
      root,
      frame(app, {
        page,
        ready: overview !== undefined,
        connected,
        lastAt: overview === undefined ? undefined : moment(overview.at + aheadMs, Date.now()),
        told,
        menu,
        onMenu: (open) => {
          menu = open
          draw()
        },
        onLogIn: () => void logIn(app),
        onLogOut: () => void logOut(app),
      }),
    )
    for (const [path, { used }] of entries) if (!used) entries.delete(path)
    const wrong = overview?.problems.length ?? 0
    document.title = `${wrong > 0 ? `(${wrong}) ` : ''}${page.title} · Menagerie`
  })
}

/** What was fetched, and fetches it if it is old. @type {App['load']} */
function load(path, { refreshMs = REFRESH_MS } = {}) {
  const entry = entries.get(path) ?? { at: 0, loading: false, used: true }
  entries.set(path, entry)
  entry.used = true
  if (!entry.loading && (entry.at === 0 || Date.now() - entry.at > refreshMs) && (connected || entry.at === 0)) void renew(path, entry)
  return entry
}

/** @param {string} path @param {Entry} entry */
async function renew(path, entry) {
  entry.loading = true
  try {
    entry.data = await get(path)
    entry.error = undefined
  } catch (error) {
    entry.error = /** @type {ApiError} */ (error)
    if (entry.error.status === 404) entry.data = undefined // it is not there any more
  }
  entry.loading = false
  entry.at = Date.now()
  draw()
}

/** A line that goes away by itself, also for those who listen. @param {string} text */
function tell(text) {
  told = text
  said.textContent = text
  clearTimeout(toldTimer)
  toldTimer = setTimeout(() => {
    told = ''
    draw()
  }, TOLD_MS)
  draw()
}

/** Says what has become wrong, or that all is well again. @param {Overview} next */
function announce(next) {
  const now = new Map(next.problems.map(({ what, link, severity }) => [`${severity} ${link}`, what]))
  const fresh = [...now].filter(([key]) => !problems.has(key)).map(([, what]) => what)
  if (fresh.length > 0) said.textContent = `Problem: ${fresh.slice(0, 3).join('; ')}`
  else if (now.size === 0 && problems.size > 0) said.textContent = 'No problems any more'
  problems = now
}

addEventListener('hashchange', () => {
  const was = route.path.join('/')
  route = parse(location.hash)
  menu = false
  app.chosen = undefined
  draw()
  if (was === route.path.join('/')) return
  requestAnimationFrame(() => {
    scrollTo(0, 0)
    if (document.querySelector('dialog[open]') === null) document.getElementById('title')?.focus({ preventScroll: true })
  })
})
addEventListener('resize', draw)
addEventListener('keydown', (event) => {
  const typing = event.target instanceof Element && event.target.closest('input, textarea, select, dialog')
  if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return
  event.preventDefault()
  const search = /** @type {HTMLInputElement | null} */ (document.getElementById('search'))
  search?.focus()
  search?.select()
})

follow(
  (next) => {
    if (overview !== undefined && JSON.stringify(next.counts) !== JSON.stringify(overview.counts))
      for (const entry of entries.values()) entry.at = Math.min(entry.at, 1)
    overview = next
    aheadMs = Date.now() - next.at
    announce(next)
    draw()
  },
  (is) => {
    if (is && !connected) void app.renewSession()
    connected = is
    draw()
  },
)
draw()
