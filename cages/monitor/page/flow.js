// @ts-check
/**
 * The flow map: who calls whom, from left to right. The layout is a pure function of the names, so that the map stands still while rates change.
 * F1. A node's column is the longest way to it from where calls come in; ways that lead back are left out of that.
 * F2. Within a column nodes stand near those that they are called by; ties by name.
 * F3. A label is where nothing else is, or it is left out until its edge is chosen; the table below the map has all figures.
 */
import { h } from './dom.js'
import { duration, rate, share } from './format.js'

/** @typedef {import('../lib/model.ts').FlowView} FlowView */
/** @typedef {{ id: string, kind: 'interface' | 'queue' | 'resource' | 'module' | 'cage', name: string, of: string, column: number, x: number, y: number }} Place */
/** @typedef {FlowView & { d: string, label: { x: number, y: number } | undefined }} Edge */
/** @typedef {{ places: Place[], edges: Edge[], width: number, height: number }} Layout */

const BOX = { width: 148, height: 38 }
const GAP = { x: 118, y: 16 }
const MARGIN = 14
const LABEL = { width: 86, height: 15 }
/** Where on its edge a label may be. */
const SPOTS = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74]

/** Flows between cages: modules are taken together, and so are all interfaces and all resources. @param {FlowView[]} flows @returns {FlowView[]} */
export function byCage(flows) {
  const name = (/** @type {string} */ id) => {
    const [first = '', second] = id.split(' ')
    if (second === undefined) return `cage ${cageOf(id)}`
    return first === 'queue' ? id : `all ${first}s`
  }
  /** @type {Map<string, FlowView>} */
  const merged = new Map()
  for (const flow of flows) {
    const [from, to] = [name(flow.from), name(flow.to)]
    const key = `${from} > ${to}`
    const was = merged.get(key)
    if (from === to) continue
    if (!was) merged.set(key, { ...flow, from, to })
    else {
      was.rate += flow.rate
      was.errorRate += flow.errorRate
      was.p95 = Math.max(was.p95, flow.p95)
    }
  }
  return [...merged.values()]
}

/** Flows that begin or end in a cage. @param {FlowView[]} flows @param {string} cage */
export function ofCage(flows, cage) {
  return flows.filter(({ from, to }) => cageOf(from) === cage || cageOf(to) === cage)
}

/** @param {string} id `interface sample.web`, `sample.greeter`, `cage shop` */
export function cageOf(id) {
  const name = id.split(' ').at(-1) ?? id
  return name.split('.')[0] ?? name
}

/** @param {FlowView[]} flows @returns {Layout} */
export function layout(flows) {
  const sorted = [...flows].sort((a, b) => (a.from === b.from ? compare(a.to, b.to) : compare(a.from, b.from)))
  const ids = [...new Set(sorted.flatMap(({ from, to }) => [from, to]))].sort(compare)
  const column = columnsOf(ids, sorted)
  const columns = ordered(ids, column, sorted)
  const tallest = Math.max(...columns.map(({ length }) => length), 1)
  const height = tallest * (BOX.height + GAP.y) - GAP.y + 2 * MARGIN
  /** @type {Map<string, Place>} */
  const places = new Map()
  columns.forEach((members, c) => {
    const top = (height - (members.length * (BOX.height + GAP.y) - GAP.y)) / 2
    members.forEach((id, i) => {
      places.set(id, { id, ...named(id), column: c, x: MARGIN + c * (BOX.width + GAP.x), y: top + i * (BOX.height + GAP.y) })
    })
  })
  const width = columns.length * (BOX.width + GAP.x) - GAP.x + 2 * MARGIN
  return { places: [...places.values()], edges: routed(sorted, places), width, height }
}

/** F1. @param {string[]} ids @param {FlowView[]} flows */
function columnsOf(ids, flows) {
  /** @type {Map<string, string[]>} */
  const next = new Map(ids.map((id) => [id, []]))
  const called = new Set(flows.filter(({ from, to }) => from !== to).map(({ to }) => to))
  for (const { from, to } of flows) next.get(from)?.push(to)
  /** @type {Map<string, number>} */
  const column = new Map()
  const onWay = new Set()
  const starts = [...ids].sort((a, b) => rankOf(a, called) - rankOf(b, called) || compare(a, b))
  // Depth first finds what leads back; the longest way then goes over the rest, in the order in which it was left.
  /** @type {string[]} */
  const left = []
  const seen = new Set()
  /** @type {Set<string>} */
  const back = new Set()
  /** @param {string} id */
  const walk = (id) => {
    seen.add(id)
    onWay.add(id)
    for (const to of next.get(id) ?? []) {
      if (onWay.has(to)) back.add(`${id} > ${to}`)
      else if (!seen.has(to)) walk(to)
    }
    onWay.delete(id)
    left.push(id)
  }
  for (const id of starts) if (!seen.has(id)) walk(id)
  for (const id of left.reverse()) {
    const own = column.get(id) ?? 0
    column.set(id, own)
    for (const to of next.get(id) ?? []) if (!back.has(`${id} > ${to}`)) column.set(to, Math.max(column.get(to) ?? 0, own + 1))
  }
  return column
}

/** Interfaces first, then what nobody calls, then queues, then the rest. @param {string} id @param {Set<string>} called */
function rankOf(id, called) {
  if (id.startsWith('interface ') || id.startsWith('all interface')) return 0
  if (!called.has(id)) return 1
  return id.startsWith('queue ') ? 2 : 3
}

/** F2. @param {string[]} ids @param {Map<string, number>} column @param {FlowView[]} flows */
function ordered(ids, column, flows) {
  /** @type {string[][]} */
  const columns = []
  for (const id of ids) {
    const c = column.get(id) ?? 0
    while (columns.length <= c) columns.push([])
    columns[c]?.push(id)
  }
  for (let sweep = 0; sweep < 6; sweep++) {
    const place = new Map(columns.flatMap((members) => members.map((id, i) => [id, (i + 0.5) / members.length])))
    const forward = sweep % 2 === 0
    for (const members of columns) {
      const weight = new Map(
        members.map((id) => {
          const near = flows.filter(({ from, to }) => (forward ? to === id : from === id)).map(({ from, to }) => place.get(forward ? from : to) ?? 0.5)
          return [id, near.length === 0 ? (place.get(id) ?? 0.5) : near.reduce((sum, at) => sum + at, 0) / near.length]
        }),
      )
      members.sort((a, b) => (weight.get(a) ?? 0) - (weight.get(b) ?? 0) || compare(a, b))
    }
  }
  return columns
}

/** @param {string} id @returns {{ kind: Place['kind'], name: string, of: string }} */
function named(id) {
  const [kind = '', rest] = id.split(' ')
  if (kind === 'all') return { kind: rest === 'interfaces' ? 'interface' : 'resource', name: rest ?? '', of: 'of all cages' }
  if (kind === 'cage') return { kind: 'cage', name: rest ?? '', of: 'cage' }
  if (kind === 'queue') return { kind: 'queue', name: rest ?? '', of: 'queue' }
  const [cage = '', ...name] = (rest ?? kind).split('.')
  const own = name.join('.') || cage
  if (kind === 'interface' || kind === 'resource') return { kind, name: own, of: `${kind} of ${cage}` }
  return { kind: 'module', name: own, of: cage }
}

/** F3. @param {FlowView[]} flows @param {Map<string, Place>} places @returns {Edge[]} */
function routed(flows, places) {
  /** @type {{ x: number, y: number, width: number, height: number }[]} */
  const taken = [...places.values()].map(({ x, y }) => ({ x, y, ...BOX }))
  return flows.flatMap((flow) => {
    const [a, b] = [places.get(flow.from), places.get(flow.to)]
    if (!a || !b || a === b) return []
    const [from, to] = [{ x: a.x + BOX.width, y: a.y + BOX.height / 2 }, { x: b.x - 5, y: b.y + BOX.height / 2 }]
    const ahead = to.x > from.x
    const bend = ahead ? Math.max(40, (to.x - from.x) / 2) : 70
    const lift = ahead ? 0 : (a.y <= b.y ? -1 : 1) * BOX.height * 1.6
    const bends = [
      { x: from.x + bend, y: from.y + lift },
      { x: to.x - bend, y: to.y + lift },
    ]
    const [c = from, d = to] = bends
    const label = SPOTS.map((t) => ({
      x: bezier(t, from.x, c.x, d.x, to.x),
      y: bezier(t, from.y, c.y, d.y, to.y),
    })).find(({ x, y }) => !taken.some((box) => overlaps(box, { x: x - LABEL.width / 2, y: y - LABEL.height / 2, ...LABEL })))
    if (label) taken.push({ x: label.x - LABEL.width / 2, y: label.y - LABEL.height / 2, ...LABEL })
    return [{ ...flow, label, d: `M${r(from.x)} ${r(from.y)}C${r(c.x)} ${r(c.y)} ${r(d.x)} ${r(d.y)} ${r(to.x)} ${r(to.y)}` }]
  })
}

/**
 * @param {Layout} map
 * @param {FlowView[]} flows with today's figures
 * @param {string | undefined} chosen a place: only what touches it stands out
 * @param {(id: string | undefined) => void} choose
 */
export function drawn({ places, edges, width, height }, flows, chosen, choose) {
  const now = new Map(flows.map((flow) => [`${flow.from} > ${flow.to}`, flow]))
  const near = new Set(edges.filter(({ from, to }) => from === chosen || to === chosen).flatMap(({ from, to }) => [from, to]))
  const faded = (/** @type {boolean} */ is) => (chosen !== undefined && !is ? 'faded' : '')
  return h(
    'svg.flow',
    { viewBox: `0 0 ${width} ${height}`, width, height, role: 'group', 'aria-label': `Flow map: ${places.length} places, ${edges.length} ways between them` },
    h('defs', null, ['arrow', 'arrow-wrong'].map((id) => h('marker', { id, key: id, viewBox: '0 0 8 8', refX: '6', refY: '4', markerWidth: '8', markerHeight: '8', markerUnits: 'userSpaceOnUse', orient: 'auto' }, h('path', { d: 'M0 .8L7 4L0 7.2Z' })))),
    edges.map((edge) => {
      const { from, to, d } = edge
      const flow = now.get(`${from} > ${to}`) ?? edge
      const touched = from === chosen || to === chosen
      const wrong = flow.errorRate > 0
      const calm = flow.rate === 0
      return h(
        'g.edge',
        { key: `${from} > ${to}`, class: [wrong && 'wrong', calm && 'calm', faded(touched)].filter(Boolean).join(' ') },
        h('path', { d, 'stroke-width': calm ? 1 : r(1.2 + Math.min(4, Math.log10(1 + flow.rate) * 1.3)), 'marker-end': wrong ? 'url(#arrow-wrong)' : 'url(#arrow)' }),
        h('title', null, `${from} to ${to}: ${words(flow)}, p95 ${duration(flow.p95)}`),
      )
    }),
    edges.map((edge) => {
      const { from, to, label } = edge
      const touched = from === chosen || to === chosen
      const flow = now.get(`${from} > ${to}`) ?? edge
      if (!label || flow.rate === 0) return false
      return h(
        'text.edge-label',
        { key: `label ${from} > ${to}`, x: r(label.x), y: r(label.y + 4), 'text-anchor': 'middle', class: [flow.errorRate > 0 && 'wrong', faded(touched)].filter(Boolean).join(' ') },
        flow.errorRate > 0 ? `${rate(flow.rate)}/s · ${share(flow.errorRate, flow.rate)} err` : `${rate(flow.rate)}/s`,
      )
    }),
    places.map(({ id, kind, name, of, x, y }) =>
      h(
        'g.place',
        {
          key: id,
          class: [kind, id === chosen && 'chosen', faded(id === chosen || near.has(id))].filter(Boolean).join(' '),
          transform: `translate(${x} ${r(y)})`,
          tabindex: '0',
          role: 'button',
          'aria-pressed': id === chosen ? 'true' : 'false',
          'aria-label': `${of === kind ? kind : of} ${name}`,
          onclick: () => choose(id === chosen ? undefined : id),
          onkeydown: (/** @type {KeyboardEvent} */ event) => {
            if (event.key !== 'Enter' && event.key !== ' ') return
            event.preventDefault()
            choose(id === chosen ? undefined : id)
          },
        },
        h('rect', { width: BOX.width, height: BOX.height, rx: kind === 'queue' ? BOX.height / 2 : 6 }),
        h('text.name', { x: 12, y: 16 }, clipped(name, 19)),
        h('text.of', { x: 12, y: 30 }, clipped(of, 23)),
        h('title', null, id),
      ),
    ),
  )
}

/** @param {FlowView} flow */
function words(flow) {
  return `${rate(flow.rate)} per second${flow.errorRate > 0 ? `, ${share(flow.errorRate, flow.rate)} errors` : ''}`
}

/** @param {string} text @param {number} most */
function clipped(text, most) {
  return text.length <= most ? text : `${text.slice(0, most - 1)}…`
}

/** @typedef {{ x: number, y: number, width: number, height: number }} Box */
/** @param {Box} a @param {Box} b */
function overlaps(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
}

/** @param {number} t @param {number} a @param {number} b @param {number} c @param {number} d */
function bezier(t, a, b, c, d) {
  const u = 1 - t
  return u * u * u * a + 3 * u * u * t * b + 3 * u * t * t * c + t * t * t * d
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0
}

/** @param {number} value */
function r(value) {
  return Math.round(value * 10) / 10
}
