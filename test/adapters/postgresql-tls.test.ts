/** TLS of PostgreSQL: on for other machines, and verified unless that is switched off. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import { postgresOptions } from '../../src/adapters/postgresql/options.ts'
import { open } from '../../src/adapters/postgresql/resource.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'

const LOOPBACK = [
  { type: 7, ip: '127.0.0.1' },
  { type: 2, value: 'localhost' },
]
let right: PostgresServer
let expired: PostgresServer
let elsewhere: PostgresServer
let plain: PostgresServer
let files: Record<'right' | 'expired' | 'elsewhere', CertificateFiles>

before(async () => {
  files = {
    right: await certificates(suite, LOOPBACK),
    expired: await certificates(suite, LOOPBACK, 'test', new Date(Date.now() - 60_000)),
    elsewhere: await certificates(suite, [{ type: 2, value: 'elsewhere.example' }]),
  }
  const access = ['hostssl all all 127.0.0.1/32 trust', 'hostnossl all all 127.0.0.1/32 reject']
  ;[right, expired, elsewhere, plain] = await Promise.all([
    startPostgres(suite, { tls: files.right, access }),
    startPostgres(suite, { tls: files.expired, access }),
    startPostgres(suite, { tls: files.elsewhere, access }),
    startPostgres(suite),
  ])
})

function scope(ms = 20_000): Scope {
  return { deadline: Date.now() + ms, signal: new AbortController().signal }
}

async function connect(owner: Owner, { url }: PostgresServer, more: object): Promise<ResourceConnection> {
  const resource = await open(postgresOptions.parse({ url, ...more }), { cage: 'c', name: 'ledger', log: recordingLog().log })
  const connection = await resource.connect(scope())
  atEnd(owner, () => connection.close())
  return connection
}

const isUnavailable =
  (words: RegExp) =>
  (error: CageError): boolean =>
    error.code === 'UNAVAILABLE' && words.test(error.message)

test('postgresql: an encrypted server is verified, and what is cancelled is cancelled over TLS too', async (t) => {
  const connection = await connect(t, right, { tls: { caFile: files.right.ca } })
  const encrypted = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()'
  assert.deepEqual(await connection.call('execute', [encrypted], scope()), [{ ssl: true }])
  await assert.rejects(
    connection.call('execute', ['select pg_sleep(60)'], scope(200)),
    (error: CageError) => error.code === 'DEADLINE_EXCEEDED',
  )
  assert.deepEqual(
    await connection.call('execute', [encrypted], scope()),
    [{ ssl: true }],
    'the session lives: it was cancelled, not dropped',
  )
})

test('postgresql: a certificate of an unknown authority, an expired one, and another name’s are refused', async (t) => {
  await assert.rejects(connect(t, right, { tls: true }), isUnavailable(/certificate is not trusted/))
  await assert.rejects(connect(t, expired, { tls: { caFile: files.expired.ca } }), isUnavailable(/CERT_HAS_EXPIRED/))
  await assert.rejects(connect(t, elsewhere, { tls: { caFile: files.elsewhere.ca } }), isUnavailable(/ERR_TLS_CERT_ALTNAME_INVALID/))
  await assert.rejects(connect(t, right, { tls: { caFile: files.elsewhere.ca } }), isUnavailable(/certificate is not trusted/))
})

test('postgresql: without verification any certificate will do', async (t) => {
  const connection = await connect(t, expired, { tls: { verify: false } })
  assert.deepEqual(await connection.call('execute', ['select 1 as n'], scope()), [{ n: 1 }])
})

test('postgresql: a server that does not encrypt, or that wants it, is told as that', async (t) => {
  await assert.rejects(connect(t, plain, { tls: true }), isUnavailable(/does not encrypt/))
  await assert.rejects(connect(t, right, {}), (error: CageError) => error.code === 'UNAUTHENTICATED')
  await assert.rejects(connect(t, right, { tls: { caFile: '/nowhere/ca.pem' } }), isUnavailable(/nowhere/))
})

test('postgresql: TLS is on for other machines and off for this one, unless url or options say otherwise', () => {
  const tlsOf = (given: object): unknown => postgresOptions.parse({ user: 'u', ...given }).tls
  assert.deepEqual(tlsOf({ host: 'db.example' }), { verify: true })
  assert.equal(tlsOf({ host: '127.0.0.1' }), false)
  assert.equal(tlsOf({ host: '/var/run/postgresql' }), false)
  assert.equal(tlsOf({ url: 'postgres://db.example/x?sslmode=disable' }), false)
  assert.deepEqual(tlsOf({ url: 'postgres://localhost/x?sslmode=require' }), { verify: true })
  assert.equal(tlsOf({ url: 'postgres://db.example/x', tls: false }), false)
})
