/**
 * The wire format (docs/protocol.md): bytes ↔ arguments, results and errors. Pure.
 * W1. The first byte tells the format: 0xc1, which MessagePack never uses, begins our envelope; any other byte from 0x80 up is MessagePack; below it is JSON.
 * W2. The answer has the format of the question.
 * W3. Between our own nodes Date, bytes, bigint, Map, Set and undefined survive. A foreign client's 64-bit integer becomes a number where that is exact.
 * W4. Bytes that are neither format are INVALID_ARGUMENT, never a crash: lengths are checked before anything is allocated, references are refused.
 */
import { addExtension, Packr, RESERVE_START_SPACE, Unpackr } from 'msgpackr'
import { CageError, type ErrorBody } from '../errors.ts'
import { toJson } from '../json.ts'
import { isLogLevel } from '../levels.ts'
import type { RequestInfo } from './bus.ts'

/** `envelope` is the MessagePack of our own nodes, which also tells a Map from an object. */
export type Format = 'json' | 'msgpack' | 'envelope'

/** A decoded question. */
export interface Question {
  format: Format
  args: unknown[]
  /** What is left of the caller's time, ms; undefined if the payload does not say. */
  timeoutMs: number | undefined
  request: RequestInfo | undefined
  /** What a queued call has besides (queue/message.ts). */
  queued?: unknown
}

const ENVELOPE = 0xc1
const FIRST_MSGPACK = 0x80
const MAP_TYPE = 0x4d // 'M', an application type (MessagePack specification, "Extension types": 0 to 127 are free)

/** A Map on its way: msgpackr writes a Map itself like an object, before it asks extensions. */
class TaggedMap {
  readonly entries: unknown[]
  constructor(map: Map<unknown, unknown>) {
    this.entries = [...map].map(tagMaps)
  }
}
addExtension({
  Class: TaggedMap,
  type: MAP_TYPE,
  write: (map: TaggedMap) => map.entries,
  read: (entries: [unknown, unknown][]) => new Map(entries),
})

// without structuredClone: its references would let a hundred bytes unfold to gigabytes (W4)
const OPTIONS = { useRecords: false, mapsAsObjects: true, moreTypes: true, structuredClone: false } as const
const packr = new Packr({ ...OPTIONS, useBigIntExtension: true } as ConstructorParameters<typeof Packr>[0])
const exact = new Unpackr({ ...OPTIONS, int64AsType: 'bigint' } as ConstructorParameters<typeof Unpackr>[0])
const lenient = new Unpackr({ ...OPTIONS, int64AsType: 'auto' } as unknown as ConstructorParameters<typeof Unpackr>[0]) // the type lags behind the documentation
const EMPTY = new Uint8Array(0)

/** Packs a call of ours: 0xc1, then `[args, timeoutMs, id, traceparent?, parameters?, queued?, log?]`. */
export function encodeEnvelope(args: unknown[], timeoutMs: number, request: RequestInfo, queued?: object): Uint8Array {
  const fields: unknown[] = [tagged(args), timeoutMs, request.id]
  if (request.log !== undefined)
    fields.push(request.traceparent ?? null, tagged(request.parameters ?? null), tagged(queued ?? null), request.log)
  else if (queued !== undefined) fields.push(request.traceparent ?? null, tagged(request.parameters ?? null), tagged(queued))
  else if (request.parameters !== undefined) fields.push(request.traceparent ?? null, tagged(request.parameters))
  else if (request.traceparent !== undefined) fields.push(request.traceparent)
  const bytes = pack(fields, RESERVE_START_SPACE + 1)
  bytes[0] = ENVELOPE
  return bytes
}

/** Reads a question of any kind; throws INVALID_ARGUMENT. */
export function decodeQuestion(data: Uint8Array): Question {
  const first = data[0]
  if (first === undefined) return { format: 'json', args: [], timeoutMs: undefined, request: undefined }
  if (first === ENVELOPE) return decodeEnvelope(data)
  const format = first >= FIRST_MSGPACK ? 'msgpack' : 'json'
  const value = format === 'json' ? parseJson(data) : unpack(lenient, data)
  return { format, args: Array.isArray(value) ? value : [value], timeoutMs: undefined, request: undefined }
}

/** Packs a result in the format of the question; throws INTERNAL if it cannot be sent. */
export function encodeResult(result: unknown, format: Format): Uint8Array {
  if (format === 'json') return encodeJson(result)
  return pack(format === 'envelope' ? tagged(result) : result)
}

/** Reads a result of one of our own questions. */
export function decodeResult(data: Uint8Array): unknown {
  return data.length === 0 ? undefined : unpack(exact, data)
}

/** Packs an error's body. Details that cannot be sent are left out. */
export function encodeError(body: ErrorBody, format: Format): Uint8Array {
  try {
    return encodeResult(body, format)
  } catch {
    return encodeResult({ code: body.code, message: body.message }, format) // the details hold a function, a cycle or the like
  }
}

/** Reads a body in either format; undefined if it is neither. */
export function decodeBody(data: Uint8Array): unknown {
  try {
    return decodeQuestionValue(data)
  } catch {
    return undefined // a foreign service's error body may be anything; its headers say what is needed
  }
}

function decodeEnvelope(data: Uint8Array): Question {
  const fields = unpack(exact, data.subarray(1))
  if (!Array.isArray(fields)) throw invalid('the envelope is not an array')
  const [args, timeoutMs, id, traceparent, parameters, queued, log] = fields as unknown[]
  if (!Array.isArray(args) || typeof timeoutMs !== 'number' || Number.isNaN(timeoutMs) || typeof id !== 'string')
    throw invalid('the envelope lacks arguments, timeout or id')
  const request: RequestInfo = { id }
  if (typeof traceparent === 'string') request.traceparent = traceparent
  if (typeof parameters === 'object' && parameters !== null) request.parameters = parameters as Record<string, unknown>
  if (isLogLevel(log)) request.log = log
  return { format: 'envelope', args, timeoutMs, request, queued }
}

function decodeQuestionValue(data: Uint8Array): unknown {
  const first = data[0]
  if (first === undefined) return undefined
  return first >= FIRST_MSGPACK ? unpack(lenient, data) : parseJson(data)
}

/** The value with every Map tagged; the value itself if it holds none. */
function tagMaps(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Map) return new TaggedMap(value)
  if (Array.isArray(value)) {
    let copy: unknown[] | undefined
    for (let i = 0; i < value.length; i++) {
      const item: unknown = value[i]
      if (typeof item !== 'object' || item === null) continue
      const tagged = tagMaps(item)
      if (tagged === item) continue
      copy ??= [...value]
      copy[i] = tagged
    }
    return copy ?? value
  }
  if (Object.getPrototypeOf(value) !== Object.prototype) return value
  let copy: Record<string, unknown> | undefined
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key]
    if (typeof item !== 'object' || item === null) continue
    const tagged = tagMaps(item)
    if (tagged === item) continue
    copy ??= { ...value }
    copy[key] = tagged
  }
  return copy ?? value
}

function tagged(value: unknown): unknown {
  try {
    return tagMaps(value)
  } catch (cause) {
    throw unsendable(cause) // a cycle: the stack is the limit
  }
}

function encodeJson(value: unknown): Uint8Array {
  try {
    return Buffer.from(toJson(value))
  } catch (cause) {
    throw unsendable(cause)
  }
}

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString())
  } catch (cause) {
    throw invalid('the payload is neither JSON nor MessagePack', cause)
  }
}

function unpack(unpackr: Unpackr, data: Uint8Array): unknown {
  try {
    return unpackr.unpack(data)
  } catch (cause) {
    throw invalid('the payload is neither JSON nor MessagePack', cause)
  }
}

function pack(value: unknown, encodeOptions?: number): Uint8Array {
  if (value === undefined && encodeOptions === undefined) return EMPTY
  try {
    return packr.pack(value, encodeOptions as never) // the type knows only some of the documented options
  } catch (cause) {
    throw unsendable(cause)
  }
}

function unsendable(cause: unknown): CageError {
  return new CageError('INTERNAL', `the value cannot be sent: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
}

function invalid(message: string, cause?: unknown): CageError {
  return new CageError('INVALID_ARGUMENT', message, cause === undefined ? {} : { cause })
}
