/** Requests and responses of the HTTP interface: a built node, asked by curl and by bytes on a socket. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { curl, exchange, run } from '../support/http.ts'
import { type NodeProcess, project, startNode } from '../support/node.ts'

const MODULES = {
  'cages/web/api.js': `
    const shape = (value) => value instanceof Uint8Array ? { bytes: [...value] } : { type: typeof value, value }
    export async function take(ctx, ...args) { return args.map(shape) }
    export async function give(ctx, kind) {
      return {
        text: 'Grüße', bytes: new Uint8Array([0, 255]), nothing: undefined, null: null, number: 5, no: false, empty: '',
        rich: { when: new Date(0), big: 2n ** 70n, map: new Map([['a', 1n]]), set: new Set([1]), bytes: new Uint8Array([255]) },
        long: 'long '.repeat(1_000), short: 'short',
      }[kind]
    }
    export async function request(ctx) {
      const { id, protocol, interface: name, traceparent } = ctx.request
      return { id, protocol, interface: name, traceparent, remainingMs: ctx.remainingMs }
    }`,
  'cages/web/failing.ts': `
    import { CageError, type Context } from 'menagerie'
    export async function fail(ctx: Context, code: string): Promise<void> { throw new CageError(code, 'because of ' + code, { details: { a: 1 } }) }
    export async function crash(): Promise<void> { throw new TypeError('the password is 12345') }
    export async function hang(ctx: Context): Promise<void> { await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve)) }`,
  'cages/web/busy.js': `
    export const options = { concurrency: 1, maxQueued: 0 }
    export async function hold(ctx) { await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve)) }`,
  'cages/web/pages.js': `
    const answers = {
      '/json': { body: { ok: true } },
      '/full': { status: 201, headers: { 'x-one': '1', 'set-cookie': ['a=1', 'b=2'], 'content-type': 'text/css' }, body: 'a{}' },
      '/bytes': { body: new Uint8Array([1, 2]) },
      '/nothing': { status: 204 },
      '/empty': {},
      '/hop': { headers: { Connection: 'x', 'Content-Length': '999', 'Transfer-Encoding': 'chunked' }, body: 'whole' },
      '/wrong-field': { statusCode: 404 },
      '/wrong-status': { status: 99 },
      '/wrong-header': { headers: { 'x-split': 'a\\r\\nSet-Cookie: stolen=1' } },
      '/no-object': 'text',
      '/long': { headers: { vary: 'Cookie' }, body: 'long '.repeat(1_000) },
      '/image': { headers: { 'content-type': 'image/png' }, body: 'long '.repeat(1_000) },
    }
    export async function serve(ctx, request) {
      if (request.path in answers) return answers[request.path]
      const body = request.body instanceof Uint8Array ? { bytes: [...request.body] } : request.body
      return { body: { ...request, body } }
    }`,
}

const PORTS = { api: 0, site: 0, extras: 0, small: 0 }
let node: NodeProcess

before(async () => {
  const server = await startNats(suite)
  for (const name of Object.keys(PORTS) as (keyof typeof PORTS)[]) PORTS[name] = await freePort()
  const config = {
    timeoutMs: 5_000,
    interfaces: {
      api: {
        kind: 'http',
        port: PORTS.api,
        timeoutMs: 2_000,
        statuses: { TOO_LONG: 422 },
        routes: {
          'GET /path/:a/:b': 'api.take',
          'GET /search?q&limit': 'api.take',
          'PUT /items/:id?mode': 'api.take',
          'POST /items': 'web.api.take',
          'PATCH /items': 'api.take',
          'DELETE /items/:id': 'api.take',
          'GET /give/:kind': 'api.give',
          'GET /request': 'api.request',
          'GET /fail/:code': 'failing.fail',
          'GET /crash': 'failing.crash',
          'GET /hang': 'failing.hang',
          'GET /busy': 'busy.hold',
          'GET /nobody': 'nowhere.nothing',
        },
      },
      site: { kind: 'http', port: PORTS.site, handler: 'pages.serve', routes: { 'GET /api': 'api.take' } },
      extras: {
        kind: 'http',
        port: PORTS.extras,
        handler: 'pages.serve',
        routes: { 'GET /give/:kind': 'api.give' },
        trustedProxies: ['loopback'],
        cors: { origins: ['https://one.example', 'https://two.example'], credentials: true },
        gzip: true,
        accessLog: true,
      },
      small: { kind: 'http', port: PORTS.small, maxBodyBytes: 1_000, maxHeaderBytes: 2_000, routes: { 'POST /items': 'api.take' } },
    },
  }
  const { dir } = project(suite, { ...MODULES, 'config/web.ts': `export default ${JSON.stringify(config)}` })
  node = startNode(suite, dir, ['--cage', 'web', '--bus', server.url])
  await node.ready
})

function at(name: keyof typeof PORTS, path: string): string {
  return `http://127.0.0.1:${PORTS[name]}${path}`
}

async function post(path: string, type: string, body: string | Buffer, ...words: string[]): Promise<{ status: number; value: unknown }> {
  const file = project(suite, { body: '' })
  file.write('body', body as string)
  const { status, json } = await curl('-X', 'POST', '-H', `Content-Type: ${type}`, '--data-binary', `@${file.dir}/body`, ...words, path)
  return { status, value: json() }
}

const text = (value: string): object => ({ type: 'string', value })
const missing = { type: 'undefined' }

test('http: a method gets the path’s parameters in their order, decoded', async () => {
  assert.deepEqual((await curl(at('api', '/path/one/two'))).json(), [text('one'), text('two')])
  assert.deepEqual((await curl(at('api', '/path/J%C3%B6rg/a%2Fb%20c+d'))).json(), [text('Jörg'), text('a/b c+d')])
  const long = 'x'.repeat(8_000)
  assert.deepEqual((await curl(at('api', `/path/${long}/b`))).json(), [text(long), text('b')])
})

test('http: a method gets the query’s parameters that its route names, in the route’s order', async () => {
  assert.deepEqual((await curl(at('api', '/search?limit=5&q=a%20b&other=1'))).json(), [text('a b'), text('5')])
  assert.deepEqual((await curl(at('api', '/search?limit='))).json(), [missing, text('')])
  const twice = await curl(at('api', '/search?q=1&q=2'))
  assert.equal(twice.status, 400)
  assert.deepEqual(twice.json(), { code: 'INVALID_ARGUMENT', message: 'the query has q more than once' })
})

test('http: POST, PUT and PATCH have the body as their last argument, always', async () => {
  const json = ['-H', 'Content-Type: application/json', '-d', '{"n":[1,null]}']
  const body = { type: 'object', value: { n: [1, null] } }
  assert.deepEqual((await curl('-X', 'PUT', ...json, at('api', '/items/7?mode=fast'))).json(), [text('7'), text('fast'), body])
  assert.deepEqual((await curl('-X', 'PUT', at('api', '/items/7'))).json(), [text('7'), missing, missing])
  assert.deepEqual((await curl('-X', 'PATCH', ...json, at('api', '/items'))).json(), [body])
  assert.deepEqual((await curl('-X', 'POST', at('api', '/items'))).json(), [missing])
  assert.deepEqual((await curl('-X', 'DELETE', ...json, at('api', '/items/7'))).json(), [text('7')])
})

test('http: a body is JSON, a form, text or bytes, by its type', async () => {
  const items = at('api', '/items')
  const value = async (type: string, body: string | Buffer): Promise<unknown> => (await post(items, type, body)).value
  assert.deepEqual(await value('application/json; charset=utf-8', '"Grüße"'), [text('Grüße')])
  assert.deepEqual(await value('application/vnd.api+json', '[1]'), [{ type: 'object', value: [1] }])
  assert.deepEqual(await value('application/x-www-form-urlencoded', 'a=1&a=2&b=%C3%BC+&a=3'), [
    { type: 'object', value: { a: ['1', '2', '3'], b: 'ü ' } },
  ])
  assert.deepEqual(await value('text/plain', 'Grüße'), [text('Grüße')])
  assert.deepEqual(await value('text/csv; charset="ISO-8859-1"', Buffer.from('Gr\xfc\xdfe', 'latin1')), [text('Grüße')])
  assert.deepEqual(await value('application/octet-stream', Buffer.from([0, 255])), [{ bytes: [0, 255] }])
  assert.deepEqual(await value('', Buffer.from([0, 255])), [{ bytes: [0, 255] }], 'no type')
})

test('http: a body that is not what its type says is answered with 400', async () => {
  const items = at('api', '/items')
  const bad: [string, string | Buffer][] = [
    ['application/json', '{"a":'],
    ['application/json', '{"__proto__":{"admin":true}}'],
    ['application/json', '{"constructor":{"prototype":{"admin":true}}}'],
    ['application/json', Buffer.from([0x22, 0xff, 0x22])],
    ['text/plain', Buffer.from([0xff])],
  ]
  for (const [type, body] of bad) {
    const { status, value } = await post(items, type, body)
    assert.equal(status, 400, String(body))
    assert.equal((value as { code: string }).code, 'INVALID_ARGUMENT')
  }
})

test('http: a body of a type that is not read is answered with 415, whatever its content', async () => {
  const items = at('api', '/items')
  const answers = [
    await post(items, 'application/xml', '<a/>'),
    await post(items, 'nonsense', 'a'),
    await post(items, 'text/plain; charset=klingon', 'a'),
    await post(items, 'application/json', '{}', '-H', 'Content-Encoding: gzip'),
    await post(items, 'multipart/form-data; boundary=x', '--x--'),
  ]
  for (const { status, value } of answers) {
    assert.equal(status, 415)
    assert.equal((value as { code: string }).code, 'UNSUPPORTED_MEDIA_TYPE')
  }
})

test('http: a body over the limit is answered with 413, whether it tells its length or not', async (t) => {
  const told = await post(at('small', '/items'), 'text/plain', 'x'.repeat(1_001))
  assert.deepEqual(told, { status: 413, value: { code: 'PAYLOAD_TOO_LARGE', message: 'the body is too large' } })
  const chunked = await post(at('small', '/items'), 'text/plain', 'x'.repeat(1_001), '-H', 'Transfer-Encoding: chunked')
  assert.equal(chunked.status, 413)
  assert.equal((await post(at('small', '/items'), 'text/plain', 'x'.repeat(1_000))).status, 200)
  const early = await exchange(
    t,
    PORTS.small,
    'POST /items HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\nbegun',
  )
  assert.match(early, /^HTTP\/1\.1 413 /, 'answered before it has come')
})

test('http: a result is text, bytes, nothing or JSON', async () => {
  const give = async (kind: string): Promise<[number, string | undefined, string]> => {
    const { status, headers, body } = await curl(at('api', `/give/${kind}`))
    return [status, headers.get('content-type'), body.toString('latin1')]
  }
  const json = 'application/json; charset=utf-8'
  assert.deepEqual(await give('text'), [200, 'text/plain; charset=utf-8', Buffer.from('Grüße').toString('latin1')])
  assert.deepEqual(await give('empty'), [200, 'text/plain; charset=utf-8', ''])
  assert.deepEqual(await give('bytes'), [200, 'application/octet-stream', '\x00\xff'])
  assert.deepEqual(await give('nothing'), [204, undefined, ''])
  assert.deepEqual(await give('null'), [204, undefined, ''])
  assert.deepEqual(await give('number'), [200, json, '5'])
  assert.deepEqual(await give('no'), [200, json, 'false'])
  assert.deepEqual(await give('rich'), [
    200,
    json,
    '{"when":"1970-01-01T00:00:00.000Z","big":"1180591620717411303424","map":{"a":1},"set":[1],"bytes":"/w=="}',
  ])
})

test('http: HEAD is answered as GET, without the body', async () => {
  const { status, headers, body } = await curl('--head', at('api', '/give/short'))
  assert.deepEqual(
    [status, headers.get('content-length'), headers.get('content-type'), body.length],
    [200, '5', 'text/plain; charset=utf-8', 0],
  )
  const page = await curl('--head', at('site', '/json'))
  assert.deepEqual([page.status, page.headers.get('content-length'), page.body.length], [200, '11', 0])
})

test('http: each code has its status, and 503 says when to try again', async () => {
  const statuses: [string, number][] = [
    ['INVALID_ARGUMENT', 400],
    ['UNAUTHENTICATED', 401],
    ['FORBIDDEN', 403],
    ['NOT_FOUND', 404],
    ['METHOD_NOT_ALLOWED', 405],
    ['CONFLICT', 409],
    ['PAYLOAD_TOO_LARGE', 413],
    ['UNSUPPORTED_MEDIA_TYPE', 415],
    ['TOO_LONG', 422],
    ['CANCELLED', 499],
    ['INTERNAL', 500],
    ['toString', 500],
    ['OVERLOADED', 503],
    ['UNAVAILABLE', 503],
    ['DEADLINE_EXCEEDED', 504],
  ]
  for (const [code, status] of statuses) {
    const response = await curl(at('api', `/fail/${code}`))
    assert.equal(response.status, status, code)
    assert.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
    assert.equal(response.headers.get('retry-after'), status === 503 ? '1' : undefined, code)
    assert.equal((response.json() as { code: string }).code, code)
  }
  assert.deepEqual((await curl(at('api', '/fail/TOO_LONG'))).json(), {
    code: 'TOO_LONG',
    message: 'because of TOO_LONG',
    details: { a: 1 },
  })
})

test('http: what the runtime has to say with 5xx names neither module nor cause', async () => {
  const crash = await curl(at('api', '/crash'))
  assert.deepEqual([crash.status, crash.text], [500, '{"code":"INTERNAL","message":"internal error"}'])
  for (const code of ['INTERNAL', 'OVERLOADED', 'UNAVAILABLE', 'DEADLINE_EXCEEDED']) {
    assert.doesNotMatch((await curl(at('api', `/fail/${code}`))).text, /because|details/)
  }
  assert.doesNotMatch((await curl(at('api', '/nobody'))).text, /nowhere/)
})

test('http: what nobody serves is answered with 503 at once', async () => {
  const begun = performance.now()
  const { status, headers, json } = await curl(at('api', '/nobody'))
  assert.deepEqual([status, headers.get('retry-after'), (json() as { code: string }).code], [503, '1', 'UNAVAILABLE'])
  assert.ok(performance.now() - begun < 2_000, 'not at the deadline')
})

test('http: what a full module refuses is answered with 503 at once', async () => {
  const held = curl('-H', 'Timeout-Ms: 1500', at('api', '/busy'))
  let refused = await curl('-H', 'Timeout-Ms: 1', at('api', '/busy'))
  while (refused.status === 504) refused = await curl('-H', 'Timeout-Ms: 1', at('api', '/busy')) // the first has not arrived yet
  assert.deepEqual(
    [refused.status, refused.headers.get('retry-after'), (refused.json() as { code: string }).code],
    [503, '1', 'OVERLOADED'],
  )
  assert.equal((await held).status, 504)
})

test('http: what is not answered by the deadline is answered with 504, and a client may shorten its time', async () => {
  const timed = async (...words: string[]): Promise<number> => {
    const begun = performance.now()
    const { status, text } = await curl(...words, at('api', '/hang'))
    assert.deepEqual([status, text], [504, '{"code":"DEADLINE_EXCEEDED","message":"there was no answer in time"}'])
    return performance.now() - begun
  }
  const [whole, shortened, lengthened] = await Promise.all([timed(), timed('-H', 'Timeout-Ms: 300'), timed('-H', 'Timeout-Ms: 60000')])
  assert.ok(whole >= 1_990 && lengthened >= 1_990 && lengthened < 10_000, `${whole} ${lengthened}`)
  assert.ok(shortened >= 290 && shortened < 1_900, `${shortened}`)
  for (const wrong of ['0', '-1', 'soon']) assert.equal((await curl('-H', `Timeout-Ms: ${wrong}`, at('api', '/request'))).status, 400)
})

test('http: a path that no route knows is answered with 404, a method that it does not take with 405 and Allow', async () => {
  const nowhere = await curl(at('api', '/nowhere?secret=1'))
  assert.deepEqual([nowhere.status, nowhere.text], [404, '{"code":"NOT_FOUND","message":"there is nothing at this path"}'])
  const xml = ['-H', 'Content-Type: application/xml', '-d', '<a/>']
  const wrong = await curl('-X', 'POST', ...xml, at('api', '/path/a/b%2Fc'))
  assert.deepEqual([wrong.status, wrong.headers.get('allow')], [405, 'GET, HEAD'])
  assert.equal((await curl('-X', 'DELETE', at('api', '/items'))).headers.get('allow'), 'PATCH, POST')
  assert.equal((await curl('-X', 'PROPFIND', at('api', '/items/1'))).headers.get('allow'), 'DELETE, PUT')
  assert.equal((await curl('-X', 'POST', ...xml, at('api', '/nowhere'))).status, 404)
})

test('http: what is no HTTP is answered with 400, headers that are too large with 431, and the connection ends', async (t) => {
  const answers: [string, RegExp][] = [
    ['nonsense\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n', /^HTTP\/1\.1 400 /],
    [
      'POST /items HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n',
      /^HTTP\/1\.1 400 /,
    ],
    ['POST /items HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!', /^HTTP\/1\.1 400 /],
    ['POST /items HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n', /^HTTP\/1\.1 400 /],
    ['POST /items HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n', /^HTTP\/1\.1 400 /],
    [`GET / HTTP/1.1\r\nHost: a\r\nX-Large: ${'x'.repeat(2_500)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    [`GET /${'x'.repeat(2_500)} HTTP/1.1\r\nHost: a\r\n\r\n`, /^HTTP\/1\.1 431 /],
  ]
  for (const [bytes, expected] of answers) {
    const received = await exchange(t, PORTS.small, bytes)
    assert.match(received, expected, bytes.slice(0, 80))
    assert.match(received, /\r\nContent-Type: application\/json[\s\S]*\r\n\r\n\{"code":"[A-Z_]+","message":"[^"]+"\}$/i)
    assert.doesNotMatch(received.slice(1), /HTTP\/1\.1 /, 'one answer')
  }
  const badUrl = await curl(at('api', '/path/%zz/b'))
  assert.deepEqual([badUrl.status, (badUrl.json() as { code: string }).code], [400, 'INVALID_ARGUMENT'])
  assert.match(await exchange(t, PORTS.api, 'GET / HTTP/1.1\r\nConnection: close\r\n\r\n'), /^HTTP\/1\.1 400 /, 'no Host')
})

test('http: the handler gets the whole request', async () => {
  const words = ['-X', 'PUT', '-H', 'X-Own: 1', '-H', 'Content-Type: application/json', '-d', '{"a":1}']
  const { status, json } = await curl(...words, at('site', '/a%20b/../c?x=1&y=%20&x=2'))
  assert.equal(status, 200)
  const { headers, ...rest } = json() as { headers: Record<string, string> }
  assert.deepEqual(rest, {
    method: 'PUT',
    url: '/a%20b/../c?x=1&y=%20&x=2',
    path: '/a%20b/../c',
    query: { x: ['1', '2'], y: ' ' },
    body: { a: 1 },
    ip: '127.0.0.1',
    host: `127.0.0.1:${PORTS.site}`,
    protocol: 'http',
  })
  assert.deepEqual([headers['x-own'], headers['content-type'], headers['content-length']], ['1', 'application/json', '7'])
})

test('http: the handler gets every method and every type of body, and what a route’s path has in another method', async (t) => {
  const bytes = { bytes: [60, 97, 47, 62] }
  assert.deepEqual(((await post(at('site', '/x'), 'application/xml', '<a/>')).value as { body: unknown }).body, bytes)
  assert.deepEqual(((await post(at('site', '/x'), 'application/json', '[1]')).value as { body: unknown }).body, [1])
  const zipped = await post(at('site', '/x'), 'application/json', '<a/>', '-H', 'Content-Encoding: gzip')
  assert.deepEqual((zipped.value as { body: unknown }).body, bytes, 'as it came')
  assert.equal((await post(at('site', '/x'), 'application/json', '[1')).status, 400)
  for (const method of ['GET', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE']) {
    assert.equal(((await curl('-X', method, at('site', '/x'))).json() as { method: string }).method, method)
  }
  assert.equal(((await curl('-X', 'POST', at('site', '/api'))).json() as { method: string }).method, 'POST')
  assert.deepEqual((await curl(at('site', '/api'))).json(), [], 'the route itself')
  const absolute = await exchange(t, PORTS.site, 'GET http://other.example/p?q=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  assert.match(absolute, /"url":"\/p\?q=1","path":"\/p"/)
})

test('http: the handler’s answer has its status, headers and body', async () => {
  const json = await curl(at('site', '/json'))
  assert.deepEqual([json.status, json.headers.get('content-type'), json.text], [200, 'application/json; charset=utf-8', '{"ok":true}'])
  const full = await curl(at('site', '/full'))
  assert.deepEqual(
    [full.status, full.headers.get('x-one'), full.headers.get('set-cookie'), full.headers.get('content-type'), full.text],
    [201, '1', 'a=1, b=2', 'text/css', 'a{}'],
  )
  const bytes = await curl(at('site', '/bytes'))
  assert.deepEqual([bytes.headers.get('content-type'), [...bytes.body]], ['application/octet-stream', [1, 2]])
  assert.equal((await curl(at('site', '/nothing'))).status, 204)
  const empty = await curl(at('site', '/empty'))
  assert.deepEqual([empty.status, empty.headers.get('content-length'), empty.text], [200, '0', ''])
  const hop = await curl(at('site', '/hop'))
  assert.deepEqual([hop.headers.get('content-length'), hop.headers.get('transfer-encoding'), hop.text], ['5', undefined, 'whole'])
})

test('http: an answer of the handler that is none becomes 500, and the log says why', async () => {
  const wrong: [string, RegExp][] = [
    ['/wrong-field', /unknown field statusCode/],
    ['/wrong-status', /status 99/],
    ['/wrong-header', /Invalid character in header content/],
    ['/no-object', /answered no object/],
  ]
  for (const [path, why] of wrong) {
    const since = node.log.length
    const { status, headers, text } = await curl(at('site', path))
    assert.deepEqual([status, text], [500, '{"code":"INTERNAL","message":"internal error"}'])
    assert.equal(headers.get('set-cookie'), undefined)
    await node.until('the log says why', (entry) => why.test((entry.err as Error | undefined)?.message ?? ''), { since })
  }
})

test('http: an id and a trace context travel with the request, if they are well-formed', async () => {
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const given = await curl('-H', 'Request-Id: my-id.7', '-H', `traceparent: ${trace}`, at('api', '/request'))
  assert.equal(given.headers.get('request-id'), 'my-id.7')
  const { id, traceparent, protocol, interface: name } = given.json() as Record<string, string>
  assert.deepEqual([id, traceparent, protocol, name], ['my-id.7', trace, 'http', 'api'])
  for (const bad of ['has space', 'x'.repeat(129), 'ü']) {
    const replaced = await curl('-H', `Request-Id: ${bad}`, '-H', 'traceparent: 00-1-2-3', at('api', '/request'))
    const own = replaced.json() as Record<string, string>
    assert.equal(replaced.headers.get('request-id'), own.id)
    assert.notEqual(own.id, bad)
    assert.equal(own.traceparent, undefined)
  }
  assert.ok((await curl(at('api', '/fail/NOT_FOUND'))).headers.get('request-id'), 'a failure has one too')
})

test('http: who the client is, only a trusted proxy may say', async () => {
  const forged = [
    '-H',
    'X-Forwarded-For: 203.0.113.9, 198.51.100.7',
    '-H',
    'X-Forwarded-Proto: https',
    '-H',
    'X-Forwarded-Host: public.example',
  ]
  const seen = async (name: 'site' | 'extras'): Promise<unknown[]> => {
    const { ip, protocol, host } = (await curl(...forged, at(name, '/x'))).json() as Record<string, string>
    return [ip, protocol, host]
  }
  assert.deepEqual(await seen('site'), ['127.0.0.1', 'http', `127.0.0.1:${PORTS.site}`])
  assert.deepEqual(await seen('extras'), ['198.51.100.7', 'https', 'public.example'], 'the address that the proxy itself saw')
})

test('http: CORS answers a preflight, and names the origins that may read', async () => {
  const ask = (origin: string, ...words: string[]): ReturnType<typeof curl> =>
    curl('-H', `Origin: ${origin}`, ...words, at('extras', '/json'))
  const one = await ask('https://one.example')
  assert.deepEqual(
    ['access-control-allow-origin', 'access-control-allow-credentials', 'vary'].map((name) => one.headers.get(name)),
    ['https://one.example', 'true', 'Origin'],
  )
  assert.equal((await ask('https://evil.example')).headers.get('access-control-allow-origin'), undefined)
  const preflight = ['-X', 'OPTIONS', '-H', 'Access-Control-Request-Method: PUT', '-H', 'Access-Control-Request-Headers: x-own']
  const allowed = await ask('https://two.example', ...preflight)
  assert.deepEqual(
    [allowed.status, allowed.headers.get('access-control-allow-methods'), allowed.headers.get('access-control-allow-headers')],
    [204, 'GET, HEAD, POST, PUT, PATCH, DELETE', 'x-own'],
  )
  assert.equal(allowed.headers.get('access-control-max-age'), '600')
  assert.equal((await curl('-H', 'Origin: https://one.example', at('site', '/json'))).headers.get('access-control-allow-origin'), undefined)
})

test('http: gzip is for who takes it, for text, and for what is long enough', async () => {
  const zipped = await curl('-H', 'Accept-Encoding: br, gzip;q=0.5', at('extras', '/give/long'))
  assert.deepEqual([zipped.headers.get('content-encoding'), zipped.headers.get('vary')], ['gzip', 'Origin, Accept-Encoding'])
  assert.equal(gunzipSync(zipped.body).toString(), 'long '.repeat(1_000))
  assert.equal(Number(zipped.headers.get('content-length')), zipped.body.length)
  const page = await curl('--compressed', at('extras', '/long'))
  assert.deepEqual([page.text.length, page.headers.get('vary')], [5_000, 'Cookie, Accept-Encoding'])
  for (const [path, accepts] of [
    ['/give/long', 'gzip;q=0'],
    ['/give/long', 'br'],
    ['/give/short', 'gzip'],
    ['/image', 'gzip'],
  ]) {
    const plain = await curl('-H', `Accept-Encoding: ${accepts}`, at('extras', path ?? ''))
    assert.equal(plain.headers.get('content-encoding'), undefined, `${path} ${accepts}`)
  }
  assert.equal((await curl('-H', 'Accept-Encoding: gzip', at('site', '/long'))).headers.get('content-encoding'), undefined, 'not asked for')
})

test('http: the access log has a line per answer, without the query, and is silent elsewhere', async () => {
  const since = node.log.length
  await curl(at('site', '/json'))
  await curl('-H', 'Request-Id: logged', at('extras', '/json?password=1'))
  const line = await node.until('the line', (entry) => entry.msg === 'answered', { since })
  assert.deepEqual([line.interface, line.method, line.path, line.status, line.request], ['extras', 'GET', '/json', 200, 'logged'])
  assert.equal(typeof line.ms, 'number')
  assert.doesNotMatch(JSON.stringify(line), /password/)
})

test('http: several requests on one connection are answered in their order', async (t) => {
  const ask = (kind: string, last = ''): string => `GET /give/${kind} HTTP/1.1\r\nHost: a\r\n${last}\r\n`
  const received = await exchange(t, PORTS.api, ask('number') + ask('nothing') + ask('short', 'Connection: close\r\n'))
  assert.deepEqual(received.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 204', 'HTTP/1.1 200'])
  assert.match(received, /\r\n\r\n5HTTP[\s\S]*\r\n\r\nshort$/)
})

test('http: every mistake in the options is told, with what would be right', async (t) => {
  const interfaces = {
    a: { kind: 'http', prot: 1, routes: { 'GET /a': 'a.b' } },
    b: { kind: 'http', port: 80, routes: { 'GET/x': 'a.b', 'FETCH /y': 'a.b', 'HEAD /z': 'a.b', 'GET /*': 'a.b', 'GET /:a/:a': 'a.b' } },
    c: { kind: 'http', port: 80, routes: { 'GET /a/:x': 'a.b', 'GET /a/:y': 'a.b', 'GET /c': 'hello' }, handler: 'a.b.c.d' },
    d: {
      kind: 'http',
      port: 80,
      handler: 'a.b',
      tls: { keyFile: 'x' },
      trustedProxies: ['everybody'],
      cors: { origins: ['*'], credentials: true },
    },
    e: { kind: 'http', port: 80 },
  }
  const { dir } = project(t, { 'cages/x/a.js': '', 'config/x.ts': `export default ${JSON.stringify({ interfaces })}` })
  const refused = startNode(t, dir, ['--cage', 'x', '--bus', 'nats://127.0.0.1:1'])
  assert.equal(await refused.exited, 78)
  const told = refused
    .stderr()
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/^menagerie: config\/x\.ts: interfaces\./, ''))
  assert.deepEqual(told, [
    'a.port: expected number, received undefined',
    'a.prot: unknown option, did you mean port?',
    "b.routes.GET/x: a route is METHOD /path, such as 'GET /orders/:id'",
    'b.routes.FETCH /y: unknown method FETCH (known: GET, POST, PUT, PATCH, DELETE); the handler gets all others',
    'b.routes.HEAD /z: HEAD is answered by the route of GET',
    'b.routes.GET /*: "*" is neither text nor a :parameter',
    'b.routes.GET /:a/:a: a stands there twice',
    'c.routes.GET /c: "hello" is neither module.method nor cage.module.method',
    'c.routes.GET /a/:y: GET /a/:x takes the same requests',
    'c.handler: "a.b.c.d" is neither module.method nor cage.module.method',
    'd.tls: either keyFile and certFile are needed, or selfSigned: true',
    'd.trustedProxies.0: "everybody" is no address, no network (10.0.0.0/8), and not loopback',
    'd.cors: credentials need origins by name, not *',
    'e: routes, events or a handler are needed, there is nothing to serve',
  ])
})

test('http: openssl and curl find no TLS on a plain port, and it goes on', async () => {
  const { status } = await run('openssl', ['s_client', '-connect', `127.0.0.1:${PORTS.small}`])
  assert.notEqual(status, 0)
  assert.equal((await post(at('small', '/items'), 'text/plain', 'x')).status, 200)
})
