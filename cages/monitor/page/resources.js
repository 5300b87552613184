// @ts-check
/** Resources: the pools of connections to the world, copy by copy. */
import { h } from './dom.js'
import { count, duration, rate } from './format.js'
import { errorShare } from './home.js'
import { badge, bar, empty, heading, since, table } from './parts.js'

/** @typedef {import('./app.js').App} App */

/** @param {App} app */
export function resourcesPage(app) {
  const all = app.overview.cages.flatMap(({ cage, copies }) => copies.flatMap(({ node, id, resources }) => resources.map((one) => ({ cage, node, id, ...one }))))
  return [
    heading('Resources', { note: 'Pools of connections to databases, brokers and services, copy by copy.' }),
    all.length === 0
      ? empty('No cage has a resource')
      : table(
          'Resources',
          [
            { head: 'Resource', cell: ({ resource, cage }) => [h('a', { href: `#/cage/${encodeURIComponent(cage)}` }, `${cage}.${resource}`)] },
            { head: 'Kind', cell: ({ kind }) => kind },
            { head: 'Node', cell: ({ node }) => node },
            { head: 'State', cell: ({ open, retryAt }) => (open ? [badge('error', 'broken'), ' ', retryAt !== undefined && h('span.quiet', null, 'tried again ', since(retryAt, app.now()))] : badge('good', 'good')) },
            { head: 'Busy', number: true, title: 'Connections that work, of those there may be', cell: ({ busy, limit, size }) => [h('span', { title: `${size} connections are made` }, `${busy} of ${limit}`), bar(busy / Math.max(1, limit), `${busy} of ${limit} busy`)] },
            { head: 'Waiting', number: true, title: 'Work that waits for a connection', cell: ({ waiting }) => (waiting > 0 ? h('span.wrong', null, count(waiting)) : '0') },
            { head: 'Calls/s', number: true, cell: (one) => rate(one.rate) },
            { head: 'Errors', number: true, cell: (one) => errorShare(one.errorRate, one.rate) },
            { head: 'p50', number: true, cell: ({ p50 }) => duration(p50) },
            { head: 'p99', number: true, cell: ({ p99 }) => duration(p99) },
            { head: 'Wait p99', number: true, title: 'Until a connection was there', cell: ({ waitP99 }) => duration(waitP99) },
          ],
          all,
          ({ cage, id, resource }) => `${cage} ${id} ${resource}`,
        ),
  ]
}
