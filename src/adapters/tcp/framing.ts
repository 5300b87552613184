/**
 * Framing: where one message ends and the next begins in a stream of bytes. Pure.
 * F1. A message that is longer than the limit is refused before it is kept whole.
 * F2. A message that the stream's end cuts off is an error, never a message.
 */
import { CageError } from '../../errors.ts'

export interface Framing {
  /**
   * line: up to a line feed; a carriage return before it is no part of the message. length: a number of bytes before it.
   * raw: everything up to the sender's end of the stream.
   */
  framing: 'line' | 'length' | 'raw'
  /** What follows each line that we send. */
  lineEnding: '\n' | '\r\n'
  lengthBytes: 1 | 2 | 4
  lengthOrder: 'big' | 'little'
  maxMessageBytes: number
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const FIRST_BYTES = 1_024
const KEPT_BYTES = 65_536

/** Finds the messages in what is pushed. */
export class Decoder {
  readonly #framing: Framing
  /** From `#begin` to `#end` lie the bytes of no message yet; it doubles when it is full. */
  #buffer: Buffer = Buffer.allocUnsafe(FIRST_BYTES)
  #begin = 0
  #end = 0
  /** No line feed before this. */
  #searched = 0

  constructor(framing: Framing) {
    this.#framing = framing
  }

  /** Bytes that are no part of a message that was given out. */
  get buffered(): number {
    return this.#end - this.#begin
  }

  push(chunk: Buffer): void {
    if (this.buffered === 0) this.#reset()
    if (this.#end + chunk.length > this.#buffer.length) this.#makeRoom(chunk.length)
    chunk.copy(this.#buffer, this.#end)
    this.#end += chunk.length
  }

  /** The next whole message: valid until the next push. PAYLOAD_TOO_LARGE. */
  next(): Buffer | undefined {
    switch (this.#framing.framing) {
      case 'line':
        return this.#line()
      case 'length':
        return this.#counted()
      case 'raw':
        return this.#checked(this.buffered, undefined)
    }
  }

  /** What the end of the stream makes of the rest: the message of a raw stream. INVALID_ARGUMENT. */
  end(): Buffer | undefined {
    if (this.buffered === 0) return undefined
    if (this.#framing.framing !== 'raw') throw new CageError('INVALID_ARGUMENT', 'the stream has ended in the middle of a message')
    return this.#take(this.buffered, this.buffered)
  }

  #line(): Buffer | undefined {
    const found = this.#buffer.subarray(0, this.#end).indexOf(LINE_FEED, Math.max(this.#begin, this.#searched))
    this.#searched = this.#end
    if (found < 0) return this.#checked(this.buffered - 1, undefined) // the last one may be a carriage return
    const length = found - this.#begin
    const bare = length > 0 && this.#buffer[found - 1] === CARRIAGE_RETURN ? length - 1 : length
    this.#searched = found + 1
    return this.#checked(bare, this.#take(bare, length + 1))
  }

  #counted(): Buffer | undefined {
    const { lengthBytes, lengthOrder } = this.#framing
    if (this.buffered < lengthBytes) return undefined
    const [at, width] = [this.#begin, lengthBytes]
    const length = lengthOrder === 'big' ? this.#buffer.readUIntBE(at, width) : this.#buffer.readUIntLE(at, width)
    if (this.buffered < lengthBytes + length) return this.#checked(length, undefined)
    this.#begin += lengthBytes
    return this.#checked(length, this.#take(length, length))
  }

  /** F1. */
  #checked(length: number, message: Buffer | undefined): Buffer | undefined {
    const { maxMessageBytes } = this.#framing
    if (length > maxMessageBytes) throw new CageError('PAYLOAD_TOO_LARGE', `a message has more than ${maxMessageBytes} bytes`)
    return message
  }

  #take(length: number, consumed: number): Buffer {
    const message = this.#buffer.subarray(this.#begin, this.#begin + length)
    this.#begin += consumed
    return message
  }

  /** One large message takes no memory for ever. */
  #reset(): void {
    if (this.#buffer.length > KEPT_BYTES) this.#buffer = Buffer.allocUnsafe(FIRST_BYTES)
    this.#begin = this.#end = this.#searched = 0
  }

  #makeRoom(bytes: number): void {
    const needed = this.buffered + bytes
    const room = needed * 2 > this.#buffer.length ? Buffer.allocUnsafe(needed * 2) : this.#buffer
    this.#buffer.copy(room, 0, this.#begin, this.#end)
    this.#searched = Math.max(0, this.#searched - this.#begin)
    this.#end -= this.#begin
    this.#begin = 0
    this.#buffer = room
  }
}

/** A message as it is sent. INVALID_ARGUMENT, PAYLOAD_TOO_LARGE. */
export function encode(message: Uint8Array, { framing, lineEnding, lengthBytes, lengthOrder, maxMessageBytes }: Framing): Buffer {
  const { length } = message
  if (length > maxMessageBytes) throw new CageError('PAYLOAD_TOO_LARGE', `the message has ${length} bytes, ${maxMessageBytes} are allowed`)
  switch (framing) {
    case 'line':
      if (message.includes(LINE_FEED)) throw new CageError('INVALID_ARGUMENT', 'a message of one line has a line feed in it')
      return Buffer.concat([message, Buffer.from(lineEnding)])
    case 'length': {
      const head = Buffer.alloc(lengthBytes) // options.ts: no message is longer than it can say
      if (lengthOrder === 'big') head.writeUIntBE(length, 0, lengthBytes)
      else head.writeUIntLE(length, 0, lengthBytes)
      return Buffer.concat([head, message])
    }
    case 'raw':
      return Buffer.from(message.buffer, message.byteOffset, length)
  }
}
