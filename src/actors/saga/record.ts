/** Record: what is kept of a saga that has ended: all its events, and what later deliveries of its call are answered with. Pure. */
import type { ErrorBody } from '../../errors.ts'
import type { SagaEvent, SagaOutcome, SagaView } from './events.ts'

export interface SagaRecord {
  id: string
  cage: string
  module: string
  method: string
  version: string
  outcome: SagaOutcome
  result: unknown
  error: ErrorBody | undefined
  /** Epoch ms. */
  begunAt: number
  endedAt: number
  events: SagaEvent[]
}

/** The record of a saga, if it has ended. */
export function recordOf(cage: string, id: string, { begun, ended, events }: SagaView): SagaRecord | undefined {
  if (!begun || !ended) return undefined
  const { module, method, version } = begun
  const times = { begunAt: events[0]?.at ?? 0, endedAt: events.at(-1)?.at ?? 0 }
  return { id, cage, module, method, version, ...ended, ...times, events }
}

/** The same with what makes it large left out. */
export function withoutValues(record: SagaRecord): SagaRecord {
  const events = record.events.map((event): SagaEvent => {
    if (event.type === 'begin') return { ...event, args: [] }
    if (event.type === 'done') return { ...event, result: undefined }
    return event.type === 'signalled' ? { ...event, value: undefined } : event
  })
  return { ...record, events }
}
