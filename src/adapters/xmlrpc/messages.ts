/**
 * Messages: bytes ↔ calls and answers (xmlrpc.com/spec). Pure.
 * M1. Bytes are read in the character set that their Content-Type says, else the XML declaration, else UTF-8 (RFC 7303, 3), and none is replaced; we write UTF-8.
 * M2. What is no call, or no answer, is refused with the code of its fault (faults.ts).
 */
import type { Fault } from './faults.ts'
import { FAULTS, refusal } from './faults.ts'
import { type Dialect, decodeValue, encodeValue, isBlank } from './values.ts'
import { type Element, escapeText, type ReadXml, xmlReader } from './xml.ts'

/** A method by the name that it has outside, and what it is called with. */
export interface MethodCall {
  readonly name: string
  readonly params: unknown[]
}

/** What was answered. */
export type Answer = { readonly result: unknown } | { readonly fault: Fault }

const DECLARED = /^<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']/
const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]+)/i
const TAGS_PER_LEVEL = 3 // array, data, value; struct, member, value
const TAGS_AROUND = 6 // methodResponse, params, param, value, the innermost type

/** Reads and writes messages, with limits. */
export class Codec {
  readonly #dialect: Dialect
  readonly #read: ReadXml

  constructor(dialect: Dialect) {
    this.#dialect = dialect
    this.#read = xmlReader(TAGS_PER_LEVEL * (dialect.maxDepth + 1) + TAGS_AROUND)
  }

  /** Reads a request's body. */
  call(bytes: Uint8Array, contentType: string | undefined): MethodCall {
    const root = this.#document(bytes, contentType, 'methodCall')
    const [name, params, ...others] = root.children
    if (name?.name !== 'methodName' || name.children.length > 0 || others.length > 0)
      throw notConforming('a call has a methodName and params')
    return { name: name.text.trim(), params: params === undefined ? [] : this.#params(params) }
  }

  /** Reads a response's body. */
  answer(bytes: Uint8Array, contentType: string | undefined): Answer {
    const [content, ...others] = this.#document(bytes, contentType, 'methodResponse').children
    if (content === undefined || others.length > 0) throw notConforming('an answer has params or a fault')
    if (content.name === 'fault') return { fault: faultOf(this.#only(content)) }
    const results = this.#params(content)
    if (results.length !== 1) throw notConforming('an answer has one result')
    return { result: results[0] }
  }

  /** Writes a call; throws INVALID_ARGUMENT for what XML-RPC cannot say. */
  encodeCall({ name, params }: MethodCall): string {
    const safe = escapeText(name)
    if (safe === undefined) throw refusal(FAULTS.invalidParameters, 'the name of the method has control characters')
    const encoded = params.map((param) => `<param>${encodeValue(param, this.#dialect)}</param>`).join('')
    return document(`<methodCall><methodName>${safe}</methodName><params>${encoded}</params></methodCall>`)
  }

  /** Writes an answer; throws INVALID_ARGUMENT for what XML-RPC cannot say. */
  encodeResult(result: unknown): string {
    return document(`<methodResponse><params><param>${encodeValue(result, this.#dialect)}</param></params></methodResponse>`)
  }

  /** Writes a fault; what its text has that XML has not is replaced. */
  encodeFault({ faultCode, faultString }: Fault): string {
    const text = escapeText(faultString) === undefined ? faultString.replace(/[^\x20-\x7e]/g, '?') : faultString
    return document(`<methodResponse><fault>${encodeValue({ faultCode, faultString: text }, this.#dialect)}</fault></methodResponse>`)
  }

  #document(bytes: Uint8Array, contentType: string | undefined, name: string): Element {
    const root = this.#read(decode(bytes, contentType))
    if (root.name !== name || !isBlank(root.text)) throw notConforming(`the root is no ${name}`)
    return root
  }

  #params(params: Element): unknown[] {
    if (params.name !== 'params' || !isBlank(params.text)) throw notConforming('params are missing')
    return params.children.map((param) => {
      if (param.name !== 'param') throw notConforming('params hold a param each')
      return this.#only(param)
    })
  }

  #only(parent: Element): unknown {
    const [value, ...others] = parent.children
    if (value?.name !== 'value' || others.length > 0 || !isBlank(parent.text)) throw notConforming(`a ${parent.name} holds one value`)
    return decodeValue(value, this.#dialect.maxDepth)
  }
}

/** A value that should be a fault. */
export function faultOf(value: unknown): Fault {
  const { faultCode, faultString } = (typeof value === 'object' && value !== null ? value : {}) as Partial<Fault> // looked at next
  if (typeof faultCode !== 'number' || typeof faultString !== 'string') throw notConforming('a fault has a faultCode and a faultString')
  return { faultCode, faultString }
}

/** M1. */
function decode(bytes: Uint8Array, contentType: string | undefined): string {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 200)).toString('latin1')
  const charset = CHARSET.exec(contentType ?? '')?.[1] ?? DECLARED.exec(start)?.[1] ?? 'utf-8'
  let decoder: InstanceType<typeof TextDecoder>
  try {
    decoder = new TextDecoder(charset, { fatal: true })
  } catch (cause) {
    throw refusal(FAULTS.unsupportedEncoding, `the character set ${charset} is unknown`, cause)
  }
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw refusal(FAULTS.invalidCharacter, `the bytes are not ${charset}`, cause)
  }
}

function document(content: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${content}\n`
}

function notConforming(message: string): Error {
  return refusal(FAULTS.notConforming, message)
}
