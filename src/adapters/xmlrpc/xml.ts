/**
 * XML: text → elements, as strict as XML-RPC needs it (XML 1.0). Pure.
 * X1. There is no document type, so no entities but XML's own five: `<!` begins a comment or CDATA, or the text is refused.
 * X2. What XML cannot carry is refused when it is read and when it is written: nothing is lost silently.
 * X3. Depth is limited while it is parsed.
 */
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { FAULTS, refusal } from './faults.ts'

/** An element: what it holds of others, and its own text. */
export interface Element {
  readonly name: string
  readonly children: readonly Element[]
  readonly text: string
}

/** Reads a document; throws INVALID_ARGUMENT with the fault's code in its details. */
export type ReadXml = (text: string) => Element

/** As the parser has it: `{ name: children }`, `{ '#text': text }` or `{ '#cdata': [{ '#text': text }] }`. */
type Parsed = Record<string, unknown>

const TEXT = '#text'
const CDATA = '#cdata'
const ILLEGAL = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u // XML 1.0, 2.2
const REFERENCE = /&(?:#(\d+)|#x([\da-fA-F]+)|([A-Za-z]+));|&/g
const ENTITIES: ReadonlyMap<string, string> = new Map(Object.entries({ lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }))
const ESCAPED: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '\r': '&#13;' }

/** A reader of documents with at most so many elements within each other (X3). */
export function xmlReader(maxNested: number): ReadXml {
  const parser = new XMLParser({
    preserveOrder: true,
    parseTagValue: false,
    trimValues: false,
    ignoreAttributes: true,
    ignoreDeclaration: true,
    ignorePiTags: true,
    processEntities: false, // ours are stricter
    cdataPropName: CDATA,
    jPath: false,
    maxNestedTags: maxNested,
  })
  return (text) => {
    if (ILLEGAL.test(text)) throw refusal(FAULTS.invalidCharacter, 'the text has a character that XML does not allow')
    checkDeclarations(text)
    const valid = XMLValidator.validate(text)
    if (valid !== true) throw malformed(valid.err.msg)
    const [root, ...others] = elementsOf(parse(parser, text))
    if (root === undefined || others.length > 0) throw malformed('one element is needed at the root')
    return root
  }
}

/** Text as an element may hold it; undefined if XML has no way to (X2). */
export function escapeText(text: string): string | undefined {
  return ILLEGAL.test(text) ? undefined : text.replace(/[&<>\r]/g, (found) => ESCAPED[found] ?? found)
}

/** X1. */
function checkDeclarations(text: string): void {
  for (let at = text.indexOf('<!'); at >= 0; at = text.indexOf('<!', at)) {
    const end = text.startsWith('<!--', at) ? '-->' : text.startsWith('<![CDATA[', at) ? ']]>' : undefined
    if (end === undefined) throw malformed('document types and entities are not read')
    at = text.indexOf(end, at + 4)
    if (at < 0) throw malformed('a comment or CDATA does not end')
  }
}

function parse(parser: XMLParser, text: string): Parsed[] {
  try {
    return parser.parse(text) as Parsed[] // what preserveOrder makes
  } catch (error) {
    throw malformed(error instanceof Error ? error.message : 'it cannot be parsed', error)
  }
}

function elementsOf(nodes: readonly Parsed[]): Element[] {
  const elements: Element[] = []
  for (const node of nodes) {
    const name = Object.keys(node)[0] ?? TEXT
    if (name === TEXT || name === CDATA) continue
    const children = node[name] as Parsed[] // of an element, always a list
    elements.push({ name, children: elementsOf(children), text: textOf(children) })
  }
  return elements
}

function textOf(nodes: readonly Parsed[]): string {
  let text = ''
  for (const node of nodes) {
    const plain = node[TEXT]
    if (typeof plain === 'string') text += unescapeText(plain)
    const raw = node[CDATA]
    if (Array.isArray(raw)) for (const part of raw as Parsed[]) text += String(part[TEXT] ?? '')
  }
  return text
}

function unescapeText(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(REFERENCE, (_all, decimal?: string, hex?: string, name?: string) => {
    const known = name === undefined ? characterOf(decimal ?? hex ?? '', decimal === undefined ? 16 : 10) : ENTITIES.get(name)
    if (known === undefined) throw malformed('it refers to what there is not')
    return known
  })
}

function characterOf(digits: string, base: number): string | undefined {
  const code = Number.parseInt(digits, base)
  if (!(code <= 0x10_ff_ff)) return undefined
  const character = String.fromCodePoint(code)
  return ILLEGAL.test(character) ? undefined : character
}

function malformed(why: string, cause?: unknown): Error {
  return refusal(FAULTS.malformed, `this is not well-formed XML: ${why}`, cause)
}
