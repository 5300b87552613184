// @ts-check
/**
 * The document as a function of the data: `h` describes elements, `patch` changes only what differs from the last description.
 * D1. Text comes into the document as text nodes and attribute values, never as markup: nothing here parses HTML.
 * D2. A link leads to a page of ours (`#/...`), whatever the data says; handlers are functions, never attributes.
 * D3. An element with the same key stays the same element: focus, selection and scroll positions live through updates.
 * D4. `value`, `checked` and `open` are only where an element begins: what somebody typed or opened is theirs.
 * D5. Of many elements those out of sight are old by at most AWAY patches.
 */

/** @typedef {{ tag: string, key: string | undefined, props: Record<string, unknown>, children: Element_[], node?: Element, make?: () => Described }} Described */
/** @typedef {{ text: string, node?: Text }} Words */
/** @typedef {Described | Words} Element_ */
/** @typedef {Element_ | string | number | boolean | null | undefined | Child[]} Child */

const SVG = 'http://www.w3.org/2000/svg'
const INITIAL = new Set(['value', 'checked', 'open'])
/** What an element listens with now. @type {WeakMap<Element, Record<string, unknown>>} */
const current = new WeakMap()
const AWAY = 16
let patches = 0
let many = 0
/** Those of many: their number, and whether they are in sight. @type {WeakMap<Element, { n: number, seen: boolean }>} */
const sights = new WeakMap()
const sight = new IntersectionObserver(
  (changes) => {
    for (const { target, isIntersecting } of changes) {
      const known = sights.get(target)
      if (known) known.seen = isIntersecting
      if (!target.isConnected) sight.unobserve(target)
    }
  },
  { rootMargin: '100px' },
)
/** What a root shows now. @type {WeakMap<Element, Element_[]>} */
const shown = new WeakMap()

/**
 * Describes an element: `h('td.number', { title: 'calls' }, 12)`.
 * @param {string} name the tag, and classes after dots
 * @param {Record<string, unknown> | null} [props] attributes; `key`; `onclick` and the like: functions
 * @param {...Child} children
 * @returns {Described}
 */
export function h(name, props, ...children) {
  const [tag, classes] = parsed(name)
  /** @type {Record<string, unknown>} */
  const own = {}
  let key
  let all = classes
  for (const prop in props) {
    const value = props[prop]
    if (prop === 'key') key = value === undefined ? undefined : String(value)
    else if (prop !== 'class') own[prop] = value
    else if (value) all = all === '' ? String(value) : `${all} ${value}`
  }
  if (all !== '') own.class = all
  return { tag, key, props: own, children: flat(children, []) }
}

/** @type {Map<string, [tag: string, classes: string]>} */
const names = new Map()

/** @param {string} name */
function parsed(name) {
  const known = names.get(name)
  if (known) return known
  const [tag = 'div', ...classes] = name.split('.')
  /** @type {[string, string]} */
  const made = [tag, classes.join(' ')]
  names.set(name, made)
  return made
}

/**
 * One of many elements, which is described anew only while it can be seen, and else now and then (D5).
 * @param {string} tag
 * @param {string} key
 * @param {() => Described} make
 * @returns {Described}
 */
export function oneOfMany(tag, key, make) {
  return { tag, key, props: {}, children: [], make }
}

/**
 * Makes what is in `root` what is described.
 * @param {Element} root
 * @param {...Child} children
 */
export function patch(root, ...children) {
  const next = flat(children, [])
  patches++
  const focused = document.activeElement
  patchChildren(root, shown.get(root) ?? [], next, undefined)
  shown.set(root, next)
  // An element that was moved has lost the focus on the way.
  if (focused instanceof HTMLElement && focused !== document.activeElement && root.contains(focused)) focused.focus({ preventScroll: true })
}

/**
 * @param {Child[]} children
 * @param {Element_[]} into
 */
function flat(children, into) {
  for (const child of children) {
    if (child === null || child === undefined || typeof child === 'boolean') continue
    if (Array.isArray(child)) flat(child, into)
    else if (typeof child === 'object') into.push(child)
    else into.push({ text: String(child) })
  }
  return into
}

/**
 * @param {Element} parent
 * @param {Element_[]} old
 * @param {Element_[]} next
 * @param {string | undefined} space namespace
 */
function patchChildren(parent, old, next, space) {
  if (old.length === next.length && old.every((was, i) => isSame(was, next[i]))) {
    for (let i = 0; i < old.length; i++) patchNode(/** @type {Element_} */ (old[i]), /** @type {Element_} */ (next[i]), space)
    return
  }
  const known = named(old)
  for (const [name, child] of named(next)) {
    const was = known.get(name)
    known.delete(name)
    if (was) patchNode(was, child, space)
    else create(child, space)
  }
  for (const gone of known.values()) gone.node?.remove()
  let place = parent.firstChild
  for (const { node } of next) {
    if (node === place) place = place?.nextSibling ?? null
    else if (node) parent.insertBefore(node, place)
  }
}

/** @param {Element_} was @param {Element_ | undefined} is */
function isSame(was, is) {
  if (is === undefined) return false
  if ('text' in was || 'text' in is) return 'text' in was && 'text' in is
  return was.tag === is.tag && was.key === is.key
}

/** Children by tag and key; those without a key, or with the same one, by their order among themselves. @param {Element_[]} children */
function named(children) {
  /** @type {Map<string, Element_>} */
  const names = new Map()
  /** @type {Map<string, number>} */
  const times = new Map()
  for (const child of children) {
    const name = 'text' in child ? '#text' : `${child.tag} ${child.key ?? ''}`
    const n = times.get(name) ?? 0
    times.set(name, n + 1)
    names.set(`${name}#${n}`, child)
  }
  return names
}

/** @param {Element_} was @param {Element_} is @param {string | undefined} space */
function patchNode(was, is, space) {
  if ('text' in is) {
    const { node } = /** @type {Words} */ (was)
    if (node) is.node = node
    if (node && node.data !== is.text) node.data = is.text
    return
  }
  const { node, props, children } = /** @type {Described} */ (was)
  if (!node) return
  is.node = node
  if (is.make) {
    const known = sights.get(node)
    if (known && !known.seen && (known.n + patches) % AWAY !== 0) {
      is.props = props
      is.children = children
      return
    }
    take(is, is.make())
  }
  for (const name in props) if (!(name in is.props)) set(node, name, undefined)
  for (const name in is.props) if (props[name] !== is.props[name] && !INITIAL.has(name)) set(node, name, is.props[name])
  current.set(node, is.props)
  patchChildren(node, children, is.children, is.tag === 'svg' ? SVG : space)
}

/** @param {Element_} child @param {string | undefined} space */
function create(child, space) {
  if ('text' in child) {
    child.node = document.createTextNode(child.text)
    return child.node
  }
  if (child.make) take(child, child.make())
  const own = child.tag === 'svg' ? SVG : space
  const node = own === undefined ? document.createElement(child.tag) : document.createElementNS(own, child.tag)
  child.node = node
  current.set(node, child.props)
  if (child.make) {
    sights.set(node, { n: many++, seen: true })
    sight.observe(node)
  }
  for (const inner of child.children) node.append(create(inner, own))
  for (const name in child.props) set(node, name, child.props[name]) // after the children: a select's value needs its options
  return node
}

/** @param {Described} into @param {Described} made */
function take(into, made) {
  into.props = made.props
  into.children = made.children
}

/** @param {Element} node @param {string} name @param {unknown} value */
function set(node, name, value) {
  if (name.startsWith('on')) return listen(node, name)
  if (name === 'href' && !String(value).startsWith('#')) return node.removeAttribute('href')
  if (name === 'value') return void Reflect.set(node, 'value', value)
  if (value === undefined || value === false || value === null) node.removeAttribute(name)
  else node.setAttribute(name, value === true ? '' : String(value))
}

/** @type {WeakMap<Element, Set<string>>} */
const listening = new WeakMap()

/** One listener for each kind, which asks for today's handler. @param {Element} node @param {string} name */
function listen(node, name) {
  const names = listening.get(node) ?? new Set()
  if (names.has(name)) return
  listening.set(node, names.add(name))
  node.addEventListener(name.slice(2), (event) => {
    const handler = current.get(node)?.[name]
    if (typeof handler === 'function') handler(event)
  })
}
