/** JMS over TLS: who is trusted. The broker behind it is a plain one: docs/adapters/jms.md. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { before, type TestContext, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { CageError } from '../../src/errors.ts'
import { suite } from '../../src/testing/owner.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { jmsConnection } from '../support/jms-bench.ts'
import { CONNECTED, type FakeBroker, fakeBroker } from '../support/stomp.ts'

let good: CertificateFiles
let old: CertificateFiles

before(async () => {
  const names = [{ type: 7, ip: '127.0.0.1' }]
  ;[good, old] = await Promise.all([certificates(suite, names), certificates(suite, names, 'test', new Date(Date.now() - 86_400_000))])
})

async function secure(t: TestContext, { cert, key, ca }: CertificateFiles, more: object = {}): Promise<FakeBroker> {
  return await fakeBroker(t, { cert: readFileSync(cert), key: readFileSync(key), ca: readFileSync(ca), ...more })
}

async function connects(t: TestContext, broker: FakeBroker, options: object): Promise<TLSSocket> {
  const connecting = jmsConnection(t, { host: '127.0.0.1', port: broker.port, heartbeatMs: 0, ...options })
  const { say, socket } = await broker.client()
  say(CONNECTED)
  await connecting
  return socket as TLSSocket
}

const distrusted = (error: unknown): boolean => {
  assert.ok(error instanceof CageError && error.code === 'UNAVAILABLE')
  assert.match(error.message, /certificate is not trusted/)
  return true
}

test('jms: a broker whose certificate an authority of ours has signed is trusted', async (t) => {
  const broker = await secure(t, good)
  const socket = await connects(t, broker, { url: `stomp+ssl://127.0.0.1:${broker.port}`, tls: { caFile: good.ca } })
  assert.equal(socket.encrypted, true)
})

test('jms: an unknown authority, another name and an old certificate are not trusted, unless it is asked for', async (t) => {
  for (const [files, host, caFile] of [
    [good, '127.0.0.1', old.ca],
    [good, '127.0.0.1', undefined],
    [good, 'localhost', good.ca],
    [old, '127.0.0.1', old.ca],
  ] as const) {
    const broker = await secure(t, files)
    await assert.rejects(jmsConnection(t, { host, port: broker.port, tls: { caFile } }), distrusted)
    await connects(t, broker, { tls: { verify: false } })
  }
})

test('jms: a certificate of ours is shown to a broker that demands one', async (t) => {
  const broker = await secure(t, good, { requestCert: true, rejectUnauthorized: true })
  const socket = await connects(t, broker, { tls: { caFile: good.ca, certFile: good.cert, keyFile: good.key } })
  assert.equal(socket.authorized, true)
})

test('jms: a broker that does not encrypt, and a file that is not there, are told', async (t) => {
  const plain = await fakeBroker(t)
  const connecting = assert.rejects(jmsConnection(t, { host: '127.0.0.1', port: plain.port, tls: true }), /does not encrypt/)
  ;(await plain.client()).say(CONNECTED)
  await connecting
  await assert.rejects(
    jmsConnection(t, { host: '127.0.0.1', port: plain.port, tls: { caFile: '/nowhere/ca.pem' } }),
    (error: CageError) => error.code === 'UNAVAILABLE' && /nowhere/.test(error.message),
  )
})
