/** MySQL does what every resource does; the server is MariaDB. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { mysqlOptions } from '../../src/adapters/mysql/options.ts'
import { open } from '../../src/adapters/mysql/resource.ts'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { suite } from '../../src/testing/owner.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { type MariadbServer, startMariadb } from '../support/mariadb.ts'

let server: MariadbServer

before(async () => {
  server = await startMariadb(suite)
})

/** Sessions of ours that match, as MariaDB's own client sees them. */
async function count(condition: string): Promise<number> {
  return Number(await server.sql(`select count(*) from information_schema.processlist where user = 'shop' and ${condition}`))
}

const adapter = ADAPTERS.get('mysql')
if (!adapter) throw new Error('there is no adapter mysql')

resourceConforms({
  name: 'mysql',
  adapter,
  options: () => ({ url: server.url }),
  quick: { method: 'execute', args: ['select ? as n', [1]], result: [{ n: 1n }] },
  server: {
    slow: { method: 'execute', args: ['select sleep(60)'] },
    running: () => count(`info like '%sleep%'`),
    sessions: () => count('true'),
    stop: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    refused: () => ({ url: server.url, user: 'nobody', password: 'wrong' }),
  },
})

test('mysql: a server that does not encrypt is told as that', async () => {
  const resource = await open(mysqlOptions.parse({ url: server.url, tls: true }), { cage: 'c', name: 'shop', log: recordingLog().log })
  const connecting = resource.connect({ deadline: Date.now() + 20_000, signal: new AbortController().signal })
  await assert.rejects(connecting, (error: CageError) => error.code === 'UNAVAILABLE' && /does not encrypt/.test(error.message))
})
