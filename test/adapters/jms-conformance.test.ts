/** JMS does what every interface and every resource does; against ActiveMQ, with a plain STOMP client as the world. */
import { before } from 'node:test'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { interfaceConforms, type Seen, TARGET, type World } from '../../src/testing/interface.ts'
import { type Owner, suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type ActiveMq, startActiveMq } from '../support/activemq.ts'
import { type PlainStomp, plainStomp, type StompFrame } from '../support/stomp.ts'
import { type TcpProxy, tcpProxy } from '../support/tcp-proxy.ts'

const adapter = ADAPTERS.get('jms')
if (!adapter) throw new Error('there is no adapter jms')

const PATIENT_MS = 20_000
/** What is asked of an interface that stops is not taken: nothing but time tells. */
const IMPATIENT_MS = 400

let broker: ActiveMq
let outside: PlainStomp
let door: TcpProxy
let worlds = 0

before(async () => {
  broker = await startActiveMq(suite)
  outside = await plainStomp(suite, broker.port)
  door = await tcpProxy(suite, broker.port)
})

const codes = ['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'FORBIDDEN', 'NOT_FOUND', 'CONFLICT', 'PAYLOAD_TOO_LARGE', 'CANCELLED', 'INTERNAL']
const failures = Object.fromEntries([...codes, 'OVERLOADED', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'OWN'].map((code) => [code, code]))

interfaceConforms({ name: 'jms', adapter, failures, world, leavesMessages: true })

async function world(owner: Owner): Promise<World> {
  const entrance = await tcpProxy(owner, broker.port)
  const destination = `/queue/conformance.${++worlds}`
  const answers = `/temp-queue/answers.${worlds}`
  await outside.confirm('SUBSCRIBE', { id: answers, destination: answers, ack: 'auto' })
  let asked = 0
  const leave = (text: string, limitMs: number): ((frame: StompFrame) => boolean) => {
    const id = `${worlds}.${++asked}`
    const headers = { destination, 'reply-to': answers, 'correlation-id': id, expires: Date.now() + limitMs }
    outside.send('SEND', headers, text)
    return ({ headers }) => headers['correlation-id'] === id
  }
  return {
    options: { ...where(entrance), destination, handler: TARGET, errorReplies: true },
    async ask(text): Promise<Seen> {
      const limitMs = text === 'late' ? IMPATIENT_MS : PATIENT_MS
      let over = false
      let looks = 0 // an answer may still be on its way when its interface has gone
      const isDeserted = (): boolean => {
        looks = entrance.connections === 0 ? looks + 1 : 0
        return looks >= 50
      }
      const unreachable = eventually('nobody listens', () => over || isDeserted(), limitMs + 1_000).then(() => {
        throw new Error('nobody listens')
      })
      const answer = outside.message(leave(text, limitMs), limitMs).finally(() => (over = true))
      const { headers, body } = await Promise.race([answer, unreachable])
      const failure = headers.menagerie_error
      return failure === undefined ? { answer: body } : { failure, text: JSON.stringify(headers) + body }
    },
    askAndLeave: async () => () => {}, // it leaves a message
    block: async () => {
      await entrance.shut()
      return entrance.open
    },
    kill: async () => entrance.cut(),
  }
}

resourceConforms({
  name: 'jms',
  adapter,
  options: () => where(door),
  quick: { method: 'send', args: ['/queue/quick', 'hello'], result: undefined },
  server: {
    slow: { method: 'request', args: ['/queue/slow', 'hello?'] },
    running,
    sessions: async () => door.connections,
    stop: () => door.shut(),
    start: () => door.open(),
    freeze: () => door.hold(),
    thaw: () => door.release(),
    refused: () => ({ ...where(door), password: 'wrong' }),
  },
})

function where({ port }: TcpProxy): object {
  return { host: '127.0.0.1', port, user: 'app', password: 'secret' }
}

/** Requests that wait for somebody, as a browser of the queue sees them. */
async function running(): Promise<number> {
  const id = `browser.${++worlds}`
  outside.send('SUBSCRIBE', { id, destination: '/queue/slow', ack: 'auto', browser: 'true' })
  for (let found = 0; ; ) {
    const { headers } = await outside.message(({ headers }) => headers.subscription === id)
    if (headers.browser === 'end') return found
    if (Number(headers.expires) > Date.now() + 50) found++ // one that ends with its call may do so a moment later
  }
}
