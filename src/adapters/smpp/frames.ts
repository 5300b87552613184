/**
 * Frames: cuts a stream of octets into PDUs.
 * F1. A length that no PDU may have ends the stream: where the next one begins nobody knows.
 * F2. Octets are copied once, however small the pieces are in which they come.
 */
import { HEADER_BYTES, MalformedPdu } from './pdu.ts'

export class Frames {
  readonly #maxPduBytes: number
  #pieces: Buffer[] = []
  #held = 0

  constructor(maxPduBytes: number) {
    this.#maxPduBytes = maxPduBytes
  }

  /** What has come, and which PDUs are whole now; throws MalformedPdu (F1). */
  *push(piece: Buffer): Generator<Buffer> {
    this.#pieces.push(piece)
    this.#held += piece.length
    while (this.#held >= HEADER_BYTES) {
      const length = this.#first(4).readUInt32BE(0)
      if (length < HEADER_BYTES || length > this.#maxPduBytes) throw new MalformedPdu('RINVCMDLEN', this.#first(16).readUInt32BE(12))
      if (this.#held < length) return
      const all = this.#pieces.length === 1 ? this.#first(length) : Buffer.concat(this.#pieces)
      const rest = this.#pieces.length === 1 ? (this.#pieces[0] ?? all).subarray(length) : all.subarray(length)
      this.#pieces = rest.length === 0 ? [] : [rest]
      this.#held = rest.length
      yield all.subarray(0, length)
    }
  }

  /** The first octets, of which there are enough. */
  #first(size: number): Buffer {
    const [first] = this.#pieces
    if (first && first.length >= size) return first
    this.#pieces = [Buffer.concat(this.#pieces.splice(0))]
    return this.#pieces[0] ?? Buffer.alloc(size)
  }
}
