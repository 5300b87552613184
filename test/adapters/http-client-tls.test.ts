/** HTTPS as a resource: the server is verified, and we have a certificate where it demands one. The server is Python's. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Scope } from '../../src/adapters/adapter.ts'
import { open } from '../../src/adapters/http/client.ts'
import type { HttpAnswer } from '../../src/adapters/http/client-api.ts'
import { httpClientOptions } from '../../src/adapters/http/client-options.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { suite } from '../../src/testing/owner.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { startWeb, type WebServer } from '../support/web.ts'

const LOOPBACK = [
  { type: 7, ip: '127.0.0.1' },
  { type: 2, value: 'localhost' },
]
let files: Record<'right' | 'expired' | 'elsewhere', CertificateFiles>
let servers: Record<'right' | 'expired' | 'elsewhere' | 'demanding', WebServer>

before(async () => {
  const [right, expired, elsewhere] = await Promise.all([
    certificates(suite, LOOPBACK),
    certificates(suite, LOOPBACK, 'test', new Date(Date.now() - 60_000)),
    certificates(suite, [{ type: 2, value: 'elsewhere.example' }]),
  ])
  files = { right, expired, elsewhere }
  const [a, b, c, d] = await Promise.all([
    startWeb(suite, right),
    startWeb(suite, expired),
    startWeb(suite, elsewhere),
    startWeb(suite, { ...right, demand: right.ca }),
  ])
  servers = { right: a, expired: b, elsewhere: c, demanding: d }
})

async function statusOf({ url }: { url: string }, tls: object): Promise<number> {
  const scope: Scope = { deadline: Date.now() + 20_000, signal: new AbortController().signal }
  const resource = await open(httpClientOptions.parse({ url, tls, maxRetries: 0 }), { cage: 'c', name: 'api', log: recordingLog().log })
  const connection = await resource.connect(scope)
  try {
    return ((await connection.call('get', ['/echo'], scope)) as HttpAnswer).status
  } finally {
    await connection.close()
  }
}

const isUnavailable =
  (words: RegExp) =>
  (error: CageError): boolean =>
    error.code === 'UNAVAILABLE' && words.test(error.message)

test('https client: a server of an authority that is trusted is served, by address and by name', async () => {
  assert.equal(await statusOf(servers.right, { caFile: files.right.ca }), 200)
  assert.equal(await statusOf({ url: servers.right.url.replace('127.0.0.1', 'localhost') }, { caFile: files.right.ca }), 200)
  assert.equal(await statusOf(servers.elsewhere, { caFile: files.elsewhere.ca, serverName: 'elsewhere.example' }), 200)
})

test('https client: a certificate of an unknown authority, an expired one, and another name’s are refused when we connect', async () => {
  await assert.rejects(statusOf(servers.right, {}), isUnavailable(/certificate is not trusted/))
  await assert.rejects(statusOf(servers.right, { caFile: files.elsewhere.ca }), isUnavailable(/certificate is not trusted/))
  await assert.rejects(statusOf(servers.expired, { caFile: files.expired.ca }), isUnavailable(/CERT_HAS_EXPIRED/))
  await assert.rejects(statusOf(servers.elsewhere, { caFile: files.elsewhere.ca }), isUnavailable(/ERR_TLS_CERT_ALTNAME_INVALID/))
  await assert.rejects(statusOf(servers.right, { caFile: '/nowhere/ca.pem' }), isUnavailable(/nowhere/))
  await assert.rejects(statusOf({ url: servers.right.url.replace('https', 'http') }, {}), isUnavailable(/./))
  assert.equal(await statusOf(servers.expired, { verify: false }), 200)
})

test('https client: a server that demands a certificate gets ours, and refuses who has none or another', async () => {
  const { ca, cert, key } = files.right
  assert.equal(await statusOf(servers.demanding, { caFile: ca, certFile: cert, keyFile: key }), 200)
  await assert.rejects(statusOf(servers.demanding, { caFile: ca }), isUnavailable(/./))
  const { cert: strange, key: strangeKey } = files.elsewhere
  await assert.rejects(statusOf(servers.demanding, { caFile: ca, certFile: strange, keyFile: strangeKey }), isUnavailable(/./))
})
