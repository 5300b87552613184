/**
 * A mailbox over IMAP (imapflow): one session, kept; IDLE tells of new mail.
 * I1. What waits is what is neither deleted, nor marked as done or set aside: other clients of the mailbox see the same.
 * I2. A message is never removed unless the server has said that it is where it should be: imapflow copies before it deletes.
 * I3. Names hold UIDVALIDITY: a mailbox that was made anew has other messages.
 * RFC 9051 (IMAP4rev2), RFC 3501, RFC 2177 (IDLE), RFC 6851 (MOVE), RFC 4315 (UIDPLUS).
 */
import { ImapFlow, type SearchObject } from 'imapflow'
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { whenEnded } from '../../scope.ts'
import { tlsOptions } from '../client/tls.ts'
import { fromImap } from './errors.ts'
import type { Mailbox, Visit } from './mailbox.ts'
import type { Disposal, ImapOptions } from './options.ts'

const GOODBYE_MS = 1_000
/** What a server says besides the message's bytes. */
const FRAMING_BYTES = 64 * 1024
/** The session's own watch of silence comes after ours. */
const SILENCE_MS = 2 ** 31 - 1

/** Connects and opens the folder; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED, NOT_FOUND. */
export async function openImap(options: ImapOptions, name: string, signal: AbortSignal): Promise<Mailbox> {
  const { host, port, encryption, user, password = '', folder, answerMs, maxMessageBytes } = options
  const client = new ImapFlow({
    ...{ host, port, secure: encryption === 'tls', ...(encryption === 'tls' ? {} : { doSTARTTLS: encryption === 'starttls' }) },
    auth: { user: user ?? '', pass: password },
    tls: tlsOptions(options.tls, name),
    logger: false,
    disableAutoIdle: true,
    clientInfo: { name: 'menagerie' },
    ...{ connectionTimeout: answerMs, greetingTimeout: answerMs, socketTimeout: SILENCE_MS },
    ...{ maxLiteralSize: maxMessageBytes + FRAMING_BYTES, maxResponseSize: maxMessageBytes + 4 * FRAMING_BYTES },
  })
  const mailbox = new ImapMailbox(client, options, name)
  try {
    await mailbox.step(client.connect(), answerMs, signal)
    await mailbox.select(signal)
    return mailbox
  } catch (error) {
    client.close()
    if (signal.aborted || !(error as { mailboxMissing?: boolean }).mailboxMissing) throw fromImap(error, name)
    throw new CageError('NOT_FOUND', `${name}: there is no folder ${folder}`, { retryable: true })
  }
}

class ImapMailbox implements Mailbox, Visit {
  readonly address: string
  readonly #client: ImapFlow
  readonly #options: ImapOptions
  readonly #name: string
  readonly #waiting: SearchObject
  /** Something has happened since the last list. */
  #news = false
  #onNews: () => void = () => {}
  #uidValidity = ''

  constructor(client: ImapFlow, options: ImapOptions, name: string) {
    const { host, port, folder, done, setAside } = options
    this.address = `imap://${host}:${port}/${folder}`
    this.#client = client
    this.#options = options
    this.#name = name
    this.#waiting = waiting([done, setAside])
    const wake = (): void => {
      this.#news = true
      this.#onNews()
    }
    for (const event of ['exists', 'flags', 'close']) client.on(event, wake)
    client.on('error', () => {}) // whoever waits is told by the step that failed
  }

  async select(signal: AbortSignal): Promise<void> {
    const { folder, done, setAside, answerMs } = this.#options
    const { uidValidity, readOnly } = await this.step(this.#client.mailboxOpen(folder), answerMs, signal)
    if (readOnly) throw new CageError('FORBIDDEN', `${this.#name}: ${folder} is read-only`, { retryable: true })
    this.#uidValidity = String(uidValidity)
    for (const disposal of [done, setAside])
      if (typeof disposal === 'object' && 'folder' in disposal) await this.#create(disposal.folder, signal)
  }

  /** It may be there, and some servers say so by an error; whether messages can be moved there is seen when one is. */
  async #create(folder: string, signal: AbortSignal): Promise<void> {
    try {
      await this.step(this.#client.mailboxCreate(folder), this.#options.answerMs, signal)
    } catch (error) {
      if (!this.#client.usable) throw error
    }
  }

  async visit(work: (visit: Visit) => Promise<void>): Promise<void> {
    await work(this)
  }

  get ended(): boolean {
    return !this.#client.usable
  }

  async list(): Promise<string[]> {
    this.#news = false
    const uids = await this.#command(() => this.#client.search(this.#waiting, { uid: true }))
    if (!uids) throw this.#client.usable ? new CageError('UNAVAILABLE', `${this.#name}: the server refused to search`) : this.#lost()
    return uids.map((uid) => `${this.#uidValidity}.${uid}`)
  }

  async fetch(name: string): Promise<Buffer> {
    const { maxMessageBytes, answerMs } = this.#options
    const source = { start: 0, maxLength: maxMessageBytes + 1 }
    const message = await this.#command(() => this.#client.fetchOne(uidOf(name), { uid: true, source }, { uid: true }), 10 * answerMs)
    if (!message || message.source === undefined) throw new CageError('NOT_FOUND', `${this.#name}: the message is gone`)
    if (message.source.length > maxMessageBytes)
      throw new CageError('PAYLOAD_TOO_LARGE', `${this.#name}: the message is larger than ${maxMessageBytes} bytes`)
    return message.source
  }

  async dispose(name: string, how: 'done' | 'aside'): Promise<boolean> {
    const disposal: Disposal = how === 'done' ? this.#options.done : this.#options.setAside
    const [uid, client] = [uidOf(name), this.#client]
    const done = await this.#command<unknown>(() => {
      if (disposal === 'delete') return client.messageDelete(uid, { uid: true })
      if ('folder' in disposal) return client.messageMove(uid, disposal.folder, { uid: true })
      return client.messageFlagsAdd(uid, [disposal.flag], { uid: true })
    })
    if (!client.usable) throw this.#lost() // imapflow says no more than that it was not done
    return Boolean(done)
  }

  async rest(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#client.usable) throw this.#lost()
    if (this.#news) return
    const ended = new AbortController()
    const wake = (): void => ended.abort()
    this.#onNews = wake
    signal.addEventListener('abort', wake)
    // it ends with the next command, which is limited; what befalls it befalls that one too
    const idling = this.#options.idle && this.#client.capabilities.has('IDLE') ? this.#client.idle().catch(() => {}) : Promise.resolve()
    if (!signal.aborted) await pause(ms, ended.signal)
    signal.removeEventListener('abort', wake)
    this.#onNews = () => {}
    if (!this.#client.usable) throw this.#lost()
    await this.#command(() => this.#client.noop())
    await idling
  }

  async close(): Promise<void> {
    if (this.#client.usable) await this.step(this.#client.logout(), GOODBYE_MS).catch(() => {}) // it has had its time
    this.#client.close()
  }

  /** B2: the session ends with a step that is late. */
  step<T>(work: Promise<T>, limitMs: number, signal: AbortSignal = new AbortController().signal): Promise<T> {
    return new Promise((resolve, reject) => {
      const off = whenEnded({ deadline: Date.now() + limitMs, signal }, this.#name, (why) => {
        this.#client.close()
        reject(new CageError('UNAVAILABLE', `${this.#name}: the server does not answer`, { cause: why }))
      })
      work.then(resolve, reject).finally(off)
    })
  }

  async #command<T>(command: () => Promise<T>, limitMs: number = this.#options.answerMs): Promise<T> {
    try {
      return await this.step(command(), limitMs)
    } catch (error) {
      throw fromImap(error, this.#name)
    }
  }

  #lost(): CageError {
    return fromImap(new Error(this.#client.byeReason ?? 'the session has ended'), this.#name)
  }
}

function uidOf(name: string): string {
  return name.slice(name.indexOf('.') + 1)
}

const SYSTEM_FLAGS = ['answered', 'deleted', 'draft', 'flagged', 'seen'] as const

/** I1. */
function waiting(disposals: readonly Disposal[]): SearchObject {
  const search: SearchObject = { deleted: false }
  for (const disposal of disposals) {
    if (typeof disposal === 'string' || !('flag' in disposal)) continue
    const { flag } = disposal
    const system = SYSTEM_FLAGS.find((known) => flag.toLowerCase() === `\\${known}`)
    if (system) search[system] = false
    else if (search.unKeyword === undefined) search.unKeyword = flag
    else search.not = { keyword: flag }
  }
  return search
}
