/** Frames of STOMP 1.2: as they come, and to bytes. Pure. */

export type Headers = Record<string, string>

/** A frame from the broker. */
export interface Frame {
  readonly command: string
  readonly headers: Readonly<Headers>
  /** As far as it is not longer than the limit. */
  readonly body: Buffer
  readonly truncated: boolean
}

const NUL = Buffer.of(0)
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\r': '\\r', '\n': '\\n', ':': '\\c' }

/** A frame to the broker. STOMP 1.2, Value Encoding. */
export function encodeFrame(command: string, headers: Readonly<Headers>, body?: Buffer): Buffer {
  let head = `${command}\n`
  for (const name in headers) head += `${escaped(name)}:${escaped(headers[name] ?? '')}\n`
  head += '\n'
  return body === undefined ? Buffer.from(`${head}\0`) : Buffer.concat([Buffer.from(head), body, NUL])
}

function escaped(text: string): string {
  return /[\\\r\n:]/.test(text) ? text.replace(/[\\\r\n:]/g, (character) => ESCAPES[character] ?? character) : text
}
