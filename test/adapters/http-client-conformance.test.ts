/** HTTP as a resource does what every resource does. */
import { before } from 'node:test'
import type { HttpStreamedAnswer } from '../../src/adapters/http/client-api.ts'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { startWeb, type WebServer } from '../support/web.ts'

let server: WebServer

before(async () => {
  server = await startWeb(suite)
})

const adapter = ADAPTERS.get('http')
if (!adapter) throw new Error('there is no adapter http')

async function lengthOf({ body }: HttpStreamedAnswer): Promise<number> {
  let length = 0
  for await (const piece of body) length += piece.length
  return length
}

resourceConforms({
  name: 'http client',
  adapter,
  options: () => ({ url: server.url }),
  quick: { method: 'stream', args: [{ path: '/pieces?n=2' }, lengthOf], result: 2_000 },
  server: {
    slow: { method: 'get', args: ['/slow'] },
    running: async () => (await server.stats()).running,
    sessions: async () => (await server.stats()).sessions,
    stop: () => server.kill(),
    start: () => server.start(),
  },
})
