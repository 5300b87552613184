/**
 * stompit's client, guarded: whatever a broker sends ends the client at worst, never the process.
 * stompit 1.0.0 (pinned) connects, reads frames, and beats. What it does besides that is done here and in session.ts, for its sake:
 * G1. Its handler of ERROR frames destroys the frame instead of the client, which nobody listens to. Ours takes its place.
 * G2. Commands, receipts and subscriptions are looked up in plain objects, where `constructor` is found. Our own maps take their place.
 * G3. A header called hasOwnProperty breaks its parser, which then throws out of a socket's event. Headers are kept where none can, and what
 *     the parser throws ends the client.
 * G4. A text or a line's end that two packets split is read half by half. Lines are read as Latin-1, which is lossless, and decoded whole, and
 *     a carriage return waits for what follows it.
 * G5. Lines and headers end at 1,024 bytes and 64 pieces, which JMS properties exceed: the limits are ours.
 * G6. It trusts the broker's heart-beats: they are bounded, and a late one has some grace.
 * G7. It writes a frame in three packets, each after the one before. After CONNECT, frames are written here, each as a whole.
 *
 * STOMP 1.2: stomp.github.io/stomp-specification-1.2.html
 */
import type { Duplex, Readable } from 'node:stream'
import stompit from 'stompit'
import { CageError } from '../../errors.ts'
import { fromErrorFrame, lost } from './errors.ts'
import { encodeFrame, type Frame, type Headers } from './frame.ts'

/** What is told of a client. */
export interface ClientEvents {
  /** CONNECTED, RECEIPT, MESSAGE, or ERROR, after which it ends. Must not throw. */
  onFrame(frame: Frame): void
  /** Once; nothing comes after it. */
  onEnd(why: Error): void
}

export interface ClientOptions {
  /** For messages. */
  who: string
  heartbeatMs: number
  maxBodyBytes: number
}

/** Writes frames. */
export interface Client {
  write(command: string, headers: Headers, body?: Buffer): void
  destroy(why: Error): void
}

const MAX_LINE_BYTES = 65_536
const MAX_HEADERS = 1_000
const MAX_ERROR_BYTES = 4_096
const LONGEST_BEAT_MS = 600_000
const CR = 13

type Handler = (this: unknown, frame: Readable & { command: string; headers: Record<string, string | number> }, done: () => void) => void

/** What stompit's client has, and its types do not tell. */
interface Internals {
  _incoming: {
    _lineStringEncoding: string
    _headers: object
    _transform(chunk: Buffer, encoding: string, done: () => void): void
    _continueTransform(): void
    destroy(error: Error): void
  }
  setCommandHandlers(handlers: Record<string, Handler>): void
  destroy(error?: Error): void
  on(event: string, listener: (error: Error) => void): void
}

/** Takes a connected transport over, and says CONNECT. */
export function openClient(transport: Duplex, login: Headers, options: ClientOptions, events: ClientEvents): Client {
  const { who, heartbeatMs, maxBodyBytes } = options
  const client = new stompit.Client(transport, {
    heartbeat: [heartbeatMs, heartbeatMs],
    heartbeatOutputMargin: Math.floor(heartbeatMs / 5), // brokers have little patience
    heartbeatDelayMargin: heartbeatMs, // G6
    maxLineLength: MAX_LINE_BYTES,
    maxHeaders: MAX_HEADERS,
  } as ConstructorParameters<typeof stompit.Client>[1]) as unknown as Internals // the types know neither the limits (G5) nor what follows
  let ended = false
  const end = (why: Error): void => {
    if (ended) return
    ended = true
    client.destroy()
    transport.destroy()
    events.onEnd(why)
  }
  client.on('error', (error) => end(lost(error, who)))
  client.on('end', () => end(lost(undefined, who)))
  transport.on('close', () => end(lost(undefined, who)))

  const deliver = (frame: Frame): void => {
    if (ended) return
    events.onFrame(frame)
    if (frame.command === 'ERROR') end(fromErrorFrame(frame, who))
  }
  const reading =
    (maxBytes: number): Handler =>
    (frame) =>
      collect(frame, maxBytes, deliver, end)
  const own: Record<string, Handler> = {
    MESSAGE: reading(maxBodyBytes),
    RECEIPT: reading(0),
    ERROR: reading(MAX_ERROR_BYTES),
  }
  // G1, G2: stompit sets its handlers when it connects, and others when it is connected
  const install = client.setCommandHandlers.bind(client)
  client.setCommandHandlers = ({ CONNECTED: theirs }) => {
    const handlers: Record<string, Handler> = Object.assign(Object.create(null), theirs ? { ERROR: own.ERROR } : own)
    if (theirs)
      handlers.CONNECTED = function (frame, done) {
        const { version = '1.0' } = frame.headers
        if (version !== '1.2') return end(new CageError('UNAVAILABLE', `${who}: the broker speaks STOMP ${version}, not 1.2`))
        frame.headers['heart-beat'] = bounded(frame.headers['heart-beat']) // G6
        theirs.call(this, frame, done)
        deliver({ command: 'CONNECTED', headers: decoded(frame.headers), body: Buffer.alloc(0), truncated: false })
      }
    install(handlers)
  }
  guardParser(client)
  ;(client as unknown as stompit.Client).connect({ 'accept-version': '1.2', ...login })
  return {
    write(command, headers, body) {
      if (!ended) transport.write(encodeFrame(command, headers, body)) // G7
    },
    destroy: end,
  }
}

/** G3, G4. */
function guardParser({ _incoming: incoming }: Internals): void {
  incoming._lineStringEncoding = 'latin1'
  const parse = incoming._continueTransform
  incoming._continueTransform = function () {
    try {
      parse.call(this)
    } catch (error) {
      incoming.destroy(new Error('a frame that cannot be read', { cause: error }))
    }
  }
  const transform = incoming._transform
  let held: Buffer = Buffer.alloc(0)
  incoming._transform = function (chunk, encoding, done) {
    const whole = held.length > 0 ? Buffer.concat([held, chunk]) : chunk
    const end = whole.at(-1) === CR ? whole.length - 1 : whole.length
    held = whole.subarray(end)
    transform.call(this, whole.subarray(0, end), encoding, done)
  }
  let headers = {}
  Object.defineProperty(incoming, '_headers', {
    get: () => headers,
    set: (fresh: object) => {
      headers = Object.defineProperty(fresh, 'hasOwnProperty', { value: (name: string) => Object.hasOwn(fresh, name) })
    },
  })
}

function collect(
  frame: Readable & { command: string; headers: Record<string, string | number> },
  maxBytes: number,
  deliver: (frame: Frame) => void,
  end: (why: Error) => void,
): void {
  const chunks: Buffer[] = []
  let bytes = 0
  frame.on('error', end) // G1
  frame.on('data', (chunk: Buffer) => {
    if (bytes < maxBytes) chunks.push(chunk.subarray(0, maxBytes - bytes)) // the rest is read all the same
    bytes += chunk.length
  })
  frame.on('end', () => {
    deliver({ command: frame.command, headers: decoded(frame.headers), body: Buffer.concat(chunks), truncated: bytes > maxBytes })
  })
}

/** G4. A carriage return is no part of a value: it would be escaped (STOMP 1.2, Value Encoding). */
function decoded(headers: Readonly<Record<string, string | number>>): Headers {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [utf8(name), utf8(String(value)).replace(/\r$/, '')]))
}

function utf8(latin1: string): string {
  return /[\x80-\xff]/.test(latin1) ? Buffer.from(latin1, 'latin1').toString('utf8') : latin1
}

/** G6. */
function bounded(heartbeat: string | number | undefined): string {
  const [theirs = 0, ours = 0] = String(heartbeat ?? '0,0')
    .split(',')
    .map((part) => Math.min(LONGEST_BEAT_MS, Math.max(0, Number.parseInt(part, 10) || 0)))
  return `${theirs},${ours}`
}
