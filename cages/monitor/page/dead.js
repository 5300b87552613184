// @ts-check
/** Dead letters: queued calls that were given up, with why, and what can be done about them. */
import { dropDead, editDead, retryDead } from './actions.js'
import { h } from './dom.js'
import { json, plural } from './format.js'
import { badge, button, empty, heading, loaded, section, since, table, when } from './parts.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').DeadView} DeadView */

const PAGE = 100

/** @param {App} app */
export function deadPage(app) {
  const { query } = app.route
  const [queue, before] = [query.get('queue') ?? '', query.get('before') ?? '']
  const asked = new URLSearchParams({ ...(queue && { queue }), ...(before && { before }) }).toString()
  return [
    heading('Dead letters', { note: 'Calls of queues that were given up. Nothing happens to them until somebody decides.' }),
    filter(app, queue),
    loaded(app, `/api/dead${asked && `?${asked}`}`, (/** @type {DeadView[]} */ letters) =>
      letters.length === 0
        ? empty(before ? 'There are no older ones' : queue ? `No call of ${queue} is dead` : 'No call is dead')
        : [listed(app, letters), letters.length >= PAGE && h('p', { key: 'older' }, h('a', { href: older(queue, letters.at(-1)?.seq) }, 'Older ones'))],
    ),
  ]
}

/** @param {App} app @param {string} chosen */
function filter(app, chosen) {
  const queues = app.overview.queues.filter(({ dead, queue }) => dead > 0 || queue === chosen)
  if (queues.length < 2 && chosen === '') return false
  const all = [{ queue: '', dead: 0 }, ...queues]
  return h(
    'div.choice',
    { key: 'filter', role: 'group', 'aria-label': 'Queue' },
    all.map(({ queue, dead }) =>
      h('a', { key: queue, href: queue === '' ? '#/dead' : `#/dead?queue=${encodeURIComponent(queue)}`, 'aria-current': queue === chosen ? 'true' : undefined }, queue === '' ? 'All queues' : `${queue} (${dead})`),
    ),
  )
}

/** @param {string} queue @param {number | undefined} before */
function older(queue, before) {
  return `#/dead?${new URLSearchParams({ ...(queue && { queue }), before: String(before) })}`
}

/** @param {App} app @param {DeadView[]} letters */
function listed(app, letters) {
  /** @type {import('./parts.js').Column<DeadView>[]} */
  const columns = [
    { head: 'Call', cell: ({ seq, target }) => h('a', { href: `#/dead/${seq}` }, target) },
    { head: 'Queue', cell: ({ queue }) => queue },
    { head: 'Died', number: true, cell: ({ diedAt }) => since(diedAt, app.now()) },
    { head: 'Attempts', number: true, cell: ({ attempts }) => attempts },
    { head: 'Why', wide: true, cell: ({ code, message }) => [badge('error', code), h('span.clip', { title: message }, message)] },
  ]
  if (app.may)
    columns.push({
      head: 'Actions',
      class: 'acts',
      cell: (letter) => [
        button('Retry', () => void retryDead(app, letter), { about: `${letter.target}, number ${letter.seq}` }),
        button('Drop', () => void dropDead(app, letter), { about: `${letter.target}, number ${letter.seq}`, tone: 'danger-quiet' }),
      ],
    })
  return table('Dead letters', columns, letters, ({ seq }) => seq)
}

/** @param {App} app @param {string} seq */
export function letterPage(app, seq) {
  return loaded(app, `/api/dead/${encodeURIComponent(seq)}`, (/** @type {DeadView} */ letter) => {
    const { target, queue, code, message, diedAt, enqueuedAt, attempts, id, failures, args } = letter
    return [
      heading(target, {
        up: ['Dead letters', '#/dead'],
        actions: app.may && [
          button('Retry', () => void retryDead(app, letter), { tone: 'primary' }),
          button('Edit …', () => void editDead(app, letter)),
          button('Drop …', () => void dropDead(app, letter), { tone: 'danger-quiet' }),
        ],
      }),
      h('div.trouble', { key: 'why' }, h('p', null, badge('error', code), ' ', message)),
      h(
        'dl.facts',
        { key: 'facts' },
        [
          ['Queue', h('a', { href: `#/queues/${encodeURIComponent(queue)}` }, queue)],
          ['Enqueued', when(enqueuedAt, app.now())],
          ['Died', when(diedAt, app.now())],
          ['Attempts', String(attempts)],
          ['Call', h('a', { href: `#/search/${encodeURIComponent(id)}`, title: 'All that happened to it' }, h('code', null, id))],
        ].map(([name, value]) => h('div', { key: String(name) }, h('dt', null, name), h('dd', null, value))),
      ),
      section('Arguments', args === undefined ? empty('They are not shown') : h('pre', null, json(args))),
      section(
        `Failures`,
        failures.length === 0
          ? empty('None is recorded')
          : table(
              plural(failures.length, 'failure'),
              [
                { head: 'Attempt', cell: ({ attempt }) => attempt },
                { head: 'At', cell: ({ at }) => when(at, app.now()) },
                { head: 'Code', cell: (failure) => h('code', null, failure.code) },
                { head: 'Message', wide: true, cell: (failure) => failure.message },
              ],
              failures,
              ({ attempt, at }) => `${attempt} ${at}`,
            ),
      ),
    ]
  })
}
