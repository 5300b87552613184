/** Body: a message's bytes as a stream that does not end before it is told to: what follows its end is the dot that sends the message. */
import { Readable } from 'node:stream'

const CHUNK_BYTES = 64 * 1024

export class Body extends Readable {
  /** Resolves when all bytes are on their way. */
  readonly sent: Promise<void>
  readonly #bytes: Buffer
  #offset = 0
  #onSent: () => void = () => {}

  constructor(bytes: Buffer) {
    super({ highWaterMark: CHUNK_BYTES })
    this.#bytes = bytes
    this.sent = new Promise((resolve) => (this.#onSent = resolve))
  }

  /** Asked by the client from the moment when the server wants the message (354). */
  override _read(): void {
    if (this.#offset >= this.#bytes.length) return this.#onSent()
    const chunk = this.#bytes.subarray(this.#offset, this.#offset + CHUNK_BYTES)
    this.#offset += chunk.length
    this.push(chunk)
  }

  /** Sends the dot. */
  end(): void {
    this.push(null)
  }
}
