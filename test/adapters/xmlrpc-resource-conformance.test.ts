/** The XML-RPC resource does what every resource does. */
import { before } from 'node:test'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { type PythonServer, startPython } from '../support/xmlrpc.ts'

let server: PythonServer

before(async () => {
  server = await startPython(suite, { http11: true, user: 'shop:right' })
})

const adapter = ADAPTERS.get('xmlrpc')
if (!adapter) throw new Error('there is no adapter xmlrpc')

resourceConforms({
  name: 'xmlrpc',
  adapter,
  options: () => ({ url: server.url, user: 'shop', password: 'right' }),
  quick: { method: 'call', args: ['echo', [1, 'two']], result: [1, 'two'] },
  server: {
    slow: { method: 'call', args: ['slow', 60] },
    running: async () => (await server.counts()).running,
    sessions: async () => (await server.counts()).sessions,
    stop: () => server.stop(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    refused: () => ({ url: server.url, user: 'shop', password: 'wrong' }),
  },
})
