import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { createServer as createSecureServer } from 'node:tls'
import type { InterfaceCallOptions, InterfaceHost, Listener, ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import { openPool } from '../../src/adapters/pool/pool.ts'
import { RESOURCE_SCHEMAS } from '../../src/adapters/registry.ts'
import { tcpListenOptions, tcpOptions } from '../../src/adapters/tcp/options.ts'
import { open as openResource } from '../../src/adapters/tcp/resource.ts'
import { listen } from '../../src/adapters/tcp/server.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { certificates } from '../support/certificates.ts'
import { open } from '../support/http.ts'

type Handler = (message: unknown, options: InterfaceCallOptions) => unknown

interface Gate {
  port: number
  listener: Listener
  said: Said[]
  calls: unknown[]
  /** Owners whose calls were cancelled. */
  cancelled: object[]
}

/** The interface alone: its calls are answered by `handler`. */
async function gate(t: TestContext, handler: Handler, options: object = {}): Promise<Gate> {
  const port = await freePort()
  const { log, said } = recordingLog()
  const calls: unknown[] = []
  const cancelled: object[] = []
  const rejections = new Map<object, () => void>()
  let ids = 0
  const host = {
    ...{ cage: 'test', name: 'gate', log, timeoutMs: 20_000, dataDir: '/nowhere', newRequestId: () => `r${++ids}` },
    call: async (_target: string, [message]: unknown[], given: InterfaceCallOptions) => {
      calls.push(message)
      const gone = new Promise((_, reject) =>
        rejections.set(given.owner ?? {}, () => reject(new CageError('CANCELLED', 'the client has gone'))),
      )
      return await Promise.race([handler(message, given), gone])
    },
    cancel: (owner: object) => {
      if (rejections.has(owner)) cancelled.push(owner)
      rejections.get(owner)?.()
    },
  } as unknown as InterfaceHost // the rest is not used
  const listener = await listen(tcpListenOptions.parse({ port, call: 'gate.take', ...options }), host)
  atEnd(t, () => listener.stop())
  return { port, listener, said, calls, cancelled }
}

/** What a program prints that is given this on its standard input; it is ended with the test. */
async function peer(t: TestContext, words: string[], input: string | Buffer): Promise<string> {
  const child = begun(t, words)
  let output = ''
  child.stdout?.on('data', (data) => (output += data.toString('latin1')))
  child.stdin?.end(input)
  await within(`${words[0]} ends`, once(child, 'close'), 15_000)
  return output
}

function begun(t: TestContext, [file = '', ...args]: string[]): ChildProcess {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin?.on('error', () => {}) // it may have ended
  atEnd(t, () => void child.kill('SIGKILL'))
  return child
}

function received(socket: Socket): { text(): string; closed: Promise<unknown> } {
  let text = ''
  socket.on('data', (data) => (text += data.toString('latin1')))
  return { text: () => text, closed: once(socket, 'close') }
}

const shout: Handler = (message) => String(message).toUpperCase()

test('tcp: nc gets the answers of all its lines, in their order, though it has ended its half', async (t) => {
  const { port } = await gate(t, async (message) => {
    if (message === 'slow') await new Promise((resolve) => setTimeout(resolve, 50))
    return shout(message, {})
  })
  assert.equal(await peer(t, ['nc', '-N', '127.0.0.1', String(port)], 'slow\nquick\r\nlast\n'), 'SLOW\nQUICK\nLAST\n')
})

test('tcp: socat gets answers with the line ending that is configured', async (t) => {
  const { port } = await gate(t, shout, { lineEnding: '\r\n' })
  assert.equal(await peer(t, ['socat', '-t', '10', '-', `TCP:127.0.0.1:${port}`], 'one\ntwo\n'), 'ONE\r\nTWO\r\n')
})

test('tcp: a raw message is all that nc sends, bytes as they are', async (t) => {
  const { port, calls } = await gate(t, (message) => Buffer.from(message as Uint8Array).reverse(), { framing: 'raw' })
  assert.equal(await peer(t, ['nc', '-N', '127.0.0.1', String(port)], Buffer.from([1, 0, 10, 255])), '\xff\n\0\x01')
  assert.deepEqual(calls, [Uint8Array.of(1, 0, 10, 255)])
})

test('tcp: counted messages go both ways through socat', async (t) => {
  const { port } = await gate(t, shout, { framing: 'length', lengthBytes: 2, encoding: 'utf8' })
  assert.equal(await peer(t, ['socat', '-t', '10', '-', `TCP:127.0.0.1:${port}`], '\0\x02ab\0\0\0\x01c'), '\0\x02AB\0\0\0\x01C')
})

test('tcp: a message of a client that half-closes in the middle is never called', async (t) => {
  const { port, calls } = await gate(t, shout, { failure: 'ERROR {code}' })
  assert.equal(await peer(t, ['nc', '-N', '127.0.0.1', String(port)], 'whole\nhal'), 'WHOLE\nERROR INVALID_ARGUMENT\n')
  assert.deepEqual(calls, ['whole'])
})

test('tcp: a line that is too long is refused while it comes, and the connection closed', async (t) => {
  const { port, calls } = await gate(t, shout, { failure: 'ERROR {code}', maxMessageBytes: 1_000 })
  const socket = await open(t, port)
  const { text, closed } = received(socket)
  socket.write('fine\n')
  const flood = setInterval(() => socket.write('x'.repeat(500)), 5) // without an end
  await within('the connection is closed', closed)
  clearInterval(flood)
  assert.equal(text(), 'FINE\nERROR PAYLOAD_TOO_LARGE\n')
  assert.deepEqual(calls, ['fine'])
})

test('tcp: what is not of the encoding is refused, and the next message is served', async (t) => {
  const { port } = await gate(t, shout, { failure: '{code}' })
  assert.equal(await peer(t, ['nc', '-N', '127.0.0.1', String(port)], Buffer.from('\xe9\nok\n', 'latin1')), 'INVALID_ARGUMENT\nOK\n')
})

test('tcp: without a text for failures the connection of a failed call is closed', async (t) => {
  const { port, calls } = await gate(t, () => Promise.reject(new CageError('CONFLICT', 'secret')))
  assert.equal(await peer(t, ['nc', '-N', '127.0.0.1', String(port)], 'one\ntwo\n'), '')
  assert.deepEqual(calls, ['one'])
})

test('tcp: a result that is no message is a failure, and told in the log', async (t) => {
  const { port, said } = await gate(t, (message) => (message === 'nothing' ? undefined : { a: 1 }), { failure: '{code}' })
  assert.equal(await peer(t, ['nc', '-N', '127.0.0.1', String(port)], 'nothing\nobject\n'), 'INTERNAL\n')
  assert.ok(said.some(({ level, message }) => level === 'error' && message === 'the result cannot be sent'))
})

test('tcp: a call knows its client and connection', async (t) => {
  const seen: unknown[] = []
  const { port } = await gate(t, (_message, { parameters, protocol }) => {
    seen.push([parameters?.connection, protocol, /^127\.0\.0\.1:\d+$/.test(String(parameters?.remote))])
    return ''
  })
  await peer(t, ['nc', '-N', '127.0.0.1', String(port)], 'a\nb\n')
  assert.deepEqual(seen, [
    ['r1', 'tcp', true],
    ['r1', 'tcp', true],
  ])
})

test('tcp: a client that resets its connection cancels its call', async (t) => {
  const { port, calls, cancelled } = await gate(t, () => new Promise(() => {}))
  const socket = await open(t, port)
  socket.write('long\n')
  await eventually('it is called', () => calls.length === 1)
  assert.equal(cancelled.length, 0)
  socket.resetAndDestroy()
  await eventually('it is cancelled', () => cancelled.length === 1)
})

test('tcp: a silent client is dropped, and one that does not end its message', async (t) => {
  const { port, calls } = await gate(t, shout, { idleMs: 150, messageMs: 300 })
  const silent = received(await open(t, port))
  const socket = await open(t, port)
  const slow = received(socket)
  const drip = setInterval(() => socket.write('x'), 20)
  await within('the silent one is dropped', silent.closed)
  await within('the slow one is dropped', slow.closed)
  clearInterval(drip)
  assert.deepEqual(calls, [])
})

test('tcp: a client that does not read its answers is dropped, and others are served', async (t) => {
  const { port, calls } = await gate(t, (message) => (message === 'much' ? 'x'.repeat(900_000) : 'ok'), {
    maxMessageBytes: 1_000_000,
    idleMs: 300,
  })
  const socket = await open(t, port)
  socket.pause()
  const closed = once(socket, 'close')
  socket.write('much\n'.repeat(200))
  await eventually('it is asked', () => calls.length > 0)
  assert.equal(await peer(t, ['nc', '-N', '127.0.0.1', String(port)], 'quick\n'), 'ok\n')
  let asked = 0
  await eventually('it is asked no more', async () => {
    if (asked === calls.length) return true
    asked = calls.length
    await new Promise((resolve) => setTimeout(resolve, 400))
    return false
  })
  assert.ok(calls.length < 150, 'its answers were not all made')
  socket.resume()
  await within('it is dropped', closed)
})

test('tcp: what comes while a call runs waits at the client beyond one message', async (t) => {
  const { promise, resolve } = deferred<string>()
  const { port, calls } = await gate(t, () => promise, { maxMessageBytes: 10_000 })
  const socket = await open(t, port)
  const line = `${'x'.repeat(9_000)}\n`
  let written = 0
  const push = (): void => {
    while (written < 20_000 && socket.write(line)) written++
  }
  socket.on('drain', push)
  push()
  await eventually('it is called', () => calls.length === 1)
  let before = -1
  await eventually('nothing more is taken', async () => {
    if (before === written) return true
    before = written
    await new Promise((done) => setTimeout(done, 100))
    return false
  })
  assert.ok(written < 20_000)
  assert.equal(calls.length, 1)
  resolve('')
  await eventually('it goes on', () => calls.length > 2)
})

test('tcp: what comes while an answer is not taken waits at the client beyond one message', async (t) => {
  const { port, calls } = await gate(t, (message) => (message === 'much' ? 'x'.repeat(900_000) : 'ok'), { maxMessageBytes: 1_000_000 })
  const socket = await open(t, port)
  socket.pause()
  socket.write('much\n'.repeat(30))
  let asked = -1
  await eventually('it is asked no more', async () => {
    if (asked === calls.length) return true
    asked = calls.length
    await new Promise((done) => setTimeout(done, 200))
    return false
  })
  assert.ok(asked < 30, 'its answers were not all made')
  const line = `${'x'.repeat(900_000)}\n`
  let written = 0
  const push = (): void => {
    while (written < 100 && socket.write(line)) written++
  }
  socket.on('drain', push)
  push()
  let before = -1
  await eventually('nothing more is taken', async () => {
    if (before === written) return true
    before = written
    await new Promise((done) => setTimeout(done, 200))
    return false
  })
  assert.ok(written < 100)
  socket.resume()
  await eventually('it goes on', () => calls.length > 35)
})

test('tcp: more connections than allowed are refused, and told', async (t) => {
  const { port, said } = await gate(t, shout, { maxConnections: 1 })
  const first = await open(t, port)
  const second = received(await open(t, port))
  await within('the second is refused', second.closed)
  const { text } = received(first)
  first.write('still\n')
  await eventually('the first is served', () => text() === 'STILL\n')
  assert.ok(said.some(({ level }) => level === 'warn'))
})

test('tcp: over TLS with client certificates the call knows the name of the client, and nobody else is served', async (t) => {
  const files = await certificates(t, [{ type: 7, ip: '127.0.0.1' }], 'partner')
  const tls = { keyFile: files.key, certFile: files.cert, clientCaFile: files.ca }
  const { port, calls } = await gate(t, (_message, { parameters }) => `hello ${parameters?.clientName}`, { tls })
  const words = (more: string): string[] => ['socat', '-t', '10', '-', `OPENSSL:127.0.0.1:${port},cafile=${files.ca}${more}`]
  assert.equal(await peer(t, words(`,cert=${files.cert},key=${files.key}`), 'hi\n'), 'hello partner\n')
  const secure = await client(t, port, { tls: { caFile: files.ca, certFile: files.cert, keyFile: files.key } })
  assert.equal(await secure.call('request', ['hi'], scope()), 'hello partner')
  const stranger = await client(t, port, { tls: { caFile: files.ca } })
  await assert.rejects(stranger.call('request', ['hi'], scope()), code('UNAUTHENTICATED'))
  assert.equal(stranger.broken, true)
  assert.equal(calls.length, 2)
})

test('tcp: mistakes in the configuration are told', () => {
  const message = (options: object): string => tcpListenOptions.safeParse({ port: 1, call: 'a.b', ...options }).error?.message ?? ''
  assert.equal(message({}), '')
  assert.match(message({ framing: 'length', lengthBytes: 1, maxMessageBytes: 300 }), /1 bytes count to 255/)
  assert.match(message({ framing: 'raw', halfClose: false }), /ends with the half/)
  assert.match(message({ failure: 'a\nb' }), /more than one line/)
  assert.match(message({ failure: 'ü' }), /not ASCII/)
  assert.match(message({ call: 'nowhere' }), /neither module\.method/)
  assert.match(tcpOptions.safeParse({ host: 'x', port: 0 }).error?.message ?? '', /port/)
})

// the resource

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

function code(expected: string, message = /^peer: /): (error: CageError) => boolean {
  return (error) => {
    assert.equal(error.code, expected, error.message)
    assert.match(error.message, message)
    return true
  }
}

async function client(t: TestContext, port: number, options: object = {}): Promise<ResourceConnection> {
  const resource = await openResource(tcpOptions.parse({ host: '127.0.0.1', port, ...options }), {
    cage: 'test',
    name: 'peer',
    log: recordingLog().log,
  })
  const connection = await resource.connect(scope(2_000))
  atEnd(t, () => connection.close())
  return connection
}

/** A server that does with each connection what it is told to. */
async function server(
  t: TestContext,
  serve: (socket: Socket) => void,
  made: Server = createServer({ allowHalfOpen: true }),
): Promise<number> {
  const sockets = new Set<Socket>()
  made.on(made.listenerCount('tlsClientError') > 0 ? 'secureConnection' : 'connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => {}) // tests cut connections off
    serve(socket)
  })
  made.listen(0, '127.0.0.1')
  await once(made, 'listening')
  atEnd(t, () => {
    made.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = made.address()
  return typeof address === 'object' && address ? address.port : 0
}

/** socat as a server that runs a command for each connection. */
async function socatServer(t: TestContext, command: string): Promise<{ port: number; child: ChildProcess }> {
  const port = await freePort()
  const child = begun(t, ['socat', `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr,fork`, `SYSTEM:${command}`])
  await eventually('socat listens', async () => {
    const { connect } = await import('node:net')
    const socket = connect(port, '127.0.0.1')
    const isThere = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    return isThere
  })
  return { port, child }
}

test('tcp: a request to socat has its answer, many on one connection', async (t) => {
  const { port } = await socatServer(t, 'while read -r line; do echo "got $line"; done')
  const connection = await client(t, port)
  for (const text of ['one', 'two', 'three']) assert.equal(await connection.call('request', [text], scope()), `got ${text}`)
  assert.equal(connection.broken, false)
})

test('tcp: a raw request to socat ends with our half, and its answer with theirs', async (t) => {
  const { port } = await socatServer(t, 'wc -c')
  const connection = await client(t, port, { framing: 'raw', encoding: 'utf8' })
  for (const bytes of [10, 20_000]) assert.equal(Number(await connection.call('request', ['x'.repeat(bytes)], scope())), bytes)
  assert.equal(connection.broken, false)
})

test('tcp: what is sent arrives at nc', async (t) => {
  const port = await freePort()
  const child = begun(t, ['nc', '-l', '127.0.0.1', String(port)])
  let output = ''
  child.stdout?.on('data', (data) => (output += data))
  const connection = await eventually('nc listens', () => client(t, port).catch(() => undefined))
  await connection.call('send', ['one'], scope())
  await connection.call('send', ['two'], scope())
  await eventually('it has arrived', () => output === 'one\ntwo\n')
})

test('tcp: an answer that is late costs the connection, and the other end hears of it', async (t) => {
  const ended: string[] = []
  const port = await server(t, (socket) => {
    socket.resume()
    socket.on('error', (error: NodeJS.ErrnoException) => ended.push(String(error.code)))
  })
  const connection = await client(t, port)
  await assert.rejects(connection.call('request', ['anybody?'], scope(100)), code('DEADLINE_EXCEEDED'))
  assert.equal(connection.broken, true)
  await eventually('the server hears of it', () => ended.includes('ECONNRESET'))
  const other = await client(t, port)
  const gone = new AbortController()
  const asked = other.call('request', ['anybody?'], scope(20_000, gone.signal))
  gone.abort()
  await assert.rejects(asked, code('CANCELLED'))
})

test('tcp: half an answer is none', async (t) => {
  const port = await server(t, (socket) => socket.once('data', () => socket.end('half an ans')))
  const connection = await client(t, port)
  await assert.rejects(connection.call('request', ['?'], scope()), code('UNAVAILABLE', /half an answer/))
  assert.equal(connection.broken, true)
})

test('tcp: a server that dies during a request fails it', async (t) => {
  const port = await server(t, (socket) => socket.once('data', () => socket.resetAndDestroy()))
  const connection = await client(t, port)
  await assert.rejects(connection.call('request', ['?'], scope()), code('UNAVAILABLE', /ECONNRESET/))
})

test('tcp: an answer that is too long, or not of the encoding, is refused', async (t) => {
  const port = await server(t, (socket) =>
    socket.on('data', (data) => socket.write(data.includes('long') ? 'x'.repeat(5_000) : Buffer.from([0xe9, 10]))),
  )
  const connection = await client(t, port, { maxMessageBytes: 1_000 })
  await assert.rejects(connection.call('request', ['odd'], scope()), code('INVALID_ARGUMENT', /UTF-8/))
  assert.equal(connection.broken, false)
  await assert.rejects(connection.call('request', ['long'], scope()), code('PAYLOAD_TOO_LARGE', /1000 bytes/))
  assert.equal(connection.broken, true)
})

test('tcp: a second answer, and one that nobody has asked for, are never the next call’s', async (t) => {
  const sockets: Socket[] = []
  const port = await server(t, (socket) => {
    sockets.push(socket)
    socket.on('data', () => socket.write('one\ntwo\n'))
  })
  const connection = await client(t, port)
  assert.equal(await connection.call('request', ['?'], scope()), 'one')
  assert.equal(connection.broken, true)
  const idle = await client(t, port)
  sockets.at(-1)?.write('news\n')
  await eventually('it is dropped', () => idle.broken)
})

test('tcp: an idle connection that the server closes is not used again', async (t) => {
  const sockets: Socket[] = []
  const port = await server(t, (socket) => void sockets.push(socket))
  const connection = await client(t, port)
  await eventually('it is accepted', () => sockets.length === 1)
  sockets[0]?.end()
  await eventually('it is known', () => connection.broken)
})

test('tcp: a server that is not there, or does not answer the handshake, is unavailable', async (t) => {
  await assert.rejects(client(t, await freePort()), code('UNAVAILABLE', /ECONNREFUSED/))
  const port = await server(t, () => {})
  await assert.rejects(client(t, port, { tls: { verify: false } }), code('UNAVAILABLE', /does not answer/))
  const plain = await server(t, (socket) => void socket.end('220 hello\r\n'))
  await assert.rejects(client(t, plain, { tls: { verify: false } }), code('UNAVAILABLE'))
})

test('tcp: the certificate of the server must be of a known authority, for its name, and of today', async (t) => {
  const secure = async (names: object[], until?: Date): Promise<[number, string]> => {
    const files = await certificates(t, names, 'server', until)
    const made = createSecureServer({ key: readFileSync(files.key), cert: readFileSync(files.cert) })
    made.on('tlsClientError', () => {}) // the client refuses
    return [await server(t, (socket) => void socket.pipe(socket), made), files.ca]
  }
  const [port, caFile] = await secure([{ type: 2, value: 'localhost' }])
  const good = await client(t, port, { tls: { caFile, serverName: 'localhost' } })
  assert.equal(await good.call('request', ['hi'], scope()), 'hi')
  const [local] = [await client(t, port, { host: 'localhost', tls: { caFile } })]
  assert.equal(await local.call('request', ['hi'], scope()), 'hi')
  await assert.rejects(client(t, port, { tls: { caFile } }), code('UNAVAILABLE', /not trusted \(ERR_TLS_CERT_ALTNAME_INVALID\)/))
  await assert.rejects(client(t, port, { tls: true }), code('UNAVAILABLE', /not trusted/))
  await assert.rejects(client(t, port, { tls: { caFile: '/no/such/file' } }), code('UNAVAILABLE', /ENOENT/))
  const [expired, authority] = await secure([{ type: 7, ip: '127.0.0.1' }], new Date(Date.now() - 3_600_000))
  await assert.rejects(client(t, expired, { tls: { caFile: authority } }), code('UNAVAILABLE', /CERT_HAS_EXPIRED/))
  const unchecked = await client(t, expired, { tls: { verify: false } })
  assert.equal(await unchecked.call('request', ['hi'], scope()), 'hi')
})

test('tcp: through the pool, a server that is not there yet, dies in a request and comes back is served again', async (t) => {
  const port = await freePort()
  const pool = openPool({
    ...{
      name: 'peer',
      log: recordingLog().log,
      settings: { ...RESOURCE_SCHEMAS.pool.parse({ connectMs: 500, backoff: { firstMs: 20, maxMs: 50 } }) },
    },
    open: () => openResource(tcpOptions.parse({ host: '127.0.0.1', port }), { cage: 'test', name: 'peer', log: recordingLog().log }),
  })
  atEnd(t, () => pool.stop())
  const ask = (text: string, ms?: number): Promise<unknown> =>
    pool.use(scope(ms), (lease) => lease.connection.call('request', [text], lease.scope))
  const served = (): Promise<boolean> =>
    ask('hi').then(
      (answer) => answer === 'got hi',
      () => false,
    )
  await assert.rejects(ask('hi'), code('UNAVAILABLE', /ECONNREFUSED/))
  const words = [
    'socat',
    `TCP-LISTEN:${port},bind=127.0.0.1,reuseaddr`,
    'SYSTEM:while read -r line; do [ "$line" = hang ] || echo "got $line"; done',
  ]
  const first = begun(t, words)
  await eventually('it is served', served)
  const hanging = ask('hang')
  first.kill('SIGKILL')
  await assert.rejects(hanging, code('UNAVAILABLE'))
  const second = begun(t, words)
  await eventually('it is served again', served, 5_000)
  second.kill('SIGSTOP')
  await assert.rejects(ask('anybody?', 200), code('DEADLINE_EXCEEDED'))
  second.kill('SIGKILL')
  begun(t, words)
  await eventually('and again', served, 5_000)
})
