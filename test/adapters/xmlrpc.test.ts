/** The XML-RPC interface, in a node, seen by Python's client and by curl. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { faultOf as faultOfError } from '../../src/adapters/xmlrpc/faults.ts'
import { Codec } from '../../src/adapters/xmlrpc/messages.ts'
import { Methods } from '../../src/adapters/xmlrpc/methods.ts'
import { xmlrpcListenOptions } from '../../src/adapters/xmlrpc/options.ts'
import { startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { certificates } from '../support/certificates.ts'
import { curl, exchange, open, type Response, run } from '../support/http.ts'
import { testHost } from '../support/interface-host.ts'
import { type NodeProcess, project, startNode } from '../support/node.ts'

const MODULES = {
  'cages/rpc/orders.ts': `
    import { type Context, CageError, type Double } from 'menagerie'
    export async function echo(ctx: Context, value: unknown): Promise<unknown> { return value }
    export async function told(ctx: Context, ...args: unknown[]): Promise<string> {
      return args.map((arg) => arg instanceof Uint8Array ? 'bytes ' + [...arg] : arg instanceof Date ? 'date ' + arg.toISOString() : typeof arg + ' ' + String(arg)).join(', ')
    }
    export async function total(ctx: Context): Promise<Double> { return { $double: 12 } }
    export async function nothing(ctx: Context): Promise<void> {}
    export async function request(ctx: Context): Promise<unknown> { return { ...ctx.request.parameters, id: ctx.request.id } }
    export async function fail(ctx: Context, code: string, details?: unknown): Promise<void> { throw new CageError(code, 'it is so: <' + code + '>', { details }) }
    export async function crash(ctx: Context): Promise<void> { throw new Error('a secret') }
    export async function unsayable(ctx: Context): Promise<unknown> { return 'a\\0b' }
    export async function _private(ctx: Context): Promise<void> {}`,
  'cages/rpc/caller.ts': `
    import type { Context, XmlrpcResource } from 'menagerie'
    declare module 'menagerie' { interface CageResources { self: XmlrpcResource } }
    export async function told(ctx: Context): Promise<unknown> {
      const { self } = ctx.resources
      const one = await self.call<string>('orders.told', 1, 2n ** 60n, { $double: 3 }, new Date(0), new Uint8Array([1]))
      const [total, failed] = await self.multicall([['orders.total'], ['orders.fail', 'NO_ORDER']])
      return [one, total?.status, failed?.status === 'rejected' && failed.reason.code]
    }`,
  'cages/rpc/hidden.ts': `
    import type { Context } from 'menagerie'
    export async function add(ctx: Context, a: number, b: number): Promise<number> { return a + b }
    let hanging = 0, calls = 0
    export async function hang(ctx: Context): Promise<void> {
      hanging++
      await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))
      hanging--
    }
    export async function count(ctx: Context): Promise<number> { return ++calls }
    export async function hangs(ctx: Context): Promise<unknown> { return { hanging, calls } }`,
}

const PORTS = { rpc: 0, small: 0, secure: 0, plain: 0 }
let node: NodeProcess
let ca: string
let client: { cert: string; key: string }

before(async () => {
  const server = await startNats(suite)
  for (const name of Object.keys(PORTS) as (keyof typeof PORTS)[]) PORTS[name] = await freePort()
  const pair = await certificates(suite, [{ type: 7, ip: '127.0.0.1' }], 'billing')
  ca = pair.ca
  client = pair
  const methods = {
    'Math.add': { target: 'hidden.add', signatures: [['int', 'int', 'int']], help: 'Adds <two> numbers.' },
    'Slow.hang': 'rpc.hidden.hang',
    'Slow.hangs': 'hidden.hangs',
    count: 'hidden.count',
    'Caller.told': 'caller.told',
  }
  const config = {
    timeoutMs: 5_000,
    resources: { self: { kind: 'xmlrpc', url: `http://127.0.0.1:${PORTS.rpc}`, faults: { NO_ORDER: 42 } } },
    interfaces: {
      rpc: { kind: 'xmlrpc', port: PORTS.rpc, modules: ['orders'], methods, timeoutMs: 2_000, faults: { NO_ORDER: 42 } },
      small: { kind: 'xmlrpc', port: PORTS.small, modules: ['orders'], paths: ['/here'], maxBodyBytes: 3_000, maxDepth: 2, gzip: true },
      secure: {
        kind: 'xmlrpc',
        port: PORTS.secure,
        modules: ['orders'],
        tls: { keyFile: pair.key, certFile: pair.cert, clientCaFile: pair.ca },
      },
      plain: { kind: 'xmlrpc', port: PORTS.plain, modules: ['orders'], extensions: false },
    },
  }
  const { dir } = project(suite, { ...MODULES, 'config/rpc.ts': `export default ${JSON.stringify(config)}` })
  node = startNode(suite, dir, ['--cage', 'rpc', '--bus', server.url])
  await node.ready
})

/** Runs a program of Python with `p`, a proxy of the interface, and `X`, xmlrpc.client; what it prints. */
async function python(code: string, port = PORTS.rpc): Promise<string> {
  const head = `import datetime, ssl, xmlrpc.client as X\np = X.ServerProxy('http://127.0.0.1:${port}', allow_none=True, use_builtin_types=True)\n`
  const { status, stdout, stderr } = await run('python3', ['-c', head + code])
  assert.equal(status, 0, stderr)
  return stdout.toString().trim()
}

async function post(body: string, { port = PORTS.rpc, path = '/', type = 'text/xml' } = {}, ...words: string[]): Promise<Response> {
  const file = project(suite, { body })
  return await curl(
    '-X',
    'POST',
    '-H',
    `Content-Type: ${type}`,
    '--data-binary',
    `@${file.dir}/body`,
    ...words,
    `http://127.0.0.1:${port}${path}`,
  )
}

const codec = new Codec({ extensions: true, maxDepth: 20 })

/** The fault of a response, which has status 200 like every answer. */
function faultOf({ status, body, headers }: Response): [code: number, text: string] {
  assert.deepEqual([status, headers.get('content-type')], [200, 'text/xml; charset=utf-8'])
  const answer = codec.answer(body, undefined)
  if ('result' in answer) assert.fail(`no fault but ${answer.result}`)
  return [answer.fault.faultCode, answer.fault.faultString]
}

const call = (name: string, ...params: unknown[]): string => codec.encodeCall({ name, params })

test('xmlrpc: Python’s client gets each value back as it sent it', async () => {
  const said = await python(`
for v in (1, -5, 2**31 - 1, -2**31, True, False, 1.5, -1e-300, 'a<b>&"é🎉\\n\\t', '', ' ', b'\\x00\\xff', b'', datetime.datetime(2026, 1, 2, 3, 4, 5), [1, ['x', {}]], [], {}, {'a': 1, 'b': {'c': [True]}, '<&>': None}, None, 'x' * 100000):
    r = p.orders.echo(v)
    if r != v or type(r) != type(v): print('sent', repr(v)[:80], 'got', repr(r)[:80])
print('done')`)
  assert.equal(said, 'done')
})

test('xmlrpc: a method gets JavaScript’s values, and a double stays one', async () => {
  assert.equal(
    await python(`print(p.orders.told(1, 2.5, 'x', True, None, b'\\x01', datetime.datetime(2026, 1, 2, 3, 4, 5)))`),
    'number 1, number 2.5, string x, boolean true, object null, bytes 1, date 2026-01-02T03:04:05.000Z',
  )
  assert.equal(
    await python(`print(repr(p.orders.total()), repr(p.orders.nothing()), repr(p.orders.echo(2**31 - 1)))`),
    '12.0 None 2147483647',
  )
  const { body } = await post(call('orders.told', 2n ** 62n))
  assert.deepEqual(codec.answer(body, undefined), { result: `bigint ${2n ** 62n}` })
})

test('xmlrpc: a module calls an XML-RPC server by its resource, here its own cage', async () => {
  const { body } = await post(call('Caller.told'))
  const told = `number 1, bigint ${2n ** 60n}, number 3, date 1970-01-01T00:00:00.000Z, bytes 1`
  assert.deepEqual(codec.answer(body, undefined), { result: [told, 'fulfilled', 'NO_ORDER'] })
})

test('xmlrpc: only what is exposed can be called', async () => {
  assert.equal(await python(`print(p.Math.add(2, 3))`), '5')
  for (const name of [
    'hidden.add',
    'rpc.orders.echo',
    'rpc.hidden.add',
    'orders.nosuch',
    'orders._private',
    'orders',
    'nosuch',
    '',
    'constructor',
    'orders.constructor',
    '__proto__.x',
    'system.nosuch',
  ]) {
    const [code, text] = faultOf(await post(call(name)))
    assert.deepEqual([code, text.startsWith(`NOT_FOUND: there is no method ${name}`)], [-32601, true], text)
  }
  assert.equal(faultOf(await post(call('orders.ecko')))[1], 'NOT_FOUND: there is no method orders.ecko, did you mean orders.echo?')
})

test('xmlrpc: an error is a fault with its code, and says nothing of internals', async () => {
  const fault = async (...params: unknown[]): Promise<[number, string]> => faultOf(await post(call('orders.fail', ...params)))
  assert.deepEqual(await fault('CONFLICT'), [-32009, 'CONFLICT: it is so: <CONFLICT>'])
  assert.deepEqual(await fault('NO_ORDER'), [42, 'NO_ORDER: it is so: <NO_ORDER>'])
  assert.deepEqual(await fault('OWN'), [-32500, 'OWN: it is so: <OWN>'])
  assert.deepEqual(await fault('OWN', { faultCode: 7 }), [7, 'OWN: it is so: <OWN>'], 'the error brings its code')
  assert.deepEqual(await fault('OWN', { faultCode: 'x' }), [-32500, 'OWN: it is so: <OWN>'])
  assert.deepEqual(faultOf(await post(call('orders.crash'))), [-32603, 'INTERNAL: internal error'])
  assert.deepEqual(faultOf(await post(call('orders.unsayable'))), [-32603, 'INTERNAL: internal error'])
  assert.deepEqual(
    faultOf(await post(call('orders.nothing'), { port: PORTS.plain })),
    [-32603, 'INTERNAL: internal error'],
    'there is no nil',
  )
  assert.ok(node.log.some(({ msg }) => msg === 'a result cannot be sent'))
  const said = await python(`
try: p.orders.fail('NO_ORDER')
except X.Fault as f: print(f.faultCode, f.faultString)`)
  assert.equal(said, '42 NO_ORDER: it is so: <NO_ORDER>')
})

test('xmlrpc: it tells what it has', async () => {
  const list = 'count,Caller.told,Math.add,Slow.hang,Slow.hangs'.split(',')
  const all = ['crash', 'echo', 'fail', 'nothing', 'request', 'told', 'total', 'unsayable'].map((name) => `orders.${name}`)
  const system = ['listMethods', 'methodHelp', 'methodSignature', 'multicall'].map((name) => `system.${name}`)
  assert.equal(await python(`print(','.join(p.system.listMethods()))`), [...list, ...all, ...system].sort().join())
  assert.equal(
    await python(`
s, h = p.system.methodSignature, p.system.methodHelp
print(s('Math.add'), s('orders.echo'), s('system.multicall'), h('Math.add'), repr(h('orders.echo')), h('system.listMethods'))`),
    "[['int', 'int', 'int']] undef [['array', 'array']] Adds <two> numbers. '' The names of the methods that can be called.",
  )
  assert.equal(faultOf(await post(call('system.methodHelp', 'hidden.add')))[0], -32601)
  assert.equal(faultOf(await post(call('system.methodSignature')))[0], -32602)
})

test('xmlrpc: system.multicall makes calls in their order, and each has its result or fault', async () => {
  const said = await python(`
m = X.MultiCall(p)
m.count(); m.orders.echo([1]); m.count(); m.orders.fail('CONFLICT'); m.count()
r = m()
print(r[2] - r[0], r[1], r[4] - r[2])
try: r[3]
except X.Fault as f: print(f.faultCode)
print(p.system.multicall([{'methodName': 'system.multicall', 'params': [[]]}, {'methodName': 'orders.echo'}, 5, {'methodName': 'nosuch', 'params': []}]))
print(p.system.multicall([]))
print(p.system.multicall([{'methodName': 'system.listMethods', 'params': []}])[0]['faultCode'])`)
  const lines = said.split('\n')
  assert.deepEqual(lines.slice(0, 2), ['1 [1] 1', '-32009'])
  assert.deepEqual([...(lines[2] ?? '').matchAll(/-32\d+/g)].map(String), ['-32602', '-32602', '-32602', '-32601'])
  assert.deepEqual(lines.slice(3), ['[]', '-32602'])
})

test('xmlrpc: a system.multicall makes at most 1,000 calls, and none once its deadline has passed', async (t) => {
  t.mock.timers.enable({ apis: ['Date'] })
  const { host, calls } = testHost(({ options }) => void t.mock.timers.tick((options.timeoutMs ?? 0) / 2 + 200))
  const options = xmlrpcListenOptions.parse({ port: 1, methods: { slow: 'shop.slow' } })
  const methods = new Methods(options, host, (error) => faultOfError(error, {}))
  const multicall = (count: number): Promise<unknown> =>
    methods.call(
      { name: 'system.multicall', params: [new Array(count).fill({ methodName: 'slow', params: [] })] },
      { timeoutMs: 1_000, wanted: () => true },
    )
  const outcomes = (await multicall(1_000)) as { faultCode?: number }[]
  assert.equal(calls.length, 2)
  assert.deepEqual([outcomes.length, new Set(outcomes.slice(2).map(({ faultCode }) => faultCode))], [1_000, new Set([-32054])])
  await assert.rejects(multicall(1_001), { code: 'INVALID_ARGUMENT' })
  assert.equal(calls.length, 2)
})

test('xmlrpc: what is no call is answered with the fault that says so', async () => {
  const cases: [string, number][] = [
    ['', -32700],
    ['<methodCall><methodName>orders.echo</methodNa', -32700],
    ['{"jsonrpc": "2.0"}', -32700],
    [
      '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><methodCall><methodName>orders.echo</methodName><params><param><value>&a;</value></param></params></methodCall>',
      -32700,
    ],
    ['<methodCall><methodName>orders.echo</methodName><params><value/></params></methodCall>', -32600],
    ['<methodCall><methodName>orders.echo</methodName><params><param><value><int>x</int></value></param></params></methodCall>', -32602],
    ['<methodCall><methodName>\x01</methodName></methodCall>', -32702],
  ]
  for (const [body, code] of cases) assert.equal(faultOf(await post(body))[0], code, body)
  assert.equal(faultOf(await post(call('orders.echo', 1), { type: 'text/xml; charset=nonsense' }))[0], -32701)
  assert.equal(faultOf(await post(call('orders.echo', [[[1]]]), { port: PORTS.small, path: '/here' }))[0], -32600, 'too deep')
})

test('xmlrpc: what is no XML-RPC at all is answered with a status of HTTP', async () => {
  const url = `http://127.0.0.1:${PORTS.rpc}`
  const get = await curl(`${url}/RPC2`)
  assert.deepEqual([get.status, get.headers.get('allow')], [405, 'POST'])
  assert.equal((await curl(`${url}/elsewhere`)).status, 404)
  assert.equal((await post(call('orders.echo'), { path: '/RPC2' })).status, 200)
  assert.equal((await post(call('orders.echo'), { type: 'application/json' })).status, 415)
  assert.equal((await post(call('orders.echo'), { type: 'application/x-www-form-urlencoded' })).status, 415)
  assert.equal((await post(call('orders.echo'), { type: '' })).status, 415)
  assert.equal((await post(call('orders.echo'), {}, '-H', 'Content-Encoding: gzip')).status, 415)
  assert.equal((await post(call('orders.echo', 'x'.repeat(4_000)), { port: PORTS.small, path: '/here' })).status, 413)
  assert.match(await exchange(suite, PORTS.rpc, 'nonsense\r\n\r\n'), /^HTTP\/1\.1 400 /)
})

test('xmlrpc: a long answer is compressed for who takes that, Python’s client for one', async () => {
  const port = PORTS.small
  const { headers } = await post(call('orders.echo', 'x'.repeat(2_000)), { port, path: '/here' }, '-H', 'Accept-Encoding: gzip')
  assert.equal(headers.get('content-encoding'), 'gzip')
  const said = await python(`q = X.ServerProxy('http://127.0.0.1:${port}/here')\nprint(q.orders.echo('x' * 2000) == 'x' * 2000)`)
  assert.equal(said, 'True')
})

test('xmlrpc: a call ends at its deadline, which the client may shorten', async () => {
  const begun = performance.now()
  assert.equal(faultOf(await post(call('Slow.hang')))[0], -32054)
  const tookMs = performance.now() - begun
  assert.ok(tookMs > 1_900 && tookMs < 4_500, String(tookMs))
  assert.equal(faultOf(await post(call('Slow.hang'), {}, '-H', 'Timeout-Ms: 100'))[0], -32054)
  assert.equal((await post(call('Slow.hang'), {}, '-H', 'Timeout-Ms: soon')).status, 400)
})

test('xmlrpc: a client that leaves cancels its call, and the later ones of its request are not made', async () => {
  const state = async (): Promise<Record<string, number>> => {
    const answer = codec.answer((await post(call('Slow.hangs'))).body, undefined)
    return 'result' in answer ? (answer.result as Record<string, number>) : {}
  }
  const { calls } = await state()
  const socket = await open(suite, PORTS.rpc)
  const body = call('system.multicall', [
    { methodName: 'Slow.hang', params: [] },
    { methodName: 'count', params: [] },
  ])
  socket.write(
    `POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nTimeout-Ms: 1900\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
  while ((await state()).hanging !== 1);
  socket.destroy()
  while ((await state()).hanging !== 0);
  assert.deepEqual(await state(), { hanging: 0, calls })
})

test('xmlrpc: over TLS Python’s client is served, and known by its certificate', async () => {
  const said = await python(`
def context():
    c = ssl.create_default_context(cafile='${ca}')
    c.verify_flags &= ~ssl.VERIFY_X509_STRICT  # from 3.13 on it wants extensions that our authority leaves out
    return c
known = context()
known.load_cert_chain('${client.cert}', '${client.key}')
r = X.ServerProxy('https://127.0.0.1:${PORTS.secure}', context=known).orders.request()
print(r['clientName'], r['interface'], r['protocol'])
try: X.ServerProxy('https://127.0.0.1:${PORTS.secure}', context=context()).orders.request()
except (ssl.SSLError, OSError) as e: print('refused')`)
  assert.equal(said, 'billing secure xmlrpc\nrefused')
})

test('xmlrpc: a request has an id, its own or a new one', async () => {
  const { headers, body } = await post(call('orders.request'), {}, '-H', 'Request-Id: mine')
  assert.equal(headers.get('request-id'), 'mine')
  const answer = codec.answer(body, undefined)
  assert.deepEqual(answer, { result: { interface: 'rpc', protocol: 'xmlrpc', id: 'mine' } })
})

test('xmlrpc: options that cannot be meant are refused', () => {
  const refused = (options: object): boolean => !xmlrpcListenOptions.safeParse({ port: 0, ...options }).success
  assert.ok(!refused({ modules: ['a'] }) && !refused({ methods: { 'a.b:c/d': 'x.y' } }))
  for (const options of [
    {},
    { modules: [] },
    { modules: ['a.b'] },
    { methods: { 'a b': 'x.y' } },
    { methods: { 'system.x': 'x.y' } },
    { methods: { a: 'x' } },
    { modules: ['a'], faults: { A: 1.5 } },
    { modules: ['a'], paths: [] },
    { modules: ['a'], paths: ['/:x'] },
    { modules: ['a'], maxDepth: 1_000 },
    { modules: ['a'], methods: { a: { target: 'x.y', signatures: [['float']] } } },
    { modules: ['a'], routes: {} },
  ]) {
    assert.ok(refused(options), JSON.stringify(options))
  }
})
