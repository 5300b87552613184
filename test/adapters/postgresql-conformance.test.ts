/** PostgreSQL does what every resource does. */
import { before } from 'node:test'
import pg from 'pg'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

const NAME = 'conformance'
let server: PostgresServer

before(async () => {
  server = await startPostgres(suite, { access: ['host all postgres 127.0.0.1/32 trust', 'host all all 127.0.0.1/32 scram-sha-256'] })
})

/** Sessions of ours that match, as another client of the server sees them. */
async function count(condition: string): Promise<number> {
  const client = new pg.Client({ connectionString: server.url })
  client.on('error', () => {})
  await client.connect()
  const { rows } = await client.query(`select count(*)::int as n from pg_stat_activity where application_name = $1 and ${condition}`, [
    NAME,
  ])
  await client.end()
  return rows[0].n
}

const adapter = ADAPTERS.get('postgresql')
if (!adapter) throw new Error('there is no adapter postgresql')

resourceConforms({
  name: 'postgresql',
  adapter,
  options: () => ({ url: server.url, applicationName: NAME }),
  quick: { method: 'execute', args: ['select $1::int as n', [1]], result: [{ n: 1 }] },
  server: {
    slow: { method: 'execute', args: ['select pg_sleep(60)'] },
    running: () => count("state = 'active'"),
    sessions: () => count('true'),
    stop: () => server.stop(),
    start: () => server.restart(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    refused: () => ({ url: server.url, applicationName: NAME, user: 'nobody', password: 'wrong' }),
  },
})
