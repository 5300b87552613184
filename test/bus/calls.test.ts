import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as dial, type Socket } from 'node:net'
import { before, type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Packr, unpack } from 'msgpackr'
import { headers, type Msg, type MsgHdrs, type NatsConnection } from 'nats'
import type { Bus, Call, CallHandler, CallOptions, Outcome } from '../../src/bus/bus.ts'
import { CageError, toCageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { ask, client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { type Owner, suite } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'

const MAX_PAYLOAD = 64 * 1024
const packr = new Packr({ useRecords: false })

let server: NatsServer
before(async () => {
  server = await startNats(suite, { config: `max_payload: ${MAX_PAYLOAD}` })
})

type Method = (call: Call) => unknown
type Methods = Record<string, Method>

/** A served module, and what arrived at it. */
interface Served {
  bus: Bus
  calls: Call[]
  cancelled: Call[]
}

const METHODS: Methods = {
  echo: (call) => call.args,
  request: (call) => ({ request: call.request, remainingMs: call.deadline - Date.now(), oneWay: call.oneWay }),
  nothing: () => undefined,
  large: ({ args: [bytes] }) => 'x'.repeat(Number(bytes)),
  fail: ({ args: [code, details] }) => {
    throw new CageError(String(code), 'it went\r\nwrong: é', { details })
  },
  crash: () => {
    throw new TypeError('a secret of the node')
  },
  never: () => new Promise(() => {}),
}

/** Serves `cage.module` on a connection of its own. */
async function serve(owner: Owner, cage: string, methods: Methods = METHODS): Promise<Served> {
  const bus = await testBus(owner, server.url)
  const served: Served = { bus, calls: [], cancelled: [] }
  const handler: CallHandler = {
    handle: (call, settle) => {
      served.calls.push(call)
      void run(methods, call).then(settle)
    },
    cancel: (call) => void served.cancelled.push(call),
  }
  await bus.serve(cage, 'module', handler)
  return served
}

async function run(methods: Methods, call: Call): Promise<Outcome> {
  try {
    return { ok: true, result: await methods[call.method]?.(call) }
  } catch (error) {
    return { ok: false, error: toCageError(error) }
  }
}

let names = 0
/** A cage that no other test knows. */
function newCage(): string {
  return `cage${++names}`
}

async function setUp(t: TestContext): Promise<{ cage: string; served: Served; nc: NatsConnection; bus: Bus }> {
  const cage = newCage()
  const [served, nc, bus] = await Promise.all([serve(t, cage), client(t, server.url), testBus(t, server.url)])
  return { cage, served, nc, bus }
}

function soon(ms = 10_000): CallOptions {
  return { deadline: Date.now() + ms, request: { id: 'r' } }
}

function withHeaders(fields: Record<string, string>): MsgHdrs {
  const result = headers()
  for (const [name, value] of Object.entries(fields)) result.set(name, value)
  return result
}

function errorOf(msg: Msg): { code: string; message: string; details?: unknown } {
  return msg.json()
}

/** A message as the raw peer sees it. */
interface RawMessage {
  subject: string
  header: string
  payload: Buffer
}

/** A peer of our own on a bare socket: the NATS client protocol by the book, and nothing of nats.js. */
class RawPeer {
  readonly #socket: Socket
  readonly #messages: RawMessage[] = []
  #data = Buffer.alloc(0)
  #pongs = 0
  #failed: Error | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', (data) => {
      this.#data = Buffer.concat([this.#data, data])
      while (this.#parse());
    })
    socket.on('close', () => (this.#failed ??= new Error('the server has closed the connection')))
  }

  static async open(t: TestContext): Promise<RawPeer> {
    const socket = dial(server.port, '127.0.0.1')
    t.after(() => void socket.destroy())
    await once(socket, 'connect')
    const peer = new RawPeer(socket)
    peer.send('CONNECT {"verbose":false,"pedantic":true,"headers":true,"no_responders":true,"protocol":1}\r\nSUB answers.* 1\r\n')
    await peer.flush()
    return peer
  }

  send(text: string | Buffer): void {
    this.#socket.write(text)
  }

  publish(subject: string, reply: string, payload: string | Buffer, header = ''): void {
    const body = Buffer.from(payload)
    if (header === '') this.send(`PUB ${subject} ${reply} ${body.length}\r\n`)
    else this.send(`HPUB ${subject} ${reply} ${header.length} ${header.length + body.length}\r\n${header}`)
    this.send(Buffer.concat([body, Buffer.from('\r\n')]))
  }

  /** The next message. */
  async next(): Promise<RawMessage> {
    return await eventually('a message', () => {
      if (this.#failed) throw this.#failed
      return this.#messages.shift()
    })
  }

  async ask(subject: string, payload: string | Buffer, header = ''): Promise<RawMessage> {
    this.publish(subject, 'answers.1', payload, header)
    return await this.next()
  }

  /** Resolves when the server has read everything. */
  async flush(): Promise<void> {
    const expected = this.#pongs + 1
    this.send('PING\r\n')
    await eventually('PONG', () => {
      if (this.#failed) throw this.#failed
      return this.#pongs >= expected
    })
  }

  #parse(): boolean {
    const end = this.#data.indexOf('\r\n')
    if (end < 0) return false
    const [verb = '', ...words] = this.#data.subarray(0, end).toString().split(' ')
    const isMessage = verb === 'MSG' || verb === 'HMSG'
    const size = isMessage ? Number(words.at(-1)) + 2 : 0
    if (this.#data.length < end + 2 + size) return false
    const body = this.#data.subarray(end + 2, end + 2 + size)
    this.#data = this.#data.subarray(end + 2 + size)
    if (isMessage) {
      const headerSize = verb === 'HMSG' ? Number(words.at(-2)) : 0
      const [subject = ''] = words
      this.#messages.push({ subject, header: body.subarray(0, headerSize).toString(), payload: body.subarray(headerSize, -2) })
    } else if (verb === 'PONG') this.#pongs++
    else if (verb === '-ERR') this.#failed = new Error(words.join(' '))
    return true
  }
}

// Questions of foreign clients

test('bus: a JSON list is the positional arguments, and the answer is JSON', async (t) => {
  const { cage, nc } = await setUp(t)
  assert.deepEqual((await ask(nc, `${cage}.module.echo`, ['World', 2, { a: [null] }])).body, ['World', 2, { a: [null] }])
})

test('bus: another JSON value is one argument', async (t) => {
  const { cage, nc } = await setUp(t)
  for (const value of [{ a: 1 }, 'text', 5, null, true]) assert.deepEqual((await ask(nc, `${cage}.module.echo`, value)).body, [value])
})

test('bus: an empty payload is no arguments', async (t) => {
  const { cage, nc } = await setUp(t)
  assert.equal((await nc.request(`${cage}.module.echo`)).string(), '[]')
})

test('bus: no result is JSON null, or nothing in MessagePack', async (t) => {
  const { cage, nc } = await setUp(t)
  assert.equal((await nc.request(`${cage}.module.nothing`, '[]')).string(), 'null')
  const msg = await nc.request(`${cage}.module.nothing`, packr.pack([]))
  assert.deepEqual([msg.data.length, msg.headers], [0, undefined])
})

test('bus: a MessagePack question gets a MessagePack answer', async (t) => {
  const { cage, nc } = await setUp(t)
  const args = ['World', 2.5, { a: [null, true], when: new Date(5) }, new Uint8Array([1, 2, 255])]
  const msg = await nc.request(`${cage}.module.echo`, packr.pack(args))
  assert.deepEqual(unpack(msg.data), [...args.slice(0, 3), Buffer.from([1, 2, 255])])
})

test('bus: a MessagePack map is one argument', async (t) => {
  const { cage, nc } = await setUp(t)
  assert.deepEqual(unpack((await nc.request(`${cage}.module.echo`, packr.pack({ a: 1 }))).data), [{ a: 1 }])
})

test('bus: a raw socket asks in JSON and gets JSON', async (t) => {
  const { cage } = await setUp(t)
  const answer = await (await RawPeer.open(t)).ask(`${cage}.module.echo`, '["World"]')
  assert.deepEqual({ ...answer, payload: answer.payload.toString() }, { subject: 'answers.1', header: '', payload: '["World"]' })
})

test('bus: a raw socket asks in MessagePack, byte by byte as the specification has it', async (t) => {
  const { cage } = await setUp(t)
  const peer = await RawPeer.open(t)
  const question = Buffer.from('93a568656c6c6fcd012cde0001a16bc3', 'hex') // ["hello", 300, {"k": true}]
  assert.equal((await peer.ask(`${cage}.module.echo`, question)).payload.toString('hex'), question.toString('hex'))
})

test('bus: a raw socket sees ADR-32’s headers and a JSON body with an error', async (t) => {
  const { cage } = await setUp(t)
  const { header, payload } = await (await RawPeer.open(t)).ask(`${cage}.module.fail`, '["CONFLICT", {"have": 3}]')
  assert.match(header, /^NATS\/1\.0\r\n/)
  assert.match(header, /\r\nNats-Service-Error-Code: 409\r\n/)
  assert.match(header, /\r\nNats-Service-Error: it went wrong: é\r\n/)
  assert.deepEqual(JSON.parse(payload.toString()), { code: 'CONFLICT', message: 'it went\r\nwrong: é', details: { have: 3 } })
})

test('bus: a raw socket that asks a module that nobody serves gets the server’s 503 at once', async (t) => {
  const { header } = await (await RawPeer.open(t)).ask('nowhere.module.echo', '[]')
  assert.match(header, /^NATS\/1\.0 503\r\n/)
})

test('bus: a raw socket’s headers reach the handler', async (t) => {
  const { cage } = await setUp(t)
  const header = 'NATS/1.0\r\nRequest-Id: q-1\r\nTimeout-Ms: 1500\r\ntraceparent: 00-1-2-01\r\n\r\n'
  const { payload } = await (await RawPeer.open(t)).ask(`${cage}.module.request`, '[]', header)
  const { request, remainingMs } = JSON.parse(payload.toString()) as { request: object; remainingMs: number }
  assert.deepEqual(request, { id: 'q-1', traceparent: '00-1-2-01' })
  assert.ok(remainingMs > 500 && remainingMs <= 1_500, `${remainingMs} ms`)
})

for (const [what, line] of [
  ['a name with a blank', 'Bad Name: x'],
  ['a value with a line feed', 'X: a\nb'],
  ['no name', ': x'],
] as const) {
  test(`bus: a header with ${what} harms nobody`, async (t) => {
    const { cage } = await setUp(t)
    const peer = await RawPeer.open(t)
    const { header, payload } = await peer.ask(`${cage}.module.echo`, '["x"]', `NATS/1.0\r\n${line}\r\n\r\n`)
    if (header === '') assert.equal(payload.toString(), '["x"]')
    else assert.equal((JSON.parse(payload.toString()) as { code: string }).code, 'INVALID_ARGUMENT')
    assert.equal((await peer.ask(`${cage}.module.echo`, '["y"]')).payload.toString(), '["y"]')
  })
}

test('bus: a one-way call is run and never answered', async (t) => {
  const { cage, nc, served } = await setUp(t)
  const peer = await RawPeer.open(t)
  for (const method of ['echo', 'fail', 'large']) peer.send(`PUB ${cage}.module.${method} 8\r\n[100000]\r\n`)
  peer.send(`PUB ${cage}.module.echo 1\r\n{\r\n`)
  await peer.flush()
  await nc.request(`${cage}.module.echo`, '["behind"]')
  assert.deepEqual(
    served.calls.map((call) => [call.method, call.oneWay]),
    [
      ['echo', true],
      ['fail', true],
      ['large', true],
      ['echo', false],
    ],
  )
  assert.equal((await peer.ask(`${cage}.module.echo`, '["mine"]')).payload.toString(), '["mine"]', 'the first that it hears')
})

test('bus: a post of our own is one-way', async (t) => {
  const { cage, bus, served } = await setUp(t)
  bus.post(cage, 'module', 'echo', [1], soon())
  const call = await eventually('the call', () => served.calls[0])
  assert.deepEqual([call.oneWay, call.args], [true, [1]])
})

// Errors

test('bus: an error’s code, number and details cross intact', async (t) => {
  const { cage, nc } = await setUp(t)
  const details = { order: 7, parts: ['a', null], deep: { yes: true } }
  for (const [code, status] of [
    ['NOT_FOUND', 404],
    ['OVERLOADED', 503],
    ['CUSTOM_CODE', 500],
  ]) {
    const answer = await ask(nc, `${cage}.module.fail`, [code, details])
    assert.deepEqual([answer.status, answer.body], [status, { code, message: 'it went\r\nwrong: é', details }])
  }
})

test('bus: an error’s answer has the format of the question', async (t) => {
  const { cage, nc } = await setUp(t)
  const msg = await nc.request(`${cage}.module.fail`, packr.pack(['CONFLICT', { n: 1 }]))
  assert.deepEqual(unpack(msg.data), { code: 'CONFLICT', message: 'it went\r\nwrong: é', details: { n: 1 } })
})

test('bus: details with Map, Date and bigint survive between our own ends', async (t) => {
  const { cage, bus } = await setUp(t)
  const details = { map: new Map([[1, 'x']]), when: new Date(7), big: 2n ** 70n }
  const thrown = bus.call(cage, 'module', 'fail', ['MINE', details], soon())
  await assert.rejects(thrown, (error) => {
    assert.ok(error instanceof CageError)
    assert.deepEqual([error.code, error.details, error.retryable], ['MINE', details, true])
    return true
  })
})

test('bus: a foreign error tells nothing of the node', async (t) => {
  const { cage, nc } = await setUp(t)
  const msg = await nc.request(`${cage}.module.crash`, '[]')
  assert.deepEqual(errorOf(msg), { code: 'INTERNAL', message: 'internal error' })
  assert.doesNotMatch(msg.string() + msg.headers, /secret/)
})

test('bus: a foreign service’s error without a body keeps its code and text', async (t) => {
  const cage = newCage()
  const [nc, bus] = await Promise.all([client(t, server.url), testBus(t, server.url)])
  nc.subscribe(`${cage}.service.*`, {
    callback: (_error, msg) =>
      void msg.respond('not a body', {
        headers: withHeaders({ 'Nats-Service-Error-Code': msg.subject.endsWith('odd') ? '418' : '409', 'Nats-Service-Error': 'taken' }),
      }),
  })
  await nc.flush()
  await assert.rejects(bus.call(cage, 'service', 'put', [], soon()), { code: 'CONFLICT', message: 'taken' })
  await assert.rejects(bus.call(cage, 'service', 'odd', [], soon()), { code: 'INTERNAL', message: 'taken' })
})

test('bus: a foreign service’s JSON answer to our call cannot be read, and that is an error', async (t) => {
  const cage = newCage()
  const [nc, bus] = await Promise.all([client(t, server.url), testBus(t, server.url)])
  nc.subscribe(`${cage}.service.*`, { callback: (_error, msg) => void msg.respond(Buffer.from('ddffffffff', 'hex')) })
  await nc.flush()
  await assert.rejects(bus.call(cage, 'service', 'get', [], soon()), { code: 'INTERNAL' })
  assert.equal(bus.stats().inFlight, 0)
})

test('bus: a call that nobody serves ends at once with UNAVAILABLE', async (t) => {
  const bus = await testBus(t, server.url)
  await assert.rejects(within('the refusal', bus.call('nowhere', 'module', 'echo', [], soon(60_000)), 2_000), {
    code: 'UNAVAILABLE',
    message: 'nobody serves nowhere.module.echo',
  })
})

for (const hex of ['7b', '5b312c', 'dd ff ff ff ff', 'c1', '92 01', 'c1 93 90 a1 61 a1 62', 'ff 00', 'd9 ff 61']) {
  test(`bus: the bytes ${hex} are answered with INVALID_ARGUMENT`, async (t) => {
    const { cage, nc, served } = await setUp(t)
    const msg = await nc.request(`${cage}.module.echo`, Buffer.from(hex.replaceAll(' ', ''), 'hex'))
    assert.equal(msg.headers?.get('Nats-Service-Error-Code'), '400')
    assert.equal(served.calls.length, 0)
  })
}

test('bus: references that make a small message huge are refused', async (t) => {
  const { cage, nc } = await setUp(t)
  const id = (n: number): string => `d669${n.toString(16).padStart(8, '0')}` // msgpackr's extension: this value is n
  const pointer = (n: number): string => `d670${n.toString(16).padStart(8, '0')}` // and here it is again
  const levels = 30
  const bomb = `${Array.from({ length: levels }, (_, n) => id(n)).join('92')}90${Array.from({ length: levels - 1 }, (_, n) => pointer(levels - 1 - n)).join('')}`
  const msg = await within('the answer', nc.request(`${cage}.module.nothing`, Buffer.from(bomb, 'hex'), { timeout: 5_000 }), 6_000)
  assert.equal(msg.headers?.get('Nats-Service-Error-Code'), '400')
})

test('bus: names that are no subject are refused, and the connection stays', async (t) => {
  const { cage, bus, nc } = await setUp(t)
  const stolen: string[] = []
  nc.subscribe('stolen', { callback: (_error, msg) => void stolen.push(msg.string()) })
  await nc.flush()
  for (const method of ['a b', 'a.b', '', '*', '>', 'a\r\nPUB stolen 2\r\nhi', 'a\tb', 'a\0b']) {
    await assert.rejects(bus.call(cage, 'module', method, [], soon(1_000)), { code: 'INVALID_ARGUMENT' }, JSON.stringify(method))
    assert.throws(() => bus.post(cage, 'module', method, [], soon()), { code: 'INVALID_ARGUMENT' })
  }
  assert.deepEqual(await bus.call(cage, 'module', 'echo', ['x'], soon()), ['x'])
  await nc.flush()
  assert.deepEqual([stolen, bus.stats()], [[], { lateReplies: 0, reconnects: 0, inFlight: 0 }])
})

// Headers

test('bus: Timeout-Ms is the time that is left', async (t) => {
  const { cage, nc } = await setUp(t)
  const msg = await nc.request(`${cage}.module.request`, '[]', { timeout: 5_000, headers: withHeaders({ 'Timeout-Ms': '750' }) })
  const { remainingMs } = msg.json<{ remainingMs: number }>()
  assert.ok(remainingMs > 0 && remainingMs <= 750, `${remainingMs} ms`)
})

test('bus: without Timeout-Ms there is no deadline of the caller’s', async (t) => {
  const { cage, nc, served } = await setUp(t)
  await nc.request(`${cage}.module.echo`, '[]')
  assert.equal(served.calls[0]?.deadline, Number.POSITIVE_INFINITY)
})

for (const bad of ['soon', '0', '-5', 'NaN', '1,000']) {
  test(`bus: Timeout-Ms ${bad} is refused with INVALID_ARGUMENT`, async (t) => {
    const { cage, nc, served } = await setUp(t)
    const msg = await nc.request(`${cage}.module.echo`, '[]', { timeout: 5_000, headers: withHeaders({ 'Timeout-Ms': bad }) })
    assert.deepEqual([errorOf(msg).code, served.calls.length], ['INVALID_ARGUMENT', 0])
    assert.ok(errorOf(msg).message.includes(bad))
  })
}

test('bus: Request-Id and traceparent reach the handler', async (t) => {
  const { cage, nc, served } = await setUp(t)
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  await nc.request(`${cage}.module.echo`, '[]', { timeout: 5_000, headers: withHeaders({ 'Request-Id': 'q-7', traceparent }) })
  assert.deepEqual(served.calls[0]?.request, { id: 'q-7', traceparent })
})

test('bus: request, trace, parameters and remaining time travel between our own ends', async (t) => {
  const { cage, bus, served } = await setUp(t)
  const request = { id: 'q-8', traceparent: '00-1-2-01', parameters: { user: 'u', map: new Map([[1, 2]]) } }
  await bus.call(cage, 'module', 'echo', [], { deadline: Date.now() + 5_000, request })
  const call = served.calls[0]
  assert.deepEqual(call?.request, request)
  const remainingMs = (call?.deadline ?? 0) - Date.now()
  assert.ok(remainingMs > 3_000 && remainingMs <= 5_000, `${remainingMs} ms`)
})

// Values

const VALUES = [
  new Date(1_700_000_000_123),
  Buffer.from([0, 1, 255]),
  5n,
  -(2n ** 90n),
  new Map<unknown, unknown>([
    [1, { a: new Map([['k', undefined]]) }],
    [{ key: true }, [2]],
  ]),
  new Set<unknown>([1, 'x', [2]]),
  undefined,
  null,
  2 ** 53,
  -1.5,
  'é😀',
  { a: undefined, b: [1, undefined] },
  Number.NaN,
  Number.POSITIVE_INFINITY,
]

test('bus: Date, bytes, bigint, Map, Set and undefined survive both ways between our own ends', async (t) => {
  const { cage, bus, served } = await setUp(t)
  const result = await bus.call(cage, 'module', 'echo', VALUES, soon())
  assert.deepEqual(served.calls[0]?.args, VALUES)
  assert.deepEqual(result, VALUES)
})

test('bus: undefined is a result of its own between our own ends', async (t) => {
  const { cage, bus } = await setUp(t)
  assert.equal(await bus.call(cage, 'module', 'nothing', [], soon()), undefined)
})

test('bus: what cannot be sent is the caller’s error at once, and costs no slot', async (t) => {
  const { cage, bus } = await setUp(t)
  const cycle: unknown[] = []
  cycle.push(cycle)
  await assert.rejects(bus.call(cage, 'module', 'echo', [cycle], soon()), { code: 'INTERNAL' })
  assert.equal(bus.stats().inFlight, 0)
})

test('bus: a result that cannot be sent is answered with INTERNAL', async (t) => {
  const cage = newCage()
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  await serve(t, cage, { cycle: () => cycle })
  const [nc, bus] = await Promise.all([client(t, server.url), testBus(t, server.url)])
  assert.equal((await ask(nc, `${cage}.module.cycle`)).status, 500)
  await assert.rejects(bus.call(cage, 'module', 'cycle', [], soon()), { code: 'INTERNAL' })
})

// Size

test('bus: arguments too large for the bus are refused at the caller, and the connection stays', async (t) => {
  const { cage, bus, served } = await setUp(t)
  await assert.rejects(bus.call(cage, 'module', 'echo', ['x'.repeat(MAX_PAYLOAD)], soon()), { code: 'PAYLOAD_TOO_LARGE' })
  assert.throws(() => bus.post(cage, 'module', 'echo', ['x'.repeat(MAX_PAYLOAD)], soon()), { code: 'PAYLOAD_TOO_LARGE' })
  assert.deepEqual(await bus.call(cage, 'module', 'echo', ['x'.repeat(MAX_PAYLOAD - 100)], soon()), ['x'.repeat(MAX_PAYLOAD - 100)])
  assert.deepEqual([bus.stats(), served.calls.length], [{ lateReplies: 0, reconnects: 0, inFlight: 0 }, 1])
})

test('bus: a result too large for the bus becomes PAYLOAD_TOO_LARGE, and the callee’s connection stays', async (t) => {
  const { cage, bus, nc, served } = await setUp(t)
  await assert.rejects(bus.call(cage, 'module', 'large', [MAX_PAYLOAD], soon()), { code: 'PAYLOAD_TOO_LARGE' })
  assert.deepEqual((await ask(nc, `${cage}.module.large`, [MAX_PAYLOAD])).status, 413)
  assert.deepEqual(await bus.call(cage, 'module', 'echo', ['x'], soon()), ['x'])
  assert.equal(served.bus.stats().reconnects, 0)
})

test('bus: an error whose details are too large for the bus arrives without them', async (t) => {
  const cage = newCage()
  const served = await serve(t, cage, {
    details: () => {
      throw new CageError('CONFLICT', 'taken', { details: 'x'.repeat(MAX_PAYLOAD) })
    },
    message: () => {
      throw new CageError('CONFLICT', 'x'.repeat(MAX_PAYLOAD))
    },
    both: () => {
      throw new CageError('CONFLICT', 'x'.repeat(900), { details: 'x'.repeat(MAX_PAYLOAD - 1_500) })
    },
  })
  const [nc, bus] = await Promise.all([client(t, server.url), testBus(t, server.url)])
  for (const method of ['details', 'message', 'both']) {
    await assert.rejects(bus.call(cage, 'module', method, [], soon()), { code: 'CONFLICT' })
    assert.equal((await ask(nc, `${cage}.module.${method}`)).status, 409)
  }
  assert.equal(served.bus.stats().reconnects, 0)
})

// Deadlines, late answers, cancellation

test('bus: a call that is never answered ends at its deadline', async (t) => {
  const { cage, bus } = await setUp(t)
  const deadline = Date.now() + 300
  await assert.rejects(within('the deadline', bus.call(cage, 'module', 'never', [], { deadline, request: { id: 'r' } }), 5_000), {
    code: 'DEADLINE_EXCEEDED',
    retryable: true,
  })
  const lateMs = Date.now() - deadline
  assert.ok(lateMs >= 0 && lateMs < 250, `${lateMs} ms after the deadline`)
})

test('bus: a call whose deadline has passed is not sent', async (t) => {
  const { cage, bus, served } = await setUp(t)
  await assert.rejects(bus.call(cage, 'module', 'echo', [], soon(-1)), { code: 'DEADLINE_EXCEEDED' })
  await bus.call(cage, 'module', 'echo', ['behind'], soon())
  assert.deepEqual(
    served.calls.map((call) => call.args),
    [['behind']],
  )
})

test('bus: a late reply is counted, and goes to nobody', async (t) => {
  const cage = newCage()
  const gate = deferred<string>()
  await serve(t, cage, { slow: () => gate.promise, echo: (call) => call.args })
  const bus = await testBus(t, server.url)
  await assert.rejects(bus.call(cage, 'module', 'slow', [], soon(50)), { code: 'DEADLINE_EXCEEDED' })
  const others = Array.from({ length: 10 }, (_, n) => bus.call(cage, 'module', 'echo', [n], soon())) // one of them has the late one's slot
  gate.resolve('too late')
  assert.deepEqual(
    await Promise.all(others),
    Array.from({ length: 10 }, (_, n) => [n]),
  )
  await eventually('the count', () => bus.stats().lateReplies === 1)
})

test('bus: replies to guessed inboxes are counted, and settle no call', async (t) => {
  const cage = newCage()
  const gate = deferred<string>()
  await serve(t, cage, { slow: () => gate.promise })
  const [bus, nc] = await Promise.all([testBus(t, server.url), client(t, server.url)])
  const inbox = deferred<string>()
  nc.subscribe(`${cage}.module.*`, { callback: (_error, msg) => inbox.resolve(msg.reply ?? '') })
  await nc.flush()
  const call = bus.call(cage, 'module', 'slow', [], soon())
  const reply = await within('the question', inbox.promise)
  const guesses = ['x', '99', '-1', '1e400', '0x1', 'NaN', '16777217', '00001', '__proto__']
  for (const guess of guesses) nc.publish(reply.replace(/[^.]+$/, guess), 'forged')
  await nc.flush()
  await eventually('the count', () => bus.stats().lateReplies === guesses.length)
  gate.resolve('genuine')
  assert.equal(await call, 'genuine')
})

test('bus: a second answer to a call is counted, and settles nothing', async (t) => {
  const cage = newCage()
  const [nc, bus] = await Promise.all([client(t, server.url), testBus(t, server.url)])
  nc.subscribe(`${cage}.service.*`, {
    callback: (_error, msg) => {
      msg.respond(packr.pack('first'))
      msg.respond(packr.pack('second'))
    },
  })
  await nc.flush()
  assert.equal(await bus.call(cage, 'service', 'twice', [], soon()), 'first')
  await eventually('the count', () => bus.stats().lateReplies === 1)
})

test('bus: 10,000 calls at concurrency 256 all get their own answers', async (t) => {
  const { cage, bus } = await setUp(t)
  let next = 0
  let right = 0
  const worker = async (): Promise<void> => {
    while (next < 10_000) {
      const n = next++
      const [answer] = (await bus.call(cage, 'module', 'echo', [n], soon(30_000))) as [number]
      if (answer === n) right++
    }
  }
  await Promise.all(Array.from({ length: 256 }, worker))
  assert.deepEqual([right, bus.stats()], [10_000, { lateReplies: 0, reconnects: 0, inFlight: 0 }])
})

/** A callee whose calls are settled by the test. */
async function serveSettled(t: TestContext): Promise<{ served: { bus: Bus; cage: string }; settles: ((outcome: Outcome) => void)[] }> {
  const served = { bus: await testBus(t, server.url), cage: newCage() }
  const settles: ((outcome: Outcome) => void)[] = []
  await served.bus.serve(served.cage, 'module', { handle: (_call, settle) => void settles.push(settle), cancel: () => {} })
  return { served, settles }
}

/** A callee that takes cancellations, as a cage does. */
async function serveCancellable(t: TestContext): Promise<{ cage: string; served: Served; bus: Bus }> {
  const cage = newCage()
  const served = await serve(t, cage)
  await served.bus.announce({ name: cage, version: '1.0.0', description: '', metadata: {}, endpoints: () => [] })
  return { cage, served, bus: await testBus(t, server.url) }
}

test('bus: cancel(owner) ends the calls of that owner, and their callees hear of it', async (t) => {
  const { cage, served, bus } = await serveCancellable(t)
  const [owner, other] = [{}, {}]
  const calls = ['a', 'b'].map((name) => bus.call(cage, 'module', 'never', [name], { ...soon(), owner }))
  const kept = bus.call(cage, 'module', 'never', ['kept'], { ...soon(500), owner: other })
  await eventually('the calls', () => served.calls.length === 3)
  bus.cancel(owner)
  for (const call of calls) await assert.rejects(within('the end', call, 1_000), { code: 'CANCELLED' })
  await eventually('the cancellations', () => served.cancelled.length === 2)
  assert.deepEqual(served.cancelled.map((call) => call.args[0]).sort(), ['a', 'b'])
  await assert.rejects(kept, { code: 'DEADLINE_EXCEEDED' })
})

test('bus: an abort signal ends its call with CANCELLED, and the callee hears of it', async (t) => {
  const { cage, served, bus } = await serveCancellable(t)
  const leaving = new AbortController()
  const call = bus.call(cage, 'module', 'never', [], { ...soon(), signal: leaving.signal })
  await eventually('the call', () => served.calls.length === 1)
  leaving.abort()
  await assert.rejects(within('the end', call, 1_000), { code: 'CANCELLED' })
  await eventually('the cancellation', () => served.cancelled[0] === served.calls[0])
})

test('bus: a call with an aborted signal is not sent', async (t) => {
  const { cage, served, bus } = await serveCancellable(t)
  await assert.rejects(bus.call(cage, 'module', 'echo', [], { ...soon(), signal: AbortSignal.abort() }), { code: 'CANCELLED' })
  await bus.call(cage, 'module', 'echo', [], soon())
  assert.equal(served.calls.length, 1)
})

test('bus: an abort after the answer does nothing', async (t) => {
  const { cage, served, bus } = await serveCancellable(t)
  const leaving = new AbortController()
  await bus.call(cage, 'module', 'echo', [], { ...soon(), signal: leaving.signal })
  const next = bus.call(cage, 'module', 'echo', ['next'], soon()) // it has the slot of the first
  leaving.abort()
  assert.deepEqual(await next, ['next'])
  assert.deepEqual(served.cancelled, [])
})

test('bus: copies of a cage share its calls, and each call runs once', async (t) => {
  const cage = newCage()
  const [bus, ...copies] = await Promise.all([testBus(t, server.url), serve(t, cage), serve(t, cage), serve(t, cage)])
  await Promise.all(Array.from({ length: 600 }, (_, n) => bus.call(cage, 'module', 'echo', [n], soon())))
  const shares = copies.map((copy) => copy.calls.length)
  assert.equal(
    shares.reduce((sum, share) => sum + share, 0),
    600,
  )
  for (const share of shares) assert.ok(share > 100, `shares ${shares}`)
})

test('bus: a drained module hands over what it has, and its calls go to the copies', async (t) => {
  const cage = newCage()
  const [bus, leaving, staying] = await Promise.all([testBus(t, server.url), testBus(t, server.url), serve(t, cage)])
  let left = 0
  const subscription = await leaving.serve(cage, 'module', {
    handle: (call, settle) => {
      left++
      settle({ ok: true, result: call.args })
    },
    cancel: () => {},
  })
  const calls = Array.from({ length: 300 }, (_, n) => bus.call(cage, 'module', 'echo', [n], soon()))
  const drained = subscription.drain()
  calls.push(...Array.from({ length: 300 }, (_, n) => bus.call(cage, 'module', 'echo', [300 + n], soon())))
  await drained
  assert.deepEqual(
    await Promise.all(calls),
    Array.from({ length: 600 }, (_, n) => [n]),
  )
  assert.equal(left + staying.calls.length, 600)
})

test('bus: answers that come while the callee closes throw nothing', async (t) => {
  const { served, settles } = await serveSettled(t)
  const [nc, total] = [await client(t, server.url), 200]
  for (let n = 0; n < total; n++) nc.publish(`${served.cage}.module.any`, '[]', { reply: 'answers.any' })
  await eventually('the calls', () => settles.length === total)
  const closing = served.bus.close()
  for (const settle of settles) {
    settle({ ok: true, result: 'x' })
    await setImmediate()
  }
  await closing
})

test('bus: a closed bus refuses calls', async (t) => {
  const bus = await testBus(t, server.url)
  await bus.close()
  await eventually('the end', () => !bus.connected)
  await assert.rejects(within('the refusal', bus.call('sample', 'module', 'echo', [], soon()), 1_000), { code: 'UNAVAILABLE' })
})
