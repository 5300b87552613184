/**
 * A change stream as an interface: each change is a call, `orders.changed(event)`, in their order, one at a time.
 * L1. One copy of the cage reads (place.ts). How far it has come is remembered by the cage once a change's call has succeeded: what happens while
 *     nobody reads is read later, and after a crash the last change may come a second time, with the same `_id`.
 * L2. A call that fails is made again with back-off: as long as its module is away or overloaded, else `attempts` times. Then it is told in the log and
 *     passed over. With `queue` its call is durable, and the queue's business from then on; nothing but a change too large for it is passed over.
 * L3. Where the place is no longer known to the server (its oplog is too short), and at the very first start, reading begins with what happens from now
 *     on, and `onReset` is called, to look for what was missed.
 * L4. A lost connection is made again, with back-off.
 *
 *   orders: { kind: 'mongodb', url: env('SHOP_URL'), database: 'shop', collection: 'orders', call: 'orders.changed', onReset: 'orders.reread' }
 *   export async function changed(ctx: Context, event: MongoDocument): Promise<void> { ... }
 *
 * MongoDB Manual: Change Streams; replica sets and sharded clusters only.
 */
import type { ChangeStream, Document } from 'mongodb'
import { CageError, toCageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { InterfaceHost, Listener, Scope } from '../adapter.ts'
import { Link } from './link.ts'
import type { MongoListenOptions } from './options.ts'
import { type Held, Place } from './place.ts'
import { addressOf } from './url.ts'
import { fromBson, toBson } from './values.ts'

const CONNECT_MS = 5_000
/** The server has so long to say that nothing has happened, ms. */
const ANSWER_MS = 10_000
/** How long the server waits for something to happen, ms. */
const AWAIT_MS = 500
const FIRST_DELAY_MS = 100
const LONGEST_DELAY_MS = 3_000
const HISTORY_LOST = new Set([222, 260, 280, 286]) // CloseChangeStream, InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost
/** Of these it is not the call's fault, nor the event's. */
const AWAY = new Set(['UNAVAILABLE', 'OVERLOADED'])

export async function listen(options: MongoListenOptions, host: InterfaceHost): Promise<Listener> {
  const stopping = new AbortController()
  const { signal } = stopping
  const place = new Place(host.memory, host.newRequestId())
  const within = (ms: number): Scope => ({ deadline: Date.now() + ms, signal: new AbortController().signal })
  const connect = (): Promise<Link> => Link.open({ options, name: host.name }, within(CONNECT_MS))
  const first = await connect()
  if (!first.deployment.transactions) {
    await first.close()
    throw new CageError('INVALID_ARGUMENT', `${host.name}: the server is no replica set: it has no change streams`)
  }
  const ended = keep(first)
  return {
    address: addressOf(options.url, options.database),
    done: ended,
    async stop() {
      stopping.abort()
      await ended
    },
  }

  /** L4. Resolves when it was stopped and what ran has ended. */
  async function keep(link: Link | undefined): Promise<void> {
    let failures = 0
    for (let current = link; !signal.aborted; current = undefined) {
      try {
        current ??= await connect()
        await serve(current, () => (failures = 0))
      } catch (error) {
        if (signal.aborted) break
        host.log[failures++ === 0 ? 'warn' : 'debug']({ err: toCageError(error) }, 'reading changes was interrupted, trying again')
        await pause(backOffMs(failures), signal)
      } finally {
        await current?.close()
      }
    }
  }

  /** Until it is stopped, or the connection or the place is lost. */
  async function serve(link: Link, onRead: () => void): Promise<void> {
    const held = await place.take(signal)
    if (!held) return
    const owner = {}
    const cancel = (): void => host.cancel(owner)
    held.lost.addEventListener('abort', cancel)
    const stream = open(link, held.token)
    try {
      await read(link, stream, held, owner, onRead)
    } catch (error) {
      if (!HISTORY_LOST.has(mongoCodeOf(error))) throw error
      host.log.error({ err: error }, 'changes were lost: the server no longer knows how far they were read')
      await held.save(undefined)
    } finally {
      held.lost.removeEventListener('abort', cancel)
      if (!link.broken) await link.run(within(CONNECT_MS), () => stream.close()).catch(() => {}) // the connection is closed next
      await held.release()
    }
  }

  async function read(link: Link, stream: ChangeStream, held: Held, owner: object, onRead: () => void): Promise<void> {
    const wanted = (): boolean => !signal.aborted && !held.lost.aborted
    let told = held.token !== undefined
    let saved = JSON.stringify(held.token)
    while (wanted()) {
      const event: Document | null = await link.run(within(ANSWER_MS), () => stream.tryNext())
      onRead()
      if (!told) {
        told = true
        host.log.info({ collection: options.collection, database: options.database }, 'reading changes from now on')
        if (options.onReset !== undefined && !(await deliver(options.onReset, [], undefined, owner, wanted))) return
      }
      if (event && !(await deliver(options.call, [fromBson(event)], JSON.stringify(event._id), owner, wanted))) return
      const token = JSON.stringify(stream.resumeToken)
      if (token === undefined || token === saved) continue
      await held.save(JSON.parse(token))
      saved = token
    }
  }

  function open({ db }: Link, token: unknown): ChangeStream {
    const { collection, pipeline, fullDocument, fullDocumentBeforeChange } = options
    const from = collection === undefined ? db : db.collection(collection)
    return from.watch(
      pipeline.map((stage, n) => toBson(stage, `pipeline[${n}]`) as Document), // an object stays one
      {
        maxAwaitTimeMS: AWAIT_MS,
        ...(token === undefined ? {} : { startAfter: token }),
        ...(fullDocument && { fullDocument }),
        ...(fullDocumentBeforeChange && { fullDocumentBeforeChange }),
      },
    )
  }

  /** L2. False: nobody wants it of us any more. */
  async function deliver(
    target: string,
    args: unknown[],
    token: string | undefined,
    owner: object,
    wanted: () => boolean,
  ): Promise<boolean> {
    const { queue, timeoutMs, attempts } = options
    const requestId = host.newRequestId()
    const by = { requestId, protocol: 'mongodb' }
    for (let attempt = 1, tried = 1; ; tried++) {
      try {
        if (queue === undefined) await host.call(target, args, { ...by, timeoutMs, owner })
        else await host.enqueue(queue, target, args, { ...by, id: `change:${token ?? requestId}` })
        return true
      } catch (thrown) {
        const error = toCageError(thrown)
        if (!wanted()) return false
        const lasts =
          queue === undefined ? !AWAY.has(error.code) && (!error.retryable || attempt++ >= attempts) : error.code === 'PAYLOAD_TOO_LARGE'
        if (lasts) {
          host.log.error({ call: target, err: error, token }, 'a change was passed over: its call failed')
          return true
        }
        host.log.warn({ call: target, err: error, attempt: tried }, 'a change was not taken, trying again')
        await pause(backOffMs(tried), signal)
        if (!wanted()) return false
      }
    }
  }
}

/** Before the n-th attempt after a failure (n from 1), ms; half of it at random. */
function backOffMs(failures: number): number {
  return Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(failures - 1, 10)) * (0.5 + Math.random() / 2)
}

function mongoCodeOf(error: unknown): number {
  const details: unknown = error instanceof CageError ? error.details : undefined
  return (details as { mongoCode?: number } | undefined)?.mongoCode ?? 0 // as errors.ts has made them
}
