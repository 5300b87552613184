// @ts-check
/** Moments one below the other: when, how long, what, and where that lies within the whole. */
import { h } from './dom.js'
import { duration, instant } from './format.js'
import { badge } from './parts.js'

/** @typedef {import('../lib/model.ts').Moment} Moment */

/** @param {Moment[]} moments oldest first */
export function timeline(moments) {
  const first = moments[0]?.at ?? 0
  const last = Math.max(...moments.map(({ at, ms = 0 }) => at + ms), first + 1)
  const days = new Set(moments.map(({ at }) => new Date(at).toDateString()))
  let day = ''
  return h(
    'ol.timeline',
    { key: 'timeline' },
    moments.flatMap((moment, i) => {
      const today = new Date(moment.at).toDateString()
      const begins = today !== day && days.size > 1
      day = today
      return [
        begins && h('li.day', { key: today }, today),
        h(
          'li.moment',
          { key: `${moment.at} ${moment.kind} ${i}`, class: moment.code ? 'wrong' : undefined },
          h('time', { datetime: new Date(moment.at).toISOString() }, instant(moment.at)),
          h('span.offset', { title: 'after the first' }, i === 0 ? '' : `+${duration(moment.at - first)}`),
          h('span.kind', null, moment.kind),
          h(
            'span.what',
            null,
            moment.link ? h('a', { href: moment.link }, moment.what) : h('b', null, moment.what),
            moment.code ? [' ', badge('error', moment.code)] : false,
            moment.where && h('span.where', null, moment.where),
            moment.note && h('span.moment-note', null, moment.note),
          ),
          h('span.took', null, moment.ms === undefined ? '' : duration(moment.ms)),
          track(moment, first, last),
        ),
      ]
    }),
  )
}

/** @param {Moment} moment @param {number} first @param {number} last */
function track({ at, ms = 0 }, first, last) {
  const x = ((at - first) / (last - first)) * 198
  const width = Math.max(2, (ms / (last - first)) * 198)
  return h(
    'svg.track',
    { viewBox: '0 0 200 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('rect.way', { y: 3.5, width: 200, height: 1 }),
    h('rect.span', { x: Math.min(x, 198).toFixed(1), y: 1, width: Math.min(width, 200 - x).toFixed(1), height: 6 }),
  )
}
