/**
 * Assembly: parts of long messages, until all are there. Most servers send the next part only when the one before is acknowledged, so a part cannot
 * wait for the others without an answer: it is put into the interface's durable memory, and acknowledged then.
 * D1. A part is acknowledged once it lies in that memory, which the copies of the cage share and which outlives them; the last one when the whole
 *     message was handled.
 * D2. One copy at a time handles a message: it has claimed it. The claim of one that has died ends by itself.
 * D3. What is not whole after `timeoutMs` is handed over as it is, with the numbers that are missing: it has been acknowledged, and is not thrown away.
 * D4. More than `max` messages or MOST_BYTES are not kept: their parts are refused for now, and the server keeps them.
 */
import type { InterfaceMemory } from '../adapter.ts'
import type { SmppReceived } from './api.ts'
import type { PartOf } from './parts.ts'

/** A message in parts: its octets, without headers, one septet in each if they are such. */
export interface Whole {
  readonly key: string
  /** Of the part that came first, without its text. */
  readonly envelope: SmppReceived
  readonly octets: Buffer
  readonly missing: number[]
}

/** kept: acknowledge it. busy: somebody handles the message. full: there is no room (D4). */
export type Added = 'kept' | 'busy' | 'full' | Whole

interface Kept {
  total: number
  firstAt: number
  /** D2. */
  claimedUntil: number
  envelope: SmppReceived
  parts: Record<number, Uint8Array>
}

type All = Record<string, Kept>

const KEY = 'parts'
/** The value has to fit into a message of the bus. */
const MOST_BYTES = 400_000

export interface AssemblyOptions {
  timeoutMs: number
  /** Messages. */
  max: number
  /** How long handling one may take, ms. */
  claimMs: number
}

export class Assembly {
  readonly #memory: InterfaceMemory
  readonly #options: AssemblyOptions

  constructor(memory: InterfaceMemory, options: AssemblyOptions) {
    this.#memory = memory
    this.#options = options
  }

  /** D1. Rejects if the memory cannot be had: the part is not kept, or nobody knows. The one who gets the whole message has claimed it. */
  async add(part: PartOf, envelope: SmppReceived, octets: Buffer, now: number): Promise<Added> {
    const key = [part.key, envelope.from.address, envelope.to.address, envelope.dataCoding].join(' ')
    let added: Added = 'full'
    await this.#change((all) => {
      const known = all[key]
      if (known && known.claimedUntil > now) {
        added = 'busy'
        return all
      }
      const bytes = Object.values(all).reduce((sum, { parts }) => sum + sizeOf(parts), octets.length)
      if ((!known && Object.keys(all).length >= this.#options.max) || bytes > MOST_BYTES) {
        added = 'full'
        return all
      }
      const parts = { ...known?.parts, [part.number]: new Uint8Array(octets) }
      const whole = Object.keys(parts).length === part.total
      const kept: Kept = {
        total: part.total,
        firstAt: now,
        envelope,
        ...known,
        claimedUntil: whole ? now + this.#options.claimMs : 0,
        parts,
      }
      added = whole ? wholeOf(key, kept) : 'kept'
      return { ...all, [key]: kept }
    })
    return added
  }

  /** It was handled. */
  async done({ key }: Whole): Promise<void> {
    await this.#change(({ [key]: _handled, ...others }) => others)
  }

  /** It was not: the next one who gets a part, or the time, has another try. */
  async release({ key }: Whole): Promise<void> {
    await this.#change((all) => (all[key] ? { ...all, [key]: { ...all[key], claimedUntil: 0 } } : all))
  }

  /** D3. Claims those whose time has come. */
  async expired(now: number): Promise<Whole[]> {
    const due = ({ firstAt, claimedUntil }: Kept): boolean => firstAt + this.#options.timeoutMs <= now && claimedUntil <= now
    const known = ((await this.#memory.get(KEY)) ?? {}) as All // nobody else writes it
    if (!Object.values(known).some(due)) return []
    let claimed: Whole[] = []
    await this.#change((all) => {
      claimed = []
      const changed: All = {}
      for (const [key, kept] of Object.entries(all)) {
        if (due(kept)) claimed.push(wholeOf(key, kept))
        changed[key] = due(kept) ? { ...kept, claimedUntil: now + this.#options.claimMs } : kept
      }
      return changed
    })
    return claimed
  }

  async #change(change: (all: All) => All): Promise<void> {
    await this.#memory.update(KEY, (current) => {
      const changed = change((current ?? {}) as All) // nobody else writes it
      return Object.keys(changed).length === 0 ? undefined : changed
    })
  }
}

function wholeOf(key: string, { total, envelope, parts }: Kept): Whole {
  const numbers = Array.from({ length: total }, (_, n) => n + 1)
  const missing = numbers.filter((number) => parts[number] === undefined)
  return { key, envelope, octets: Buffer.concat(numbers.map((number) => parts[number] ?? new Uint8Array())), missing }
}

function sizeOf(parts: Kept['parts']): number {
  return Object.values(parts).reduce((sum, { length }) => sum + length, 0)
}
