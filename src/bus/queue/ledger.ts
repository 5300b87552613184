/**
 * Ledger: what is known of a call by its id: where it stands, how often it failed, what came of it. One message per id in the stream CALLS.
 * G1. A record is created once, whoever is first; from then on only who holds the call writes it.
 * G2. A call that was given no id has a record from its first failure or redelivery on: the ordinary call costs no write.
 */
import { CageError } from '../../errors.ts'
import { isCode, type JetStream } from '../jetstream.ts'
import { decodeResult, encodeResult } from '../wire.ts'
import type { CallStatus } from './contract.ts'
import { STREAMS, tokenOf } from './message.ts'

/** What the ledger has of a call. */
export interface CallRecord extends CallStatus {
  /** Of the message that stands for the call; ANY_SEQ before it is known. */
  seq: number
  moves: number
  /** Runs after a redelivery that nobody is to blame for. */
  reruns: number
}

/** The first message with the record's `moves` stands for the call. */
export const ANY_SEQ = 0

/** A result that takes more is not kept. */
const MAX_RESULT_BYTES = 65_536

/** How long the ledger tries, ms: what a held call needs of it must not be lost to a restart of the server. */
const PATIENCE_MS = 30_000

export class Ledger {
  readonly #js: JetStream

  constructor(js: JetStream) {
    this.#js = js
  }

  async get(id: string): Promise<CallRecord | undefined> {
    return this.#find(id)
  }

  /** The same for who holds the call: waits for a bus that is away. */
  async getHeld(id: string): Promise<CallRecord | undefined> {
    return this.#find(id, Date.now() + PATIENCE_MS)
  }

  /** Writes the first record of an id; resolves with the one that is there already, if so (G1). */
  async create(record: CallRecord, deadline?: number): Promise<CallRecord | undefined> {
    try {
      await this.#write(record, { expectedLast: 0, deadline })
      return undefined
    } catch (error) {
      if (!isCode(error, 'CONFLICT')) throw error
      const there = await this.get(record.id)
      if (there) return there
      throw new CageError('UNAVAILABLE', `the record of call ${record.id} is there and cannot be read`, { cause: error })
    }
  }

  /** Writes the record as it is now; waits for a bus that is away. */
  async put(record: CallRecord): Promise<void> {
    await this.#write(record, { patient: true })
  }

  async #find(id: string, deadline?: number): Promise<CallRecord | undefined> {
    const message = await this.#js.get(STREAMS.calls, { last_by_subj: `call.${tokenOf(id)}` }, deadline, deadline !== undefined)
    if (message === undefined || message.data.length === 0) return undefined
    return decodeResult(message.data) as CallRecord // only the ledger writes there
  }

  async #write(record: CallRecord, { expectedLast, patient, deadline = Date.now() + PATIENCE_MS }: WriteOptions): Promise<void> {
    await this.#js.publish(`call.${tokenOf(record.id)}`, encode(record), { expectedLast, patient, deadline })
  }
}

interface WriteOptions {
  expectedLast?: number
  patient?: boolean
  deadline?: number | undefined
}

function encode(record: CallRecord): Uint8Array {
  if (record.result === undefined) return encodeResult(record, 'envelope')
  try {
    const data = encodeResult(record, 'envelope')
    if (data.length <= MAX_RESULT_BYTES) return data
  } catch {
    // it holds what no message can carry: as good as too large
  }
  const { result: _, ...rest } = record
  return encodeResult({ ...rest, resultOmitted: true }, 'envelope')
}
