/**
 * A queue or topic as an interface: each message is a call, `orders.take(body, message)`, text or bytes, and all that came with it.
 * L1. A message is acknowledged after its call has succeeded: it is given at least once, and again if broker or node die meanwhile.
 * L2. Where a message says `reply-to`, the call's result is sent there, with the message's correlation id, else its message id.
 * L3. A lost connection ends the interface: the cage starts it again.
 * L4. Messages that were left come again after a pause, which doubles while nothing is acknowledged: the subscription is renewed for it.
 *
 *   orders: { kind: 'jms', url: env('BROKER_URL'), destination: '/queue/orders', handler: 'orders.take', concurrency: 8 }
 *   export async function take(ctx: Context, body: string, { headers }: JmsMessage): Promise<void> { ... }
 *
 * STOMP 1.2: stomp.github.io/stomp-specification-1.2.html
 */
import { pause } from '../../pause.ts'
import type { InterfaceHost, Listener, Scope } from '../adapter.ts'
import { Consumer } from './consumer.ts'
import type { JmsListenOptions } from './options.ts'
import { Replies } from './replies.ts'
import { type Broker, Session } from './session.ts'

const CONNECT_MS = 5_000
const FIRST_DELAY_MS = 200
const LONGEST_DELAY_MS = 10_000

export async function listen(options: JmsListenOptions, host: InterfaceHost): Promise<Listener> {
  const stopping = new AbortController()
  const { signal } = stopping
  const broker: Broker = { options, name: host.name, clientId: clientIdOf(options, host) }
  const replies = new Replies({ options, name: host.name })
  let current = await consume()
  const done = keep()
  done.catch(() => {}) // the cage hears of it, if it still listens
  return {
    address: `${options.tls ? 'stomp+ssl' : 'stomp'}://${options.host}:${options.port}${options.destination}`,
    done,
    async stop() {
      stopping.abort()
      current.stop()
      await done.catch(() => {}) // told by `done`
    },
  }

  /** L3, L4. */
  async function keep(): Promise<void> {
    let failures = 0
    try {
      for (;;) {
        await current.done
        if (signal.aborted) return
        failures = current.acknowledged > 0 ? 1 : failures + 1
        const delayMs = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** (failures - 1)) * (0.5 + Math.random() / 2)
        host.log.debug({ delayMs }, 'messages that were left are asked for again after a pause')
        await pause(delayMs, signal)
        if (signal.aborted) return
        current = await consume()
        if (signal.aborted) current.stop() // it was told to meanwhile
      }
    } catch (error) {
      if (!signal.aborted) throw error
    } finally {
      await replies.close()
    }
  }

  async function consume(): Promise<Consumer> {
    const scope: Scope = { deadline: Date.now() + CONNECT_MS, signal }
    const session = await Session.open(broker, scope)
    const consumer = new Consumer(session, replies, options, host)
    try {
      await consumer.subscribe(scope)
      return consumer
    } catch (error) {
      consumer.stop()
      await consumer.done.catch(() => {}) // it never began
      throw error
    }
  }
}

/** Of a durable subscription: the broker knows it by client id and name, and gives it to one connection at a time. */
function clientIdOf({ clientId, durable }: JmsListenOptions, { cage, name }: InterfaceHost): string | undefined {
  return clientId ?? (durable === undefined ? undefined : `${cage}.${name}`)
}
