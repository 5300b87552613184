// @ts-check
/** Queues: how much waits, how fast it goes, whether it goes at all. */
import { setQueueMode } from './actions.js'
import { spark } from './chart.js'
import { h } from './dom.js'
import { bytes, count, rate } from './format.js'
import { badge, button, empty, heading, since, table } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').QueueView} QueueView */

/** @param {App} app @param {string | undefined} name only this one */
export function queuesPage(app, name) {
  const queues = app.overview.queues.filter(({ queue }) => name === undefined || queue === name)
  /** @type {import('./parts.js').Column<QueueView>[]} */
  const columns = [
    { head: 'Queue', cell: ({ queue }) => queue },
    { head: 'Mode', cell: ({ mode, reason }) => [badge(mode === 'open' ? 'good' : 'warn', mode), reason !== undefined && h('span.place', null, reason)] },
    { head: 'Waiting', number: true, cell: ({ waiting }) => count(waiting) },
    { head: 'Oldest', number: true, cell: ({ oldestAt }) => since(oldestAt, app.now()) },
    { head: 'Running', number: true, cell: ({ running }) => count(running) },
    { head: 'Delayed', number: true, title: 'For a later time, or for the next attempt', cell: ({ delayed }) => count(delayed) },
    { head: 'Dead', number: true, cell: ({ queue, dead }) => (dead === 0 ? h('span.quiet', null, '0') : h('a.wrong', { href: `#/dead?queue=${encodeURIComponent(queue)}` }, count(dead))) },
    { head: 'Size', number: true, cell: ({ bytes: size }) => bytes(size) },
    { head: 'Done/s', number: true, cell: (queue) => rate(queue.rate) },
    { head: 'Last minutes', cell: ({ queue, spark: values }) => spark(values, [], `${queue}, calls done per second over the last minutes: highest ${rate(Math.max(0, ...values))}, now ${rate(values.at(-1) ?? 0)}`) },
    { head: 'Retried/s', number: true, cell: ({ retriedRate }) => rate(retriedRate) },
  ]
  if (app.may)
    columns.push({
      head: 'Actions',
      class: 'acts',
      cell: ({ queue, mode }) => [
        mode !== 'open' && button('Open', () => void setQueueMode(app, queue, 'open'), { about: queue }),
        mode !== 'paused' && button('Pause', () => void setQueueMode(app, queue, 'paused'), { about: queue }),
        mode !== 'draining' && button('Drain', () => void setQueueMode(app, queue, 'draining'), { about: queue }),
      ],
    })
  return [
    heading('Queues', name === undefined ? {} : { up: ['All queues', '#/queues'] }),
    queues.length === 0 ? empty('There is no queue', 'A queue is there once a cage that has it runs') : table('Queues', columns, queues, ({ queue }) => queue),
  ]
}
