/** What is no SMPP, or nearly none, over plain sockets: nothing hangs, nothing is left behind, nothing ends the process. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { listen } from '../../src/adapters/smpp/listener.ts'
import { smppListenOptions } from '../../src/adapters/smpp/options.ts'
import { encode, type Fields } from '../../src/adapters/smpp/pdu.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type TestHost, testHost } from '../support/interface-host.ts'

const pdu = (command: string, fields: Fields = {}, sequence = 1): Buffer => encode({ command, status: 0, sequence, fields })
const BIND = pdu('bind_transceiver', { system_id: 'esme', password: 'secret', interface_version: 0x34 })
const SUBMIT = pdu('submit_sm', { source_addr: '1000', destination_addr: '4912345', short_message: Buffer.from('hello') }, 2)

/** A client of octets. */
class Wire {
  readonly socket: Socket
  heard = Buffer.alloc(0)
  closed = false

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.socket.on('error', () => {}) // it is cut off
    this.socket.on('data', (bytes) => (this.heard = Buffer.concat([this.heard, bytes])))
    this.socket.on('close', () => (this.closed = true))
  }

  /** Resolves with the whole PDUs of the answer, as [command_id, status, sequence], once there are so many. */
  async answers(count: number): Promise<number[][]> {
    return await eventually(`${count} answers`, () => {
      const all: number[][] = []
      for (let at = 0; at + 16 <= this.heard.length; at += this.heard.readUInt32BE(at)) {
        all.push([4, 8, 12].map((offset) => this.heard.readUInt32BE(at + offset)))
      }
      return all.length >= count && all
    })
  }
}

interface Bench extends TestHost {
  port: number
  wire(): Promise<Wire>
}

async function bench(t: TestContext, more: object = {}): Promise<Bench> {
  const port = await freePort()
  const it = testHost(() => 'id')
  const options = smppListenOptions.parse({ mode: 'smsc', port, accounts: { esme: 'secret' }, submit: 'sms.submit', ...more })
  const listener = await listen(options, it.host)
  atEnd(t, () => within('it stops', listener.stop()))
  return {
    ...it,
    port,
    wire: async () => {
      const wire = new Wire(port)
      atEnd(t, () => void wire.socket.destroy())
      await once(wire.socket, 'connect')
      return wire
    },
  }
}

for (const [what, hex, answer] of [
  ['a terrible length', '7fffffff000000150000000000000007', [0x80000000, 0x02, 7]],
  ['a length that holds no header', '00000008000000150000000000000007', [0x80000000, 0x02, 7]],
  ['another protocol', Buffer.from('GET / HTTP/1.1\r\n\r\n').toString('hex'), [0x80000000, 0x02, 0x2e310d0a]],
] as [string, string, number[]][]) {
  test(`smpp: ${what} is nacked, and its connection cut off`, async (t) => {
    const it = await bench(t)
    const wire = await it.wire()
    wire.socket.write(Buffer.from(hex, 'hex'))
    assert.deepEqual((await wire.answers(1))[0], answer)
    await eventually('it is cut off', () => wire.closed)
  })
}

test('smpp: what is malformed or unknown is refused by its status, and the session goes on', async (t) => {
  const it = await bench(t)
  const wire = await it.wire()
  wire.socket.write(BIND)
  wire.socket.write(Buffer.from('00000010000000990000000000000002', 'hex')) // no such command
  wire.socket.write(Buffer.from('0000001400000004000000000000000300010101', 'hex')) // submit_sm cut off
  wire.socket.write(Buffer.concat([Buffer.from('00000011', 'hex'), pdu('submit_sm', {}, 4).subarray(4, 16), Buffer.from('A')])) // no NUL
  wire.socket.write(Buffer.from('00000010800000040000000000000005', 'hex')) // an answer to nothing
  wire.socket.write(Buffer.from('00000010000001110000000000000006', 'hex')) // broadcast_sm, of 5.0
  wire.socket.write(pdu('outbind', { system_id: 'x' }, 7))
  wire.socket.write(pdu('alert_notification', {}, 8)) // has no answer
  wire.socket.write(pdu('submit_multi', {}, 9))
  const last = pdu('enquire_link', {}, 10)
  wire.socket.write(last.subarray(0, 5))
  await wire.answers(7)
  wire.socket.write(last.subarray(5))
  const answers = await wire.answers(8)
  assert.deepEqual(
    answers.sort((a, b) => (a[2] ?? 0) - (b[2] ?? 0)),
    [
      [0x80000009, 0, 1],
      [0x80000000, 0x03, 2],
      [0x80000004, 0x02, 3],
      [0x80000004, 0x02, 4],
      [0x80000000, 0x03, 6],
      [0x80000000, 0x03, 7],
      [0x80000021, 0x03, 9],
      [0x80000015, 0, 10],
    ],
  )
  assert.equal(it.calls.length, 0)
})

test('smpp: three thousand PDUs with wrong octets get each its answer, or the end of their connection', async (t) => {
  const it = await bench(t, { maxConnections: 50 })
  const random = generator(20261124)
  const samples = [
    BIND,
    SUBMIT,
    pdu('query_sm', { message_id: 'x' }),
    pdu('deliver_sm'),
    pdu('unbind'),
    pdu('data_sm', { message_payload: Buffer.from('x') }),
  ]
  let wires = 0
  for (let left = 3_000; left > 0; wires++) {
    const wire = await it.wire()
    wire.socket.write(BIND)
    for (let n = 0; n < 100; n++, left--) {
      const bytes = Buffer.from(samples[Math.floor(random() * samples.length)] ?? SUBMIT)
      for (let times = 1 + random() * 4; times > 0; times--) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
      if (random() < 0.8) bytes.writeUInt32BE(bytes.length, 0) // else the length may be wrong
      wire.socket.write(random() < 0.1 ? bytes.subarray(0, Math.floor(random() * bytes.length)) : bytes)
    }
    wire.socket.end()
    await within('it is over', new Promise((resolve) => (wire.closed ? resolve(undefined) : wire.socket.once('close', resolve))))
  }
  assert.ok(wires >= 30)
  const wire = await it.wire()
  wire.socket.write(BIND)
  wire.socket.write(SUBMIT)
  assert.deepEqual(await wire.answers(2), [
    [0x80000009, 0, 1],
    [0x80000004, 0, 2],
  ])
  assert.deepEqual(
    it.said.filter(({ level }) => level === 'error'),
    [],
  )
})

test('smpp: an interface that binds outlives a server that answers with anything', async (t) => {
  const port = await freePort()
  const random = generator(7)
  const sockets = new Set<Socket>()
  let binds = 0
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    socket.once('data', () => {
      const answer = encode({ command: 'bind_receiver_resp', status: 0, sequence: 1, fields: { system_id: 'x' } })
      socket.write(answer)
      if (++binds > 4) return void socket.write(pdu('deliver_sm', { short_message: Buffer.from('at last') }))
      const rubbish = Buffer.from(pdu('deliver_sm', { short_message: Buffer.alloc(50, 0x41) }))
      for (let n = 0; n < 5; n++) rubbish[Math.floor(random() * rubbish.length)] = Math.floor(random() * 256)
      socket.end(Buffer.concat([rubbish, Buffer.from('nonsense that is no PDU')]))
    })
  }).listen(port, '127.0.0.1')
  atEnd(t, () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await once(server, 'listening')
  const it = testHost()
  const options = smppListenOptions.parse({ mode: 'esme', url: `smpp://shop:secret@127.0.0.1:${port}`, messages: 'sms.received' })
  const listener = await listen(options, it.host)
  atEnd(t, () => within('it stops', listener.stop()))
  await eventually('it takes what is right', () => it.calls.some(({ args }) => (args[0] as { text?: string }).text === 'at last'))
})

/** Numbers from 0 to 1, the same ones each time (mulberry32). */
function generator(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}
