import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { nkeys } from 'nats'
import type { Bus, Call, CallHandler, CallOptions } from '../../src/bus/bus.ts'
import type { BusOptions } from '../../src/bus/connection.ts'
import { openBus } from '../../src/bus/nats.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { ask, client, startNats } from '../../src/testing/nats.ts'
import { freePort } from '../../src/testing/port.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { certificates } from '../support/certificates.ts'
import { project, startNode } from '../support/node.ts'

const LOST = 'bus lost, calls fail until it is back'
const BACK = 'bus is back'
const REFUSED = 'the bus refuses our credentials, trying again'
const WAITING = 'the bus is not there yet, waiting for it'
const HELLO = { 'cages/sample/greeter.js': "export async function hello(ctx, name) { return 'Hello, ' + name + '!' }" }

interface Opened {
  /** Resolves when connected. */
  opening: Promise<Bus>
  said: Said[]
  /** Gives up waiting for the bus. */
  stopping: AbortController
}

/** Opens a bus that is closed with the test, connected or not. */
function start(t: TestContext, options: BusOptions): Opened {
  const { log, said } = recordingLog()
  const stopping = new AbortController()
  const opening = openBus('test', options, log, stopping.signal)
  t.after(async () => {
    stopping.abort()
    const bus = await opening.catch(() => undefined)
    await bus?.close()
  })
  return { opening, said, stopping }
}

async function open(t: TestContext, options: BusOptions): Promise<{ bus: Bus; said: Said[] }> {
  const { opening, said } = start(t, options)
  return { bus: await within('the bus is open', opening), said }
}

function saidOf(said: Said[], message: string): Promise<Said> {
  return eventually(message, () => said.find((entry) => entry.message === message))
}

function soon(ms = 10_000): CallOptions {
  return { deadline: Date.now() + ms, request: { id: 'r' } }
}

function answering(method: (call: Call) => unknown): CallHandler {
  return {
    handle: (call, settle) => void Promise.resolve(method(call)).then((result) => settle({ ok: true, result })),
    cancel: () => {},
  }
}

/** Asserts that calls go out and come in. */
async function assertWorks(bus: Bus): Promise<void> {
  const subscription = await bus.serve(
    'sample',
    'echo',
    answering((call) => call.args),
  )
  assert.deepEqual(await bus.call('sample', 'echo', 'any', ['x', 1], soon()), ['x', 1])
  await subscription.drain()
}

function host(url: string): string {
  return url.replace('nats://', '')
}

test('bus: of several servers the first that lives is used', async (t) => {
  const dead = await freePort()
  const server = await startNats(t)
  const { bus, said } = await open(t, { servers: [`nats://127.0.0.1:${dead}`, server.url] })
  await assertWorks(bus)
  assert.equal(said.find((entry) => entry.message === 'bus connected')?.fields.server, host(server.url))
})

test('bus: a server that dies is left for another one of the list', async (t) => {
  const [one, two] = await Promise.all([startNats(t), startNats(t)])
  const { bus, said } = await open(t, { servers: [one.url, two.url] })
  const first = said.find((entry) => entry.message === 'bus connected')?.fields.server
  await (first === host(one.url) ? one : two).kill()
  const back = await saidOf(said, BACK)
  assert.equal(back.fields.server, host(first === host(one.url) ? two.url : one.url))
  await assertWorks(bus)
})

const BY_NAME = [{ type: 2, value: 'localhost' }]
const BY_ADDRESS = [{ type: 7, ip: '127.0.0.1' }]

function tlsConfig({ ca, cert, key }: { ca: string; cert: string; key: string }, verify: boolean): string {
  return `tls { cert_file: "${cert}", key_file: "${key}", ca_file: "${ca}", verify: ${verify} }`
}

test('bus: tls:// with a CA file, the server known by its name', async (t) => {
  const files = await certificates(t, BY_NAME)
  const server = await startNats(t, { config: tlsConfig(files, false) })
  const { bus } = await open(t, { servers: [`tls://localhost:${server.port}`], tls: { caFile: files.ca } })
  await assertWorks(bus)
})

test('bus: tls:// with a CA file, the server known by its address', async (t) => {
  const files = await certificates(t, BY_ADDRESS)
  const server = await startNats(t, { config: tlsConfig(files, false) })
  const { bus } = await open(t, { servers: [`tls://127.0.0.1:${server.port}`], tls: { caFile: files.ca } })
  await assertWorks(bus)
})

test('bus: a certificate for another name is refused', async (t) => {
  const files = await certificates(t, [{ type: 2, value: 'elsewhere.example' }])
  const server = await startNats(t, { config: tlsConfig(files, false) })
  const { said } = start(t, { servers: [`tls://127.0.0.1:${server.port}`], tls: { caFile: files.ca } })
  assert.match(String((await saidOf(said, WAITING)).fields.reason), /altnames/)
})

test('bus: a certificate of an unknown authority is refused', async (t) => {
  const files = await certificates(t, BY_NAME)
  const server = await startNats(t, { config: tlsConfig(files, false) })
  const { said } = start(t, { servers: [`tls://localhost:${server.port}`] })
  assert.match(String((await saidOf(said, WAITING)).fields.reason), /certificate/)
})

test('bus: a server that wants a client certificate gets ours', async (t) => {
  const files = await certificates(t, BY_NAME)
  const server = await startNats(t, { config: tlsConfig(files, true) })
  const tls = { caFile: files.ca, certFile: files.cert, keyFile: files.key }
  const { bus } = await open(t, { servers: [`tls://localhost:${server.port}`], tls })
  await assertWorks(bus)
})

test('bus: a server that wants a client certificate refuses us without one', async (t) => {
  const files = await certificates(t, BY_NAME)
  const server = await startNats(t, { config: tlsConfig(files, true) })
  const { said } = start(t, { servers: [`tls://localhost:${server.port}`], tls: { caFile: files.ca } })
  await saidOf(said, WAITING)
})

test('bus: tls:// is never answered in the clear', async (t) => {
  const server = await startNats(t)
  const { said } = start(t, { servers: [`tls://127.0.0.1:${server.port}`] })
  assert.match(String((await saidOf(said, WAITING)).fields.reason), /SERVER_OPT_NA: tls/)
})

const PASSWORD = 'p@ss:w/rd é'
const USER_CONFIG = `authorization { user: alice, password: ${JSON.stringify(PASSWORD)} }`

test('bus: user and password in the options', async (t) => {
  const server = await startNats(t, { config: USER_CONFIG })
  await assertWorks((await open(t, { servers: [server.url], user: 'alice', password: PASSWORD })).bus)
})

test('bus: user and password in the URL, escaped', async (t) => {
  const server = await startNats(t, { config: USER_CONFIG })
  await assertWorks((await open(t, { servers: [`nats://alice:${encodeURIComponent(PASSWORD)}@${host(server.url)}`] })).bus)
})

test('bus: a token in the options', async (t) => {
  const server = await startNats(t, { config: 'authorization { token: "s3cr3t" }' })
  await assertWorks((await open(t, { servers: [server.url], token: 's3cr3t' })).bus)
})

test('bus: a token in the URL', async (t) => {
  const server = await startNats(t, { config: 'authorization { token: "s3cr3t" }' })
  await assertWorks((await open(t, { servers: [`nats://s3cr3t@${host(server.url)}`] })).bus)
})

test('bus: an nkey file', async (t) => {
  const user = nkeys.createUser()
  const server = await startNats(t, { config: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }` })
  const { dir } = project(t, { 'user.nk': `${new TextDecoder().decode(user.getSeed())}\n` })
  await assertWorks((await open(t, { servers: [server.url], nkeyFile: join(dir, 'user.nk') })).bus)
})

test('bus: another nkey than the server knows is refused', async (t) => {
  const server = await startNats(t, { config: `authorization { users: [ { nkey: ${nkeys.createUser().getPublicKey()} } ] }` })
  const { dir } = project(t, { 'user.nk': new TextDecoder().decode(nkeys.createUser().getSeed()) })
  const { said } = start(t, { servers: [server.url], nkeyFile: join(dir, 'user.nk') })
  await saidOf(said, REFUSED)
})

type KeyPair = ReturnType<typeof nkeys.createUser>

/** A JWT as nsc signs it (github.com/nats-io/jwt, v2). */
function jwt(issuer: KeyPair, subject: KeyPair, name: string, nats: object): string {
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iat: Math.floor(Date.now() / 1000), iss: issuer.getPublicKey(), sub: subject.getPublicKey(), name, nats }
  const jti = createHash('sha256').update(JSON.stringify(claims)).digest('hex')
  const signed = `${encode({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encode({ jti, ...claims })}`
  return `${signed}.${Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url')}`
}

test('bus: a credentials file of an operator’s account', async (t) => {
  const [operator, system, account, user] = [nkeys.createOperator(), nkeys.createAccount(), nkeys.createAccount(), nkeys.createUser()]
  const limits = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 }
  const accountJwt = (key: KeyPair, name: string): string => jwt(operator, key, name, { type: 'account', version: 2, limits })
  const userJwt = jwt(account, user, 'alice', { type: 'user', version: 2, subs: -1, data: -1, payload: -1, pub: {}, sub: {} })
  const config = `
    operator: ${jwt(operator, operator, 'test', { type: 'operator', version: 2, system_account: system.getPublicKey() })}
    system_account: ${system.getPublicKey()}
    resolver: MEMORY
    resolver_preload: {
      ${system.getPublicKey()}: ${accountJwt(system, 'SYS')}
      ${account.getPublicKey()}: ${accountJwt(account, 'APP')}
    }`
  const server = await startNats(t, { config })
  const seed = new TextDecoder().decode(user.getSeed())
  const { dir } = project(t, {
    'user.creds': `-----BEGIN NATS USER JWT-----\n${userJwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n${seed}\n------END USER NKEY SEED------\n`,
  })
  const { bus, said } = await open(t, { servers: [server.url], credentialsFile: join(dir, 'user.creds') })
  await assertWorks(bus)
  assert.equal(JSON.stringify(said).includes(seed), false)
})

test('bus: a wrong password is tried again until the server takes it, and never logged', async (t) => {
  const server = await startNats(t, { config: USER_CONFIG })
  const { opening, said } = start(t, { servers: [`nats://alice:swordfish@${host(server.url)}`] })
  const refused = await saidOf(said, REFUSED)
  assert.deepEqual([refused.level, refused.fields.servers], ['warn', [host(server.url)]])
  await server.kill()
  await startNats(t, { port: server.port, config: 'authorization { user: alice, password: swordfish }' })
  await assertWorks(await within('the bus is open', opening))
  assert.equal(JSON.stringify(said).includes('swordfish'), false)
})

test('bus: a password that is wrong after a reconnect is tried again too', async (t) => {
  const server = await startNats(t, { config: USER_CONFIG })
  const { bus, said } = await open(t, { servers: [server.url], user: 'alice', password: PASSWORD })
  await server.kill()
  const stranger = await startNats(t, { port: server.port, config: 'authorization { user: alice, password: other }' })
  await eventually('three refusals', () => said.filter((entry) => entry.fields.error === 'AUTHORIZATION_VIOLATION').length >= 3)
  assert.equal(bus.connected, false)
  await stranger.kill()
  await server.restart()
  await saidOf(said, BACK)
  await assertWorks(bus)
  assert.equal(JSON.stringify(said).includes(PASSWORD), false)
})

test('bus: a node with a wrong password says so, without the password, and stops when asked', async (t) => {
  const server = await startNats(t, { config: USER_CONFIG })
  const folder = project(t, HELLO)
  const node = startNode(t, folder.dir, ['--cage', 'sample', '--bus', `nats://alice:swordfish@${host(server.url)}`])
  await node.until('the refusal', (entry) => entry.msg === REFUSED)
  assert.equal(await node.stop(), 0)
  assert.doesNotMatch(JSON.stringify(node.log) + node.stderr(), /swordfish/)
})

test('bus: a node that starts before its bus waits, says so, and serves when it comes', async (t) => {
  const port = await freePort()
  const folder = project(t, HELLO)
  const node = startNode(t, folder.dir, ['--cage', 'sample', '--bus', `nats://127.0.0.1:${port}`])
  const waiting = await node.until('that it waits', (entry) => entry.msg === WAITING)
  assert.deepEqual([waiting.level, waiting.servers], [40, [`127.0.0.1:${port}`]])
  const server = await startNats(t, { port })
  await node.ready
  const nc = await client(t, server.url)
  assert.equal((await ask(nc, 'sample.greeter.hello', ['World'])).body, 'Hello, World!')
})

test('bus: waiting for a server ends with its signal', async (t) => {
  const { opening, said, stopping } = start(t, { servers: [`nats://127.0.0.1:${await freePort()}`] })
  await saidOf(said, WAITING)
  stopping.abort()
  await assert.rejects(within('the end', opening, 2_000), { code: 'CANCELLED' })
})

test('bus: a node survives a bus that goes away and comes back', async (t) => {
  const server = await startNats(t)
  const folder = project(t, {
    'cages/sample/greeter.js': "export async function hello(ctx, name) { return 'Hello, ' + name + '!' }",
    'cages/sample/caller.js': 'export async function relay(ctx, name) { return await ctx.cage.greeter.hello(name) }',
  })
  const node = startNode(t, folder.dir, ['--cage', 'sample', '--bus', server.url])
  await node.ready
  for (let outage = 1; outage <= 2; outage++) {
    const since = node.log.length
    await server.kill()
    await node.until('that it is lost', (entry) => entry.msg === LOST && entry.cage === 'sample', { since })
    await server.restart()
    await node.until('that it is back', (entry) => entry.msg === BACK && entry.cage === 'sample', { since })
    const nc = await client(t, server.url)
    assert.equal((await ask(nc, 'sample.caller.relay', ['World'])).body, 'Hello, World!')
  }
  assert.equal(node.log.filter((entry) => entry.msg === 'cage is ready').length, 1, 'the same worker all the time')
})

test('bus: while the bus is away calls reject at once, and work again when it is back', async (t) => {
  const server = await startNats(t)
  const { bus, said } = await open(t, { servers: [server.url] })
  await bus.serve(
    'sample',
    'echo',
    answering((call) => call.args),
  )
  await server.kill()
  await eventually('the loss', () => !bus.connected)
  await assert.rejects(within('the refusal', bus.call('sample', 'echo', 'any', [], soon(30_000)), 1_000), {
    code: 'UNAVAILABLE',
    message: 'sample.echo.any cannot be called: the bus is away',
  })
  assert.throws(() => bus.post('sample', 'echo', 'any', [], soon()), { code: 'UNAVAILABLE' })
  await server.restart()
  await saidOf(said, BACK)
  assert.deepEqual(await bus.call('sample', 'echo', 'any', ['again'], soon()), ['again'])
  assert.deepEqual(bus.stats(), { lateReplies: 0, reconnects: 1, inFlight: 0 })
})

/** A callee whose answer is given when the test says so. */
async function serveSlow(bus: Bus): Promise<{ arrived: Promise<void>; answer: (value: string) => void }> {
  const arrived = deferred<void>()
  const answer = deferred<string>()
  await bus.serve(
    'sample',
    'slow',
    answering(() => {
      arrived.resolve()
      return answer.promise
    }),
  )
  return { arrived: arrived.promise, answer: answer.resolve }
}

test('bus: a call in flight when the bus goes away ends at its deadline', async (t) => {
  const server = await startNats(t)
  const { bus } = await open(t, { servers: [server.url] })
  const { arrived } = await serveSlow(bus)
  const deadline = Date.now() + 1_000
  const call = bus.call('sample', 'slow', 'any', [], { deadline, request: { id: 'r' } })
  await arrived
  await server.kill()
  await assert.rejects(within('the deadline', call, 5_000), { code: 'DEADLINE_EXCEEDED' })
  const lateMs = Date.now() - deadline
  assert.ok(lateMs >= 0 && lateMs < 500, `${lateMs} ms after the deadline`)
})

test('bus: a call in flight over an outage gets its answer', async (t) => {
  const server = await startNats(t)
  const [callee, caller] = await Promise.all([open(t, { servers: [server.url] }), open(t, { servers: [server.url] })])
  const { arrived, answer } = await serveSlow(callee.bus)
  const call = caller.bus.call('sample', 'slow', 'any', [], soon(20_000))
  await arrived
  await server.kill()
  await server.restart()
  await Promise.all([saidOf(callee.said, BACK), saidOf(caller.said, BACK)])
  await caller.bus.call('sample', 'nobody', 'any', [], soon()).catch(() => {}) // once this is answered the server knows where to send answers
  answer('late but here')
  assert.equal(await call, 'late but here')
})

test('bus: while the server is paused calls end at their deadline, and afterwards all is as before', async (t) => {
  const server = await startNats(t)
  const { bus } = await open(t, { servers: [server.url] })
  await bus.serve(
    'sample',
    'echo',
    answering((call) => call.args),
  )
  server.pause()
  const deadline = Date.now() + 400
  const calls = Array.from({ length: 20 }, () => bus.call('sample', 'echo', 'any', [], { deadline, request: { id: 'r' } }))
  const ends = await within('the deadlines', Promise.allSettled(calls), 5_000)
  const lateMs = Date.now() - deadline
  assert.deepEqual(new Set(ends.map((end) => end.status === 'rejected' && (end.reason as CageError).code)), new Set(['DEADLINE_EXCEEDED']))
  assert.ok(lateMs < 500, `${lateMs} ms after the deadline`)
  server.resume()
  assert.deepEqual(await bus.call('sample', 'echo', 'any', ['again'], soon()), ['again'])
  assert.deepEqual([bus.connected, bus.stats().reconnects], [true, 0])
})

test('bus: closing does not wait for a server that is silent', async (t) => {
  const server = await startNats(t)
  const { bus } = await open(t, { servers: [server.url] })
  server.pause()
  const call = bus.call('sample', 'echo', 'any', [], soon(60_000))
  const rejected = assert.rejects(call, { code: 'UNAVAILABLE', message: 'the node is stopping' })
  await within('the end', bus.close(), 10_000)
  await within('the connection has ended', bus.done, 1_000)
  await rejected
})

test('bus: closing is possible while the bus is away, and twice', async (t) => {
  const server = await startNats(t)
  const { bus } = await open(t, { servers: [server.url] })
  await server.kill()
  await eventually('the loss', () => !bus.connected)
  await within('the end', bus.close(), 5_000)
  await bus.close()
  await within('the connection has ended', bus.done, 1_000)
})

const LIMITED = `authorization { users: [ { user: limited, password: x, permissions: {
  publish: { deny: "forbidden.>" }, subscribe: { deny: ["secret.>"] } } } ] }`

test('bus: a publication that is not permitted is logged, and the connection stays', async (t) => {
  const server = await startNats(t, { config: LIMITED })
  const { bus, said } = await open(t, { servers: [server.url], user: 'limited', password: 'x' })
  const call = bus.call('forbidden', 'fruit', 'eat', [], soon(300))
  const refused = await saidOf(said, 'the bus refuses something')
  assert.deepEqual(
    [refused.level, refused.fields.permission],
    ['error', { operation: 'publish', subject: 'forbidden.fruit.eat', queue: undefined }],
  )
  await assert.rejects(call, { code: 'DEADLINE_EXCEEDED' })
  await assertWorks(bus)
  assert.deepEqual([bus.connected, bus.stats().reconnects], [true, 0])
})

test('bus: a subscription that is not permitted is logged, and the connection stays', async (t) => {
  const server = await startNats(t, { config: LIMITED })
  const { bus, said } = await open(t, { servers: [server.url], user: 'limited', password: 'x' })
  await bus.serve(
    'secret',
    'drawer',
    answering(() => 'never'),
  )
  const refused = await saidOf(said, 'the bus refuses something')
  assert.deepEqual(refused.fields.permission, { operation: 'subscription', subject: 'secret.drawer.*', queue: 'secret' })
  await assertWorks(bus)
  assert.deepEqual([bus.connected, bus.stats().reconnects], [true, 0])
})

test('bus: a user that may have no inbox can still serve', async (t) => {
  const config =
    'authorization { users: [ { user: mute, password: x, permissions: { subscribe: { deny: "_INBOX.>" } } }, { user: b, password: x } ] }'
  const server = await startNats(t, { config })
  const { bus, said } = await open(t, { servers: [server.url], user: 'mute', password: 'x' })
  await saidOf(said, 'the bus refuses something')
  await bus.serve(
    'sample',
    'echo',
    answering((call) => call.args),
  )
  const nc = await client(t, server.url, { user: 'b', pass: 'x' })
  assert.deepEqual((await ask(nc, 'sample.echo.any', ['x'], 2_000)).body, ['x'])
  assert.deepEqual([bus.connected, bus.stats().reconnects], [true, 0])
})

test('bus: a node connects with what config/node.ts says', async (t) => {
  const server = await startNats(t, { config: USER_CONFIG })
  const folder = project(t, {
    ...HELLO,
    'config/node.ts': `import { defineNode, env } from 'menagerie'
      export default defineNode({ bus: { servers: [${JSON.stringify(server.url)}], user: 'alice', password: env('BUS_PASSWORD') } })`,
  })
  const node = startNode(t, folder.dir, ['--cage', 'sample'], { BUS_PASSWORD: PASSWORD })
  await node.ready
  const nc = await client(t, server.url, { user: 'alice', pass: PASSWORD })
  assert.equal((await ask(nc, 'sample.greeter.hello', ['World'])).body, 'Hello, World!')
  assert.equal(JSON.stringify(node.log).includes(PASSWORD), false)
})

test('bus: a server that is there and silent is noticed within 30 s', async (t) => {
  const server = await startNats(t)
  const { bus, said } = await open(t, { servers: [server.url] })
  server.pause()
  await eventually('the loss', () => !bus.connected, 31_000)
  server.resume()
  await saidOf(said, BACK)
  await assertWorks(bus)
})
