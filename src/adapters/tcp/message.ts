/**
 * Messages as modules have them, and their bytes. Pure.
 * M1. Text that is not what the encoding says is refused, never mended: nothing is changed on the way.
 */
import { CageError } from '../../errors.ts'

/** `bytes`: a Uint8Array. */
export type Encoding = 'utf8' | 'latin1' | 'bytes'

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** INVALID_ARGUMENT. */
export function bytesOf(message: unknown, encoding: Encoding): Uint8Array {
  if (message instanceof Uint8Array) return message
  if (typeof message !== 'string') throw new CageError('INVALID_ARGUMENT', `a message is text or bytes, not ${typeof message}`)
  if (encoding !== 'latin1') return Buffer.from(message)
  const bytes = Buffer.from(message, 'latin1')
  if (bytes.toString('latin1') !== message) throw new CageError('INVALID_ARGUMENT', 'the message has a character that latin1 has not')
  return bytes
}

/** INVALID_ARGUMENT. */
export function messageOf(bytes: Buffer, encoding: Encoding): string | Uint8Array {
  if (encoding === 'bytes') return new Uint8Array(bytes) // a copy, and not all of a pooled buffer
  if (encoding === 'latin1') return bytes.toString('latin1')
  try {
    return UTF8.decode(bytes)
  } catch (error) {
    throw new CageError('INVALID_ARGUMENT', 'the message is not UTF-8', { cause: error })
  }
}

/** What is answered for a failed call: `template` with `{code}` in it. Messages stay here: they may name internals. */
export function failureText(template: string, { code }: CageError): string {
  return template.replaceAll('{code}', /^\w{1,64}$/.test(code) ? code : 'INTERNAL') // a module's own may be any text
}
