/** HTTP as a resource: requests, bodies, statuses, what is repeated and what is not; against Python's http.server and bare sockets. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect as connectTo, type Socket } from 'node:net'
import { before, test } from 'node:test'
import { TLSSocket } from 'node:tls'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import { open } from '../../src/adapters/http/client.ts'
import type { HttpAnswer, HttpResource } from '../../src/adapters/http/client-api.ts'
import { httpClientOptions } from '../../src/adapters/http/client-options.ts'
import { dial } from '../../src/adapters/http/dial.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually } from '../../src/testing/wait.ts'
import { certificates } from '../support/certificates.ts'
import { startSockets, startWeb, type WebServer } from '../support/web.ts'

let server: WebServer
let keys = 0

before(async () => {
  server = await startWeb(suite)
})

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(owner: Owner, options: object = {}): Promise<ResourceConnection> {
  const parsed = httpClientOptions.parse({ url: server.url, ...options })
  const connection = await (await open(parsed, { cage: 'c', name: 'api', log: recordingLog().log })).connect(scope())
  atEnd(owner, () => connection.close())
  return connection
}

/** Its methods, as modules call them. */
async function client(owner: Owner, options: object = {}, within: () => Scope = scope): Promise<HttpResource> {
  const connection = await connect(owner, options)
  return new Proxy({} as HttpResource, {
    get: (_, method) => (method === 'then' ? undefined : (...args: unknown[]) => connection.call(String(method), args, within())),
  })
}

function rejects(work: Promise<unknown>, code: string, details?: object): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, code, error.message)
    if (details) assert.deepEqual(error.details, details)
    return true
  })
}

interface Echo {
  method: string
  path: string
  headers: Record<string, string>
  /** base64 */
  body: string
}

async function echoed(answer: Promise<HttpAnswer>): Promise<Echo & { text: string }> {
  const { body } = await answer
  return { ...(body as Echo), text: Buffer.from((body as Echo).body, 'base64').toString() }
}

async function collected(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of body) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** Answers each connection's first bytes with these, and perhaps hangs up. */
const answering =
  (bytes: string | Buffer, hangUp = false) =>
  (socket: Socket): void =>
    void socket.once('data', () => (hangUp ? socket.end(bytes) : socket.write(bytes)))

test('http client: methods, queries, headers and bodies of each type arrive as they were given', async (t) => {
  const api = await client(t, { url: `${server.url}/echo/`, headers: { 'X-Own': 'from options', Authorization: 'Bearer t' } })
  const got = await echoed(api.get('/a%20b', { query: { x: 1, many: ['a', 'b & c'], none: undefined }, headers: { 'x-more': 'yes' } }))
  assert.deepEqual([got.method, got.path], ['GET', '/echo/a%20b?x=1&many=a&many=b+%26+c'])
  assert.deepEqual([got.headers['x-own'], got.headers['x-more'], got.headers.authorization], ['from options', 'yes', 'Bearer t'])
  const json = await echoed(api.post('/', { big: 2n ** 60n, at: new Date(0), bytes: new Uint8Array([1]) }))
  assert.deepEqual(
    [json.headers['content-type'], json.text],
    ['application/json', '{"big":"1152921504606846976","at":"1970-01-01T00:00:00.000Z","bytes":"AQ=="}'],
  )
  const text = await echoed(api.put('/', 'grüße'))
  assert.deepEqual([text.method, text.headers['content-type'], text.text], ['PUT', 'text/plain; charset=utf-8', 'grüße'])
  const bytes = await echoed(api.patch('/', new Uint8Array([0, 255]), { headers: { 'content-type': 'image/x-own' } }))
  assert.deepEqual([bytes.method, bytes.headers['content-type'], bytes.body], ['PATCH', 'image/x-own', 'AP8='])
  const form = await echoed(api.post('/', new URLSearchParams({ a: '1', b: 'ü' })))
  assert.deepEqual([form.headers['content-type'], form.text], ['application/x-www-form-urlencoded', 'a=1&b=%C3%BC'])
  const streamed = await echoed(
    api.post(
      '/',
      (async function* () {
        yield Buffer.from('piece ')
        yield Buffer.from('by piece')
      })(),
    ),
  )
  assert.deepEqual([streamed.headers['transfer-encoding'], streamed.text], ['chunked', 'piece by piece'])
  assert.deepEqual([(await api.head('/')).status, (await echoed(api.delete('/7'))).method], [200, 'DELETE'])
  assert.equal((await echoed(api.request({ method: 'options', path: '/' }))).method, 'OPTIONS')
})

test('http client: an answer’s body is what its type says, and no cookie is kept', async (t) => {
  const api = await client(t)
  const typed = (type: string, body: string | Buffer, options = {}): Promise<HttpAnswer> =>
    api.get('/typed', { query: { type, body: Buffer.from(body).toString('base64') }, ...options })
  assert.deepEqual((await typed('application/problem+json', '{"a":[1]}')).body, { a: [1] })
  assert.equal((await typed('text/html; charset=iso-8859-1', Buffer.from([0xfc]))).body, 'ü')
  assert.deepEqual((await typed('image/png', Buffer.from([0, 1]))).body, new Uint8Array([0, 1]))
  assert.deepEqual((await typed('application/json', '{}', { as: 'bytes' })).body, new Uint8Array([0x7b, 0x7d]))
  assert.equal((await typed('application/json', '{}', { as: 'text' })).body, '{}')
  assert.deepEqual((await typed('text/plain', '[1]', { as: 'json' })).body, [1])
  const empty = await typed('application/json', '')
  assert.deepEqual([empty.body, empty.headers['set-cookie']], [undefined, 'a=1'])
  assert.equal((await echoed(api.get('/echo'))).headers.cookie, undefined)
  await rejects(typed('application/json', '{'), 'UNAVAILABLE')
})

test('http client: compressed answers are read, up to the limit of what they become', async (t) => {
  const api = await client(t, { maxResponseBytes: 5_000 })
  assert.deepEqual((await api.get('/gzip')).body, { big: 'x'.repeat(10) })
  await rejects(api.get('/gzip', { query: { size: 5_000_000 } }), 'PAYLOAD_TOO_LARGE')
  assert.deepEqual((await api.get('/gzip')).body, { big: 'x'.repeat(10) }, 'the connection serves on')
  assert.deepEqual([(await api.head('/gzip')).status, (await api.head('/gzip')).body], [200, undefined])
  const variants = {
    gzip: gzipSync('squeezed'),
    deflate: deflateSync('squeezed'),
    br: brotliCompressSync('squeezed'),
    'gzip, br': brotliCompressSync(gzipSync('squeezed')),
  }
  for (const [coding, bytes] of Object.entries(variants)) {
    const head = `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: ${coding}\r\nContent-Length: ${bytes.length}\r\n\r\n`
    const other = await client(t, { url: await startSockets(t, answering(Buffer.concat([Buffer.from(head), bytes]))) })
    assert.equal((await other.get('/')).body, 'squeezed', coding)
  }
  const cut = gzipSync('squeezed').subarray(0, 15)
  const head = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${cut.length}\r\n\r\n`
  const broken = await client(t, { url: await startSockets(t, answering(Buffer.concat([Buffer.from(head), cut]))), maxRetries: 0 })
  await rejects(broken.get('/'), 'UNAVAILABLE')
})

test('http client: bodies beyond the limits are neither sent nor kept', async (t) => {
  const api = await client(t, { maxRequestBytes: 10, maxResponseBytes: 2_500, maxHeaderBytes: 1_000 })
  await rejects(api.post('/echo', 'x'.repeat(11)), 'PAYLOAD_TOO_LARGE')
  await rejects(api.get('/pieces?n=3'), 'PAYLOAD_TOO_LARGE')
  assert.equal(((await api.get('/pieces?n=2')).body as Uint8Array).length, 2_000)
  const wordy = `HTTP/1.1 200 OK\r\nX-Long: ${'x'.repeat(2_000)}\r\nContent-Length: 0\r\n\r\n`
  await rejects((await client(t, { url: await startSockets(t, answering(wordy)), maxHeaderBytes: 1_000 })).get('/'), 'PAYLOAD_TOO_LARGE')
})

test('http client: a streamed answer is read piece by piece, beyond the limit, and what its reader throws is thrown', async (t) => {
  const api = await client(t, { maxResponseBytes: 10 })
  const length = await api.stream({ path: '/pieces?n=300' }, async ({ status, headers, body }) => {
    assert.deepEqual([status, headers['transfer-encoding']], [200, 'chunked'])
    return (await collected(body)).length
  })
  assert.equal(length, 300_000)
  const own = new Error('of the reader')
  await assert.rejects(
    api.stream({ path: '/pieces?n=100000' }, async ({ body }) => {
      for await (const _ of body) throw own
    }),
    own,
  )
  await rejects(
    api.stream({ path: '/status/404' }, async () => 'never'),
    'NOT_FOUND',
  )
  const text = await api.stream({ path: '/gzip' }, async ({ body }) => String(await collected(body)))
  assert.equal(text, '{"big":"xxxxxxxxxx"}', 'decompressed')
})

test('http client: a stream that is late ends within its deadline, at the server too', async (t) => {
  const url = await startSockets(t, answering('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'))
  const api = await client(t, { url }, () => scope(200))
  let seen = ''
  await rejects(
    api.stream({ path: '/' }, async ({ body }) => {
      for await (const piece of body) seen += Buffer.from(piece).toString()
    }),
    'DEADLINE_EXCEEDED',
  )
  assert.equal(seen, 'abc')
})

test('http client: each status is an error with its code, or an answer for who wants it; the body is not told', async (t) => {
  const api = await client(t)
  const codes = {
    ...{
      400: 'INVALID_ARGUMENT',
      401: 'UNAUTHENTICATED',
      403: 'FORBIDDEN',
      404: 'NOT_FOUND',
      405: 'INVALID_ARGUMENT',
      409: 'CONFLICT',
      410: 'NOT_FOUND',
    },
    ...{
      412: 'CONFLICT',
      413: 'PAYLOAD_TOO_LARGE',
      418: 'INVALID_ARGUMENT',
      422: 'INVALID_ARGUMENT',
      429: 'OVERLOADED',
      500: 'UNAVAILABLE',
    },
    ...{ 501: 'INVALID_ARGUMENT', 502: 'UNAVAILABLE', 503: 'UNAVAILABLE', 504: 'DEADLINE_EXCEEDED', 599: 'UNAVAILABLE' },
  }
  for (const [status, code] of Object.entries(codes)) {
    await rejects(api.get(`/status/${status}`), code, { status: Number(status) })
    assert.deepEqual((await api.get(`/status/${status}`, { anyStatus: true })).body, 'secret words')
  }
  await assert.rejects(
    api.get('/status/429?after=7'),
    (error: CageError) => error.retryAfterMs === 7_000 && !/secret/.test(JSON.stringify(error)),
  )
  await assert.rejects(api.post('/status/503?after=120'), (error: CageError) => error.retryAfterMs === 120_000)
  await assert.rejects(api.get('/status/401'), (error: CageError) => error.retryable)
})

test('http client: redirects are followed at the origin, some of them, with the method that the specification says', async (t) => {
  const api = await client(t, { maxRedirects: 3 })
  const via = (method: string, status: number, body?: string): Promise<HttpAnswer> =>
    api.request({ method, path: '/redirect', query: { status, to: '/echo/there?x=1#part' }, body })
  for (const status of [301, 302, 303, 307, 308]) assert.equal((await echoed(via('GET', status))).path, '/echo/there?x=1')
  for (const status of [301, 302, 303]) {
    const got = await echoed(via('POST', status, 'body'))
    assert.deepEqual([got.method, got.text, got.headers['content-type']], ['GET', '', undefined])
  }
  for (const status of [307, 308]) {
    const got = await echoed(via('POST', status, 'body'))
    assert.deepEqual([got.method, got.text], ['POST', 'body'])
  }
  assert.equal((await echoed(via('PUT', 302, 'body'))).method, 'PUT')
  await rejects(api.get('/round'), 'INVALID_ARGUMENT', { status: 302 })
  await rejects(api.get('/redirect', { query: { status: 302, to: 'http://127.0.0.1:1/elsewhere' } }), 'INVALID_ARGUMENT', { status: 302 })
  const { status, headers } = await api.get('/redirect', { query: { status: 302, to: 'http://127.0.0.1:1/elsewhere' }, anyStatus: true })
  assert.deepEqual([status, headers.location], [302, 'http://127.0.0.1:1/elsewhere'])
  await rejects((await client(t, { maxRedirects: 0 })).get('/redirect?status=301&to=/echo'), 'INVALID_ARGUMENT', { status: 301 })
})

test('http client: what is lost is repeated if that does no harm, and not more often than allowed', async (t) => {
  const api = await client(t)
  const lost = (times: number): string => `/dropped/${++keys}?times=${times}`
  const timesOf = async (): Promise<number | undefined> => (await server.stats()).counts[keys]
  assert.equal(((await api.get(lost(2))).body as { attempts: number }).attempts, 3)
  assert.equal(((await api.put(lost(1), 'x')).body as { attempts: number }).attempts, 2)
  await rejects(api.get(lost(9)), 'UNAVAILABLE')
  assert.equal(await timesOf(), 3)
  await rejects(api.post(lost(1), 'x'), 'UNAVAILABLE')
  assert.equal(await timesOf(), 1, 'nobody knows whether it was done: it is not done again')
  const keyed = (await api.post(lost(2), 'x', { idempotencyKey: 'mine' })).body
  assert.deepEqual(keyed, { attempts: 3, key: 'mine' })
  const owned = await client(t, { idempotencyKeys: true })
  const { attempts, key } = (await owned.post(lost(1), 'x')).body as { attempts: number; key: string }
  assert.equal(attempts, 2)
  assert.match(key, /^[\da-f-]{36}$/)
  assert.equal((await echoed(owned.put('/echo', 'x'))).headers['idempotency-key'], undefined, 'PUT needs none')
  await rejects(api.put(lost(1), (async function* () {})()), 'UNAVAILABLE')
  assert.equal(await timesOf(), 1, 'a stream is sent once')
})

test('http client: a POST that was answered with a redirect is not sent again when the redirect cannot be followed', async (t) => {
  const { ca, cert, key } = await certificates(t, [{ type: 7, ip: '127.0.0.1' }])
  const own = { isServer: true, cert: readFileSync(cert), key: readFileSync(key) }
  for (const status of [301, 303, 307]) {
    const had: string[] = []
    const url = await startSockets(t, (socket, nth) => {
      if (nth === 2) return void socket.destroy() // the dial for the redirect fails
      const secure = new TLSSocket(socket, own).on('error', () => {})
      secure.once('data', (bytes) => {
        had.push(String(bytes).slice(0, 4))
        secure.end(`HTTP/1.1 ${status} See\r\nLocation: /there\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
      })
    })
    const api = await client(t, { url: url.replace('http:', 'https:'), tls: { caFile: ca } })
    await rejects(api.post('/', 'once'), 'UNAVAILABLE')
    assert.deepEqual(had, ['POST'], String(status))
  }
})

test('http client: a busy server is asked again when it says so, by who may, within the deadline', async (t) => {
  const api = await client(t)
  const busy = (after: number): string => `/busy/${++keys}?after=${after}`
  assert.deepEqual((await api.get(busy(0))).body, { attempts: 2 })
  await rejects(api.post(busy(0)), 'UNAVAILABLE', { status: 503 })
  assert.deepEqual((await api.post(busy(0), 'x', { idempotencyKey: 'k' })).body, { attempts: 2 })
  const hurried = await client(t, {}, () => scope(1_000))
  await rejects(hurried.get(busy(3)), 'UNAVAILABLE')
  await rejects(api.get(busy(600)), 'UNAVAILABLE', { status: 503 })
})

test('http client: half answers, rubbish and silence fail, and none is taken for a whole one', async (t) => {
  const half = (bytes: string): Promise<HttpResource> =>
    startSockets(t, answering(bytes, true)).then((url) => client(t, { url, maxRetries: 1 }))
  await rejects((await half('HTTP/1.1 200 OK\r\nContent-Le')).get('/'), 'UNAVAILABLE')
  await rejects((await half('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')).get('/'), 'UNAVAILABLE')
  await rejects((await half('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf')).get('/'), 'UNAVAILABLE')
  await rejects((await half('SSH-2.0-OpenSSH_9.2\r\n')).get('/'), 'UNAVAILABLE')
  const cut = await half('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf')
  await rejects(
    cut.stream({ path: '/' }, async ({ body }) => await collected(body)),
    'UNAVAILABLE',
  )
  const silent = await client(t, { url: await startSockets(t, () => {}) }, () => scope(150))
  await rejects(silent.get('/'), 'DEADLINE_EXCEEDED')
  const then = await startSockets(t, (socket, nth) =>
    answering(
      nth === 1 ? 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf' : 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole',
      nth === 1,
    )(socket),
  )
  assert.equal(String((await (await client(t, { url: then })).get('/', { as: 'text' })).body), 'whole', 'a whole one is asked for')
})

test('http client: a frozen server holds nobody past the deadline, and serves when it goes on', async (t) => {
  const own = await startWeb(t)
  const connection = await connect(t, { url: own.url })
  own.freeze()
  await rejects(connection.call('get', ['/echo'], scope(200)), 'DEADLINE_EXCEEDED')
  own.thaw()
  assert.equal(((await connection.call('get', ['/echo'], scope())) as HttpAnswer).status, 200)
  assert.equal(connection.broken, false)
})

test('http client: an idle connection that the server has closed is no failure', async (t) => {
  let hungUp = 0
  const url = await startSockets(t, (socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', () => socket.end(() => hungUp++)))
  })
  const api = await client(t, { url, maxRetries: 0 })
  for (let n = 1; n <= 3; n++) {
    assert.equal((await api.post('/', 'x', { as: 'text' })).body, 'ok')
    await eventually('it has hung up', () => hungUp === n)
    await new Promise((resolve) => setImmediate(resolve)) // what the socket tells is heard
  }
})

test('http client: an answer with more than four content codings is not read', async (t) => {
  const bytes = [1, 2, 3, 4, 5].reduce((squeezed) => gzipSync(squeezed), Buffer.from('squeezed'))
  const head = (codings: number): string =>
    `HTTP/1.1 200 OK\r\nContent-Encoding: ${new Array(codings).fill('gzip').join()}\r\nContent-Length: ${bytes.length}\r\n\r\n`
  const api = async (codings: number): Promise<HttpResource> =>
    client(t, { url: await startSockets(t, answering(Buffer.concat([Buffer.from(head(codings)), bytes]))) })
  assert.deepEqual((await (await api(4)).get('/', { as: 'bytes' })).body, new Uint8Array(gzipSync('squeezed')))
  await assert.rejects((await api(5)).get('/'), { code: 'UNAVAILABLE', retryable: false })
  const streamed = (await api(5)).stream({ path: '/' }, async ({ body }) => await collected(body))
  await assert.rejects(streamed, { code: 'UNAVAILABLE', retryable: false })
})

test('http client: what a body throws while it is sent is thrown, and the connection serves on', async (t) => {
  const connection = await connect(t)
  const own = new Error('the file has gone')
  const body = (async function* () {
    yield Buffer.from('piece')
    throw own
  })()
  await assert.rejects(connection.call('put', ['/echo', body], scope()), (error) => error === own)
  assert.equal(connection.broken, false)
  assert.equal(((await connection.call('get', ['/echo'], scope())) as HttpAnswer).status, 200)
})

test('http client: a proxy is asked for http, and tunnels https, with our name for it', async (t) => {
  const seen: string[] = []
  const proxy = createServer((request, response) => {
    seen.push(`${request.method} ${request.url} ${request.headers['proxy-authorization']}`)
    response.end('by proxy')
  })
  proxy.on('connect', (request, socket: Socket) => {
    seen.push(`CONNECT ${request.url} ${request.headers['proxy-authorization']}`)
    if (request.headers['proxy-authorization'] === undefined) return socket.end('HTTP/1.1 407 Who are you\r\n\r\n')
    const [host, port] = String(request.url).split(':')
    const onward = connectTo(Number(port), host, () => socket.write('HTTP/1.1 200 Connected\r\n\r\n'))
    socket.pipe(onward).pipe(socket)
    for (const end of [socket, onward]) end.on('error', () => {})
  })
  const port = await freePort()
  await new Promise<void>((resolve) => proxy.listen(port, '127.0.0.1', resolve))
  atEnd(t, () => void proxy.close().closeAllConnections())
  const through = await client(t, { url: 'http://far.example:81/x', proxy: `http://me:secret@127.0.0.1:${port}` })
  assert.equal(String((await through.get('/y?z=1', { as: 'text' })).body), 'by proxy')
  const basic = `Basic ${Buffer.from('me:secret').toString('base64')}`
  assert.deepEqual(seen, [`GET http://far.example:81/x/y?z=1 ${basic}`])
  await rejects(client(t, { url: 'https://127.0.0.1:9', proxy: `http://127.0.0.1:${port}` }), 'UNAUTHENTICATED')
})

test('http client: nothing is left of a tunnel that fails, whatever it fails of', async (t) => {
  let closed = 0
  const proxy = await startSockets(t, (socket) => {
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\n\r\n')).on('close', () => closed++)
  })
  const options = httpClientOptions.parse({ url: 'https://far.example' })
  await assert.rejects(dial({ ...options, proxy: proxy.replace('//', '//me:50%@') }, 'api', scope()), URIError)
  await eventually('the proxy is left', () => closed === 1)
  const { ca: certFile, key: keyFile } = await certificates(t, [])
  await assert.rejects(dial({ ...options, proxy, tls: { verify: true, certFile, keyFile } }, 'api', scope()), /key values mismatch/)
  await eventually('the proxy is left', () => closed === 2)
})

test('http client: mistakes of the caller are told before anything is sent', async (t) => {
  const api = await client(t, { url: `${server.url}/v1` })
  const wrong: Promise<unknown>[] = [
    api.get('no-slash'),
    api.get('/../admin'),
    api.get('/%2e%2e/admin'),
    api.get('/x#part'),
    api.get('/', { headers: { 'x-a': 'b\r\nx-c: d' } }),
    api.get('/', { headers: { host: 'other' } }),
    api.get('/', { qurey: {} } as object),
    api.request({ method: 'GET /', path: '/' }),
    api.request({ path: '/', body: () => {} }),
    api.get('/', { as: 'xml' as 'text' }),
    api.post('/', 'x', { idempotencyKey: '' }),
    api.stream({ path: '/' }, 'no function' as never),
  ]
  for (const each of wrong) await rejects(each, 'INVALID_ARGUMENT')
  await assert.rejects(api.get('/', { qurey: {} } as object), /did you mean query\?/)
})

test('http client: wrong options are told without their values', () => {
  const mistakes = (options: object): string => JSON.stringify(httpClientOptions.safeParse(options).error?.issues ?? [])
  assert.match(mistakes({ url: 'http://me:secret@host' }), /has a user or a password/)
  assert.match(mistakes({ url: 'ftp://host' }), /no http/)
  assert.match(mistakes({ url: 'http://h', headers: { a: 'secret\n' } }), /is no header/)
  assert.match(mistakes({ url: 'http://h', tls: { certFile: 'x' } }), /needed together/)
  assert.match(mistakes({ url: 'http://h', proxy: 'ftp://p' }), /no http/)
  assert.match(mistakes({ url: 'http://h', proxy: 'http://me:secret%@p' }), /write it as %25/)
  assert.doesNotMatch(mistakes({ url: 'http://h', proxy: 'http://me:secret%@p' }), /secret/)
  assert.equal(mistakes({ url: 'http://h', proxy: 'http://me:secret%25@p' }), '[]')
  for (const url of ['http://me:secret@host', 'http://h?key=secret']) assert.doesNotMatch(mistakes({ url }), /secret/)
  assert.doesNotMatch(mistakes({ url: 'http://h', headers: { a: 'secret\n' } }), /secret/)
})
