/**
 * Admin: what an engineer sees of queues and dead letters, and does with them. `menagerie queue|dead` and `ctx.queues` are its faces.
 * A1. A listing ends at what there was when it began, and never because an answer was slow.
 */
import { CageError } from '../../errors.ts'
import { headerOf, isCode, type JetStream, type StoredMessage } from '../jetstream.ts'
import { cancelSubject } from '../subjects.ts'
import type {
  CageShare,
  CallState,
  CallStatus,
  DeadFilter,
  DeadLetter,
  LaneInfo,
  QueueAdmin,
  QueueDetails,
  QueueMode,
  QueueSummary,
} from './contract.ts'
import type { Control } from './control.ts'
import { callOf, readLetter } from './dead.ts'
import type { Leadership } from './leadership.ts'
import { ANY_SEQ, type CallRecord, type Ledger } from './ledger.ts'
import { decodeCall, encodeCall, filterOf, messageId, placeOf, type QueuedCall, STREAMS, streamOf, subjectOf } from './message.ts'
import type { Streams } from './streams.ts'

const WRITE_MS = 10_000

export class Admin implements QueueAdmin {
  readonly #js: JetStream
  readonly #streams: Streams
  readonly #ledger: Ledger
  readonly #control: Control
  readonly #leadership: Leadership

  constructor(js: JetStream, streams: Streams, ledger: Ledger, control: Control, leadership: Leadership) {
    this.#js = js
    this.#streams = streams
    this.#ledger = ledger
    this.#control = control
    this.#leadership = leadership
  }

  async list(): Promise<QueueSummary[]> {
    await this.#control.refresh()
    return Promise.all((await this.#streams.queues()).map((queue) => this.#summary(queue)))
  }

  async show(queue: string): Promise<QueueDetails> {
    await this.#control.refresh()
    const info = await this.#js.streamInfo(streamOf(queue), `queue.${queue}.>`)
    if (!info) throw noQueue(queue, await this.#streams.queues())
    const shares = new Map<string, CageShare>()
    const shareOf = (cage: string): CageShare => {
      let share = shares.get(cage)
      if (!share) {
        share = { cage, waiting: 0, running: 0, asking: 0, lanes: undefined, methods: {} }
        shares.set(cage, share)
      }
      return share
    }
    for (const [subject, count] of Object.entries(info.state.subjects ?? {})) {
      const [, , cage = '', module, method] = subject.split('.')
      const share = shareOf(cage)
      share.waiting += count
      share.methods[`${module}.${method}`] = (share.methods[`${module}.${method}`] ?? 0) + count
    }
    for (const { name, config, num_ack_pending, num_waiting } of await this.#streams.consumers(queue)) {
      const cage = config.filter_subject?.split('.')[2] ?? ''
      const share = shareOf(cage)
      share.asking += num_waiting
      const sequenced = config.filter_subject === filterOf(queue, cage, 'all')
      const said = sequenced ? ((await this.#leadership.ask(name)) as { lanes: LaneInfo[]; running: number } | undefined) : undefined
      share.lanes = said?.lanes ?? share.lanes
      share.running += said?.running ?? (sequenced ? 0 : num_ack_pending)
    }
    for (const share of shares.values()) share.waiting -= share.running
    return { ...(await this.#summary(queue)), order: this.#control.of(queue), cages: [...shares.values()] }
  }

  async setMode(queue: string, mode: QueueMode, reason?: string): Promise<void> {
    if (!(await this.#js.streamInfo(streamOf(queue)))) throw noQueue(queue, await this.#streams.queues())
    await this.#streams.shared(0)
    await this.#control.set(queue, { mode, at: Date.now(), reason })
  }

  async purge(queue: string, cage?: string): Promise<number> {
    const purged = async (stream: string, filter: string): Promise<number> => {
      try {
        return (await this.#js.api<{ purged: number }>(`STREAM.PURGE.${stream}`, { filter })).purged
      } catch (error) {
        if (isCode(error, 'NOT_FOUND')) return 0
        throw error
      }
    }
    if (!(await this.#js.streamInfo(streamOf(queue)))) throw noQueue(queue, await this.#streams.queues())
    const rest = cage === undefined ? '>' : `${cage}.>`
    return (await purged(streamOf(queue), `queue.${queue}.${rest}`)) + (await purged(STREAMS.delayed, `delayed.${queue}.${rest}`))
  }

  async status(id: string): Promise<CallStatus | undefined> {
    const record = await this.#find(id)
    return record && shown(record)
  }

  async cancel(id: string): Promise<boolean> {
    const status = await this.#find(id)
    if (!status || status.state === 'done' || status.state === 'dead' || status.state === 'cancelled') return false
    const place = placeOf(id)
    const delayed = status.state === 'delayed'
    if (status.state !== 'running') {
      await this.#ledger.put({ ...status, state: 'cancelled', changedAt: Date.now() })
      await this.#js.delete(delayed || place?.delayed ? STREAMS.delayed : streamOf(status.queue), status.seq).catch(() => false) // it is dropped when its turn comes
    }
    const [cage = ''] = status.target.split('.')
    this.#js.post(cancelSubject(cage), `call ${id}`)
    return true
  }

  async *dead(filter: DeadFilter = {}): AsyncGenerator<DeadLetter> {
    for await (const message of this.#deadMessages(filter)) yield readLetter(message)
  }

  async deadLetter(seq: number): Promise<DeadLetter> {
    return readLetter(await this.#deadMessage(seq))
  }

  async retry(seq: number, args?: unknown[]): Promise<string> {
    const message = await this.#deadMessage(seq)
    const letter = readLetter(message)
    const dead: QueuedCall = letter.args === undefined && args !== undefined ? emptyCall(message.subject) : callOf(message)
    const now = Date.now()
    const call = { ...dead, args: args ?? dead.args, id: letter.id, moves: dead.moves + 1, attempts: 0, enqueuedAt: now, dueAt: undefined }
    await this.#streams.queue(call.queue)
    const { queue, id, moves, failures } = call
    const record = { id, queue, target: letter.target, state: 'waiting', seq: ANY_SEQ, moves, attempts: 0, crashes: 0, reruns: 0 } as const
    await this.#ledger.put({ ...record, enqueuedAt: now, changedAt: now, failures }) // first, or the message would be dropped as that of a dead call
    await this.#js.publish(subjectOf('queue', call), encodeCall(call), { msgId: messageId(id, moves), deadline: now + WRITE_MS })
    await this.#js.delete(STREAMS.dead, seq)
    return letter.id
  }

  async drop(seq: number): Promise<boolean> {
    const message = await this.#js.get(STREAMS.dead, { seq })
    if (!message) return false
    const record = await this.#ledger.get(readLetter(message).id)
    if (record?.state === 'dead') await this.#ledger.put({ ...record, state: 'cancelled', changedAt: Date.now() }) // its id is free again
    return this.#js.delete(STREAMS.dead, seq)
  }

  async #summary(queue: string): Promise<QueueSummary> {
    const [info, consumers, delayed, dead] = await Promise.all([
      this.#js.streamInfo(streamOf(queue)),
      this.#streams.consumers(queue),
      this.#count(STREAMS.delayed, `delayed.${queue}.>`),
      this.#count(STREAMS.dead, `dead.${queue}.>`),
    ])
    const running = consumers
      .filter(({ config }) => !config.filter_subject?.endsWith('.>'))
      .reduce((sum, { num_ack_pending }) => sum + num_ack_pending, 0)
    const { messages = 0, bytes = 0, first_ts } = info?.state ?? {}
    const oldestAt = messages > 0 && first_ts ? Date.parse(String(first_ts)) : undefined
    return { queue, mode: this.#control.of(queue).mode, waiting: Math.max(0, messages - running), running, delayed, dead, bytes, oldestAt }
  }

  async #count(stream: string, filter: string): Promise<number> {
    const info = await this.#js.streamInfo(stream, filter)
    return Object.values(info?.state.subjects ?? {}).reduce((sum, count) => sum + count, 0)
  }

  async #find(id: string): Promise<CallRecord | undefined> {
    const record = await this.#ledger.get(id)
    if (record) return this.#current(record)
    const place = placeOf(id)
    if (!place) return undefined
    const message = await this.#js.get(place.delayed ? STREAMS.delayed : streamOf(place.queue), { seq: place.seq })
    return message && this.#fromMessage(id, message, place.delayed)
  }

  /** The ledger is not told of everything: a delayed call whose time has come waits in its queue, and one that was handed out runs. */
  async #current(record: CallRecord): Promise<CallRecord> {
    const { state, dueAt = 0, queue, target, seq } = record
    if (state === 'delayed' && dueAt < Date.now()) return { ...record, state: 'waiting' }
    return state === 'waiting' && seq !== ANY_SEQ ? { ...record, state: await this.#stateInQueue(queue, target, seq) } : record
  }

  async #stateInQueue(queue: string, target: string, seq: number): Promise<CallState> {
    const [cage = ''] = target.split('.')
    const consumers = await this.#streams.consumers(queue)
    const shared = consumers.filter(
      ({ config }) => config.filter_subject === filterOf(queue, cage, 'normal') || config.filter_subject === filterOf(queue, cage, 'high'),
    )
    return shared.some(({ delivered }) => delivered.stream_seq >= seq) ? 'running' : 'waiting'
  }

  async #fromMessage(id: string, message: StoredMessage, delayed: boolean): Promise<CallRecord> {
    const { subject, seq, data, time, headers } = message
    const {
      queue,
      cage,
      module,
      method,
      attempts,
      moves,
      dueAt,
      expiresMs,
      enqueuedAt = time,
    } = decodeCall({ subject, data, time, header: (name) => headerOf(headers, name) })
    const target = `${cage}.${module}.${method}`
    const state = delayed ? 'delayed' : await this.#stateInQueue(queue, target, seq)
    const expiresAt = expiresMs === undefined ? undefined : enqueuedAt + expiresMs
    return { id, queue, target, state, seq, moves, attempts, crashes: 0, reruns: 0, enqueuedAt, changedAt: time, dueAt, expiresAt }
  }

  async #deadMessage(seq: number): Promise<StoredMessage> {
    const message = await this.#js.get(STREAMS.dead, { seq })
    if (!message) throw new CageError('NOT_FOUND', `there is no dead letter ${seq}`)
    return message
  }

  /** A1. One question a letter: slower than a consumer, and never wrong about where the end is. */
  async *#deadMessages({
    queue = '*',
    target,
    error,
    since = 0,
    until = Number.POSITIVE_INFINITY,
  }: DeadFilter): AsyncGenerator<StoredMessage> {
    const parts = target?.split('.') ?? []
    const subject = ['dead', queue, ...parts, ...(parts.length < 3 ? ['>'] : [])].join('.')
    const last = (await this.#js.streamInfo(STREAMS.dead))?.state.last_seq ?? 0
    for (let seq = 1; seq <= last; ) {
      const message = await this.#js.get(STREAMS.dead, { seq, next_by_subj: subject })
      if (!message || message.seq > last) return
      seq = message.seq + 1
      if (message.time < since || message.time > until) continue
      const text = `${headerOf(message.headers, 'Error-Code')} ${headerOf(message.headers, 'Error')}`.toLowerCase()
      if (error === undefined || text.includes(error.toLowerCase())) yield message
    }
  }
}

function shown({ seq: _seq, moves: _moves, reruns: _reruns, ...status }: CallRecord): CallStatus {
  return status
}

function emptyCall(subject: string): QueuedCall {
  return decodeCall({ subject, data: new Uint8Array(0), time: 0, header: () => undefined })
}

function noQueue(queue: string, known: string[]): CageError {
  return new CageError('NOT_FOUND', `there is no queue ${queue}${known.length > 0 ? ` (there are ${known.join(', ')})` : ''}`)
}
