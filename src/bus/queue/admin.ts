/** Admin: what an engineer sees of queues and dead letters, and does with them. `menagerie queue|dead` and `ctx.queues` are its faces. */
import { CageError } from '../../errors.ts'
import { didYouMean } from '../../names.ts'
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
import { callOf } from './dead.ts'
import type { Leadership } from './leadership.ts'
import { ANY_SEQ, type CallRecord, type Ledger } from './ledger.ts'
import { countOf, Letters } from './letters.ts'
import { decodeCall, encodeCall, idOf, messageId, placeOf, STREAMS, streamOf, subjectOf } from './message.ts'
import { isShared, type Streams } from './streams.ts'

const WRITE_MS = 10_000

/** Messages of a subject that one call is looked for among. */
const LOOKED_THROUGH = 2_000

export class Admin implements QueueAdmin {
  readonly #js: JetStream
  readonly #streams: Streams
  readonly #ledger: Ledger
  readonly #control: Control
  readonly #leadership: Leadership
  readonly #letters: Letters

  constructor(js: JetStream, streams: Streams, ledger: Ledger, control: Control, leadership: Leadership) {
    this.#js = js
    this.#streams = streams
    this.#ledger = ledger
    this.#control = control
    this.#leadership = leadership
    this.#letters = new Letters(js, streams, ledger)
  }

  async check(): Promise<void> {
    try {
      await this.#js.api('INFO')
    } catch (error) {
      if (!isCode(error, 'UNAVAILABLE') || !this.#js.connected) throw error
      throw new CageError('UNAVAILABLE', 'the bus has no JetStream, which queues need', { cause: error })
    }
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
    for (const { cage, asking, running, lanes } of await this.#consumers(queue)) {
      const share = shareOf(cage)
      share.asking += asking
      share.running += running
      share.lanes = lanes ?? share.lanes
    }
    for (const share of shares.values()) share.waiting = Math.max(0, share.waiting - share.running)
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
    const waiting = await purged(streamOf(queue), `queue.${queue}.${rest}`)
    const delayed = await purged(STREAMS.delayed, `delayed.${queue}.${rest}`)
    const cages = new Set((await this.#streams.consumers(queue)).map(({ config }) => config.filter_subject?.split('.')[2] ?? ''))
    for (const each of cages) this.#js.post(cancelSubject(each), `purge ${queue}`) // a leading copy has taken calls ahead
    return waiting + delayed
  }

  async status(id: string): Promise<CallStatus | undefined> {
    const record = await this.#find(id)
    return record && shown(record)
  }

  async cancel(id: string): Promise<boolean> {
    const status = await this.#find(id)
    if (!status || status.state === 'done' || status.state === 'dead' || status.state === 'cancelled') return false
    if (status.state !== 'running') {
      await this.#ledger.put({ ...status, state: 'cancelled', changedAt: Date.now() })
      await this.#deleteMessage(status).catch(() => {}) // it is dropped when its turn comes
    }
    const [cage = ''] = status.target.split('.')
    this.#js.post(cancelSubject(cage), `call ${id}`)
    return true
  }

  async hasten(id: string): Promise<boolean> {
    const record = await this.#ledger.get(id)
    if (record?.state !== 'delayed' || record.seq === ANY_SEQ) return false
    const message = await this.#js.get(STREAMS.delayed, { seq: record.seq })
    if (message && idIn(message, true) === id) {
      const call = callOf(message)
      const next = { ...call, id, moves: call.moves + 1, dueAt: undefined, enqueuedAt: call.enqueuedAt ?? message.time }
      const options = { msgId: messageId(id, next.moves), deadline: Date.now() + WRITE_MS } // the mover's own: one of the two is stored
      await this.#streams.queue(next.queue)
      await this.#js.publish(subjectOf('queue', next), encodeCall(next), options)
      await this.#js.delete(STREAMS.delayed, record.seq)
      return true
    }
    const inPlace = await this.#js.get(streamOf(record.queue), { seq: record.seq })
    if (!inPlace || idIn(inPlace, false) !== id) return false
    const [cage = ''] = record.target.split('.')
    this.#js.post(cancelSubject(cage), `hasten ${id}`)
    return true
  }

  async isPresent(id: string): Promise<boolean> {
    const record = (await this.#ledger.get(id)) ?? (await this.#find(id))
    if (!record || record.state === 'done' || record.state === 'dead' || record.state === 'cancelled') return false
    const { queue, target, seq } = record
    for (const stream of seq === ANY_SEQ ? [] : [streamOf(queue), STREAMS.delayed]) {
      const message = await this.#js.get(stream, { seq })
      if (message && idIn(message, stream === STREAMS.delayed) === id) return true
    }
    const subject = `queue.${queue}.${target}` // it may have been moved there, and the record not told
    return (await this.#waits(id, queue, subject)) || (await this.#waits(id, queue, `${subject}.high`))
  }

  dead(filter: DeadFilter = {}): AsyncGenerator<DeadLetter> {
    return this.#letters.list(filter)
  }

  countDead(filter: Pick<DeadFilter, 'queue' | 'target'> = {}): Promise<number> {
    return this.#letters.count(filter)
  }

  deadLetter(seq: number): Promise<DeadLetter> {
    return this.#letters.get(seq)
  }

  retry(seq: number, args?: unknown[]): Promise<string> {
    return this.#letters.retry(seq, args)
  }

  drop(seq: number): Promise<boolean> {
    return this.#letters.drop(seq)
  }

  async #summary(queue: string): Promise<QueueSummary> {
    const [info, consumers, delayed, dead] = await Promise.all([
      this.#js.streamInfo(streamOf(queue)),
      this.#consumers(queue),
      countOf(this.#js, STREAMS.delayed, `delayed.${queue}.>`),
      this.#letters.count({ queue }),
    ])
    const running = consumers.reduce((sum, consumer) => sum + consumer.running, 0)
    const { messages = 0, bytes = 0, first_ts } = info?.state ?? {}
    const oldestAt = messages > 0 && first_ts ? Date.parse(String(first_ts)) : undefined
    return { queue, mode: this.#control.of(queue).mode, waiting: Math.max(0, messages - running), running, delayed, dead, bytes, oldestAt }
  }

  /** Who runs a queue's calls. What the one consumer of a sequenced queue holds is running only in part: its leader knows. */
  async #consumers(queue: string): Promise<Consuming[]> {
    return Promise.all(
      (await this.#streams.consumers(queue)).map(async ({ name, config, num_ack_pending, num_waiting }) => {
        const cage = config.filter_subject?.split('.')[2] ?? ''
        if (isShared(name, cage)) return { cage, asking: num_waiting, running: num_ack_pending, lanes: undefined }
        const said = (await this.#leadership.ask(name)) as { lanes: LaneInfo[]; running: number } | undefined // as sequenced.ts answers
        return { cage, asking: num_waiting, running: said?.running ?? 0, lanes: said?.lanes }
      }),
    )
  }

  /** A call that is delayed is in one of two streams, and a sequence says nothing without its stream: only what is the call's own is deleted. */
  async #deleteMessage({ id, queue, seq }: CallRecord): Promise<void> {
    if (seq === ANY_SEQ) return
    for (const stream of [streamOf(queue), STREAMS.delayed]) {
      const message = await this.#js.get(stream, { seq })
      if (message && idIn(message, stream === STREAMS.delayed) === id) await this.#js.delete(stream, seq)
    }
  }

  async #find(id: string): Promise<CallRecord | undefined> {
    const record = await this.#ledger.get(id)
    if (record) return this.#current(record)
    const place = placeOf(id)
    if (!place) return undefined
    const message = await this.#js.get(place.delayed ? STREAMS.delayed : streamOf(place.queue), { seq: place.seq })
    return message && this.#fromMessage(id, message, place.delayed)
  }

  /** Whether a call is among those of a subject. More than `LOOKED_THROUGH` are not looked through: then it may be. */
  async #waits(id: string, queue: string, subject: string): Promise<boolean> {
    let seq = 1
    for (let n = 0; n < LOOKED_THROUGH; n++) {
      const message = await this.#js.get(streamOf(queue), { seq, next_by_subj: subject })
      if (!message) return false
      if (idIn(message, false) === id) return true
      seq = message.seq + 1
    }
    return true
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
    const gaveItOut = consumers.some(({ name, delivered }) => isShared(name, cage) && delivered.stream_seq >= seq)
    return gaveItOut ? 'running' : 'waiting'
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
}

interface Consuming {
  cage: string
  asking: number
  running: number
  lanes: LaneInfo[] | undefined
}

/** The id of the call that a message is. */
function idIn({ subject, data, time, headers, seq }: StoredMessage, delayed: boolean): string {
  const { id, queue } = decodeCall({ subject, data, time, header: (name) => headerOf(headers, name) })
  return id ?? idOf(queue, seq, delayed)
}

function shown({ seq: _seq, moves: _moves, reruns: _reruns, ...status }: CallRecord): CallStatus {
  return status
}

function noQueue(queue: string, known: string[]): CageError {
  const there = didYouMean(queue, known) || (known.length > 0 ? ` (there are ${known.join(', ')})` : '')
  return new CageError('NOT_FOUND', `there is no queue ${queue}${there}`)
}
