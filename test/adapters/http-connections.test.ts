/** Connections of the HTTP interface: those that are slow, idle, many, cut off or drained cost nothing to others. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { before, test } from 'node:test'
import { setInterval } from 'node:timers/promises'
import { startNats } from '../../src/testing/nats.ts'
import { type Owner, suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { curl, open, untilClosed } from '../support/http.ts'
import { type NodeProcess, type Project, project, startNode } from '../support/node.ts'

const HEADERS_MS = 400
const REQUEST_MS = 800
const KEEP_ALIVE_MS = 300
const MODULE = `
  export async function hello(ctx, name) { return 'Hello, ' + name + '!' }
  export async function take(ctx, body) { return body }
  export async function large() { return 'x'.repeat(900_000) }
  export async function wait(ctx, name) {
    ctx.log.info({ name }, 'call begins')
    await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
    ctx.log.info({ name, reason: ctx.signal.reason.code }, 'signal fired')
  }
  export async function slow(ctx, ms) {
    ctx.log.info({}, 'slow begins')
    await new Promise((resolve) => setTimeout(resolve, ms))
    return 'done'
  }`
const ROUTES = {
  'GET /hello/:name': 'api.hello',
  'POST /take': 'api.take',
  'GET /large': 'api.large',
  'GET /wait/:name': 'api.wait',
  'GET /slow/:ms': 'api.slow',
}

let web: Web

interface Web {
  node: NodeProcess
  folder: Project
  port: number
  /** An interface with short limits. */
  strict: number
}

before(async () => {
  web = await start(suite)
})

/** A node on a bus of its own, so that nobody else serves its calls. */
async function start(owner: Owner): Promise<Web> {
  const { url } = await startNats(owner)
  const [port, strict] = [await freePort(), await freePort()]
  const limits = { headersTimeoutMs: HEADERS_MS, requestTimeoutMs: REQUEST_MS, keepAliveTimeoutMs: KEEP_ALIVE_MS, maxConnections: 20 }
  const config = {
    timeoutMs: 10_000,
    interfaces: {
      web: { kind: 'http', port, routes: ROUTES, keepAliveTimeoutMs: 20_000 },
      strict: { kind: 'http', port: strict, routes: ROUTES, ...limits },
    },
  }
  const folder = project(owner, { 'cages/web/api.js': MODULE, 'config/web.ts': `export default ${JSON.stringify(config)}` })
  const node = startNode(owner, folder.dir, ['--cage', 'web', '--bus', url])
  await node.ready
  return { node, folder, port, strict }
}

function greet(port: number): Promise<void> {
  return curl(`http://127.0.0.1:${port}/hello/x`).then(({ text }) => assert.equal(text, 'Hello, x!'))
}

/** Sends a byte now and then until the connection ends. */
async function drip(socket: Socket, bytes: string): Promise<void> {
  let n = 0
  for await (const _ of setInterval(20)) {
    if (socket.destroyed || !socket.writable) return
    socket.write(bytes[n++ % bytes.length] ?? '')
  }
}

test('http: a client that drips its headers is answered 408 and cut off, while others are served', async (t) => {
  const begun = performance.now()
  const slow = await Promise.all(Array.from({ length: 5 }, () => open(t, web.strict)))
  const received = slow.map(untilClosed)
  for (const socket of slow) socket.write('GET /hello/slow HTTP/1.1\r\nHost: a\r\n')
  const dripping = Promise.all(slow.map((socket) => drip(socket, 'X-Slow: y\r\n')))
  let cutOff = false
  void Promise.all(received).then(() => (cutOff = true))
  let served = 0
  while (!cutOff) {
    await greet(web.strict)
    served++
  }
  for (const text of await Promise.all(received)) {
    assert.match(
      text,
      /^HTTP\/1\.1 408 [\s\S]*\r\nConnection: close\r\n\r\n\{"code":"REQUEST_TIMEOUT","message":"the request came too slowly"\}$/,
    )
  }
  await dripping
  const ms = performance.now() - begun
  t.diagnostic(`cut off after ${ms.toFixed(0)} ms, ${served} others served meanwhile`)
  assert.ok(ms >= HEADERS_MS)
  assert.ok(served > 0)
})

test('http: a client that drips its body is answered 408 and cut off', async (t) => {
  const socket = await open(t, web.strict)
  const received = untilClosed(socket)
  socket.write('POST /take HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n')
  const dripping = drip(socket, 'x')
  await greet(web.strict)
  assert.match(await received, /^HTTP\/1\.1 408 /)
  await dripping
})

test('http: a client that says nothing is cut off, before its first request and after its last', async (t) => {
  const silent = await open(t, web.strict)
  assert.match(await untilClosed(silent), /^HTTP\/1\.1 408 /)
  const kept = await open(t, web.strict)
  const received = untilClosed(kept)
  kept.write('GET /hello/x HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(await received, /^HTTP\/1\.1 200 [\s\S]*Hello, x!$/)
})

test('http: a thousand idle connections slow nobody down', async (t) => {
  const idle = await Promise.all(Array.from({ length: 1_000 }, () => open(t, web.port)))
  for (const socket of idle.slice(0, 500)) socket.write('GET /hello/x HTTP/1.1\r\nHost: a\r\n\r\n')
  await Promise.all(idle.slice(0, 500).map((socket) => within('an answer', once(socket, 'data'))))
  const begun = performance.now()
  for (let n = 0; n < 20; n++) await greet(web.port)
  t.diagnostic(`${((performance.now() - begun) / 20).toFixed(1)} ms per request, curl’s own start included`)
  assert.equal(idle.filter((socket) => socket.destroyed).length, 0)
  assert.ok(performance.now() - begun < 10_000)
})

test('http: beyond maxConnections a connection is closed at once, and one that ends makes room', async (t) => {
  const sockets = await Promise.all(Array.from({ length: 20 }, () => open(t, web.strict)))
  const tooMany = await open(t, web.strict)
  assert.equal(await untilClosed(tooMany), '')
  for (const socket of sockets) socket.destroy()
  await eventually('there is room', () =>
    greet(web.strict).then(
      () => true,
      () => false,
    ),
  )
})

test('http: a client that closes in the middle cancels its call: the callee’s signal fires', async (t) => {
  const { node, port } = web
  const since = node.log.length
  const begins = (name: string): Promise<unknown> =>
    node.until(name, (entry) => entry.msg === 'call begins' && entry.name === name, { since })
  const [leaving, staying, halfClosing] = await Promise.all([open(t, port), open(t, port), open(t, port)])
  leaving.write('GET /wait/leaving HTTP/1.1\r\nHost: a\r\n\r\n')
  staying.write('GET /wait/staying HTTP/1.1\r\nHost: a\r\n\r\n')
  halfClosing.write('GET /wait/half HTTP/1.1\r\nHost: a\r\n\r\n')
  await Promise.all(['leaving', 'staying', 'half'].map(begins))
  const begun = performance.now()
  leaving.resetAndDestroy()
  halfClosing.end()
  for (const name of ['leaving', 'half']) {
    const fired = await node.until(name, (entry) => entry.msg === 'signal fired' && entry.name === name, { since })
    assert.equal(fired.reason, 'CANCELLED')
  }
  assert.ok(performance.now() - begun < 5_000, 'long before the deadline')
  assert.equal(
    node.log.some((entry) => entry.msg === 'signal fired' && entry.name === 'staying'),
    false,
  )
  staying.destroy()
  await node.until('staying', (entry) => entry.msg === 'signal fired' && entry.name === 'staying', { since })
  assert.deepEqual(
    node.log.slice(since).filter((entry) => entry.level >= 40),
    [],
    'nothing to worry about',
  )
})

test('http: clients that close in the middle of a request or an answer leave nothing behind', async (t) => {
  for (let n = 0; n < 50; n++) {
    const uploading = await open(t, web.port)
    uploading.write('POST /take HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\nbegun')
    uploading.resetAndDestroy()
    const downloading = await open(t, web.port)
    downloading.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(downloading, 'data')
    downloading.resetAndDestroy()
  }
  await greet(web.port)
  assert.deepEqual(
    web.node.log.filter((entry) => entry.level >= 50),
    [],
  )
})

test('http: a stopping node answers what runs, with Connection: close, and ends idle and half-sent connections', async (t) => {
  const { node, port } = await start(t)
  const [running, idle, kept, halfSent] = await Promise.all([open(t, port), open(t, port), open(t, port), open(t, port)])
  kept.write('GET /hello/x HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(kept, 'data')
  halfSent.write('GET /hello/x HTTP/1.1\r\nHost:')
  running.write('GET /slow/1500 HTTP/1.1\r\nHost: a\r\n\r\n')
  await node.until('it runs', (entry) => entry.msg === 'slow begins')
  const received = untilClosed(running)
  const others = Promise.all([idle, kept, halfSent].map(untilClosed))
  const begun = performance.now()
  node.kill('SIGTERM')
  await within('the others are closed', others)
  assert.ok(performance.now() - begun < 1_400, 'while the call runs')
  await assert.rejects(greet(port), 'nothing new')
  assert.match(await received, /^HTTP\/1\.1 200 OK\r\n[\s\S]*connection: close\r\n[\s\S]*\r\n\r\ndone$/i)
  assert.equal(await node.exited, 0)
  assert.ok(performance.now() - begun < 5_000, 'it waits for nothing else')
})

test('http: a stopping node waits for a request whose body is still coming, and for a slow one no longer than its limit', async (t) => {
  const { node, port, strict } = await start(t)
  const head = 'POST /take HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n'
  const [late, never] = await Promise.all([open(t, port), open(t, strict)])
  for (const socket of [late, never]) {
    socket.write(`${head}`)
    await once(socket, 'data') // 100 Continue: the request has begun
  }
  const [received, cutOff] = [untilClosed(late), untilClosed(never)]
  const begun = performance.now()
  node.kill('SIGTERM')
  await node.until('it stops', (entry) => entry.msg === 'node stops')
  late.write('hello')
  assert.match(await received, /^HTTP\/1\.1 200 [\s\S]*hello$/)
  await cutOff
  assert.equal(await node.exited, 0)
  assert.ok(performance.now() - begun < 5_000)
})

test('http: a changed route is served while a call of the old interface still runs, and that call is answered', async (t) => {
  const { node, folder, port } = await start(t)
  const running = await open(t, port)
  const received = untilClosed(running)
  running.write('GET /slow/2500 HTTP/1.1\r\nHost: a\r\n\r\n')
  await node.until('it runs', (entry) => entry.msg === 'slow begins')
  const begun = performance.now()
  const interfaces = { web: { kind: 'http', port, routes: { 'GET /greet/:name': 'api.hello' } } }
  folder.write('config/web.ts', `export default ${JSON.stringify({ interfaces })}`)
  const { text } = await eventually('the new route', async () => {
    const answer = await curl(`http://127.0.0.1:${port}/greet/x`).catch(() => undefined) // for a moment nobody listens
    return answer?.status === 200 && answer
  })
  assert.equal(text, 'Hello, x!')
  assert.ok(performance.now() - begun < 2_000, 'before the old call has ended')
  assert.match(await received, /^HTTP\/1\.1 200 [\s\S]*done$/)
})
