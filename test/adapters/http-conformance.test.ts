import diagnostics from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type ClientRequest, request as plainRequest, type Server } from 'node:http'
import { Agent, request as secureRequest } from 'node:https'
import { createServer, type Socket } from 'node:net'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { interfaceConforms, type Protocol, type Seen, TARGET, type World } from '../../src/testing/interface.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'

const adapter = ADAPTERS.get('http')
if (!adapter) throw new Error('there is no adapter http')

const failures = {
  INVALID_ARGUMENT: '400 INVALID_ARGUMENT',
  UNAUTHENTICATED: '401 UNAUTHENTICATED',
  FORBIDDEN: '403 FORBIDDEN',
  NOT_FOUND: '404 NOT_FOUND',
  CONFLICT: '409 CONFLICT',
  PAYLOAD_TOO_LARGE: '413 PAYLOAD_TOO_LARGE',
  CANCELLED: '499 CANCELLED',
  INTERNAL: '500 INTERNAL',
  OVERLOADED: '503 OVERLOADED',
  UNAVAILABLE: '503 UNAVAILABLE',
  DEADLINE_EXCEEDED: '504 DEADLINE_EXCEEDED',
  OWN: '500 OWN',
}

interfaceConforms({ name: 'http', adapter, failures, world: (owner) => world(owner, false) } satisfies Protocol)
interfaceConforms({ name: 'https', adapter, failures, world: (owner) => world(owner, true) } satisfies Protocol)

async function world(owner: Owner, secure: boolean): Promise<World> {
  const port = await freePort()
  const options = { port, routes: { 'GET /take/:text': TARGET }, ...(secure ? { tls: { selfSigned: true } } : {}) }
  const agent = secure ? new Agent({ keepAlive: true, rejectUnauthorized: false }) : undefined
  if (agent) atEnd(owner, () => agent.destroy())
  const send = (text: string): ClientRequest => {
    const path = `/take/${encodeURIComponent(text)}`
    return secure ? secureRequest({ port, host: '127.0.0.1', path, agent }) : plainRequest({ port, host: '127.0.0.1', path })
  }
  const servers = new Set<Server>()
  const onRequest = (message: unknown): void => void servers.add((message as { server: Server }).server)
  diagnostics.subscribe('http.server.request.start', onRequest)
  atEnd(owner, () => void diagnostics.unsubscribe('http.server.request.start', onRequest))
  return {
    options,
    ask: (text) => seen(send(text)),
    askAndLeave: async (text) => {
      const request = send(text)
      request.on('error', () => {}) // it is cut off on purpose
      request.end()
      const [socket] = (await once(request, 'socket')) as [Socket]
      return () => void socket.destroy()
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
      await seen(send('so that the server is known'))
      for (const server of servers) server.close()
    },
  }
}

async function seen(request: ClientRequest): Promise<Seen> {
  request.end()
  const [response] = await once(request, 'response')
  let text = ''
  for await (const chunk of response) text += chunk
  if (response.statusCode === 200) return { answer: text }
  return { failure: `${response.statusCode} ${JSON.parse(text).code}`, text }
}
