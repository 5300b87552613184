/** Listing: sagas as engineers see them, those that go on and those that have ended. */
import type { Bus } from '../../bus/bus.ts'
import type { ErrorBody } from '../../errors.ts'
import { CageError } from '../../errors.ts'
import type { SagaEvent, SagaOutcome, SagaView } from './events.ts'
import { viewOf } from './events.ts'
import { keptRecord } from './journal.ts'
import { cageOf } from './orders.ts'
import { recordOf, type SagaRecord } from './record.ts'

export type SagaState = 'running' | 'sleeping' | 'waiting' | 'compensating' | 'incident' | SagaOutcome

/** A saga at a glance. */
export interface SagaInfo {
  id: string
  cage: string
  /** `module.method` */
  method: string
  version: string
  state: SagaState
  /** Where it stands: the step, the signal or the incident. */
  at: string | undefined
  /** Epoch ms. */
  begunAt: number
  changedAt: number
  error: ErrorBody | undefined
}

/** One line of a saga's timeline. */
export interface Moment {
  /** Epoch ms. */
  at: number
  what: string
  step: string | undefined
  note: string | undefined
}

export interface SagaDetails extends SagaInfo {
  timeline: Moment[]
  events: SagaEvent[]
}

/** How many journals are read at once. */
const BATCH = 32

/** The sagas that have not ended, of a cage or of all, oldest first. */
export async function openSagas(bus: Bus, cage?: string): Promise<SagaInfo[]> {
  const journals = await bus.journals.list('saga', cage)
  const found: SagaInfo[] = []
  for (let at = 0; at < journals.length; at += BATCH) {
    const batch = journals.slice(at, at + BATCH)
    const infos = batch.map(async (one) =>
      infoOf(one.cage, one.name, viewOf(await bus.journals.read<SagaEvent>(one.cage, 'saga', one.name))),
    )
    found.push(...(await Promise.all(infos)).filter((info) => info !== undefined))
  }
  return found.sort((a, b) => a.begunAt - b.begunAt)
}

/** Those that have ended since then, oldest first. */
export async function* endedSagas(bus: Bus, cage: string | undefined, since: number): AsyncGenerator<SagaInfo> {
  for await (const record of bus.journals.history({ cage, kind: 'saga', since })) yield endedInfo(record as SagaRecord) // only sagas are kept so
}

/** All that is known of a saga. Rejects with NOT_FOUND. */
export async function sagaDetails(bus: Bus, id: string): Promise<SagaDetails> {
  const cage = await cageOf(bus, id)
  const view = viewOf(await bus.journals.read<SagaEvent>(cage, 'saga', id))
  const info = infoOf(cage, id, view)
  if (info) return { ...info, timeline: timelineOf(view.events), events: view.events }
  const record = await keptRecord(bus, cage, id)
  if (!record) throw new CageError('NOT_FOUND', `saga ${id} has not begun a step`)
  return { ...endedInfo(record), timeline: timelineOf(record.events), events: record.events }
}

/** A saga at a glance; undefined if it has not begun. Pure. */
export function infoOf(cage: string, id: string, view: SagaView): SagaInfo | undefined {
  const record = recordOf(cage, id, view)
  if (record) return endedInfo(record)
  const { begun, incident, failure, operations, events } = view
  if (!begun) return undefined
  const last = operations.at(-1)
  const doing = last?.kind === 'sleep' ? 'sleeping' : last?.kind === 'wait' ? 'waiting' : 'running'
  const state = incident ? 'incident' : failure ? 'compensating' : last?.state === 'begun' ? doing : 'running'
  const place = incident ? operations[incident.n ?? -1]?.name : failure ? undefined : last?.name
  const method = `${begun.module}.${begun.method}`
  const times = { begunAt: events[0]?.at ?? 0, changedAt: events.at(-1)?.at ?? 0 }
  return { id, cage, method, version: begun.version, state, at: place, ...times, error: incident?.error ?? failure }
}

/** What happened when. Pure. */
export function timelineOf(events: readonly SagaEvent[]): Moment[] {
  const names: string[] = []
  return events.map((event): Moment => {
    if (event.type === 'intent') names[event.n] = event.step
    if (event.type === 'sleep') names[event.n] = 'sleep'
    if (event.type === 'wait') names[event.n] = event.signal
    const step = 'n' in event && event.n !== undefined ? names[event.n] : undefined
    return { at: event.at, what: WORDS[event.type], step, note: noteOf(event) }
  })
}

const WORDS: Readonly<Record<SagaEvent['type'], string>> = {
  begin: 'begun',
  intent: 'step',
  done: 'done',
  failed: 'failed',
  sleep: 'sleeps',
  wait: 'waits',
  signalled: 'signalled',
  'timed out': 'timed out',
  compensating: 'compensating',
  undone: 'undone',
  'undo failed': 'undo failed',
  incident: 'incident',
  resolution: 'resolution',
  end: 'ended',
}

function noteOf(event: SagaEvent): string | undefined {
  switch (event.type) {
    case 'begin':
      return `${event.module}.${event.method}, version ${event.version}, queue ${event.queue}`
    case 'sleep':
    case 'wait':
      return `until ${new Date(event.until).toISOString()}`
    case 'failed':
    case 'undo failed':
    case 'incident':
      return `${event.error.code}: ${event.error.message}`
    case 'compensating':
      return `${event.error.code}: ${event.error.message}${event.call === undefined ? '' : `, by call ${event.call}`}`
    case 'resolution':
      return `${event.action} by ${event.by}: ${event.reason}`
    case 'end':
      return event.outcome
    default:
      return undefined
  }
}

function endedInfo({ id, cage, module, method, version, outcome, begunAt, endedAt, error }: SagaRecord): SagaInfo {
  return { id, cage, method: `${module}.${method}`, version, state: outcome, at: undefined, begunAt, changedAt: endedAt, error }
}
