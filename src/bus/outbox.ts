/**
 * Outbox: what a connection sends, framed here and written many messages at a time.
 * nats.js by itself encodes, copies and schedules each message: a sixth of a call's CPU, and up to one system call per message.
 * U1. The order of messages is kept.
 * U2. Nothing waits longer than for the promises of its turn. A long burst goes in parts, so that the other end works on one
 *     while we work on the next: in one piece, both ends work in turns and half of the processors' time is lost.
 * U3. Nothing throws: a connection that is closed or away loses what is sent, and callers learn it at their deadlines, or by close().
 */
import type { NatsConnection } from 'nats'

/** What lies under a NatsConnection; nats.js does not declare it, and we pin its version. */
interface Protocol {
  /** Queues bytes, to be written when the current promises have settled. */
  sendCommand(bytes: Uint8Array): void
  /** Writes what is queued, if the connection is there. */
  flushPending(): void
}

/**
 * A burst is written in halves, but in no fewer messages than this. Measured: fewer cost more in system calls than they win by
 * overlap. How long bursts are is learnt from the turns before: the longest of late, less a hundredth in each turn.
 */
const LEAST_PART = 32
const KEPT = 0.99
/** Messages are framed into pieces of memory of this size, bytes; a larger message gets its own. */
const SLAB_BYTES = 32_768
const CR = 13
const LF = 10

export class Outbox {
  readonly #nc: NatsConnection
  readonly #protocol: Protocol
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES)
  /** What is framed and not yet written, `#count` messages, lies between these two. */
  #start = 0
  #end = 0
  #count = 0
  #sentInTurn = 0
  #burst = 0
  #part = LEAST_PART
  #scheduled = false

  constructor(nc: NatsConnection) {
    this.#nc = nc
    this.#protocol = (nc as unknown as { protocol: Protocol }).protocol // see there
  }

  /** Sends soon. The caller has checked the size and the subjects: they are written as they are. */
  publish(subject: string, payload: Uint8Array, reply = ''): void {
    const command = reply === '' ? `PUB ${subject} ${payload.length}\r\n` : `PUB ${subject} ${reply} ${payload.length}\r\n`
    this.#reserve(command.length, payload.length)
    this.#end += this.#slab.write(command, this.#end)
    this.#append(payload)
    this.#finish()
  }

  /** The same with encoded headers. */
  publishWithHeaders(subject: string, headers: Uint8Array, payload: Uint8Array, reply = ''): void {
    const command = `HPUB ${subject} ${reply === '' ? '' : `${reply} `}${headers.length} ${headers.length + payload.length}\r\n`
    this.#reserve(command.length, headers.length + payload.length)
    this.#end += this.#slab.write(command, this.#end)
    this.#append(headers)
    this.#append(payload)
    this.#finish()
  }

  /** Room for a command of so many characters (of UTF-8: three bytes at most), a payload and the line's end. */
  #reserve(characters: number, bytes: number): void {
    const needed = characters * 3 + bytes + 2
    if (this.#end + needed <= this.#slab.length) return
    this.#write()
    this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, needed))
    this.#start = this.#end = 0
  }

  #append(bytes: Uint8Array): void {
    this.#slab.set(bytes, this.#end)
    this.#end += bytes.length
  }

  #finish(): void {
    this.#slab[this.#end++] = CR
    this.#slab[this.#end++] = LF
    this.#sentInTurn++
    if (++this.#count >= this.#part) this.#write()
    if (this.#scheduled) return
    this.#scheduled = true
    process.nextTick(this.#turnEnds) // runs when the promises of this turn have settled
  }

  #turnEnds = (): void => {
    this.#scheduled = false
    this.#write()
    this.#burst = Math.max(this.#sentInTurn, this.#burst * KEPT)
    this.#part = Math.max(LEAST_PART, this.#burst / 2)
    this.#sentInTurn = 0
  }

  #write(): void {
    if (this.#end === this.#start) return
    const bytes = this.#slab.subarray(this.#start, this.#end)
    this.#start = this.#end
    this.#count = 0
    if (this.#nc.isClosed()) return
    this.#protocol.sendCommand(bytes)
    this.#protocol.flushPending()
  }
}
