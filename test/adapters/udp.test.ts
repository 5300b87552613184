import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { InterfaceHost, Listener, ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import { ADAPTERS } from '../../src/adapters/registry.ts'
import { udpListenOptions, udpOptions } from '../../src/adapters/udp/options.ts'
import { open } from '../../src/adapters/udp/resource.ts'
import { listen } from '../../src/adapters/udp/server.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { resourceConforms } from '../../src/testing/resource.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'

const adapter = ADAPTERS.get('udp')
if (!adapter) throw new Error('there is no adapter udp')

const echo = createSocket('udp4')
echo.on('message', (bytes, { port, address }) => echo.send(bytes, port, address))
echo.bind(0, '127.0.0.1').unref()
await once(echo, 'listening')

resourceConforms({
  name: 'udp',
  adapter,
  options: () => ({ host: '127.0.0.1', port: echo.address().port, encoding: 'utf8' }),
  quick: { method: 'request', args: ['hello'], result: 'hello' },
})

interface Gate {
  port: number
  listener: Listener
  said: Said[]
  calls: unknown[]
}

async function gate(t: TestContext, handler: (message: unknown) => unknown, options: object = {}, port?: number): Promise<Gate> {
  const given = port ?? (await freePort())
  const { log, said } = recordingLog()
  const calls: unknown[] = []
  const host = {
    ...{ cage: 'test', name: 'gate', log, timeoutMs: 20_000 },
    call: async (target: string, [message]: unknown[], { parameters, protocol }: { parameters: { remote: string }; protocol: string }) => {
      assert.deepEqual([target, protocol], ['gate.take', 'udp'])
      assert.match(parameters.remote, /^127\.0\.0\.1:\d+$/)
      calls.push(message)
      return await handler(message)
    },
  } as unknown as InterfaceHost // the rest is not used
  const listener = await listen(udpListenOptions.parse({ port: given, call: 'gate.take', encoding: 'utf8', ...options }), host)
  atEnd(t, () => listener.stop())
  return { port: given, listener, said, calls }
}

/** What a program prints that is given this on its standard input. */
async function peer(t: TestContext, [file = '', ...args]: string[], input: string): Promise<string> {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  atEnd(t, () => void child.kill('SIGKILL'))
  let output = ''
  child.stdout.on('data', (data) => (output += data))
  child.stdin.end(input)
  await within(`${file} ends`, once(child, 'close'), 15_000)
  return output
}

function scope(ms = 20_000): Scope {
  return { deadline: Date.now() + ms, signal: new AbortController().signal }
}

async function client(t: TestContext, port: number, options: object = {}): Promise<ResourceConnection> {
  const written = udpOptions.parse({ host: '127.0.0.1', port, encoding: 'utf8', ...options })
  const connection = await (await open(written, { cage: 'test', name: 'peer', log: recordingLog().log })).connect(scope())
  atEnd(t, () => connection.close())
  return connection
}

async function server(t: TestContext, answer: (socket: Socket, bytes: Buffer, from: RemoteInfo) => void): Promise<number> {
  const socket = createSocket('udp4')
  socket.on('message', (bytes, from) => answer(socket, bytes, from))
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  atEnd(t, () => void socket.close())
  return socket.address().port
}

function code(expected: string): (error: CageError) => boolean {
  return (error) => {
    assert.equal(error.code, expected, error.message)
    return true
  }
}

test('udp: nc and socat get the result of their datagrams', async (t) => {
  const { port } = await gate(t, (message) => String(message).toUpperCase())
  assert.equal(await peer(t, ['nc', '-u', '-w', '1', '127.0.0.1', String(port)], 'hello'), 'HELLO')
  assert.equal(await peer(t, ['socat', '-t', '1', '-', `UDP:127.0.0.1:${port}`], 'again'), 'AGAIN')
})

test('udp: a failed call is answered with its code if the configuration says so, else not at all', async (t) => {
  const { port } = await gate(t, () => Promise.reject(new CageError('CONFLICT', 'secret')), { failure: 'ERROR {code}' })
  assert.equal(await (await client(t, port)).call('request', ['?'], scope()), 'ERROR CONFLICT')
  const silent = await gate(t, (message) => (message === 'ok' ? 'fine' : Promise.reject(new CageError('CONFLICT', 'secret'))))
  const connection = await client(t, silent.port)
  await connection.call('send', ['bad'], scope())
  assert.equal(await connection.call('request', ['ok'], scope()), 'fine')
})

test('udp: bytes arrive as they are, and what is not of the encoding is not called', async (t) => {
  const bytes = await gate(t, (message) => message, { encoding: 'bytes' })
  const connection = await client(t, bytes.port, { encoding: 'bytes' })
  assert.deepEqual(await connection.call('request', [Uint8Array.of(0, 255, 10)], scope()), Uint8Array.of(0, 255, 10))
  assert.deepEqual(await connection.call('request', [new Uint8Array()], scope()), new Uint8Array())
  const text = await gate(t, (message) => message, { failure: '{code}' })
  assert.equal(await (await client(t, text.port)).call('request', [Uint8Array.of(0xe9)], scope()), 'INVALID_ARGUMENT')
  assert.deepEqual(text.calls, [])
})

test('udp: what is too much is lost, and told', async (t) => {
  const { promise, resolve } = deferred<string>()
  const { port, calls, said } = await gate(t, () => promise, { concurrency: 2, maxWaiting: 3 })
  const connection = await client(t, port)
  for (let n = 0; n < 20; n++) await connection.call('send', [String(n)], scope())
  await eventually('it is told', () => said.some(({ message }) => /datagrams were lost/.test(message)))
  resolve('')
  await eventually('what waited is called', () => calls.length === 5)
})

test('udp: a port that is taken is refused, and free again after the stop, which lets what runs end', async (t) => {
  const { promise, resolve } = deferred<string>()
  const { port, listener, calls } = await gate(t, () => promise)
  await assert.rejects(
    gate(t, () => '', {}, port),
    /EADDRINUSE/,
  )
  const asked = (await client(t, port)).call('request', ['slow'], scope())
  await eventually('it is called', () => calls.length === 1)
  const stopping = Promise.all([listener.stop(), listener.stop()])
  resolve('in time')
  assert.equal(await asked, 'in time')
  await within('it has stopped', stopping)
  await within('done resolves', listener.done)
  await gate(t, () => '', {}, port)
})

test('udp: a request without an answer is late, and a late answer is nobody else’s', async (t) => {
  const late: (() => void)[] = []
  const port = await server(t, (socket, bytes, from) => void late.push(() => socket.send(`late ${bytes}`, from.port, from.address)))
  const connection = await client(t, port)
  await assert.rejects(connection.call('request', ['one'], scope(50)), code('DEADLINE_EXCEEDED'))
  assert.equal(connection.broken, true, 'the next call has another socket')
  for (const send of late) send()
})

test('udp: what comes from elsewhere is not heard', async (t) => {
  const port = await server(t, (socket, _bytes, from) => {
    const stranger = createSocket('udp4')
    stranger.send('from a stranger', from.port, from.address, () => {
      stranger.close()
      socket.send('from the peer', from.port, from.address)
    })
  })
  assert.equal(await (await client(t, port)).call('request', ['?'], scope()), 'from the peer')
})

test('udp: a peer that is not there is unavailable, where the system tells', async (t) => {
  const connection = await client(t, await freePort())
  await assert.rejects(connection.call('request', ['?'], scope()), code('UNAVAILABLE'))
  assert.equal(connection.broken, true, 'an answer that comes yet is nobody else’s')
  await assert.rejects(client(t, 1, { host: 'no-such-host.invalid' }), code('UNAVAILABLE'))
})

test('udp: an address that the system does not let us send to is told when connecting', async (t) => {
  await assert.rejects(client(t, 9, { host: '127.255.255.255' }), code('FORBIDDEN'))
  await client(t, 9, { host: '127.255.255.255', broadcast: true })
})

test('udp: what is no datagram is not sent', async (t) => {
  const connection = await client(t, echo.address().port)
  await assert.rejects(connection.call('send', [new Uint8Array(70_000)], scope()), code('PAYLOAD_TOO_LARGE'))
  await assert.rejects(connection.call('send', [{ a: 1 }], scope()), code('INVALID_ARGUMENT'))
  await assert.rejects(connection.call('sent', ['a'], scope()), code('INVALID_ARGUMENT'))
  assert.equal(connection.broken, false)
  assert.equal(await connection.call('request', ['still'], scope()), 'still')
})
