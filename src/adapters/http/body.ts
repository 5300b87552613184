/**
 * Bodies: bytes and their type → a value. Pure.
 * B1. The type alone decides: JSON, a form, text, bytes. What is empty is undefined.
 * B2. Of another type, or in an encoding, it is bytes for the handler and UNSUPPORTED_MEDIA_TYPE for a route.
 */
import { CageError } from '../../errors.ts'

/** A body as it came. */
export interface RawBody {
  bytes: Buffer
  /** The headers of these names. */
  contentType: string | undefined
  contentEncoding: string | undefined
}

/** Parses JSON, and refuses what would poison prototypes. */
export type JsonParser = (text: string) => unknown

/** The value of a body; throws INVALID_ARGUMENT and UNSUPPORTED_MEDIA_TYPE. */
export function parseBody({ bytes, contentType, contentEncoding }: RawBody, parseJson: JsonParser, forHandler: boolean): unknown {
  if (bytes.length === 0) return undefined
  const { type, charset } = mediaTypeOf(contentType)
  const encoded = contentEncoding !== undefined && contentEncoding !== 'identity'
  if (!encoded) {
    if (type === 'application/octet-stream') return plainBytes(bytes)
    if (type === 'application/json' || type.endsWith('+json')) return parseJson(decode(bytes, 'utf-8')) // RFC 8259, 8.1
    if (type === 'application/x-www-form-urlencoded') return fieldsOf(decode(bytes, 'utf-8'))
    if (type.startsWith('text/')) return decode(bytes, charset)
  }
  if (forHandler) return plainBytes(bytes)
  throw unsupported(encoded ? `a body encoded with ${contentEncoding} is not read` : `a body of type ${type} is not read`)
}

function mediaTypeOf(header: string | undefined): { type: string; charset: string } {
  const [type = '', ...parameters] = (header ?? 'application/octet-stream').split(';').map((part) => part.trim()) // RFC 9110, 8.3
  const charset = parameters.find((parameter) => /^charset=/i.test(parameter))
  return { type: type.toLowerCase(), charset: charset?.slice('charset='.length).replace(/^"(.*)"$/, '$1') ?? 'utf-8' }
}

function decode(bytes: Buffer, charset: string): string {
  let decoder: InstanceType<typeof TextDecoder>
  try {
    decoder = new TextDecoder(charset, { fatal: true })
  } catch (cause) {
    throw unsupported(`the character set ${charset} is unknown`, cause)
  }
  try {
    return decoder.decode(bytes)
  } catch (cause) {
    throw new CageError('INVALID_ARGUMENT', `the body is not ${charset}`, { cause })
  }
}

/** A form's fields; one that came several times is a list. */
function fieldsOf(text: string): Record<string, string | string[]> {
  const fields = new Map<string, string | string[]>()
  for (const [name, value] of new URLSearchParams(text)) {
    const known = fields.get(name)
    if (Array.isArray(known)) known.push(value)
    else fields.set(name, known === undefined ? value : [known, value])
  }
  return Object.fromEntries(fields) // own properties only, `__proto__` too
}

/** Not a Buffer, which may share its memory with others. */
function plainBytes(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes)
}

function unsupported(message: string, cause?: unknown): CageError {
  return new CageError('UNSUPPORTED_MEDIA_TYPE', message, cause === undefined ? {} : { cause })
}
