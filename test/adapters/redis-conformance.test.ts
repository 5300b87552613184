/** Redis does what every resource does. */
import { before } from 'node:test'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

const NAME = 'conformance'
let server: RedisServer

before(async () => {
  server = await startRedis(suite)
})

/** Connections of ours, as redis-cli sees them. */
async function count(condition: RegExp): Promise<number> {
  return (await server.cli('client', 'list')).split('\n').filter((line) => line.includes(`name=${NAME} `) && condition.test(line)).length
}

const adapter = ADAPTERS.get('redis')
if (!adapter) throw new Error('there is no adapter redis')

resourceConforms({
  name: 'redis',
  adapter,
  options: () => ({ url: server.url, clientName: NAME }),
  quick: { method: 'echo', args: ['hello'], result: 'hello' },
  server: {
    slow: { method: 'blpop', args: ['nothing', 60] },
    running: () => count(/flags=\w*b/),
    sessions: () => count(/./),
    stop: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    refused: () => ({ url: server.url, clientName: NAME, user: 'nobody', password: 'wrong' }),
  },
})
