// @ts-check
/** Notifications: what the system and its people told, newest first. */
import { h } from './dom.js'
import { json } from './format.js'
import { badge, empty, heading, loaded, when } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').NotificationView} NotificationView */

/** @param {App} app */
export function notificationsPage(app) {
  return [
    heading('Notifications'),
    loaded(app, '/api/notifications', (/** @type {NotificationView[]} */ all) => (all.length === 0 ? empty('There was none') : notices(app, all))),
  ]
}

/** @param {App} app @param {NotificationView[]} notifications */
export function notices(app, notifications) {
  return h(
    'ul.notices',
    { key: 'notices' },
    notifications.map(({ seq, level, at, cage, module, node, request, message, details }) =>
      h(
        'li',
        { key: seq, class: level },
        badge(level === 'info' ? 'quiet' : level, level),
        when(at, app.now()),
        h(
          'div.notice',
          null,
          h('p', null, message),
          h(
            'p.quiet',
            null,
            h('a', { href: `#/cage/${encodeURIComponent(cage)}` }, module === undefined ? cage : `${cage}.${module}`),
            node !== undefined && ` on ${node}`,
            request !== undefined && [' · ', h('a', { href: `#/search/${encodeURIComponent(request)}` }, request)],
          ),
          details !== undefined && details !== null && h('details', null, h('summary', null, 'Details'), h('pre', null, json(details))),
        ),
      ),
    ),
  )
}
