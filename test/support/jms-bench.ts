/** JMS interfaces and connections under test, without a bus: calls are answered by the test. */
import type { InterfaceCallOptions, InterfaceHost, Listener, ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import type { JmsMessage } from '../../src/adapters/jms/api.ts'
import { listen } from '../../src/adapters/jms/listener.ts'
import { jmsListenOptions, jmsOptions } from '../../src/adapters/jms/options.ts'
import { open } from '../../src/adapters/jms/resource.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'

export interface JmsCall {
  target: string
  body: string | Uint8Array
  message: JmsMessage
  options: InterfaceCallOptions
  /** Rejects when the interface cancels it. */
  cancelled: Promise<never>
}

export interface JmsInterface {
  readonly calls: JmsCall[]
  readonly said: Said[]
  start(options: object): Promise<Listener>
}

/** An interface whose calls do what `answer` does. */
export function jmsInterface(owner: Owner, name: string, answer: (call: JmsCall) => Promise<unknown>): JmsInterface {
  const { log, said } = recordingLog()
  const calls: JmsCall[] = []
  const cancels = new Map<object, () => void>()
  const host = {
    ...{ cage: 'shop', name, log, timeoutMs: 10_000, dataDir: '' },
    cancel: (owner: object) => cancels.get(owner)?.(),
    async call(target: string, [body, message]: [string | Uint8Array, JmsMessage], options: InterfaceCallOptions) {
      const cancelled = new Promise<never>((_, reject) => {
        if (options.owner) cancels.set(options.owner, () => reject(new CageError('CANCELLED', 'nobody wants it any more')))
      })
      cancelled.catch(() => {}) // most are not
      const call: JmsCall = { target, body, message, options, cancelled }
      calls.push(call)
      return await Promise.race([answer(call), cancelled])
    },
  } as unknown as InterfaceHost // it neither enqueues, remembers nor exposes anything
  return {
    calls,
    said,
    async start(options) {
      const listener = await listen(jmsListenOptions.parse({ handler: 'orders.take', ...options }), host)
      atEnd(owner, () => listener.stop())
      return listener
    },
  }
}

/** A connection of a resource. */
export async function jmsConnection(owner: Owner, options: object, connectMs: number = 10_000): Promise<ResourceConnection> {
  const resource = await open(jmsOptions.parse(options), { cage: 'shop', name: 'broker', log: recordingLog().log })
  const connection = await resource.connect(within(connectMs))
  atEnd(owner, () => connection.close())
  return connection
}

/** A scope that ends after so long. */
export function within(ms: number = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}
