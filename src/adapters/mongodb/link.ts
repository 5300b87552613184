/**
 * Link: one client of the driver with one connection to each server that it uses; calls in it end with their scopes.
 * K1. A call that is late ends at the server by its `maxTimeMS`; one that nobody wants any more, or that is late all the same, is looked for by its
 *     comment and killed ($currentOp, killOp), over a connection of its own. A server that does not answer that either loses the link: nothing hangs.
 * K2. A link is lost (`broken`) with an error of the network that the driver has not mended, or once no server answers its heartbeats.
 * K3. What is lost is told to whoever waits, at once; the driver alone would wait for a server until its selection times out.
 * A client for each connection, although one could be shared: so the pool's limits are what the servers see, a connection that is closed is closed,
 * and what breaks breaks one call. It costs 0.2 MB, and one more connection to each server (its heartbeat).
 */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type Db, MongoClient, type MongoClientOptions } from 'mongodb'
import { CageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import { endOf, whenEnded } from '../../scope.ts'
import type { Scope } from '../adapter.ts'
import { fromMongo, losesConnection } from './errors.ts'
import type { MongoOptions } from './options.ts'

/** So long has a server to end what is to end, ms. */
const GRACE_MS = 500
/** So long is a server, whose own clock ends it, waited for before it is asked to, ms. */
const OWN_CLOCK_MS = 50
const OLDEST_WIRE = 9 // 4.4

/** What the deployment is. */
export interface Deployment {
  transactions: boolean
  /** A session is forgotten after so long without use. */
  sessionMs: number
}

/** With what a call is sent, so that it can be ended. */
export interface Limits {
  comment: string
  maxTimeMS: number
}

/** How to reach the servers. */
export interface Servers {
  readonly options: MongoOptions
  /** The resource's or interface's name, for messages. */
  readonly name: string
}

export class Link {
  readonly client: MongoClient
  readonly db: Db
  readonly #servers: Servers
  readonly #id = randomUUID()
  readonly #silent = new Set<string>()
  /** Those who wait for an answer, to be told if there will be none. */
  readonly #waiting = new Set<(error: unknown) => void>()
  #lost: CageError | undefined
  #deployment: Deployment = { transactions: false, sessionMs: 0 }
  #calls = 0
  #known = 1

  private constructor(servers: Servers, limitMs: number) {
    this.#servers = servers
    this.client = new MongoClient(servers.options.url, clientOptions(servers.options, limitMs))
    this.db = this.client.db(servers.options.database)
    this.#watchServers()
  }

  /** Connects; leaves nothing behind if it cannot. UNAVAILABLE, UNAUTHENTICATED. */
  static async open(servers: Servers, scope: Scope): Promise<Link> {
    const link = make(servers, () => new Link(servers, Math.max(1, scope.deadline - Date.now())))
    try {
      await link.#connect(scope)
      return link
    } catch (error) {
      link.destroy()
      throw error
    }
  }

  get broken(): boolean {
    return this.#lost !== undefined
  }

  get deployment(): Deployment {
    return this.#deployment
  }

  /** A name for calls that are one: killed together. */
  newComment(): string {
    return `menagerie ${this.#servers.name} ${this.#id}/${++this.#calls}`
  }

  /** Runs `work`, which sends its limits along, within the scope. */
  async run<T>(scope: Scope, work: (limits: Limits) => Promise<T>, comment: string = this.newComment()): Promise<T> {
    const { name } = this.#servers
    const ended = endOf(scope, Date.now(), name) ?? this.#lost
    if (ended) throw ended
    return await new Promise<T>((resolve, reject) => {
      let why: CageError | undefined
      let settled: AbortController | undefined
      const off = whenEnded(scope, name, (reason) => {
        why = reason
        settled = new AbortController()
        void this.#end(comment, reason, settled.signal)
      })
      const finish = (): void => {
        off()
        settled?.abort()
        this.#waiting.delete(fail)
      }
      const fail = (error: unknown): void => {
        finish()
        if (losesConnection(error)) this.#lose(error)
        reject(why ?? fromMongo(error, name))
      }
      this.#waiting.add(fail) // K3
      const remainingMs = Math.min(2 ** 31 - 1, Math.max(1, Math.ceil(scope.deadline - Date.now())))
      work({ comment, maxTimeMS: remainingMs }).then((result) => {
        finish()
        if (why) reject(why)
        else resolve(result)
      }, fail)
    })
  }

  /** Says nothing any more: whoever waits is told, and the driver's connections are closed. */
  destroy(): void {
    this.#lose(new CageError('UNAVAILABLE', `${this.#servers.name}: the connection was lost`))
  }

  async close(): Promise<void> {
    if (this.broken) return
    this.#lost = new CageError('UNAVAILABLE', `${this.#servers.name}: the connection was closed`)
    const enough = new AbortController()
    await Promise.race([this.client.close(), pause(GRACE_MS, enough.signal)]).finally(() => enough.abort())
  }

  async #connect(scope: Scope): Promise<void> {
    const hello = await this.run(scope, () => this.client.db('admin').command({ hello: 1 })).catch((error: CageError) => {
      throw error.code === 'DEADLINE_EXCEEDED' ? new CageError('UNAVAILABLE', `${this.#servers.name}: the server does not answer`) : error
    })
    if (hello.maxWireVersion < OLDEST_WIRE) throw new CageError('UNAVAILABLE', `${this.#servers.name}: MongoDB 4.4 or newer is needed`)
    const minutes: unknown = hello.logicalSessionTimeoutMinutes
    const isCluster = typeof hello.setName === 'string' || hello.msg === 'isdbgrid' // a replica set, or a mongos
    this.#deployment = { transactions: isCluster && typeof minutes === 'number', sessionMs: Number(minutes ?? 0) * 60_000 }
  }

  /** K2. */
  #watchServers(): void {
    this.client.on('serverHeartbeatSucceeded', ({ connectionId }) => this.#silent.delete(connectionId))
    this.client.on('serverHeartbeatFailed', ({ connectionId, failure }) => {
      this.#silent.add(connectionId)
      if (this.#silent.size >= this.#known) this.#lose(failure)
    })
    this.client.on('topologyDescriptionChanged', ({ newDescription }) => {
      this.#known = newDescription.servers.size
      for (const address of this.#silent) if (!newDescription.servers.has(address)) this.#silent.delete(address)
    })
    this.client.on('error', () => {}) // told to whoever waits
  }

  #lose(error: unknown): void {
    if (this.broken) return
    this.#lost = fromMongo(error, this.#servers.name)
    for (const fail of this.#waiting) fail(this.#lost)
    void this.client.close().catch(() => {}) // nothing to be told of what is lost
  }

  /** K1. */
  async #end(comment: string, { code }: CageError, settled: AbortSignal): Promise<void> {
    const impatience = pause(GRACE_MS, settled)
    if (code === 'DEADLINE_EXCEEDED') await pause(OWN_CLOCK_MS, settled)
    if (!settled.aborted) await Promise.race([killOperations(this.#servers, comment), impatience])
    await impatience
    if (!settled.aborted) this.destroy()
  }
}

/** Ends what runs with this comment, if it is still there. */
async function killOperations({ options }: Servers, comment: string): Promise<void> {
  const client = new MongoClient(options.url, clientOptions(options, GRACE_MS))
  client.on('error', () => {})
  try {
    const admin = client.db('admin')
    const operations = admin.aggregate([{ $currentOp: { localOps: true } }, { $match: { 'command.comment': comment } }])
    for (const { opid } of await operations.toArray()) await admin.command({ killOp: 1, op: opid })
  } catch {
    // whoever waits gives the link up, and the server ends what reads for a client that is gone
  } finally {
    await client.close().catch(() => {}) // it was for this alone
  }
}

/** What the driver refuses of a connection string is ours to mend, and no reason to end. */
function make(servers: Servers, create: () => Link): Link {
  try {
    return create()
  } catch (error) {
    throw new CageError('UNAVAILABLE', `${servers.name}: ${(error as Error).message}`) // of options, and never the URL's password
  }
}

function clientOptions({ url, user, password, authSource, tls, applicationName }: MongoOptions, limitMs: number): MongoClientOptions {
  const limit = Math.max(1, Math.ceil(limitMs))
  return {
    ...{ maxPoolSize: 1, serverMonitoringMode: 'poll', serverSelectionTimeoutMS: limit, connectTimeoutMS: limit },
    ...{ useBigInt64: true, bsonRegExp: true, ignoreUndefined: false },
    ...(/[?&]appname=/i.test(url) ? {} : { appName: applicationName }),
    ...(user === undefined ? {} : { auth: { username: user, password: password ?? '' } }),
    ...(authSource === undefined ? {} : { authSource }),
    tls: tls !== false,
    ...(tls === false ? {} : tlsOptions(tls)),
  }
}

function tlsOptions({ caFile, certFile, keyFile, verify }: Exclude<MongoOptions['tls'], false>): MongoClientOptions {
  return {
    ...(verify ? {} : { tlsAllowInvalidCertificates: true, tlsAllowInvalidHostnames: true }),
    ...(caFile === undefined ? {} : { ca: readFileSync(caFile) }),
    ...(certFile === undefined ? {} : { cert: readFileSync(certFile) }),
    ...(keyFile === undefined ? {} : { key: readFileSync(keyFile) }),
  }
}
