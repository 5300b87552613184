// @ts-check
/** What a text is found in, all over the system, in the order in which it happened. */
import { h } from './dom.js'
import { duration, plural } from './format.js'
import { button, empty, heading, loaded } from './parts.js'
import { timeline } from './timeline.js'

/** @typedef {import('./app.js').App} App */
/** @typedef {import('../lib/model.ts').Moment} Moment */

/** @param {App} app @param {string | undefined} text */
export function searchPage(app, text) {
  if (text === undefined || text.trim() === '') return [heading('Search'), empty('Type what you look for above', 'A request’s id, a call’s, a saga’s, or a word of its arguments: an order, a customer, an address')]
  return [
    heading(`“${text}”`, { note: 'Everything that holds it, in the order in which it happened', actions: button('Search again', () => app.reload()) }),
    loaded(
      app,
      `/api/search?q=${encodeURIComponent(text)}`,
      (/** @type {Moment[]} */ moments) => {
        if (moments.length === 0) return empty('Nothing holds this text', 'Copies remember the latest few thousand things that they did; journals, queues and notifications are kept longer')
        const [first, last] = [moments[0], moments.at(-1)]
        const wrong = moments.filter(({ code }) => code !== undefined).length
        return [
          h('p.note', { key: 'sum' }, `${plural(moments.length, 'moment')} within ${duration((last?.at ?? 0) + (last?.ms ?? 0) - (first?.at ?? 0))}${wrong > 0 ? `, ${wrong} of them went wrong` : ''}`),
          timeline(moments),
        ]
      },
      { refreshMs: Number.POSITIVE_INFINITY },
    ),
  ]
}
