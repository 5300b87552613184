/**
 * Keeper: keeps the calls alive that workers hold, from a thread that runs no user code: a method may keep its worker busy for as long as
 * the stall watch lets it.
 * K1. Whatever is in a table gets a sign of life (`+WPI`) every second.
 * K2. When a worker dies its calls are handed back at once. Those of the method that is to blame are noted as crashed first, for good only if
 *     there was one alone; the others are noted as free of it, if that is certain.
 */
import type { Log } from '../../log.ts'
import { ackPlaceOf, type JetStream, NS } from '../jetstream.ts'
import type { Culprit } from './contract.ts'
import { type HeldMessage, readHeld } from './held.ts'
import { type CallRecord, Ledger } from './ledger.ts'

const EVERY_MS = 1_000

/** The server needs a moment to see that the dead worker's questions are nobody's: it would answer them once more. */
const PARTING_MS = 250

export class Keeper {
  readonly #js: JetStream
  readonly #ledger: Ledger
  readonly #log: Log
  readonly #tables: ReadonlySet<SharedArrayBuffer>
  readonly #timer: NodeJS.Timeout

  /** `tables` may change: read at each beat (K1). */
  constructor(js: JetStream, tables: ReadonlySet<SharedArrayBuffer>, log: Log) {
    this.#js = js
    this.#ledger = new Ledger(js)
    this.#tables = tables
    this.#log = log
    this.#timer = setInterval(() => this.#beat(), EVERY_MS).unref()
  }

  /** The table's worker has ended (K2). */
  async handBack(table: SharedArrayBuffer, culprit: Culprit): Promise<void> {
    const held = readHeld(table)
    const blamed = held.filter((message) => message.begun && isBlamed(message, culprit))
    const handed = held.map(async (message) => {
      try {
        if (blamed.includes(message)) await this.#blame(message, blamed.length === 1)
        else if (culprit.certain || !message.begun) await this.#absolve(message)
      } catch (error) {
        this.#log.error({ err: error, call: message.id }, 'the crash of a queued call cannot be noted')
      }
      this.#js.post(message.ackSubject, `-NAK {"delay":${PARTING_MS * NS}}`)
    })
    await Promise.all(handed)
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #beat(): void {
    for (const table of this.#tables) for (const { ackSubject } of readHeld(table)) this.#js.post(ackSubject, '+WPI')
  }

  /** One of several is a suspect, and is to run alone next time; as one of several again, it counts as run again (verdict.ts, V2). */
  async #blame({ id: encoded, ackSubject, target }: HeldMessage, alone: boolean): Promise<void> {
    const id = decodeURIComponent(encoded)
    const record = (await this.#ledger.getHeld(id)) ?? firstRecord(id, ackSubject, target)
    const crashes = alone ? record.crashes + 1 : Math.max(record.crashes, 1)
    const state = crashes > record.crashes ? 'waiting' : record.state
    await this.#ledger.put({ ...record, state, crashes, changedAt: Date.now() })
    this.#log.warn({ call: id, target, crashes, alone }, 'queued call has ended with its worker')
  }

  async #absolve({ id: encoded }: HeldMessage): Promise<void> {
    const record = await this.#ledger.getHeld(decodeURIComponent(encoded))
    if (record?.state === 'running') await this.#ledger.put({ ...record, state: 'waiting', changedAt: Date.now() })
  }
}

function isBlamed({ target }: HeldMessage, culprit: Culprit): boolean {
  const [, module = '', name = ''] = target.split('.')
  return culprit.module === module && (culprit.method === undefined || culprit.method === name)
}

/** Of a call that had no record: an ordinary one, at its first delivery. The executor fills in the rest when it runs it again. */
function firstRecord(id: string, ackSubject: string, target: string): CallRecord {
  const now = Date.now()
  const { seq } = ackPlaceOf(ackSubject)
  const queue = id.split(':')[0] ?? ''
  return { id, queue, target, state: 'running', seq, moves: 0, attempts: 0, crashes: 0, reruns: 0, enqueuedAt: now, changedAt: now }
}
