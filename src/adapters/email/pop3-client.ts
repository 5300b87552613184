/**
 * A POP3 client: one session, one command at a time.
 * P1. Bytes are kept: lines are cut at CRLF and nowhere else, and the dot that a server puts before a dot is taken away.
 * P2. Nothing that came in clear counts once TLS has begun: what stands behind the answer to STLS ends the session.
 * P3. A session that is late, or that says what nobody has asked for, has ended; so has one that sends more than was allowed,
 *     which is told to the command that got it, and to no other.
 * RFC 1939, RFC 2449 (CAPA), RFC 2595 (STLS), RFC 3206 (response codes).
 */
import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { CageError } from '../../errors.ts'
import { whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { tlsOptions } from '../client/tls.ts'
import { lost } from './errors.ts'
import type { MailServer } from './options.ts'

const CRLF = Buffer.from('\r\n')
const DOT = 0x2e
const LONGEST_LINE = 16 * 1024
const LISTING_BYTES = 64 * 1024 * 1024

/** What an answer is read into. */
interface Reader {
  /** True when the answer is complete. */
  take(line: Buffer): boolean
  fail(error: CageError): void
}

export class Pop3Client {
  readonly #name: string
  #socket: Socket
  #rest: Buffer = Buffer.alloc(0)
  #reader: Reader | undefined
  #longestLine = LONGEST_LINE
  #failure: CageError | undefined
  #detach: () => void = () => {}

  private constructor(socket: Socket, name: string) {
    this.#name = name
    this.#socket = socket
    this.#attach(socket)
  }

  /** Connects and says who we are; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED. */
  static async open(server: MailServer, name: string, scope: Scope): Promise<Pop3Client> {
    const { host, port, encryption, user = '', password = '' } = server
    const tls = { host, ...(isIP(host) ? {} : { servername: host }), ...tlsOptions(server.tls, name) }
    const client = new Pop3Client(encryption === 'tls' ? connectTls({ ...tls, port }) : connectPlain({ host, port }), name)
    try {
      await client.#answer(scope)
      if (encryption === 'starttls') {
        const offered = await client.capabilities(scope)
        if (!offered.some((line) => /^STLS$/i.test(line)))
          throw new CageError('UNAVAILABLE', `${name}: the server does not encrypt, or not as it should`)
        await client.#command('STLS', scope)
        client.#secure(connectTls({ ...tls, socket: client.#socket })) // P2
      }
      await client.#command(`USER ${user}`, scope).catch((error: unknown) => Promise.reject(refusedUs(error, name)))
      await client.#command(`PASS ${password}`, scope).catch((error: unknown) => Promise.reject(refusedUs(error, name)))
      return client
    } catch (error) {
      client.destroy()
      throw error
    }
  }

  /** What the server can; nothing if it does not say. */
  async capabilities(scope: Scope): Promise<string[]> {
    try {
      return (await this.#lines('CAPA', scope)).map(String)
    } catch (error) {
      if (this.#failure) throw error
      return [] // RFC 2449 is younger than some servers
    }
  }

  /** Number → unique id of each message. */
  async uidl(scope: Scope): Promise<Map<number, string>> {
    const lines = await this.#lines('UIDL', scope)
    const pairs = lines.map((line) => /^(\d+) +([\x21-\x7e]{1,70})/.exec(line.toString('latin1')) ?? [])
    return new Map(pairs.flatMap(([, number, id]) => (id === undefined ? [] : [[Number(number), id] satisfies [number, string]])))
  }

  /** A message's size in bytes, as the server says. */
  async size(number: number, scope: Scope): Promise<number> {
    return Number(/^\+OK \d+ +(\d+)/.exec(await this.#command(`LIST ${number}`, scope))?.[1] ?? 0)
  }

  /** A message's bytes. PAYLOAD_TOO_LARGE, which ends the session. */
  async retr(number: number, maxBytes: number, scope: Scope): Promise<Buffer> {
    const lines = await this.#lines(`RETR ${number}`, scope, maxBytes)
    return Buffer.concat(lines.flatMap((line) => [line, CRLF]))
  }

  /** Marks it as deleted; it is when `quit` has succeeded. */
  async dele(number: number, scope: Scope): Promise<void> {
    await this.#command(`DELE ${number}`, scope)
  }

  async quit(scope: Scope): Promise<void> {
    await this.#command('QUIT', scope)
    this.destroy()
  }

  /** No command can succeed any more. */
  get ended(): boolean {
    return this.#failure !== undefined
  }

  destroy(): void {
    this.#end(this.#gone())
  }

  async #command(text: string, scope: Scope): Promise<string> {
    this.#send(text)
    return await this.#answer(scope)
  }

  #send(text: string): void {
    if (this.#failure) throw this.#failure
    this.#socket.write(`${text}\r\n`)
  }

  async #answer(scope: Scope): Promise<string> {
    let answer = ''
    await this.#read(scope, (line) => {
      answer = line.toString('latin1')
      return true
    })
    return this.#checked(answer)
  }

  /** P1: the lines of an answer of several, without their ends. */
  async #lines(command: string, scope: Scope, maxBytes: number = LISTING_BYTES): Promise<Buffer[]> {
    let head: string | undefined
    let length = 0
    const lines: Buffer[] = []
    this.#send(command)
    this.#longestLine = maxBytes + LONGEST_LINE
    try {
      await this.#read(scope, (line) => {
        if (head === undefined) {
          head = line.toString('latin1')
          return !head.startsWith('+OK')
        }
        if (line[0] === DOT && line.length === 1) return true
        const own = line[0] === DOT ? line.subarray(1) : line
        length += own.length + CRLF.length
        if (length > maxBytes) throw new CageError('PAYLOAD_TOO_LARGE', `${this.#name}: the answer is larger than ${maxBytes} bytes`)
        lines.push(own)
        return false
      })
    } finally {
      this.#longestLine = LONGEST_LINE
    }
    this.#checked(head ?? '')
    return lines
  }

  #checked(answer: string): string {
    if (answer.startsWith('+OK')) return answer
    const details = { response: answer.slice(0, 500) }
    if (answer.startsWith('-ERR')) throw new CageError('UNAVAILABLE', `${this.#name}: the server refused a command`, { details })
    const error = new CageError('UNAVAILABLE', `${this.#name}: the server does not speak POP3`, { details })
    this.#end(error)
    throw error
  }

  #read(scope: Scope, take: (line: Buffer) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure)
      const off = whenEnded(scope, this.#name, (why) =>
        this.#end(new CageError('UNAVAILABLE', `${this.#name}: the server does not answer`, { cause: why })),
      )
      this.#reader = {
        take: (line) => {
          const complete = take(line)
          if (complete) {
            off()
            resolve()
          }
          return complete
        },
        fail: (error) => {
          off()
          reject(error)
        },
      }
      this.#pump()
    })
  }

  #pump(): void {
    try {
      for (let end = this.#rest.indexOf(CRLF); end >= 0; end = this.#rest.indexOf(CRLF)) {
        const line = this.#rest.subarray(0, end)
        if (!this.#reader) break
        this.#rest = this.#rest.subarray(end + CRLF.length)
        if (this.#reader.take(line)) this.#reader = undefined
      }
      if (!this.#reader && this.#rest.length > 0) throw new CageError('UNAVAILABLE', `${this.#name}: the server says what nobody asked`)
      if (this.#rest.length > this.#longestLine) throw new CageError('PAYLOAD_TOO_LARGE', `${this.#name}: a line of the server has no end`)
    } catch (error) {
      const failure = lost(error, this.#name)
      this.#end(failure, failure.code === 'PAYLOAD_TOO_LARGE' ? this.#gone() : failure) // P3
    }
  }

  #attach(socket: Socket): void {
    const onData = (chunk: Buffer): void => {
      this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
      this.#pump()
    }
    const onError = (error: Error): void => this.#end(lost(error, this.#name))
    const onClose = (): void => this.#end(new CageError('UNAVAILABLE', `${this.#name}: the connection was lost`))
    socket.on('data', onData).on('error', onError).on('close', onClose)
    this.#detach = () => void socket.off('data', onData)
  }

  #secure(socket: Socket): void {
    this.#detach()
    this.#socket = socket
    this.#attach(socket)
  }

  /** `later` is what the commands after it are told. */
  #end(error: CageError, later: CageError = error): void {
    this.#failure ??= later
    const reader = this.#reader
    this.#reader = undefined
    this.#rest = Buffer.alloc(0)
    this.#socket.destroy()
    reader?.fail(error)
  }

  #gone(): CageError {
    return new CageError('UNAVAILABLE', `${this.#name}: the session has ended`)
  }
}

/** RFC 3206, RFC 2449, 8: what is said in brackets tells whether it is us. */
function refusedUs(error: unknown, name: string): unknown {
  if (!(error instanceof CageError) || error.code !== 'UNAVAILABLE' || error.details === undefined) return error
  const { response } = error.details as { response: string } // of #checked
  if (/\[(IN-USE|LOGIN-DELAY|SYS\/TEMP|SYS\/PERM)\]/i.test(response) || !response.startsWith('-ERR')) return error
  return new CageError('UNAUTHENTICATED', `${name}: the server does not accept user and password`, {
    retryable: true,
    details: { response },
  })
}
