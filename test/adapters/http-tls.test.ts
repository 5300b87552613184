/** HTTPS: certificates from files, of clients, and made by the interface itself; seen by curl and openssl. */
import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { interfaceHost } from '../../src/actors/interface.ts'
import { Trail } from '../../src/actors/trail.ts'
import type { Listener } from '../../src/adapters/adapter.ts'
import { readCredentials } from '../../src/adapters/http/certificate.ts'
import { httpOptions } from '../../src/adapters/http/options.ts'
import { listen } from '../../src/adapters/http/server.ts'
import { testBus } from '../../src/testing/bus.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { startNats } from '../../src/testing/nats.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { within } from '../../src/testing/wait.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { curl, open, run, untilClosed } from '../support/http.ts'

const LOCALHOST = [
  { type: 2, value: 'localhost' },
  { type: 7, ip: '127.0.0.1' },
]
const DAY_MS = 86_400_000

interface Secure {
  listener: Listener
  address: string
  port: number
  said: Said[]
}

/** An interface whose handler answers with the request that it gets, and a bus beneath. */
async function start(t: TestContext, tls: object, options: object = {}): Promise<Secure> {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  await bus.serve('t', 'echo', { handle: (call, settle) => settle({ ok: true, result: { body: call.args[0] } }), cancel: () => {} })
  const { log, said } = recordingLog()
  const host = interfaceHost({
    bus,
    cage: 't',
    name: 'x',
    log,
    dataDir: folder(t),
    timeoutMs: () => 5_000,
    newRequestId: () => 'r',
    trail: new Trail('test', 't'),
  })
  const listener = await listen(httpOptions.parse({ port: 0, handler: 'echo.request', tls, ...options }), host)
  atEnd(t, () => listener.stop())
  return { listener, address: listener.address, port: Number(new URL(listener.address).port), said }
}

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), 'menagerie-tls-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function files({ cert, key }: CertificateFiles): { certFile: string; keyFile: string } {
  return { certFile: cert, keyFile: key }
}

/** The certificate that a server shows to openssl. */
async function shown(port: number, ...words: string[]): Promise<X509Certificate> {
  const { stdout } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...words], 'Q\n')
  return new X509Certificate(stdout.subarray(stdout.indexOf('-----BEGIN')))
}

test('https: a certificate from files is what clients see and trust', async (t) => {
  const pair = await certificates(t, LOCALHOST)
  const { address, port } = await start(t, files(pair))
  assert.match(address, /^https:\/\/127\.0\.0\.1:\d+$/)
  const { status, json } = await curl('--cacert', pair.ca, `${address}/x`)
  assert.deepEqual([status, (json() as { protocol: string }).protocol], [200, 'https'])
  assert.equal((await shown(port)).fingerprint256, new X509Certificate(readFileSync(pair.cert)).fingerprint256)
  await assert.rejects(curl(`${address}/x`), /curl ended with 60/, 'not without the authority')
})

test('https: TLS 1.2 and 1.3 are spoken, and nothing older', async (t) => {
  const { port } = await start(t, { selfSigned: true })
  const speaks = async (version: string): Promise<boolean> => {
    const { stdout } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, version], 'Q\n')
    return /Cipher is (?!\(NONE\))/.test(stdout.toString())
  }
  assert.deepEqual([await speaks('-tls1_3'), await speaks('-tls1_2'), await speaks('-tls1_1')], [true, true, false])
})

test('https: with a client CA only clients with its certificate are let in, and the handler knows their names', async (t) => {
  const ours = await certificates(t, LOCALHOST, 'billing')
  const strangers = await certificates(t, LOCALHOST, 'stranger')
  const { address } = await start(t, { ...files(ours), clientCaFile: ours.ca })
  const ask = (...words: string[]): ReturnType<typeof curl> => curl('--cacert', ours.ca, ...words, `${address}/x`)
  const known = await ask('--cert', ours.cert, '--key', ours.key)
  assert.deepEqual([known.status, (known.json() as { clientName: string }).clientName], [200, 'billing'])
  await assert.rejects(ask(), /curl ended with (35|52|56)/, 'no certificate')
  await assert.rejects(ask('--cert', strangers.cert, '--key', strangers.key), /curl ended with (35|52|56)/, 'another authority')
  assert.equal((await ask('--cert', ours.cert, '--key', ours.key)).status, 200)
})

test('https: files that cannot be read fail the start, and say which', async (t) => {
  const pair = await certificates(t, LOCALHOST)
  await assert.rejects(start(t, { ...files(pair), keyFile: '/nowhere/key.pem' }), /\/nowhere\/key\.pem/)
  writeFileSync(pair.key, 'no key')
  await assert.rejects(start(t, files(pair)))
})

test('https: a self-signed certificate is made once, for this machine’s names, in a file of mode 0600', async (t) => {
  const dir = folder(t)
  const made = await Promise.all([1, 2, 3].map(() => readCredentials({ selfSigned: true }, dir, '127.0.0.1', Date.now())))
  const [first, ...others] = made.map(({ cert }) => cert)
  assert.deepEqual(others, [first, first], 'copies that start together agree')
  assert.deepEqual(readdirSync(dir), ['certificate.pem'])
  assert.equal(statSync(join(dir, 'certificate.pem')).mode & 0o777, 0o600)
  const certificate = new X509Certificate(first ?? '')
  assert.ok(certificate.checkHost('localhost') && certificate.checkIP('127.0.0.1') && certificate.checkIP('::1'))
  assert.equal((await readCredentials({ selfSigned: true }, dir, '127.0.0.1', Date.now())).cert, first, 'and it is kept')
})

test('https: a self-signed certificate is remade before it ends, and if it is damaged', async (t) => {
  const dir = folder(t)
  const at = async (now: number): Promise<string> => (await readCredentials({ selfSigned: true }, dir, '127.0.0.1', now)).cert
  const first = await at(Date.now())
  assert.equal(await at(Date.now() + 330 * DAY_MS), first)
  const later = Date.now() + 340 * DAY_MS
  const second = await at(later)
  assert.notEqual(second, first)
  assert.ok(Date.parse(new X509Certificate(second).validTo) > later + 360 * DAY_MS)
  writeFileSync(join(dir, 'certificate.pem'), second.slice(0, 300))
  const third = await at(later)
  assert.ok(new X509Certificate(third))
  assert.equal(statSync(join(dir, 'certificate.pem')).mode & 0o777, 0o600)
})

test('https: a renewed certificate is taken over while the interface runs, a damaged one is not', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const [old, renewed] = [await certificates(t, LOCALHOST), await certificates(t, LOCALHOST)]
  const { port, said } = await start(t, files(old))
  const fingerprint = (file: string): string => new X509Certificate(readFileSync(file)).fingerprint256
  const before = fingerprint(old.cert)
  const [newCert, newKey] = [readFileSync(renewed.cert), readFileSync(renewed.key)]
  writeFileSync(old.cert, newCert) // the key does not fit yet
  t.mock.timers.tick(3_600_000)
  await within('the log', untilSaid(said, 'the new certificate cannot be used, the old one goes on'))
  assert.equal((await shown(port)).fingerprint256, before)
  writeFileSync(old.key, newKey)
  t.mock.timers.tick(3_600_000)
  await within('the log', untilSaid(said, 'certificate renewed'))
  assert.equal((await shown(port)).fingerprint256, fingerprint(renewed.cert))
})

test('https: a client that is silent, in its handshake or after it, is cut off', async (t) => {
  const { port } = await start(t, { selfSigned: true }, { headersTimeoutMs: 300 })
  const inHandshake = await open(t, port)
  const afterIt = connect({ socket: await open(t, port), rejectUnauthorized: false })
  await once(afterIt, 'secureConnect')
  assert.match((await Promise.all([untilClosed(afterIt), untilClosed(inHandshake)]))[0], /^HTTP\/1\.1 408 /)
})

test('https: a handshake that is never finished holds up neither others nor a stop', async (t) => {
  const { listener, address, port } = await start(t, { selfSigned: true })
  const hanging = await open(t, port)
  hanging.write(Buffer.from([0x16, 0x03, 0x01])) // the beginning of a TLS record
  assert.equal((await curl('--insecure', `${address}/x`)).status, 200)
  const begun = performance.now()
  await listener.stop()
  assert.ok(performance.now() - begun < 2_000)
})

/** Like `eventually`, on real timers although setInterval is mocked. */
async function untilSaid(said: Said[], message: string): Promise<void> {
  while (!said.some((entry) => entry.message === message)) await new Promise((resolve) => setImmediate(resolve))
}
