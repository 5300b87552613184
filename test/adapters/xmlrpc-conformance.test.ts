/** The XML-RPC interface does what every interface does. */
import assert from 'node:assert/strict'
import diagnostics from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type ClientRequest, request as plainRequest, type Server } from 'node:http'
import { Agent, request as secureRequest } from 'node:https'
import { createServer, type Socket } from 'node:net'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { Codec } from '../../src/adapters/xmlrpc/messages.ts'
import { interfaceConforms, type Protocol, type Seen, TARGET, type World } from '../../src/testing/interface.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'

const adapter = ADAPTERS.get('xmlrpc')
if (!adapter) throw new Error('there is no adapter xmlrpc')

const codec = new Codec({ extensions: true, maxDepth: 5 })
const failures = {
  INVALID_ARGUMENT: '-32602 INVALID_ARGUMENT',
  UNAUTHENTICATED: '-32001 UNAUTHENTICATED',
  FORBIDDEN: '-32003 FORBIDDEN',
  NOT_FOUND: '-32004 NOT_FOUND',
  CONFLICT: '-32009 CONFLICT',
  PAYLOAD_TOO_LARGE: '-32013 PAYLOAD_TOO_LARGE',
  CANCELLED: '-32099 CANCELLED',
  INTERNAL: '-32603 INTERNAL',
  OVERLOADED: '-32029 OVERLOADED',
  UNAVAILABLE: '-32053 UNAVAILABLE',
  DEADLINE_EXCEEDED: '-32054 DEADLINE_EXCEEDED',
  OWN: '-32500 OWN',
}

interfaceConforms({ name: 'xmlrpc', adapter, failures, world: (owner) => world(owner, false) } satisfies Protocol)
interfaceConforms({ name: 'xmlrpc over tls', adapter, failures, world: (owner) => world(owner, true) } satisfies Protocol)

async function world(owner: Owner, secure: boolean): Promise<World> {
  const port = await freePort()
  const options = { port, methods: { 'Target.take': TARGET }, ...(secure ? { tls: { selfSigned: true } } : {}) }
  const agent = secure ? new Agent({ keepAlive: true, rejectUnauthorized: false }) : undefined
  if (agent) atEnd(owner, () => agent.destroy())
  const send = (text: string): ClientRequest => {
    const headers = { 'content-type': 'text/xml' }
    const to = { port, host: '127.0.0.1', path: '/RPC2', method: 'POST', headers }
    const request = secure ? secureRequest({ ...to, agent }) : plainRequest(to)
    request.end(codec.encodeCall({ name: 'Target.take', params: [text] }))
    return request
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
  const [response] = await once(request, 'response')
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  assert.deepEqual([response.statusCode, response.headers['content-type']], [200, 'text/xml; charset=utf-8'])
  const answer = codec.answer(Buffer.concat(chunks), response.headers['content-type'])
  if ('result' in answer) return { answer: String(answer.result) }
  const { faultCode, faultString } = answer.fault
  return { failure: `${faultCode} ${faultString.split(':')[0]}`, text: faultString }
}
