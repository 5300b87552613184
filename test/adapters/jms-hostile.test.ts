/** Whatever a broker says ends the connection at worst, never the process: with raw sockets, docs/adapters/jms.md. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { ResourceConnection } from '../../src/adapters/adapter.ts'
import { CageError } from '../../src/errors.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { jmsConnection, jmsInterface, within as scope } from '../support/jms-bench.ts'
import { CONNECTED, type FakeBroker, type FakePeer, fakeBroker, stompFrame } from '../support/stomp.ts'

const TEXT = { 'content-type': 'text/plain' }

/** What a broker may say that is wrong. */
const WRONG: Record<string, string | Buffer> = {
  'an ERROR with a short text': stompFrame(
    'ERROR',
    { message: 'Bad CONNECT', ...TEXT, 'content-length': 26 },
    'Access refused for user x\n',
  ),
  'an ERROR with an empty text': stompFrame('ERROR', { ...TEXT, 'content-length': 0 }),
  'an ERROR with a long text': stompFrame('ERROR', { message: 'oh', ...TEXT }, 'x'.repeat(100_000)),
  'an ERROR that lies about its length': stompFrame('ERROR', { ...TEXT, 'content-length': 3 }, 'longer than that'),
  'an ERROR without anything': 'ERROR\n\n\0',
  'an ERROR for constructor': stompFrame('ERROR', { 'receipt-id': 'constructor' }),
  'two ERRORs': stompFrame('ERROR', { message: 'one' }) + stompFrame('ERROR', { message: 'two' }),
  'a command that objects have': 'hasOwnProperty\n\n\0',
  'another one': '__proto__\nconstructor:x\n\n\0',
  'a second CONNECTED': CONNECTED,
  'an unknown command': 'HELLO\nworld:1\n\n\0',
  'a client’s command': stompFrame('SEND', { destination: '/queue/x' }, 'x'),
  'a header without a colon': 'MESSAGE\nnonsense\n\n\0',
  'an unknown escape': 'MESSAGE\na:\\x\n\n\0',
  'a negative length': stompFrame('MESSAGE', { subscription: 's1', 'content-length': -5 }, 'hello hello'),
  'a length that is none': stompFrame('MESSAGE', { subscription: 's1', 'content-length': 'x' }, 'hello'),
  'a line that never ends': 'x'.repeat(200_000),
  'headers that never end': `MESSAGE\n${Array.from({ length: 5_000 }, (_, n) => `h${n}:x\n`).join('')}`,
  'another protocol': 'HTTP/1.1 400 Bad Request\r\ncontent-type: text/html\r\n\r\n<html>',
  'bytes at random': Buffer.from(Array.from({ length: 5_000 }, (_, n) => (n * 7_919 + (n >> 3) * 104_729) % 256)),
  'half a frame': 'MESSAGE\nsubscription:s1\nmessage-id:1\ncontent-length:100\n\nhalf',
  'half a header': 'MESSAGE\nsubscr',
}

/** A connection to a broker that has said CONNECTED. */
async function connected(t: TestContext, broker: FakeBroker, options: object = {}): Promise<[ResourceConnection, FakePeer]> {
  const connecting = jmsConnection(t, { host: '127.0.0.1', port: broker.port, heartbeatMs: 0, ...options })
  const peer = await broker.client()
  peer.say(CONNECTED)
  return [await connecting, peer]
}

async function confirm(peer: FakePeer, command: string): Promise<void> {
  const { headers } = await peer.heard(command)
  peer.say(stompFrame('RECEIPT', { 'receipt-id': headers.receipt ?? '' }))
}

function anError(error: unknown): boolean {
  assert.ok(error instanceof CageError, String(error))
  return true
}

const code = (expected: string) => (error: unknown) => anError(error) && (error as CageError).code === expected

for (const [what, text] of Object.entries(WRONG)) {
  test(`jms: ${what} ends a connection and nothing else`, async (t) => {
    const broker = await fakeBroker(t)
    // instead of CONNECTED
    const where = { host: '127.0.0.1', port: broker.port, heartbeatMs: 0 }
    if (text !== CONNECTED) {
      const connecting = assert.rejects(jmsConnection(t, where), anError)
      const greeter = await broker.client()
      greeter.say(text)
      greeter.socket.end()
      await within('connecting fails', connecting)
    }
    // instead of a receipt
    const [connection, peer] = await connected(t, broker)
    const sent = assert.rejects(connection.call('send', ['/queue/x', 'x'], scope()), anError)
    await peer.heard('SEND')
    peer.say(text)
    peer.socket.end()
    await within('sending fails', sent)
    assert.equal(connection.broken, true)
    // to a subscriber
    const it = jmsInterface(t, 'in', async () => {})
    const starting = it.start({ ...where, destination: '/queue/x' })
    const server = await broker.client()
    server.say(CONNECTED)
    await confirm(server, 'SUBSCRIBE')
    const died = assert.rejects((await starting).done, anError)
    server.say(text)
    server.socket.end()
    await within('the interface tells', died)
  })
}

test('jms: what nobody has asked for is no reason to end', async (t) => {
  const broker = await fakeBroker(t)
  const [connection, peer] = await connected(t, broker)
  const sending = connection.call('send', ['/queue/x', 'x'], scope())
  for (const id of ['', 'constructor', '__proto__', '999']) {
    peer.say(stompFrame('RECEIPT', { 'receipt-id': id }))
    peer.say(stompFrame('MESSAGE', { subscription: id, 'message-id': 1, hasOwnProperty: 1, ['__proto__']: 1, toString: 1 }, 'x'))
  }
  peer.say('RECEIPT\n\n\0MESSAGE\n\n\0\n\n\n\r\n')
  await confirm(peer, 'SEND')
  await sending
  assert.equal(connection.broken, false)
})

test('jms: a frame is whole however it is cut, with every line’s end and every property', async (t) => {
  const broker = await fakeBroker(t)
  const it = jmsInterface(t, 'in', async () => {})
  const starting = it.start({ host: '127.0.0.1', port: broker.port, destination: '/queue/x' })
  const peer = await broker.client()
  peer.say(CONNECTED)
  await confirm(peer, 'SUBSCRIBE')
  await starting
  const lines = [
    'MESSAGE',
    'subscription:s1',
    'message-id:1',
    'ack:a1',
    'größe:é€😀\\c\\n',
    'größe:second',
    'hasOwnProperty:x',
    '',
    'ü😀\0',
  ]
  const frames = ['\n', '\r\n'].map((end) => Buffer.from(lines.join(end) + end))
  for (const frame of frames)
    for (let cut = 0; cut < frame.length; cut++) {
      // each part is a packet: the other side reads it before the next one comes
      peer.say(frame.subarray(0, cut))
      await new Promise(setImmediate)
      peer.say(frame.subarray(cut))
    }
  const expected = frames.reduce((sum, { length }) => sum + length, 0)
  await eventually('all are called', () => it.calls.length === expected)
  peer.socket.destroy()
  for (const { body, message } of it.calls) assert.deepEqual([body, message.headers.größe], ['ü😀', 'é€😀:\n'])
})

test('jms: a broker that speaks another version is refused', async (t) => {
  const broker = await fakeBroker(t)
  for (const headers of [{ version: '1.1' }, {}] as Record<string, string>[]) {
    const refused = assert.rejects(jmsConnection(t, { host: '127.0.0.1', port: broker.port }), code('UNAVAILABLE'))
    ;(await broker.client()).say(stompFrame('CONNECTED', headers))
    await refused
  }
})

test('jms: heart-beats are sent, waited for, and never beyond measure', async (t) => {
  const broker = await fakeBroker(t)
  const begin = async (heartbeat: string): Promise<[ResourceConnection, FakePeer, () => number]> => {
    const connecting = jmsConnection(t, { host: '127.0.0.1', port: broker.port, heartbeatMs: 100 })
    const peer = await broker.client()
    let beats = 0
    peer.socket.on('data', (chunk) => {
      if (String(chunk) === '\n') beats++
    })
    peer.say(stompFrame('CONNECTED', { version: '1.2', 'heart-beat': heartbeat }))
    return [await connecting, peer, () => beats]
  }
  const [silent] = await begin('100,0')
  await eventually('a silent broker is left', () => silent.broken)
  const [beating, peer, beats] = await begin('100,100')
  const pulse = setInterval(() => peer.say('\n'), 20)
  await eventually('we beat', () => beats() > 3)
  assert.equal(beating.broken, false)
  clearInterval(pulse)
  for (const heartbeat of ['99999999999,99999999999', 'a,b', '-1,-1', '1', 'Infinity,Infinity', '0,1']) {
    const [odd, other, often] = await begin(heartbeat)
    for (let n = 0; n < 5; n++) {
      const sent = odd.call('send', ['/queue/x', 'x'], scope())
      await confirm(other, 'SEND')
      await sent
    }
    other.socket.destroy()
    assert.ok(often() < 10, heartbeat)
  }
})

test('jms: what is not confirmed in time has failed, and its connection with it', async (t) => {
  const broker = await fakeBroker(t)
  const [connection, peer] = await connected(t, broker)
  await assert.rejects(connection.call('send', ['/queue/x', 'x'], scope(50)), code('DEADLINE_EXCEEDED'))
  assert.equal(connection.broken, true)
  await confirm(peer, 'SEND') // too late, and of no consequence
  await assert.rejects(connection.call('send', ['/queue/x', 'x'], scope()), code('UNAVAILABLE'))
  const mute = await fakeBroker(t)
  const late = assert.rejects(jmsConnection(t, { host: '127.0.0.1', port: mute.port }, 200), code('UNAVAILABLE'))
  ;(await mute.client()).say('CONN')
  await late
})

test('jms: an ERROR that names a frame is that frame’s, and ends the others as lost', async (t) => {
  const broker = await fakeBroker(t)
  const [connection, peer] = await connected(t, broker)
  const begun = connection.call('send', ['/queue/x', 'x'], scope())
  const other = assert.rejects(connection.call('send', ['/queue/y', 'y'], scope()), code('UNAVAILABLE'))
  const refused = assert.rejects(begun, code('FORBIDDEN'))
  const { headers } = await peer.heard('SEND')
  const message = 'User app is not authorized to write to\\c queue\\c//x'
  peer.say(stompFrame('ERROR', { 'receipt-id': headers.receipt ?? '', message }, 'java.lang.SecurityException'))
  await Promise.all([refused, other])
})

test('jms: an ERROR that names no frame is that of the only one under way, and of none if there are several', async (t) => {
  const broker = await fakeBroker(t)
  const message = 'not_found'
  const [connection, peer] = await connected(t, broker)
  const refused = assert.rejects(connection.call('send', ['/exchange/nope/x', 'x'], scope()), code('NOT_FOUND'))
  await peer.heard('SEND')
  peer.say(stompFrame('ERROR', { message }))
  await refused
  assert.equal(connection.broken, true)
  const [several, other] = await connected(t, broker)
  const lost = ['/queue/x', '/exchange/nope/x'].map((to) => assert.rejects(several.call('send', [to, 'x'], scope()), code('UNAVAILABLE')))
  for (const _ of lost) await other.heard('SEND')
  other.say(stompFrame('ERROR', { message }))
  await Promise.all(lost)
})

test('jms: answers that are refused all at once, by a broker that names none, cost no other and no second call', async (t) => {
  const broker = await fakeBroker(t)
  const it = jmsInterface(t, 'in', async ({ body }) => body)
  const starting = it.start({ host: '127.0.0.1', port: broker.port, destination: '/queue/x', concurrency: 16, heartbeatMs: 0 })
  const peer = await broker.client()
  peer.say(CONNECTED)
  await confirm(peer, 'SUBSCRIBE')
  const listener = await starting
  const asked = Array.from({ length: 16 }, (_, n) => n)
  for (const n of asked)
    peer.say(stompFrame('MESSAGE', { subscription: 's1', 'message-id': n, ack: n, 'reply-to': n % 3 ? '/bad' : '/good' }, `${n}`))
  let answerer = await broker.client()
  answerer.say(CONNECTED)
  for (const _ of asked) await answerer.heard('SEND')
  answerer.say(stompFrame('ERROR', { message: 'not_found' }))
  const had: number[] = []
  answerer = await broker.client()
  answerer.say(CONNECTED)
  for (const [index] of asked.entries()) {
    const { headers, body } = await answerer.heard('SEND')
    if (headers.destination === '/good') {
      had.push(Number(body))
      answerer.say(stompFrame('RECEIPT', { 'receipt-id': headers.receipt ?? '' }))
      continue
    }
    answerer.say(stompFrame('ERROR', { message: 'not_found' }))
    if (index === asked.length - 1) break
    answerer = await broker.client()
    answerer.say(CONNECTED)
  }
  const acknowledged = await Promise.all(asked.map(async () => Number((await peer.heard('ACK')).headers.id)))
  assert.deepEqual(
    acknowledged.sort((a, b) => a - b),
    asked,
  )
  assert.deepEqual(
    had.sort((a, b) => a - b),
    asked.filter((n) => n % 3 === 0),
  )
  assert.equal(it.calls.length, 16)
  assert.equal(it.said.filter(({ message }) => message.startsWith('an answer was lost')).length, 10)
  const stopping = listener.stop()
  await confirm(peer, 'DISCONNECT')
  await stopping
})

test('jms: an answer ends with its subscription, whatever its broker does', async (t) => {
  const broker = await fakeBroker(t)
  const it = jmsInterface(t, 'in', async () => 'answer')
  const starting = it.start({ host: '127.0.0.1', port: broker.port, destination: '/queue/x', heartbeatMs: 0 })
  const peer = await broker.client()
  peer.say(CONNECTED)
  await confirm(peer, 'SUBSCRIBE')
  const { done } = await starting
  peer.say(stompFrame('MESSAGE', { subscription: 's1', 'message-id': 1, ack: 1, 'reply-to': '/queue/y' }, 'x'))
  const answerer = await broker.client()
  answerer.say(CONNECTED)
  await answerer.heard('SEND')
  const died = assert.rejects(done, code('UNAVAILABLE'))
  peer.socket.destroy()
  await within('the interface tells', died, 2_000)
})

test('jms: a request of a session that has ended is UNAVAILABLE', async (t) => {
  const broker = await fakeBroker(t)
  const [connection, peer] = await connected(t, broker)
  const first = connection.call('request', ['/queue/x', 'x'], scope())
  await confirm(peer, 'SUBSCRIBE')
  const lost = assert.rejects(first, code('UNAVAILABLE'))
  await peer.heard('SEND')
  peer.socket.destroy()
  await lost
  await assert.rejects(connection.call('request', ['/queue/x', 'x'], scope()), code('UNAVAILABLE'))
})

test('jms: a request has the options of a send, and lives no longer than its caller waits', async (t) => {
  const broker = await fakeBroker(t)
  const [connection, peer] = await connected(t, broker)
  for (const options of ['x', 5, null, { ttlMs: 0 }, { prioritty: 1 }])
    await assert.rejects(connection.call('request', ['/queue/x', 'x', options], scope()), code('INVALID_ARGUMENT'))
  const deadlineMs = 20_000
  for (const [ttlMs, longestMs] of [
    [undefined, deadlineMs],
    [3_600_000, deadlineMs],
    [1_000, 1_000],
  ]) {
    const before = Date.now()
    const asking = connection.call('request', ['/queue/x', 'x', { ttlMs }], scope(deadlineMs))
    if (ttlMs === undefined) await confirm(peer, 'SUBSCRIBE')
    const { headers } = await peer.heard('SEND')
    const livesMs = Number(headers.expires) - before
    assert.ok(livesMs > 0 && livesMs <= Number(longestMs) + 500, `${ttlMs}: ${headers.expires}`)
    peer.say(stompFrame('RECEIPT', { 'receipt-id': headers.receipt ?? '' }))
    const reply = { subscription: 's1', destination: headers['reply-to'] ?? '', 'correlation-id': headers['correlation-id'] ?? '' }
    peer.say(stompFrame('MESSAGE', reply, 're'))
    await asking
  }
})

test('jms: mutated frames in random pieces crash nothing', async (t) => {
  const broker = await fakeBroker(t)
  let seed = 42
  const random = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
    return Math.floor((seed / 2_147_483_648) * below)
  }
  const frames = Buffer.from(
    stompFrame('MESSAGE', { subscription: 's1', 'message-id': 1, ack: 1, 'content-length': 5 }, 'hello') +
      stompFrame('RECEIPT', { 'receipt-id': 2 }) +
      stompFrame('ERROR', { ...TEXT, 'content-length': 4 }, 'oops'),
  )
  for (let round = 0; round < 150; round++) {
    const [connection, peer] = await connected(t, broker)
    const sent = connection.call('send', ['/queue/x', 'x'], scope()).catch(anError)
    const bytes = Buffer.concat([frames, frames])
    for (let n = random(6); n >= 0; n--) bytes[random(bytes.length)] = [0, 10, 13, 58, 92, 45, random(256)][random(7)] ?? 0
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + random(60)
      peer.say(bytes.subarray(at, at + length))
      if (random(3) === 0) await new Promise(setImmediate)
      at += length
    }
    peer.socket.end()
    await within('sending ends', sent)
    await eventually('the connection ends', () => connection.broken)
  }
})
