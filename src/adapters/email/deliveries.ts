/**
 * Deliveries: takes messages out of a mailbox, has each handled, and disposes of it afterwards.
 * D1. A message leaves the mailbox only after its call has succeeded, or the queue has it; or it is set aside, which the log tells.
 * D2. What fails is tried again after a while, and after so many attempts, or at once if no repetition helps, it is set aside: others go on meanwhile.
 * D3. That nobody can be reached by its call (UNAVAILABLE), or nobody has room (OVERLOADED), is not the message's fault, and no attempt.
 *     A mail server that is lost while it is fetched is one: the message may be what it was lost of.
 * D4. At most `concurrency` messages are fetched and not yet handled.
 * D5. A lost mailbox ends it, once what runs has ended; the marks tell the next one what is left to do.
 */
import { randomUUID } from 'node:crypto'
import { type CageError, toCageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { traceparentOf } from '../../traceparent.ts'
import type { InterfaceHost } from '../adapter.ts'
import { type Claims, claim, GRACE_MS, LEASE_MS, type Ledger, type Mark, renew, settle } from './ledger.ts'
import { callIdOf, parseLetter } from './letter.ts'
import type { Mailbox, Visit } from './mailbox.ts'
import type { EmailListenOptions } from './options.ts'

const RENEW_MS = LEASE_MS / 3
const MARK_AGAIN_MS = 1_000
const LONGEST_RETRY_MS = 3_600_000

export class Deliveries {
  readonly #mailbox: Mailbox
  readonly #ledger: Ledger
  readonly #options: EmailListenOptions
  readonly #host: InterfaceHost
  readonly #me: string = randomUUID()
  /** Messages that are ours: renewed until it is written down what became of them. */
  readonly #claimed = new Set<string>()
  /** Those of them that are being handled. */
  readonly #running = new Map<string, Promise<void>>()
  /** Nothing is to be done about these before (epoch ms). */
  #rest = new Map<string, number>()
  #wake: () => void = () => {}
  #news = false

  constructor(mailbox: Mailbox, ledger: Ledger, options: EmailListenOptions, host: InterfaceHost) {
    this.#mailbox = mailbox
    this.#ledger = ledger
    this.#options = options
    this.#host = host
  }

  /** Resolves after the signal, when all that runs has ended and is disposed of. Rejects if the mailbox or the memory is lost. */
  async run(signal: AbortSignal): Promise<void> {
    const renewing = setInterval(() => this.#renew(), RENEW_MS)
    try {
      while (!signal.aborted) {
        this.#news = false
        await this.#mailbox.visit((visit) => this.#pass(visit, signal))
        await this.#pause(signal)
      }
      await this.#settled()
      if (this.#news) await this.#mailbox.visit((visit) => this.#pass(visit, signal)) // what has ended meanwhile
    } finally {
      await this.#settled() // D5
      clearInterval(renewing)
    }
  }

  async #pass(visit: Visit, signal: AbortSignal): Promise<void> {
    const listedAt = Date.now()
    const listed = await visit.list()
    const now = Date.now()
    const there = new Set(listed)
    for (const name of this.#rest.keys()) if (!there.has(name)) this.#rest.delete(name) // else it is due for ever, in #pause
    if (listed.every((name) => this.#running.has(name) || (this.#rest.get(name) ?? 0) > now)) return
    const room = signal.aborted ? 0 : this.#options.concurrency - this.#running.size
    const { taken, disposals, exhausted, rest } = await this.#ledger.update((book) =>
      claim(book, listed, { by: this.#me, now: Date.now(), listedAt, room, attempts: this.#options.attempts }),
    )
    for (const name of exhausted)
      this.#host.log.error({ message: name }, 'a message is set aside: its last attempt ended with a lost mail server, or with its node')
    this.#rest = rest
    for (const { name } of taken) this.#claimed.add(name)
    try {
      await this.#dispose(visit, disposals)
      for (let next = taken[0]; next && !signal.aborted && !visit.ended; next = taken[0]) {
        taken.shift()
        await this.#take(visit, next)
      }
    } finally {
      await Promise.all(taken.map(({ name, attempt }) => this.#giveBack(name, attempt - 1)))
    }
  }

  async #dispose(visit: Visit, disposals: Claims['disposals']): Promise<void> {
    const gone: string[] = []
    for (const { name, how } of disposals) {
      if (how === 'aside' && this.#options.protocol === 'pop3') this.#rest.set(name, Number.POSITIVE_INFINITY)
      else if (await visit.dispose(name, how)) gone.push(name)
      else {
        this.#rest.set(name, Date.now() + this.#options.pollMs)
        this.#host.log.warn({ message: name, how }, 'the server keeps a message that is to be disposed of, trying again')
      }
    }
    if (gone.length === 0 || this.#options.protocol === 'pop3') return // there it is gone when the visit has ended
    for (const name of gone) this.#rest.set(name, Date.now() + GRACE_MS)
    await this.#ledger.update((book) => {
      for (const name of gone) book.set(name, { is: 'gone', at: Date.now() })
    })
  }

  /** Fetches a message and has it handled. Rejects if the visit has failed. */
  async #take(visit: Visit, { name, attempt }: Claims['taken'][number]): Promise<void> {
    try {
      const raw = await visit.fetch(name)
      const run = this.#handle(name, attempt, raw).finally(() => {
        this.#running.delete(name)
        this.#news = true
        this.#wake()
      })
      this.#running.set(name, run)
    } catch (error) {
      const failure = toCageError(error)
      if (failure.code !== 'NOT_FOUND' && failure.code !== 'PAYLOAD_TOO_LARGE') {
        await this.#giveBack(name, attempt) // it may be what the visit has failed of
        throw error
      }
      await this.#mark(name, failure.code === 'NOT_FOUND' ? { is: 'gone', at: Date.now() } : this.#setAside(name, attempt, failure))
      this.#news = true
    }
  }

  async #handle(name: string, attempt: number, raw: Buffer): Promise<void> {
    const failure = await this.#call(name, attempt, raw).then(() => undefined, toCageError)
    await this.#mark(name, failure ? this.#verdict(name, attempt, failure) : { is: 'done', at: Date.now() })
  }

  async #call(name: string, attempt: number, raw: Buffer): Promise<void> {
    const { call, queue, timeoutMs } = this.#options
    const letter = await parseLetter(raw)
    const traceparent = traceparentOf(letter.headers.traceparent?.[0])
    const how = { requestId: this.#host.newRequestId(), traceparent, protocol: 'email', parameters: { message: name, attempt } }
    if (queue === undefined) await this.#host.call(call, [letter], { ...how, timeoutMs })
    else await this.#host.enqueue(queue, call, [letter], { ...how, id: callIdOf(letter, raw) })
  }

  /** D2, D3. */
  #verdict(name: string, attempt: number, error: CageError): Mark {
    const { attempts, retryMs } = this.#options
    const counts = error.code !== 'UNAVAILABLE' && error.code !== 'OVERLOADED'
    const hopeless = !error.retryable && error.code !== 'CANCELLED'
    if (counts && (hopeless || attempt >= attempts)) return this.#setAside(name, attempt, error)
    const delayMs = Math.min(LONGEST_RETRY_MS, retryMs * 2 ** Math.min(attempt - 1, 30))
    this.#host.log.warn({ message: name, attempt, delayMs, err: error }, 'a message was not handled, trying again')
    return { is: 'waiting', attempts: counts ? attempt : attempt - 1, until: Date.now() + delayMs }
  }

  #setAside(name: string, attempt: number, error: CageError): Mark {
    this.#host.log.error({ message: name, attempt, err: error }, 'a message is set aside')
    return { is: 'aside', at: Date.now() }
  }

  /** Tried for as long as the claim holds; the message is handled again if nothing comes of it. */
  async #mark(name: string, mark: Mark): Promise<void> {
    for (const giveUpAt = Date.now() + LEASE_MS; ; await pause(MARK_AGAIN_MS)) {
      try {
        await this.#ledger.update((book) => settle(book, name, this.#me, mark))
        this.#claimed.delete(name)
        return
      } catch (error) {
        if (Date.now() < giveUpAt) continue
        this.#claimed.delete(name)
        const fields = { message: name, mark: mark.is, err: error }
        return this.#host.log.error(fields, 'what became of a message was not written down, it may be handled again')
      }
    }
  }

  /** Others, or a later visit, may have it at once. */
  async #giveBack(name: string, attempts: number): Promise<void> {
    await this.#mark(name, { is: 'waiting', attempts, until: Date.now() })
  }

  #renew(): void {
    if (this.#claimed.size === 0) return
    const names = [...this.#claimed]
    this.#ledger
      .update((book) => renew(book, names, this.#me, Date.now()))
      .catch((error: unknown) => this.#host.log.debug({ err: error }, 'claims were not renewed'))
  }

  /** Until something has ended, may be new, or is due. */
  async #pause(signal: AbortSignal): Promise<void> {
    if (this.#news || signal.aborted) return
    const woken = new AbortController()
    const wake = (): void => woken.abort()
    this.#wake = wake
    signal.addEventListener('abort', wake)
    try {
      const due = Math.min(...this.#rest.values()) - Date.now()
      await this.#mailbox.rest(Math.max(1, Math.min(this.#options.pollMs, due)), woken.signal)
    } finally {
      signal.removeEventListener('abort', wake)
      this.#wake = () => {}
    }
  }

  async #settled(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running.values())
  }
}
