/**
 * A connection to Redis as a resource: any command, scripts, batches, and work under WATCH; alone, or in a transaction of one phase.
 * C1. In a transaction nothing is done before its commit, which is one MULTI ... EXEC: what is called is queued here, and resolves with 'QUEUED'.
 * C2. The EXEC leaves a mark, by which it is found out whether it was done if its answer is lost: the other connection is ended first
 *     (CLIENT KILL), so that the answer is final.
 * C3. Redis undoes nothing: a command that fails inside an EXEC leaves the others done. That is told as an error, and in the log.
 * C4. Commands that would change the connection for whoever gets it next are refused.
 * C5. Once MULTI is sent, whatever ends it but a definite answer (refused, EXECABORT, a watched key has changed, replies) loses the connection:
 *     so nobody takes a late answer for a refusal, and no open MULTI is left to whoever gets it next.
 * C6. Commands follow MULTI when it is answered: if it is refused, they would be done one by one.
 *
 *   await ctx.resources.cache.set('greeting', 'hello', 'EX', 60)
 *
 * Redis 6 or newer; redis.io/docs: transactions, EVALSHA, CLIENT KILL.
 */
import { createHash } from 'node:crypto'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { endOf } from '../../scope.ts'
import type { Branch, ResourceConnection, Scope } from '../adapter.ts'
import type { RedisReply, RedisSession } from './api.ts'
import { decoded, encoded, type Word } from './codec.ts'
import { fromRedis, replyOf } from './errors.ts'
import type { Session } from './session.ts'

/** How long the mark of an EXEC is kept, s; who asks later learns nothing. */
const MARK_S = 86_400
/** C4, and what answers with more than one reply. */
const REFUSED = new Set(
  'auth asking client|reply client|setname client|tracking client|caching client|no-evict client|no-touch discard exec hello monitor multi psubscribe psync punsubscribe quit readonly readwrite reset select ssubscribe subscribe sunsubscribe sync unsubscribe unwatch watch'.split(
    ' ',
  ),
)
const COMMAND = /^[A-Za-z][\w.-]*$/

/** C2. */
interface Identity {
  mark: string
  /** The server's run: the numbers of its clients mean nothing in another. */
  run: string
  client: number
  /** Epoch ms. */
  at: number
}

export class RedisConnection implements ResourceConnection {
  readonly participant = 'one-phase'
  readonly #session: Session
  readonly #name: string
  readonly #log: Log
  /** Command → whether it only reads; shared by the connections. */
  readonly #readers: Map<string, boolean>
  /** Of a transaction. */
  #queued: Word[][] | undefined
  #mark = ''

  constructor(session: Session, name: string, log: Log, readers: Map<string, boolean>) {
    this.#session = session
    this.#name = name
    this.#log = log
    this.#readers = readers
  }

  get broken(): boolean {
    return this.#session.broken
  }

  async call(method: string, args: readonly unknown[], scope: Scope): Promise<unknown> {
    switch (method) {
      case 'command':
        return await this.#command(args[0], isBytes(args[1]), scope)
      case 'script':
        return await this.#script(args[0], args[1], args[2], isBytes(args[3]), scope)
      case 'batch':
        return await this.#batch(args[0], isBytes(args[1]), scope)
      case 'run':
        return await this.#work(args[0], args[1], scope)
    }
    if (!COMMAND.test(method)) throw new CageError('INVALID_ARGUMENT', `${this.#name} has no command ${JSON.stringify(method)}`)
    return await this.#command([method, ...args], false, scope)
  }

  async begin({ id, options }: Branch): Promise<void> {
    const [key] = Object.keys(options)
    if (key !== undefined) throw new CageError('INVALID_ARGUMENT', `${this.#name}: a transaction has no option ${key}`)
    this.#queued = []
    this.#mark = `menagerie:transaction:${id}`
  }

  async identity(scope: Scope): Promise<Identity> {
    return { mark: this.#mark, run: await this.#run(scope), client: this.#session.id, at: Date.now() }
  }

  async commit(scope: Scope): Promise<void> {
    const commands = this.#queued ?? []
    this.#queued = undefined
    if (commands.length === 0) return await this.#unwatch(scope) // nothing to do, and nothing to be found
    const replies = await this.#execute([...commands, ['SET', this.#mark, '1', 'EX', String(MARK_S)]], false, scope)
    const failed = replies.findIndex((reply) => reply instanceof Error)
    if (failed < 0) return
    await this.#session.send(['DEL', this.#mark], scope).catch(() => {}) // it ends by itself; what has failed is what must be told
    throw this.#partly(replies.slice(0, -1), failed)
  }

  async rollback(scope: Scope): Promise<void> {
    this.#queued = undefined
    if (!this.broken) await this.#unwatch(scope)
  }

  /** C2. */
  async outcome(identity: unknown, scope: Scope): Promise<'committed' | 'rolled back' | 'unknown'> {
    const { mark, run, client, at } = (identity ?? {}) as Partial<Identity> // checked next
    if (typeof mark !== 'string' || typeof run !== 'string' || typeof client !== 'number' || typeof at !== 'number') {
      throw new CageError('INVALID_ARGUMENT', `${this.#name}: that identifies no transaction`)
    }
    const isThere = run === (await this.#run(scope)) && client !== this.#session.id
    if (isThere) await this.#told(this.#session.send(['CLIENT', 'KILL', 'ID', String(client)], scope))
    if (Number(await this.#told(this.#session.send(['EXISTS', mark], scope))) > 0) return 'committed'
    return Date.now() - at < (MARK_S / 2) * 1_000 ? 'rolled back' : 'unknown'
  }

  async check(scope: Scope): Promise<void> {
    await this.#told(this.#session.send(['PING'], scope))
  }

  async close(): Promise<void> {
    this.#session.destroy()
  }

  async #command(given: unknown, bytes: boolean, scope: Scope): Promise<RedisReply> {
    const words = this.#allowed(encoded(given, 'a command'))
    if (this.#queued) return this.#queue(words)
    return decoded(await this.#told(this.#session.send(words, scope, bytes)), bytes)
  }

  async #script(source: unknown, keys: unknown = [], args: unknown = [], bytes: boolean, scope: Scope): Promise<RedisReply> {
    if (typeof source !== 'string') throw new CageError('INVALID_ARGUMENT', 'the script is no text')
    const keyWords = encoded(keys, 'the keys of a script')
    const rest = [String(keyWords.length), ...keyWords, ...encoded(args, 'the arguments of a script')]
    if (this.#queued) return this.#queue(['EVAL', source, ...rest])
    const hash = createHash('sha1').update(source).digest('hex')
    const known = await this.#session.send(['EVALSHA', hash, ...rest], scope, bytes).catch(async (error: unknown) => {
      if (replyOf(error) !== 'NOSCRIPT') throw fromRedis(error, this.#name)
      return await this.#told(this.#session.send(['EVAL', source, ...rest], scope, bytes))
    })
    return decoded(known, bytes)
  }

  async #batch(given: unknown, bytes: boolean, scope: Scope): Promise<RedisReply[] | 'QUEUED'> {
    if (!Array.isArray(given)) throw new CageError('INVALID_ARGUMENT', 'a batch is a list of commands')
    const commands = given.map((words: unknown) => this.#allowed(encoded(words, 'a command')))
    if (this.#queued) {
      this.#queued.push(...commands)
      return 'QUEUED'
    }
    return await this.#done(commands, bytes, scope)
  }

  async #work(keys: unknown, work: unknown, scope: Scope): Promise<unknown> {
    const watched = encoded(keys, 'the watched keys')
    if (typeof work !== 'function') throw new CageError('INVALID_ARGUMENT', 'run takes keys and a function of the session')
    const commands: Word[][] = []
    let over = false
    const open = (): void => {
      if (over) throw new CageError('INVALID_ARGUMENT', `${this.#name}: the work under WATCH has ended`)
    }
    const session: RedisSession = {
      read: async (words, options) => {
        open()
        return await this.#read(words, isBytes(options), scope, open)
      },
      queue: (...words) => {
        open()
        commands.push(this.#allowed(encoded(words, 'a command')))
      },
    }
    try {
      if (watched.length > 0) await this.#told(this.#session.send(['WATCH', ...watched], scope))
      const result: unknown = await work(session)
      over = true
      if (this.#queued) this.#queued.push(...commands)
      else if (commands.length > 0) await this.#done(commands, false, scope)
      else await this.#unwatch(scope)
      return result
    } catch (error) {
      over = true
      await this.#unwatch({ deadline: Date.now() + 1_000, signal: new AbortController().signal })
      throw error
    }
  }

  async #read(given: unknown, bytes: boolean, scope: Scope, open: () => void): Promise<RedisReply> {
    const words = this.#allowed(encoded(given, 'a command'))
    const command = String(words[0]).toLowerCase()
    let reads = this.#readers.get(command)
    if (reads === undefined) {
      const info = decoded(await this.#told(this.#session.send(['COMMAND', 'INFO', command], scope)), false)
      const [about] = Array.isArray(info) ? info : []
      const flags = Array.isArray(about) && Array.isArray(about[2]) ? about[2] : []
      reads = flags.includes('readonly')
      this.#readers.set(command, reads)
      open() // what nobody waited for must not come between MULTI and EXEC
    }
    if (!reads) throw new CageError('INVALID_ARGUMENT', `${this.#name}: ${command} does more than to read: queue it`)
    return decoded(await this.#told(this.#session.send(words, scope, bytes)), bytes)
  }

  /** The replies, or the error of the first that has failed (C3). */
  async #done(commands: Word[][], bytes: boolean, scope: Scope): Promise<RedisReply[]> {
    if (commands.length === 0) return []
    const replies = await this.#execute(commands, bytes, scope)
    const failed = replies.findIndex((reply) => reply instanceof Error)
    if (failed >= 0) throw this.#partly(replies, failed)
    return replies.map((reply) => decoded(reply, bytes))
  }

  /** MULTI ... EXEC. CONFLICT if a watched key has changed. C5, C6. */
  async #execute(commands: Word[][], bytes: boolean, scope: Scope): Promise<unknown[]> {
    const ended = endOf(scope, Date.now(), this.#name)
    if (ended) throw ended // nothing is sent
    await this.#begun(scope)
    const answers = await this.#orLost(this.#session.sendAll([...commands, ['EXEC']], scope, bytes))
    const replies = answers.at(-1)
    if (Array.isArray(replies)) return replies
    if (replies === null) throw new CageError('CONFLICT', `${this.#name}: a watched key has changed`, { retryable: true })
    if (replyOf(replies) !== 'EXECABORT') this.#session.destroy() // C5
    const refused = answers.find((answer) => answer instanceof Error) // why EXEC has done nothing
    throw fromRedis(refused, this.#name)
  }

  /** C6. */
  async #begun(scope: Scope): Promise<void> {
    const [answer] = await this.#orLost(this.#session.sendAll([['MULTI']], scope))
    if (answer instanceof Error) throw fromRedis(answer, this.#name)
  }

  /** C5. */
  async #orLost<T>(work: Promise<T>): Promise<T> {
    return await this.#told(work).catch((error: unknown) => {
      this.#session.destroy()
      throw error
    })
  }

  /** C3. */
  #partly(replies: unknown[], failed: number): CageError {
    const done = replies.filter((reply) => !(reply instanceof Error)).length
    const { code, message } = fromRedis(replies[failed], this.#name)
    if (done > 0)
      this.#log.error(
        { resource: this.#name, failed, done, of: replies.length },
        'a command of several has failed, and the others stay done',
      )
    return new CageError(code, `${message} (command ${failed} of ${replies.length}; ${done} others are done, and stay so)`, {
      details: { reply: replyOf(replies[failed]), failed, done },
      retryable: false,
    })
  }

  #queue(words: Word[]): 'QUEUED' {
    this.#queued?.push(words)
    return 'QUEUED'
  }

  /** What was watched for a transaction that does not come is not left to the next one. */
  async #unwatch(scope: Scope): Promise<void> {
    await this.#session.send(['UNWATCH'], scope).catch(() => this.#session.destroy())
  }

  async #run(scope: Scope): Promise<string> {
    const info = decoded(await this.#told(this.#session.send(['INFO', 'server'], scope)), false)
    return /run_id:(\w+)/.exec(String(info))?.[1] ?? ''
  }

  /** C4. */
  #allowed(words: Word[]): Word[] {
    const [first = '', second = ''] = words.map((word) => String(word).toLowerCase())
    if (first === '') throw new CageError('INVALID_ARGUMENT', 'a command has no name')
    const refused = [first, `${first}|${second}`].find((name) => REFUSED.has(name))
    if (refused === undefined) return words
    throw new CageError(
      'INVALID_ARGUMENT',
      `${this.#name}: ${refused.replace('|', ' ')} is the runtime's to say: use batch, run, ctx.transaction, or an interface`,
    )
  }

  async #told<T>(work: Promise<T>): Promise<T> {
    return await work.catch((error: unknown) => {
      throw fromRedis(error, this.#name)
    })
  }
}

function isBytes(options: unknown): boolean {
  if (options === undefined) return false
  const { bytes, ...others } = (typeof options === 'object' ? options : { options }) as { bytes?: unknown } // checked next
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) throw new CageError('INVALID_ARGUMENT', `a command has no option ${unknown}`)
  return bytes === true
}
