/**
 * Session: one connection to a peer, be it server or ESME: requests and their answers, both ways.
 * S1. Each request of the peer gets one answer; what is malformed, unknown or too much gets it too, by its status.
 * S2. Requests of ours wait, first come first served, while `window` of them are unanswered. One whose caller has left keeps its place until it is
 *     answered or `responseTimeoutMs` has passed: the peer has it.
 * S3. A peer that does not answer enquire_link within `responseTimeoutMs` is lost, and whoever waits for an answer is told.
 * S4. Octets that cannot be cut into PDUs end the session. A peer that does not read what we answer is not read any more either.
 * S5. close() lets the requests of the peer that run be answered, says unbind, and waits for the answer, but not for long.
 * It is somewhat long, because both directions and the end of them are one state.
 *
 * SMPP 3.4: 2.7 (window), 4.2 (unbind), 4.3 (generic_nack), 4.11 (enquire_link), 7.2 (timers).
 */
import type { Socket } from 'node:net'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { lost, statusOf } from './errors.ts'
import { Frames } from './frames.ts'
import { decode, encode, type Fields, isResponse, MalformedPdu, type Pdu } from './pdu.ts'
import { Requests, sentError } from './requests.ts'
import { Window } from './window.ts'

/** What may take how long, and how much of it at once. */
export interface Limits {
  /** Requests of ours without an answer. */
  window: number
  /** Requests of the peer that run. */
  peerWindow: number
  maxPduBytes: number
  responseTimeoutMs: number
  enquireLinkMs: number
  /** Unbound if nothing but enquire_link comes or goes for so long. */
  inactivityMs?: number | undefined
}

/** What a request of the peer is answered with. */
export interface Answer {
  status: number
  fields?: Fields
  /** The session ends once it is sent. */
  last?: boolean
  /** Done once it is sent. */
  afterwards?: () => void
}

export interface SessionSource {
  /** For messages: whose. */
  readonly name: string
  readonly socket: Socket
  readonly limits: Limits
  readonly log: Log
  /** Statuses of what is not taken now: because as much runs as may, or because the session is being closed. */
  readonly later: { readonly full: number; readonly closing: number }
  /** Answers a request; it never rejects with anything but a mistake of ours. */
  readonly serve: (request: Pdu) => Promise<Answer>
}

/** How long a peer has to say goodbye, ms. */
const GOODBYE_MS = 1_000
/** What the peer may leave unread before we read no more of it. */
const MOST_UNREAD_BYTES = 1_000_000

export class Session {
  /** Resolves when it is over, with the reason, if it was not ours. */
  readonly ended: Promise<CageError | undefined>
  readonly #source: SessionSource
  readonly #frames: Frames
  readonly #requests: Requests
  readonly #window: Window
  readonly #heard = new Set<() => void>()
  readonly #watch: NodeJS.Timeout
  #resolveEnded: (why: CageError | undefined) => void = () => {}
  #serving = 0
  readonly #onServed: (() => void)[] = []
  #over = false
  #closing: Promise<void> | undefined
  #enquiring = false
  /** Pieces of octets. */
  #received = 0
  #activeAt = Date.now()
  #usedAt = Date.now()

  constructor(source: SessionSource) {
    this.#source = source
    this.ended = new Promise((resolve) => (this.#resolveEnded = resolve))
    const { socket, limits } = source
    this.#frames = new Frames(limits.maxPduBytes)
    this.#window = new Window(limits.window)
    this.#requests = new Requests(source.name, limits.responseTimeoutMs)
    socket.setNoDelay(true)
    socket.on('data', (bytes) => this.#receive(bytes))
    socket.on('drain', () => socket.resume())
    socket.on('error', (error) => this.destroy(lost(source.name, error)))
    socket.on('close', () => this.destroy(lost(source.name, undefined)))
    const shortest = Math.min(limits.enquireLinkMs, limits.inactivityMs ?? limits.enquireLinkMs)
    this.#watch = setInterval(() => this.#look(), Math.max(10, shortest / 4))
  }

  /** It takes no more requests. */
  get broken(): boolean {
    return this.#over || this.#closing !== undefined
  }

  /** The peer has been asked whether it is there, and has not answered yet. */
  get silent(): boolean {
    return this.#enquiring
  }

  /**
   * Sends a request; resolves with its answer, whatever its status. Rejects with what ended the scope, DEADLINE_EXCEEDED after responseTimeoutMs,
   * or UNAVAILABLE if the session is lost; `details.sent` tells whether the peer may have it. `onLate` gets an answer that nobody waits for any more.
   */
  async request(command: string, fields: Fields, scope: Scope, onLate?: (answer: Pdu) => void): Promise<Pdu> {
    const refusal = this.#refusal() ?? endOf(scope, Date.now(), this.#source.name)
    if (refusal) throw refusal
    if (!this.#window.take()) await this.#window.turn(scope, this.#source.name)
    const closed = this.#refusal() // while it waited
    if (closed) {
      this.#window.free()
      throw closed
    }
    return await new Promise((resolve, reject) => {
      let left = false
      const off = whenEnded(scope, this.#source.name, (why) => {
        left = true
        reject(sentError(why))
      })
      const settle = (answer: Pdu | CageError): void => {
        off()
        this.#window.free()
        if (answer instanceof CageError && answer.code === 'DEADLINE_EXCEEDED') this.#enquire() // S3
        if (left) return answer instanceof CageError ? undefined : onLate?.(answer)
        if (answer instanceof CageError) reject(answer)
        else resolve(answer)
      }
      try {
        this.#send(command, fields, settle)
      } catch (error) {
        off()
        this.#window.free()
        reject(error) // it cannot be written (pdu.ts, P4), and has not been
      }
    })
  }

  /** Whether anything is heard of the peer within so long; it is asked. */
  async alive(ms: number): Promise<boolean> {
    if (this.#over) return false
    const heard = new Promise<boolean>((resolve) => {
      const finish = (): void => {
        clearTimeout(timer)
        this.#heard.delete(finish)
        resolve(!this.#over && !this.#enquiring)
      }
      const timer = setTimeout(finish, ms)
      this.#heard.add(finish)
    })
    this.#enquire()
    return await heard
  }

  /** S5. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  destroy(why?: CageError): void {
    if (this.#over) return
    this.#over = true
    clearInterval(this.#watch)
    this.#source.socket.destroy()
    const error = why ?? new CageError('UNAVAILABLE', `${this.#source.name}: the session has been closed`)
    this.#window.refuse(error)
    this.#requests.fail(error)
    for (const tell of [...this.#heard]) tell()
    this.#allServed()
    this.#resolveEnded(why)
  }

  async #close(): Promise<void> {
    await this.#served()
    if (!this.#over) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, GOODBYE_MS)
        this.#send('unbind', {}, () => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    this.destroy()
  }

  #refusal(): CageError | undefined {
    return this.broken ? new CageError('UNAVAILABLE', `${this.#source.name}: the session has ended`) : undefined
  }

  #send(command: string, fields: Fields, settle: (answer: Pdu | CageError) => void): void {
    this.#write(this.#requests.add(command, fields, settle))
    if (command !== 'enquire_link') this.#usedAt = Date.now()
  }

  /** S4. */
  #write(bytes: Buffer): void {
    const { socket } = this.#source
    if (socket.writable) socket.write(bytes)
    if (socket.writableLength > MOST_UNREAD_BYTES) socket.pause()
  }

  /** S3. */
  #enquire(): void {
    if (this.#enquiring || this.#over) return
    this.#enquiring = true
    const heard = this.#received
    this.#send('enquire_link', {}, (answer) => {
      if (answer instanceof CageError && this.#received === heard)
        this.destroy(new CageError('UNAVAILABLE', `${this.#source.name}: the peer does not answer`))
    })
  }

  #look(): void {
    const { enquireLinkMs, inactivityMs } = this.#source.limits
    const now = Date.now()
    if (inactivityMs !== undefined && now - this.#usedAt >= inactivityMs) void this.close()
    else if (now - this.#activeAt >= enquireLinkMs) this.#enquire()
  }

  #receive(bytes: Buffer): void {
    this.#activeAt = Date.now()
    this.#received++
    this.#enquiring = false
    for (const tell of [...this.#heard]) tell()
    try {
      for (const frame of this.#frames.push(bytes)) {
        if (this.#over) return
        this.#take(frame)
      }
    } catch (error) {
      if (!(error instanceof MalformedPdu)) throw error
      this.#answer('generic_nack', error.sequence, { status: error.status })
      this.#source.log.warn({ peer: this.#source.name }, 'a peer has sent what is no SMPP')
      this.#end(new CageError('UNAVAILABLE', `${this.#source.name}: the peer has sent what is no SMPP`))
    }
  }

  #take(frame: Buffer): void {
    let pdu: Pdu
    try {
      pdu = decode(frame)
    } catch (error) {
      if (!(error instanceof MalformedPdu)) throw error
      return this.#refuse(error)
    }
    if (isResponse(pdu)) return this.#settle(pdu.sequence, pdu)
    if (pdu.command === 'enquire_link') return this.#answer(pdu.command, pdu.sequence, { status: 0 })
    this.#usedAt = Date.now()
    if (pdu.command === 'unbind') return void this.#unbound(pdu.sequence)
    if (this.#closing !== undefined) return this.#answer(pdu.command, pdu.sequence, { status: this.#source.later.closing })
    if (this.#serving >= this.#source.limits.peerWindow) return this.#answer(pdu.command, pdu.sequence, { status: this.#source.later.full })
    void this.#serve(pdu)
  }

  /** S1. A response that cannot be read fails the request that it answers. */
  #refuse({ status, sequence, command }: MalformedPdu): void {
    if (command?.endsWith('_resp'))
      return this.#settle(sequence, sentError(new CageError('INTERNAL', `${this.#source.name}: a ${command} cannot be read`)))
    this.#answer(command ?? 'generic_nack', sequence, { status })
  }

  #settle(sequence: number, answer: Pdu | CageError): void {
    if (!this.#requests.settle(sequence, answer)) this.#source.log.debug({ sequence }, 'an answer to nothing, or too late')
  }

  async #serve(request: Pdu): Promise<void> {
    this.#serving++
    try {
      this.#answer(request.command, request.sequence, await this.#source.serve(request))
    } catch (error) {
      this.#source.log.error({ err: error, command: request.command }, 'a request cannot be answered')
      this.#answer(request.command, request.sequence, { status: statusOf('RSYSERR') })
    }
    if (--this.#serving === 0) this.#allServed()
  }

  /** Resolves when no request of the peer runs, or nobody is there to be answered. */
  #served(): Promise<void> {
    if (this.#serving === 0 || this.#over) return Promise.resolve()
    return new Promise((resolve) => this.#onServed.push(resolve))
  }

  #allServed(): void {
    for (const tell of this.#onServed.splice(0)) tell()
  }

  #answer(command: string, sequence: number, { status, fields = {}, last, afterwards }: Answer): void {
    if (this.#over || command === 'alert_notification') return // which has no answer (4.12)
    this.#write(encode({ command: responseTo(command), status, sequence, fields }))
    afterwards?.()
    if (last) this.#end()
  }

  /** The peer has said goodbye: what runs for it is answered first. */
  async #unbound(sequence: number): Promise<void> {
    this.#closing ??= this.ended.then(() => {})
    await this.#served()
    this.#answer('unbind', sequence, { status: 0, last: true })
  }

  /** What has been written is sent, for a while; nothing is read any more. */
  #end(why?: CageError): void {
    this.#closing ??= this.ended.then(() => {})
    const { socket } = this.#source
    socket.removeAllListeners('data').resume()
    const impatience = setTimeout(() => this.destroy(why), GOODBYE_MS)
    void this.ended.then(() => clearTimeout(impatience))
    socket.end()
  }
}

/** outbind has no answer of its own. */
function responseTo(command: string): string {
  return command === 'generic_nack' || command === 'outbind' ? 'generic_nack' : `${command}_resp`
}
