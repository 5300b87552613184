/** MongoDB over TLS: a proxy that encrypts stands before the engine, which cannot. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect as dial } from 'node:net'
import { before, type TestContext, test } from 'node:test'
import { createServer, type TlsOptions } from 'node:tls'
import { mongoOptions } from '../../src/adapters/mongodb/options.ts'
import { open } from '../../src/adapters/mongodb/resource.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, suite } from '../../src/testing/owner.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { type MongoServer, startMongo } from '../support/mongodb.ts'

let engine: MongoServer
let right: CertificateFiles

before(async () => {
  ;[engine, right] = await Promise.all([startMongo(suite), certificates(suite, [{ type: 7, ip: '127.0.0.1' }])])
})

/** An encrypting door to the engine; its port. */
async function door(t: TestContext, files: CertificateFiles, more: TlsOptions = {}): Promise<number> {
  const options = { cert: readFileSync(files.cert), key: readFileSync(files.key), ...more }
  const server = createServer(options, (socket) => {
    const inner = dial(engine.port, '127.0.0.1')
    for (const [one, other] of [
      [socket, inner],
      [inner, socket],
    ] as const)
      one.on('error', () => {}).on('close', () => other.destroy())
    socket.pipe(inner).pipe(socket)
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  atEnd(t, () => void server.close())
  return (server.address() as { port: number }).port
}

async function ask(port: number, tls: object | boolean, limitMs = 5_000): Promise<unknown> {
  const options = mongoOptions.parse({ url: `mongodb://127.0.0.1:${port}/test?directConnection=true`, tls })
  const resource = await open(options, { cage: 'c', name: 'shop', log: recordingLog().log })
  const scope = { deadline: Date.now() + limitMs, signal: new AbortController().signal }
  const connection = await resource.connect(scope)
  try {
    return await connection.call('find', ['any'], scope)
  } finally {
    await connection.close()
  }
}

function untrusted(work: Promise<unknown>, fact: RegExp): Promise<void> {
  return assert.rejects(work, (error: CageError) => {
    assert.equal(error.code, 'UNAVAILABLE')
    assert.match(error.message, fact)
    return true
  })
}

test('mongodb: tls: a server is believed by its authority, and by its name', async (t) => {
  const port = await door(t, right)
  assert.deepEqual(await ask(port, { caFile: right.ca }), [])
  await untrusted(ask(port, true), /certificate is not trusted \((UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)\)/)
  assert.deepEqual(await ask(port, { verify: false }), [])
  const wrongName = await certificates(t, [{ type: 2, value: 'elsewhere.test' }])
  await untrusted(ask(await door(t, wrongName), { caFile: wrongName.ca }), /certificate is not trusted \(ERR_TLS_CERT_ALTNAME_INVALID\)/)
})

test('mongodb: tls: an expired certificate is not trusted, nor is a server that does not encrypt', async (t) => {
  const expired = await certificates(t, [{ type: 7, ip: '127.0.0.1' }], 'test', new Date(Date.now() - 3_600_000))
  await untrusted(ask(await door(t, expired), { caFile: expired.ca }), /certificate is not trusted \(CERT_HAS_EXPIRED\)/)
  await untrusted(ask(engine.port, { caFile: right.ca }, 500), /does not answer|the connection was lost/)
})

test('mongodb: tls: a server may want a certificate of ours', async (t) => {
  const port = await door(t, right, { requestCert: true, rejectUnauthorized: true, ca: readFileSync(right.ca) })
  assert.deepEqual(await ask(port, { caFile: right.ca, certFile: right.cert, keyFile: right.key }), [])
  await untrusted(ask(port, { caFile: right.ca }), /the connection was lost/)
  await untrusted(ask(port, { caFile: '/nowhere/ca.pem' }), /ENOENT/)
})
