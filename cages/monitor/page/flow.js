// @ts-check
/**
 * The flow map: who calls whom, from left to right. The layout is a pure function of the names, so that the map stands still while rates change.
 * F1. A node's column is the longest way to it from where calls come in; ways that lead back are left out of that.
 * F2. Within a column nodes stand near those that they are called by; ties by name. An edge over several columns has a place in each of those between.
 * F3. A label is where nothing else is, or it is left out until its edge is chosen; the table below the map has all figures.
 */
import { h } from './dom.js'
import { duration, rate, share } from './format.js'

/** @typedef {import('../lib/model.ts').FlowView} FlowView */
/** @typedef {{ id: string, kind: 'interface' | 'queue' | 'resource' | 'module' | 'cage', name: string, of: string, column: number, x: number, y: number }} Place */
/** @typedef {{ x: number, y: number }} Point */
/** @typedef {FlowView & { d: string, label: Point | undefined }} Edge */
/** @typedef {{ places: Place[], edges: Edge[], width: number, height: number }} Layout */

const BOX = { width: 130, height: 38 }
/** What an edge over several columns takes of those between. */
const WAY = { height: 10 }
const GAP = { x: 80, y: 14 }
const MARGIN = 12
/** Drawn smaller than this, nobody reads it. */
const SMALLEST = 0.75
const LABEL = { width: 66, height: 15 }
/** Where on its edge a label may be. */
const SPOTS = [0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74]

/** Flows between cages and queues: modules are taken together; what comes in from outside and what goes out is left out. @param {FlowView[]} flows @returns {FlowView[]} */
export function byCage(flows) {
  /** @type {Map<string, FlowView>} */
  const merged = new Map()
  for (const flow of flows) {
    if (/^(interface|resource) /.test(flow.from) || /^(interface|resource) /.test(flow.to)) continue
    const [from, to] = [flow.from, flow.to].map((id) => (id.startsWith('queue ') ? id : `cage ${cageOf(id)}`))
    if (from === undefined || to === undefined || from === to) continue
    const key = `${from} > ${to}`
    const was = merged.get(key)
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
  const sorted = [...flows].filter(({ from, to }) => from !== to).sort((a, b) => compare(a.from, b.from) || compare(a.to, b.to))
  const ids = [...new Set(sorted.flatMap(({ from, to }) => [from, to]))].sort(compare)
  const column = columnsOf(ids, sorted)
  const ways = sorted.map((flow) => wayOf(flow, column))
  const columns = ordered([...new Set(ways.flat())], column, ways)
  const heightOf = (/** @type {string} */ id) => (isWay(id) ? WAY : BOX).height + GAP.y
  const heights = columns.map((members) => members.reduce((sum, id) => sum + heightOf(id), -GAP.y))
  const height = Math.max(...heights, BOX.height) + 2 * MARGIN
  /** @type {Map<string, Place>} */
  const places = new Map()
  columns.forEach((members, c) => {
    let y = (height - (heights[c] ?? 0)) / 2
    for (const id of members) {
      places.set(id, { id, ...named(id), column: c, x: MARGIN + c * (BOX.width + GAP.x), y })
      y += heightOf(id)
    }
  })
  const width = columns.length * (BOX.width + GAP.x) - GAP.x + 2 * MARGIN
  const shown = [...places.values()].filter(({ id }) => !isWay(id))
  return { places: shown, edges: routed(sorted, ways, places, shown), width, height }
}

/** The places that an edge goes through, with those between. @param {FlowView} flow @param {Map<string, number>} column */
function wayOf({ from, to }, column) {
  const [a, b] = [column.get(from) ?? 0, column.get(to) ?? 0]
  const step = a < b ? 1 : -1
  const between = []
  for (let c = a + step; c !== b; c += step) {
    const id = `> ${from} > ${to} > ${c}`
    column.set(id, c)
    between.push(id)
  }
  return [from, ...between, to]
}

/** @param {string} id */
function isWay(id) {
  return id.startsWith('> ')
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
  if (id.startsWith('interface ')) return 0
  if (!called.has(id)) return 1
  return id.startsWith('queue ') ? 2 : 3
}

/** F2. @param {string[]} ids @param {Map<string, number>} column @param {string[][]} ways */
function ordered(ids, column, ways) {
  /** @type {string[][]} */
  const columns = []
  /** @type {Map<string, { before: string[], after: string[] }>} */
  const near = new Map(ids.map((id) => [id, { before: [], after: [] }]))
  for (const way of ways) {
    const forward = (column.get(way[0] ?? '') ?? 0) <= (column.get(way.at(-1) ?? '') ?? 0) ? way : [...way].reverse()
    forward.slice(1).forEach((id, i) => {
      const last = forward[i] ?? id
      near.get(id)?.before.push(last)
      near.get(last)?.after.push(id)
    })
  }
  for (const id of [...ids].sort(compare)) {
    const c = column.get(id) ?? 0
    while (columns.length <= c) columns.push([])
    columns[c]?.push(id)
  }
  for (let sweep = 0; sweep < 8; sweep++) {
    const side = sweep % 2 === 0 ? 'before' : 'after'
    const place = new Map(columns.flatMap((members) => members.map((id, i) => [id, (i + 0.5) / members.length])))
    for (const members of side === 'before' ? columns : [...columns].reverse()) {
      const weight = new Map(
        members.map((id) => {
          const others = near.get(id)?.[side] ?? []
          const sum = others.reduce((total, other) => total + (place.get(other) ?? 0.5), 0)
          return [id, others.length === 0 ? (place.get(id) ?? 0.5) : sum / others.length]
        }),
      )
      members.sort((a, b) => (weight.get(a) ?? 0) - (weight.get(b) ?? 0) || compare(a, b))
      for (const [i, id] of members.entries()) place.set(id, (i + 0.5) / members.length)
    }
  }
  return columns
}

/** @param {string} id @returns {{ kind: Place['kind'], name: string, of: string }} */
function named(id) {
  const [kind = '', rest] = id.split(' ')
  if (kind === 'cage') return { kind: 'cage', name: rest ?? '', of: 'cage' }
  if (kind === 'queue') return { kind: 'queue', name: rest ?? '', of: 'queue' }
  const [cage = '', ...name] = (rest ?? kind).split('.')
  const own = name.join('.') || cage
  if (kind === 'interface' || kind === 'resource') return { kind, name: own, of: `${kind} of ${cage}` }
  return { kind: 'module', name: own, of: cage }
}

/** F3. @param {FlowView[]} flows @param {string[][]} ways @param {Map<string, Place>} places @param {Place[]} shown @returns {Edge[]} */
function routed(flows, ways, places, shown) {
  /** @type {Box[]} */
  const taken = shown.map(({ x, y }) => ({ x, y, ...BOX }))
  return flows.map((flow, i) => {
    const stops = (ways[i] ?? []).flatMap((id) => places.get(id) ?? [])
    const back = (stops[0]?.x ?? 0) > (stops.at(-1)?.x ?? 0)
    const points = pointsOf(stops, back)
    const bend = ((back ? -1 : 1) * GAP.x) / 2
    /** @type {[Point, Point, Point, Point][]} */
    const curves = []
    let d = `M${r(points[0]?.x ?? 0)} ${r(points[0]?.y ?? 0)}`
    for (let n = 0; n + 1 < points.length; n++) {
      const [a, b] = [points[n], points[n + 1]]
      if (!a || !b) continue
      if (n % 2 === 1) d += `L${r(b.x)} ${r(b.y)}`
      else {
        d += `C${r(a.x + bend)} ${r(a.y)} ${r(b.x - bend)} ${r(b.y)} ${r(b.x)} ${r(b.y)}`
        curves.push([a, { x: a.x + bend, y: a.y }, { x: b.x - bend, y: b.y }, b])
      }
    }
    const boxes = curves
      .flatMap((curve) => SPOTS.map((t) => pointOn(curve, t)))
      .map(({ x, y }) => ({ x: x - LABEL.width / 2, y: y - LABEL.height / 2, ...LABEL }))
    const free = boxes.find((box) => !taken.some((other) => overlaps(other, box)))
    if (free) taken.push(free)
    return { ...flow, d, label: free && { x: free.x + LABEL.width / 2, y: free.y + LABEL.height / 2 } }
  })
}

/** Where an edge leaves and comes to each place: in at one side, out at the other; those that lead back a little lower. @param {Place[]} stops @param {boolean} back @returns {Point[]} */
function pointsOf(stops, back) {
  return stops.flatMap(({ id, x, y }, i) => {
    const middle = isWay(id) ? y + WAY.height / 2 : y + BOX.height / 2 + (back ? 9 : 0)
    const [inside, outside] = back ? [x + BOX.width, x] : [x, x + BOX.width]
    if (i === 0) return [{ x: outside, y: middle }]
    if (i === stops.length - 1) return [{ x: inside + (back ? 4 : -4), y: middle }]
    return [
      { x: inside, y: middle },
      { x: outside, y: middle },
    ]
  })
}

/** @param {[Point, Point, Point, Point]} curve @param {number} t @returns {Point} */
function pointOn([a, b, c, d], t) {
  return { x: bezier(t, a.x, b.x, c.x, d.x), y: bezier(t, a.y, b.y, c.y, d.y) }
}

/**
 * @param {Layout} map
 * @param {FlowView[]} flows with today's figures
 * @param {string | undefined} chosen a place: only what touches it stands out
 * @param {(id: string | undefined) => void} choose
 * @param {number} room width that there is: a map that is little wider is drawn smaller
 */
export function drawn({ places, edges, width, height }, flows, chosen, choose, room) {
  const now = new Map(flows.map((flow) => [`${flow.from} > ${flow.to}`, flow]))
  const near = new Set(edges.filter(({ from, to }) => from === chosen || to === chosen).flatMap(({ from, to }) => [from, to]))
  const faded = (/** @type {boolean} */ is) => (chosen !== undefined && !is ? 'faded' : '')
  return h(
    'svg.flow',
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      class: width > room && width * SMALLEST < room ? 'fits' : undefined,
      role: 'group',
      'aria-label': `Flow map: ${places.length} places, ${edges.length} ways between them`,
    },
    h(
      'defs',
      null,
      ['arrow', 'arrow-wrong'].map((id) =>
        h(
          'marker',
          {
            id,
            key: id,
            viewBox: '0 0 8 8',
            refX: '6',
            refY: '4',
            markerWidth: '8',
            markerHeight: '8',
            markerUnits: 'userSpaceOnUse',
            orient: 'auto',
          },
          h('path', { d: 'M0 .8L7 4L0 7.2Z' }),
        ),
      ),
    ),
    edges.map((edge) => {
      const { from, to, d } = edge
      const flow = now.get(`${from} > ${to}`) ?? edge
      const touched = from === chosen || to === chosen
      const wrong = flow.errorRate > 0
      const calm = flow.rate === 0
      return h(
        'g.edge',
        { key: `${from} > ${to}`, class: [wrong && 'wrong', calm && 'calm', faded(touched)].filter(Boolean).join(' ') },
        h('path', {
          d,
          'stroke-width': calm ? 1 : r(1.2 + Math.min(4, Math.log10(1 + flow.rate) * 1.3)),
          'marker-end': wrong ? 'url(#arrow-wrong)' : 'url(#arrow)',
        }),
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
        {
          key: `label ${from} > ${to}`,
          x: r(label.x),
          y: r(label.y + 4),
          'text-anchor': 'middle',
          class: [flow.errorRate > 0 && 'wrong', faded(touched)].filter(Boolean).join(' '),
        },
        flow.errorRate > 0 ? `${rate(flow.rate)}/s · ${share(flow.errorRate, flow.rate)}` : `${rate(flow.rate)}/s`,
      )
    }),
    places.map(({ id, kind, name, of, x, y }) =>
      h(
        'g.spot',
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
        h('text.name', { x: 12, y: 16 }, clipped(name, 17)),
        h('text.of', { x: 12, y: 30 }, clipped(of, 20)),
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
