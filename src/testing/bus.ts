/** Connections to a test's bus. */
import type { Bus } from '../bus/bus.ts'
import { openBus } from '../bus/nats.ts'
import { recordingLog } from './log.ts'
import { atEnd, type Owner } from './owner.ts'

/** A connection of our own to the bus, closed with its owner. */
export async function testBus(owner: Owner, url: string, options: object = {}): Promise<Bus> {
  const bus = await openBus('test', { servers: [url], ...options }, recordingLog().log, new AbortController().signal)
  atEnd(owner, () => bus.close())
  return bus
}
