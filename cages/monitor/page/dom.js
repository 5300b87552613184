// @ts-check
/**
 * The document as a function of the data: `h` describes elements, `patch` changes only what differs from the last description.
 * D1. Text comes into the document as text nodes and attribute values, never as markup: nothing here parses HTML.
 * D2. A link leads to a page of ours (`#/...`), whatever the data says; handlers are functions, never attributes.
 * D3. An element with the same key stays the same element: focus, selection and scroll positions live through updates.
 * D4. `value`, `checked` and `open` are only where an element begins: what somebody typed or opened is theirs.
 */

/** @typedef {{ tag: string, key: string | undefined, props: Record<string, unknown>, children: Element_[], node?: Element }} Described */
/** @typedef {{ text: string, node?: Text }} Words */
/** @typedef {Described | Words} Element_ */
/** @typedef {Element_ | string | number | false | null | undefined | Child[]} Child */

const SVG = 'http://www.w3.org/2000/svg'
const INITIAL = new Set(['value', 'checked', 'open'])
/** What an element listens with now. @type {WeakMap<Element, Record<string, unknown>>} */
const current = new WeakMap()
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
  const [tag = 'div', ...classes] = name.split('.')
  const { key, class: more, ...rest } = props ?? {}
  const all = more ? [...classes, more].join(' ') : classes.join(' ')
  if (all !== '') rest.class = all
  return { tag, key: key === undefined ? undefined : String(key), props: rest, children: flat(children, []) }
}

/**
 * Makes what is in `root` what is described.
 * @param {Element} root
 * @param {...Child} children
 */
export function patch(root, ...children) {
  const next = flat(children, [])
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
    if (child === null || child === undefined || child === false) continue
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
    const node = /** @type {Words} */ (was).node
    is.node = node
    if (node && node.data !== is.text) node.data = is.text
    return
  }
  const { node, props, children } = /** @type {Described} */ (was)
  if (!node) return
  is.node = node
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
  const own = child.tag === 'svg' ? SVG : space
  const node = own === undefined ? document.createElement(child.tag) : document.createElementNS(own, child.tag)
  child.node = node
  current.set(node, child.props)
  for (const inner of child.children) node.append(create(inner, own))
  for (const name in child.props) set(node, name, child.props[name]) // after the children: a select's value needs its options
  return node
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
