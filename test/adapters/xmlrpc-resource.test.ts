/** The XML-RPC resource against Python's server, and against servers that answer otherwise. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createPlainServer } from 'node:net'
import { before, test } from 'node:test'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import { xmlrpcOptions } from '../../src/adapters/xmlrpc/options.ts'
import { open } from '../../src/adapters/xmlrpc/resource.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { type CertificateFiles, certificates } from '../support/certificates.ts'
import { type PythonServer, startPython } from '../support/xmlrpc.ts'

let server: PythonServer

before(async () => {
  server = await startPython(suite)
})

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

async function connect(owner: Owner, options: object): Promise<ResourceConnection> {
  const resource = await open(xmlrpcOptions.parse(options), { cage: 'c', name: 'partner', log: recordingLog().log })
  const connection = await resource.connect(scope())
  atEnd(owner, () => connection.close())
  return connection
}

/** A connection's calls. */
function callsOf(connection: ResourceConnection): (...args: unknown[]) => Promise<unknown> {
  return (...args) => connection.call('call', args, scope())
}

/** A server that answers so; a HEAD gets 405. */
async function answering(owner: Owner, answer: RequestListener): Promise<string> {
  const stub = createServer((request, response) => {
    if (request.method === 'HEAD') return void response.writeHead(405).end()
    request.resume().on('end', () => answer(request, response))
  }).listen(0, '127.0.0.1')
  await once(stub, 'listening')
  atEnd(owner, async () => {
    stub.closeAllConnections()
    stub.close()
    await once(stub, 'close')
  })
  const address = stub.address()
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}/`
}

async function failure(work: Promise<unknown>): Promise<CageError> {
  try {
    await work
  } catch (error) {
    assert.ok(error instanceof CageError, String(error))
    return error
  }
  assert.fail('it did not fail')
}

test('xmlrpc resource: Python gets each value as its type, and gives it back', async (t) => {
  const call = callsOf(await connect(t, { url: server.url }))
  const cases: [unknown, string, unknown?][] = [
    [7, 'int 7'],
    [2 ** 40, 'int 1099511627776', 2n ** 40n],
    [-(2n ** 63n), 'int -9223372036854775808'],
    [{ $double: 2 }, 'float 2.0', 2],
    [-0.25, 'float -0.25'],
    [1e300, 'float 1e+300'],
    [5e-324, 'float 5e-324'],
    [true, 'bool True'],
    ['a<b>&"é🎉\r\n', "str 'a<b>&\"é🎉\\r\\n'"],
    ['', "str ''"],
    [null, 'NoneType None'],
    [Buffer.from([0, 255]), "bytes b'\\x00\\xff'"],
    [new Date('2026-01-02T03:04:05Z'), 'datetime datetime.datetime(2026, 1, 2, 3, 4, 5)'],
    [[1, ['x', {}]], "list [1, ['x', {}]]"],
    [{ a: 1, b: { '<': [true] } }, "dict {'a': 1, 'b': {'<': [True]}}"],
  ]
  for (const [value, told, back = value] of cases) {
    assert.equal(await call('told', value), told)
    if (typeof value === 'bigint' || value === 2 ** 40 || value === 'a<b>&"é🎉\r\n') continue // Python writes neither i8 nor &#13;
    assert.deepEqual(await call('echo', value), back)
  }
  assert.deepEqual(await call('now'), new Date('2026-01-02T03:04:05Z'))
  assert.ok(Array.isArray(await call('system.listMethods')))
})

test('xmlrpc resource: a fault is an error with its code, and costs no connection', async (t) => {
  const connection = await connect(t, { url: server.url, faults: { NO_ORDER: 42 } })
  const call = callsOf(connection)
  const seen = async (...args: unknown[]): Promise<unknown[]> => {
    const { code, message, details, retryable } = await failure(call(...args))
    return [code, message, details, retryable]
  }
  const details = (faultCode: number): object => ({ faultCode, faultString: 'so <it> is' })
  const message = (faultCode: number): string => `partner: fault ${faultCode}: so <it> is`
  assert.deepEqual(await seen('fail', 42, 'so <it> is'), ['NO_ORDER', message(42), details(42), true])
  assert.deepEqual(await seen('fail', 7, 'so <it> is'), ['FAULT', message(7), details(7), true])
  assert.deepEqual(await seen('fail', -32602, 'so <it> is'), ['INVALID_ARGUMENT', message(-32602), details(-32602), false])
  assert.deepEqual(await seen('fail', -32601, 'so <it> is'), ['NOT_FOUND', message(-32601), details(-32601), false])
  assert.deepEqual(await seen('fail', -32054, 'so <it> is'), ['DEADLINE_EXCEEDED', message(-32054), details(-32054), true])
  assert.equal((await failure(call('crash'))).code, 'FAULT')
  assert.equal((await failure(call('nosuch'))).code, 'FAULT')
  assert.equal(connection.broken, false)
})

test('xmlrpc resource: several calls in one request have each its outcome', async (t) => {
  const connection = await connect(t, { url: server.url })
  const calls = [['echo', 1], ['fail', 7, 'no'], ['echo', [2]], ['nosuch']]
  const outcomes = (await connection.call('multicall', [calls], scope())) as PromiseSettledResult<unknown>[]
  assert.deepEqual(
    outcomes.map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : (outcome.reason as CageError).details)).slice(0, 3),
    [1, { faultCode: 7, faultString: 'no' }, [2]],
  )
  assert.equal(outcomes[3]?.status, 'rejected')
  assert.deepEqual(await connection.call('multicall', [[]], scope()), [])
  for (const args of [[], ['echo'], [[['']]], [[5]]]) {
    assert.equal((await failure(connection.call('multicall', args, scope()))).code, 'INVALID_ARGUMENT')
  }
})

test('xmlrpc resource: what is wrong with a call is told before anything is sent', async (t) => {
  const connection = await connect(t, { url: server.url, extensions: false })
  const call = callsOf(connection)
  const { calls } = await server.counts()
  for (const args of [[], [''], [5], ['echo', Number.NaN], ['echo', 'a\0'], ['echo', null], ['a\0'], ['echo', () => 1]]) {
    assert.equal((await failure(call(...args))).code, 'INVALID_ARGUMENT', JSON.stringify(args))
  }
  assert.match((await failure(connection.call('multical', [], scope()))).message, /did you mean multicall\?/)
  assert.deepEqual([(await server.counts()).calls, connection.broken], [calls, false])
})

test('xmlrpc resource: credentials and headers are sent, from the url too', async (t) => {
  const closed = await startPython(t, { user: 'sh op:p@ss' })
  const own = { headers: { 'X-Own': 'yes' } }
  const inUrl = closed.url.replace('http://', 'http://sh%20op:p%40ss@')
  for (const options of [
    { url: closed.url, user: 'sh op', password: 'p@ss', ...own },
    { url: inUrl, ...own },
  ]) {
    const headers = (await callsOf(await connect(t, options))('headers')) as Record<string, string>
    assert.deepEqual([headers['x-own'] ?? headers['X-Own'], headers['user-agent']], ['yes', 'menagerie'])
  }
  const refused = await failure(connect(t, { url: closed.url, user: 'sh op', password: 'wrong' }))
  assert.deepEqual([refused.code, refused.retryable], ['UNAUTHENTICATED', true])
  const unprobed = await connect(t, { url: closed.url, probe: false })
  assert.equal((await failure(callsOf(unprobed)('echo'))).code, 'UNAUTHENTICATED')
})

test('xmlrpc resource: a call that is late, or that nobody wants, is told as that', async (t) => {
  const kept = await startPython(t, { http11: true })
  for (const probe of [true, false]) {
    const connection = await connect(t, { url: kept.url, probe })
    assert.equal((await failure(connection.call('call', ['slow', 60], scope(200)))).code, 'DEADLINE_EXCEEDED')
    await eventually('it has ended at the server', async () => (await kept.counts()).running === 0)
    assert.equal(connection.broken, !probe, 'without a probe nobody knows')
  }
  const connection = await connect(t, { url: kept.url })
  const leaving = new AbortController()
  const left = failure(connection.call('call', ['slow', 60], scope(20_000, leaving.signal)))
  await eventually('it runs', async () => (await kept.counts()).running === 1)
  leaving.abort()
  assert.equal((await left).code, 'CANCELLED')
  assert.equal((await failure(connection.call('call', ['echo'], scope(-1)))).code, 'DEADLINE_EXCEEDED')
  assert.equal(await connection.call('call', ['echo', 1], scope()), 1)
})

test('xmlrpc resource: an answer that is none is told, and what it says stays behind', async (t) => {
  const pages = new Map([
    ['/html', '<html><body>secret</body></html>'],
    ['/half', '<?xml version="1.0"?><methodResponse><params><param>'],
    ['/empty', ''],
    ['/call', '<methodCall><methodName>x</methodName></methodCall>'],
    ['/laughs', '<!DOCTYPE x [<!ENTITY a "b">]><methodResponse><params><param><value>&a;</value></param></params></methodResponse>'],
  ])
  const url = await answering(
    t,
    ({ url: path = '' }, response) => void response.writeHead(200, { 'content-type': 'text/xml' }).end(pages.get(path)),
  )
  for (const page of pages.keys()) {
    const { code, message, retryable } = await failure(callsOf(await connect(t, { url: url + page.slice(1) }))('echo'))
    assert.deepEqual([code, retryable], ['BAD_ANSWER', false], page)
    assert.doesNotMatch(message, /secret/)
  }
})

test('xmlrpc resource: a status that is not 200 is told as what it means', async (t) => {
  const url = await answering(t, (request, response) => {
    const status = Number(request.url?.slice(1))
    response.writeHead(status, status === 302 ? { location: '/200' } : {}).end('nothing')
  })
  const cases: [number, string, boolean][] = [
    [302, 'UNAVAILABLE', true],
    [401, 'UNAUTHENTICATED', true],
    [403, 'FORBIDDEN', true],
    [404, 'UNAVAILABLE', true],
    [413, 'PAYLOAD_TOO_LARGE', false],
    [429, 'OVERLOADED', true],
    [500, 'UNAVAILABLE', true],
    [504, 'DEADLINE_EXCEEDED', true],
  ]
  for (const [status, expected, mayRetry] of cases) {
    const connection = await connect(t, { url: url + status })
    const { code, details, retryable } = await failure(callsOf(connection)('echo'))
    assert.deepEqual([code, details, retryable, connection.broken], [expected, { status }, mayRetry, false])
  }
})

test('xmlrpc resource: an answer that breaks off, or is too large, fails its call', async (t) => {
  const url = await answering(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 1_000 }).write('<methodResponse>')
    setImmediate(() => response.destroy())
  })
  const connection = await connect(t, { url })
  assert.deepEqual([(await failure(callsOf(connection)('echo'))).code, connection.broken], ['UNAVAILABLE', true])
  const small = await connect(t, { url: server.url, maxResponseBytes: 1_000 })
  const { code, retryable } = await failure(callsOf(small)('big', 2_000))
  assert.deepEqual([code, retryable, small.broken], ['PAYLOAD_TOO_LARGE', false, false])
  assert.equal(await callsOf(small)('echo', 1), 1)
})

test('xmlrpc resource: what is no server of HTTP, or none at all, is not connected to', async (t) => {
  const rubbish = createPlainServer((socket) => socket.resume().end('220 hello\r\n')).listen(0, '127.0.0.1')
  await once(rubbish, 'listening')
  const address = rubbish.address()
  const port = typeof address === 'object' ? address?.port : 0
  assert.equal((await failure(connect(t, { url: `http://127.0.0.1:${port}` }))).code, 'UNAVAILABLE')
  rubbish.close()
  await once(rubbish, 'close')
  const gone = await failure(connect(t, { url: `http://127.0.0.1:${port}` }))
  assert.deepEqual([gone.code, gone.message], ['UNAVAILABLE', 'partner: the connection was lost (ECONNREFUSED)'])
})

test('xmlrpc resource: a server of HTTPS is verified, unless that is switched off', async (t) => {
  const here = [{ type: 7, ip: '127.0.0.1' }]
  const start = async (names: object[], until?: Date): Promise<[PythonServer, CertificateFiles]> => {
    const tls = await certificates(t, names, 'test', until)
    return [await startPython(t, { tls }), tls]
  }
  const [right, files] = await start(here)
  const [elsewhere, wrongName] = await start([{ type: 2, value: 'elsewhere.example' }])
  const [expired, old] = await start(here, new Date(Date.now() - 60_000))
  const ask = async ({ url }: PythonServer, tls: object): Promise<unknown> => callsOf(await connect(t, { url, tls }))('echo', 1)
  const refused = async (work: Promise<unknown>): Promise<unknown[]> => {
    const { code, message } = await failure(work)
    return [code, /not trusted \((.*)\)/.exec(message)?.[1]]
  }
  assert.equal(await ask(right, { caFile: files.ca }), 1)
  assert.deepEqual(await refused(ask(right, {})), ['UNAVAILABLE', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'])
  assert.deepEqual(await refused(ask(elsewhere, { caFile: wrongName.ca })), ['UNAVAILABLE', 'ERR_TLS_CERT_ALTNAME_INVALID'])
  assert.deepEqual(await refused(ask(expired, { caFile: old.ca })), ['UNAVAILABLE', 'CERT_HAS_EXPIRED'])
  assert.equal(await ask(elsewhere, { verify: false }), 1)
  const { code, message } = await failure(ask(right, { caFile: '/nowhere/ca.pem' }))
  assert.deepEqual(
    [code, message],
    ['UNAVAILABLE', "partner: a file of tls cannot be read: ENOENT: no such file or directory, open '/nowhere/ca.pem'"],
  )
})

test('xmlrpc resource: options that cannot be meant are refused, and the url is never told', () => {
  assert.equal(xmlrpcOptions.parse({ url: 'http://a.example:8080' }).url, 'http://a.example:8080/RPC2')
  assert.equal(xmlrpcOptions.parse({ url: 'https://u:p@a.example/' }).url, 'https://a.example/')
  for (const options of [
    {},
    { url: 'ftp://a' },
    { url: 'a.example' },
    { url: 'http://u:%zz-secret@a' },
    { url: 'http://a', user: 'a:b' },
    { url: 'http://a', headers: { 'a b': 'x' } },
    { url: 'http://a', headers: { a: 'x\r\ny' } },
    { url: 'http://a', headers: { Host: 'x' } },
    { url: 'http://a', tls: { certFile: 'x' } },
    { url: 'http://a', more: 1 },
  ]) {
    const { success, error } = xmlrpcOptions.safeParse(options)
    assert.equal(success, false, JSON.stringify(options))
    assert.doesNotMatch(String(error), /secret/)
  }
})
