/**
 * Survey: asks all copies of all cages at once, and answers for one. MessagePack at `$CAGES.<what>.<cage>`, `_` for all cages.
 * V1. How many will answer nobody knows: it is waited until nobody has for QUIET_MS; for KNOWN_MS after that, only until as many have.
 * V2. A tail costs nothing where nobody follows: it is a lease, renewed while somebody does; steps go in batches, and what is too much is counted.
 */
import type { NatsConnection } from 'nats'
import { CageError } from '../../errors.ts'
import type { Log } from '../../log.ts'
import { isName } from '../../names.ts'
import { holds } from '../../words.ts'
import type { Subscription } from '../bus.ts'
import { gather } from '../gather.ts'
import { ALL_CAGES, type SurveyQuestion, surveySubject } from '../subjects.ts'
import { decodeBody, encodeResult } from '../wire.ts'
import type { CopyStatus, LogChange, Step, StepFilter, Survey, Surveyed } from './contract.ts'

const WITHIN_MS = 1_000
/** A busy worker may be late by so much. */
const QUIET_MS = 300

/** A new copy is in the survey after so long at the latest. */
const KNOWN_MS = 10_000

const LEASE_MS = 12_000
/** Followers of one copy. */
const MOST_TAILS = 100
const RENEW_MS = 5_000
const BATCH_MS = 100
/** Steps of one batch. */
const BATCH = 500

export class BusSurvey implements Survey {
  readonly #nc: NatsConnection
  readonly #log: Log
  /** How many answered (V1), by what was asked, and when nobody was left to. */
  readonly #known = new Map<string, { count: number; at: number }>()

  constructor(nc: NatsConnection, log: Log) {
    this.#nc = nc
    this.#log = log
  }

  async status(options: { cage?: string | undefined; withinMs?: number | undefined } = {}): Promise<CopyStatus[]> {
    const { cage, withinMs = WITHIN_MS } = options
    const copies = (await this.#ask('status', cage, {}, withinMs)).filter(isStatus)
    const place = ({ cage: name, node, only = '' }: CopyStatus): string => `${name} ${node} ${only}`
    return copies.sort((a, b) => place(a).localeCompare(place(b)) || a.startedAt - b.startedAt)
  }

  async find(text: string, withinMs: number = WITHIN_MS): Promise<Step[]> {
    const found = await this.#ask('find', undefined, { text }, withinMs)
    return found.flatMap(stepsOf).sort((a, b) => a.at - b.at)
  }

  async setLogLevel(change: LogChange): Promise<number> {
    const taken = await this.#ask('log', change.cage, change, WITHIN_MS)
    return taken.filter((one) => one === true).length
  }

  async tail(filter: StepFilter, listener: (step: Step, dropped: number) => void): Promise<() => void> {
    if (filter.cage !== undefined && !isName(filter.cage)) throw noCage(filter.cage)
    const inbox = `_INBOX.${crypto.randomUUID()}`
    const subscription = this.#nc.subscribe(inbox, {
      callback: (error, { data }) => {
        const batch = (error ? undefined : decodeBody(data)) as Partial<Batch> | null | undefined // checked next
        let dropped = typeof batch?.dropped === 'number' ? batch.dropped : 0
        for (const step of stepsOf(batch?.steps)) {
          listener(step, dropped)
          dropped = 0
        }
      },
    })
    const renew = (leaseMs: number): void => {
      if (!this.#nc.isClosed()) this.#nc.publish(surveySubject('tail', filter.cage), encode({ filter, leaseMs }), { reply: inbox })
    }
    renew(LEASE_MS)
    const timer = setInterval(() => renew(LEASE_MS), RENEW_MS)
    await this.#nc.flush()
    return () => {
      clearInterval(timer)
      renew(0)
      subscription.unsubscribe()
    }
  }

  async serve(cage: string, copy: Surveyed): Promise<Subscription> {
    const tails = new Tails(this.#nc, copy)
    const on = (what: SurveyQuestion, answer: (asked: never, reply: string) => unknown) =>
      this.#nc.subscribe(surveySubject(what, '*'), {
        callback: (error, { subject, data, reply }) => {
          const asked = subject.slice(subject.lastIndexOf('.') + 1)
          if (error || !reply || (asked !== ALL_CAGES && asked !== cage)) return
          void this.#answer(reply, () => answer(decodeBody(data) as never, reply))
        },
      })
    const subscriptions = [
      on('status', () => copy.status()),
      on('find', ({ text }: { text: string }) => copy.find(String(text))),
      on('log', (change: LogChange) => copy.setLogLevel(change)),
      on('tail', ({ filter, leaseMs }: { filter: StepFilter; leaseMs: number }, reply) => tails.lease(reply, filter, leaseMs)),
    ]
    await this.#nc.flush()
    return {
      drain: async () => {
        tails.close()
        await Promise.all(subscriptions.map((subscription) => subscription.drain()))
      },
    }
  }

  async #answer(reply: string, answer: () => unknown): Promise<void> {
    try {
      const given = await answer()
      if (given === undefined) return
      const data = fitting(given, this.#nc)
      if (!this.#nc.isClosed()) this.#nc.publish(reply, data)
    } catch (error) {
      this.#log.warn({ err: error }, 'a survey could not be answered')
    }
  }

  /** V1. */
  async #ask(what: SurveyQuestion, cage: string | undefined, question: object, withinMs: number): Promise<unknown[]> {
    if (cage !== undefined && !isName(cage)) throw noCage(cage)
    const subject = surveySubject(what, cage)
    const known = this.#known.get(subject)
    const expected = known && Date.now() - known.at < KNOWN_MS ? known.count : undefined
    const { answers, whole } = await gather(this.#nc, subject, encode(question), { withinMs, quietMs: QUIET_MS, expected })
    if (whole && answers.length > 0) this.#known.set(subject, { count: answers.length, at: Date.now() })
    return answers.map(({ data }) => decodeBody(data))
  }
}

/** Who follows a copy's steps. */
class Tails {
  readonly #nc: NatsConnection
  readonly #copy: Surveyed
  readonly #tails = new Map<string, Tail>()
  #stop: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(nc: NatsConnection, copy: Surveyed) {
    this.#nc = nc
    this.#copy = copy
  }

  lease(inbox: string, filter: StepFilter, leaseMs: number): undefined {
    const known = this.#tails.get(inbox)
    if (!(leaseMs > 0)) this.#tails.delete(inbox)
    else if (known || this.#tails.size < MOST_TAILS)
      this.#tails.set(inbox, { steps: [], dropped: 0, ...known, filter, until: Date.now() + Math.min(leaseMs, LEASE_MS) })
    if (this.#tails.size === 0) return
    this.#stop ??= this.#copy.onStep((step) => this.#take(step))
    this.#timer ??= setInterval(() => this.#flush(), BATCH_MS)
  }

  close(): void {
    this.#tails.clear()
    this.#flush()
  }

  #take(step: Step): void {
    for (const tail of this.#tails.values()) {
      if (!passes(step, tail.filter)) continue
      if (tail.steps.length < BATCH) tail.steps.push(step)
      else tail.dropped++
    }
  }

  #flush(): void {
    const now = Date.now()
    for (const [inbox, tail] of this.#tails) {
      const { steps, dropped, until } = tail
      if (until < now) this.#tails.delete(inbox)
      if (steps.length === 0 || this.#nc.isClosed()) continue
      const sent = this.#send(inbox, steps, dropped)
      tail.steps = []
      tail.dropped = sent
    }
    if (this.#tails.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#stop?.()
    this.#stop = undefined
  }

  /** As many as the bus carries; returns how many it did not. */
  #send(inbox: string, steps: readonly Step[], dropped: number): number {
    for (let n = steps.length; n > 0; n = Math.floor(n / 2)) {
      const lost = steps.length - n
      const data = encode({ steps: steps.slice(lost), dropped: dropped + lost } satisfies Batch)
      if (data.length > limitOf(this.#nc)) continue
      this.#nc.publish(inbox, data)
      return 0
    }
    return dropped + steps.length
  }
}

interface Batch {
  steps: Step[]
  dropped: number
}

interface Tail {
  filter: StepFilter
  until: number
  steps: Step[]
  dropped: number
}

function passes(step: Step, { cage, module, method, errors, minMs = 0, text }: StepFilter): boolean {
  const [stepModule, stepMethod] = step.what.split(' ')[0]?.split('.') ?? []
  return (
    (cage ?? step.cage) === step.cage &&
    (module === undefined || module === stepModule) &&
    (method === undefined || method === stepMethod) &&
    (!errors || step.code !== undefined) &&
    step.ms >= minMs &&
    (text === undefined || holds(step, text))
  )
}

function encode(value: unknown): Uint8Array {
  return encodeResult(value, 'msgpack')
}

function limitOf(nc: NatsConnection): number {
  return nc.info?.max_payload ?? Number.POSITIVE_INFINITY
}

/** Of a list that the bus does not carry the newest part that it does; PAYLOAD_TOO_LARGE. */
function fitting(given: unknown, nc: NatsConnection): Uint8Array {
  const limit = limitOf(nc)
  for (let part = given; ; ) {
    const data = encode(part)
    if (data.length <= limit) return data
    if (!Array.isArray(part) || part.length < 2)
      throw new CageError('PAYLOAD_TOO_LARGE', `the answer takes ${data.length} bytes, the bus carries ${limit}`)
    part = part.slice(Math.ceil(part.length / 2))
  }
}

/** What answers may be anybody. */
function isStatus(given: unknown): given is CopyStatus {
  const { cage, node, startedAt, modules } = (given ?? {}) as Partial<CopyStatus>
  return typeof cage === 'string' && typeof node === 'string' && typeof startedAt === 'number' && Array.isArray(modules)
}

function stepsOf(given: unknown): Step[] {
  return Array.isArray(given) ? given.filter(isStep) : []
}

function isStep(given: unknown): given is Step {
  const { at, ms, kind, cage, what, request, words } = (given ?? {}) as Partial<Step>
  const texts = [kind, cage, what, request].every((one) => typeof one === 'string')
  return texts && typeof at === 'number' && typeof ms === 'number' && Array.isArray(words)
}

function noCage(cage: string): CageError {
  return new CageError('INVALID_ARGUMENT', `${JSON.stringify(cage)} is no cage`)
}
