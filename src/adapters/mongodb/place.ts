/**
 * Place: which copy of the cage reads the stream, and how far it has come; shared by all copies.
 * A1. One copy holds it, and says so with a beat. Who has seen no beat for LEASE_MS, by its own clock, takes it.
 * A2. Who has lost it writes no more: each write is refused if the holder is another one by then.
 */
import { CageError, toCageError } from '../../errors.ts'
import { pause } from '../../pause.ts'
import type { InterfaceMemory } from '../adapter.ts'

const KEY = 'place'
const BEAT_MS = 1_000
const LEASE_MS = 5_000

interface PlaceRecord {
  holder: string
  beat: number
  /** Where to go on; undefined: nowhere yet. */
  token: unknown
}

/** Ours, until `lost` fires or it is released. */
export interface Held {
  readonly token: unknown
  readonly lost: AbortSignal
  save(token: unknown): Promise<void>
  release(): Promise<void>
}

export class Place {
  readonly #memory: InterfaceMemory
  readonly #copy: string

  /** `copy`: unique among the copies of the cage. */
  constructor(memory: InterfaceMemory, copy: string) {
    this.#memory = memory
    this.#copy = copy
  }

  /** Waits for its turn; undefined if the signal fires before. */
  async take(signal: AbortSignal): Promise<Held | undefined> {
    let seen = await this.#read()
    let seenAt = performance.now()
    while (!signal.aborted) {
      if (seen.holder === '' || performance.now() - seenAt >= LEASE_MS) {
        const taken = await this.#claim(seen)
        if (taken) return this.#hold(taken)
      }
      await pause(BEAT_MS, signal)
      const now = await this.#read()
      if (now.holder !== seen.holder || now.beat !== seen.beat) seenAt = performance.now()
      seen = now
    }
    return undefined
  }

  async #read(): Promise<PlaceRecord> {
    return ((await this.#memory.get(KEY)) as PlaceRecord | undefined) ?? NOBODY // only places write there
  }

  async #claim(seen: PlaceRecord): Promise<PlaceRecord | undefined> {
    try {
      return await this.#change((current) => {
        if (current.holder !== seen.holder || current.beat !== seen.beat) throw new CageError('CONFLICT', 'another copy was faster')
        return { ...current, holder: this.#copy, beat: current.beat + 1 }
      })
    } catch (error) {
      if (toCageError(error).code === 'CONFLICT') return undefined
      throw error
    }
  }

  #hold({ token }: PlaceRecord): Held {
    const lost = new AbortController()
    let beatenAt = performance.now()
    const write = async (change: (record: PlaceRecord) => PlaceRecord): Promise<void> => {
      await this.#change((current) => {
        if (current.holder !== this.#copy) throw new CageError('CONFLICT', 'another copy reads the stream') // A2
        return { ...change(current), beat: current.beat + 1 }
      })
      beatenAt = performance.now()
    }
    const beat = async (): Promise<void> => {
      try {
        await write((record) => record)
      } catch (error) {
        if (toCageError(error).code === 'CONFLICT' || performance.now() - beatenAt > LEASE_MS) lost.abort()
      }
    }
    const beating = setInterval(() => void beat(), BEAT_MS)
    return {
      token,
      lost: lost.signal,
      save: (place) => write((record) => ({ ...record, token: place })),
      async release() {
        clearInterval(beating)
        await write((record) => ({ ...record, holder: '' })).catch(() => {}) // the others wait for a beat then
      },
    }
  }

  async #change(change: (current: PlaceRecord) => PlaceRecord): Promise<PlaceRecord> {
    return (await this.#memory.update(KEY, (current) => change((current as PlaceRecord | undefined) ?? NOBODY))) as PlaceRecord // what `change` has made
  }
}

const NOBODY: PlaceRecord = { holder: '', beat: 0, token: undefined }
