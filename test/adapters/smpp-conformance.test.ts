/** SMPP does what every resource and every interface does. */
import diagnostics from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { beforeEach } from 'node:test'
import type { Adapter } from '../../src/adapters/adapter.ts'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { statusName } from '../../src/adapters/smpp/errors.ts'
import { interfaceConforms, type Seen, TARGET, type World } from '../../src/testing/interface.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { type ForeignPdu, type ForeignSession, foreign, type Smsc, startSmsc } from '../support/smsc.ts'

const adapter = ADAPTERS.get('smpp')
if (!adapter) throw new Error('there is no adapter smpp')

let smsc: Smsc
beforeEach(async () => {
  smsc ??= await startSmsc(suite)
  await smsc.start()
})

const options = (): object => ({ url: `smpp://shop:secret@127.0.0.1:${smsc.port}`, responseTimeoutMs: 2_000 })

resourceConforms({
  name: 'smpp',
  adapter,
  options,
  quick: {
    method: 'query',
    args: ['id1'],
    result: { messageId: 'id1', state: 'DELIVERED', finalDate: new Date('2026-11-24T05:00:00Z'), errorCode: 0 },
  },
  server: {
    slow: { method: 'submit', args: [{ to: { address: 'slow', ton: 0, npi: 0 }, text: 'hello' }] },
    unstoppable: true,
    running: async () => smsc.slow.length,
    sessions: async () => smsc.sessions.size,
    stop: () => smsc.stop(),
    start: () => smsc.start(),
    freeze: () => smsc.freeze(),
    thaw: () => smsc.thaw(),
    refused: () => ({ ...options(), password: 'wrong' }),
  },
})

const failures = {
  INVALID_ARGUMENT: 'ESME_RSUBMITFAIL',
  UNAUTHENTICATED: 'ESME_RSUBMITFAIL',
  FORBIDDEN: 'ESME_RSUBMITFAIL',
  NOT_FOUND: 'ESME_RINVDSTADR',
  CONFLICT: 'ESME_RSUBMITFAIL',
  PAYLOAD_TOO_LARGE: 'ESME_RINVMSGLEN',
  CANCELLED: 'ESME_RSYSERR',
  INTERNAL: 'ESME_RSYSERR',
  OVERLOADED: 'ESME_RTHROTTLED',
  UNAVAILABLE: 'ESME_RSYSERR',
  DEADLINE_EXCEEDED: 'ESME_RSYSERR',
  OWN: 'ESME_RSYSERR',
}

/** The suite knows methods that take a text: of what was submitted they get no more here. */
const ofTexts: Adapter = {
  ...adapter,
  async listen(given, host) {
    if (!adapter.listen) throw new Error('it is no interface')
    const textOf = (message: unknown): string => (message as { text: string }).text
    return await adapter.listen(given, { ...host, call: (target, [message], how) => host.call(target, [textOf(message)], how) })
  },
}

interfaceConforms({ name: 'smpp', adapter: ofTexts, failures, world })

/** The interface under test is a server; what it is asked is submitted by the package `smpp`. */
async function world(owner: Owner): Promise<World> {
  const port = await freePort()
  const servers = new Set<Server>()
  const onSocket = (message: unknown): void => {
    const { server } = (message as { socket: { server: Server } }).socket
    if ((server.address() as { port: number } | null)?.port === port) servers.add(server)
  }
  diagnostics.subscribe('net.server.socket', onSocket)
  atEnd(owner, () => void diagnostics.unsubscribe('net.server.socket', onSocket))
  const ask = async (text: string): Promise<Seen> => {
    const session = await bound(port)
    try {
      return seen(await submit(session, text))
    } finally {
      session.destroy()
    }
  }
  return {
    options: { mode: 'smsc', port, accounts: { esme: 'secret' }, submit: TARGET },
    ask,
    askAndLeave: async (text) => {
      const session = await bound(port)
      submit(session, text).catch(() => {}) // it is cut off on purpose
      return () => session.destroy()
    },
    block: async () => {
      const other = createServer().listen(port, '127.0.0.1')
      await once(other, 'listening')
      return async () => {
        other.close()
        await once(other, 'close')
      }
    },
    kill: async () => {
      await ask('so that the server is known')
      for (const server of servers) server.close()
    },
  }
}

async function bound(port: number): Promise<ForeignSession> {
  const session = foreign.connect({ host: '127.0.0.1', port })
  await new Promise<void>((resolve, reject) => {
    session.on('error', reject)
    session.on('close', () => reject(new Error('cut off')))
    session.on('connect', () =>
      session.bind_transceiver({ system_id: 'esme', password: 'secret', interface_version: 0x34 }, (answer) =>
        answer.command_status === 0 ? resolve() : reject(new Error(statusName(answer.command_status))),
      ),
    )
  })
  return session
}

async function submit(session: ForeignSession, text: string): Promise<ForeignPdu> {
  return await new Promise((resolve, reject) => {
    session.on('close', () => reject(new Error('cut off')))
    session.submit_sm({ source_addr: '1000', destination_addr: '4912345', data_coding: 0, short_message: text }, resolve)
  })
}

function seen({ command_status, message_id }: ForeignPdu): Seen {
  return command_status === 0 ? { answer: String(message_id) } : { failure: statusName(command_status), text: '' }
}
