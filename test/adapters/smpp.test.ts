/** SMPP as a resource: what is sent, what comes of it, and what fails. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { ResourceConnection, Scope } from '../../src/adapters/adapter.ts'
import { smppOptions } from '../../src/adapters/smpp/options.ts'
import { decode, encode, type Pdu } from '../../src/adapters/smpp/pdu.ts'
import { open } from '../../src/adapters/smpp/resource.ts'
import type { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { certificates } from '../support/certificates.ts'
import { startPerlSmsc } from '../support/perl-smsc.ts'
import { type ForeignPdu, type Smsc, startSmsc } from '../support/smsc.ts'

const SLOW = { address: 'slow', ton: 0, npi: 0 }
const MESSAGE = { to: '+4912345', text: 'hello' }

interface Bench {
  smsc: Smsc
  /** One more connection of the resource. */
  connect(): Promise<ResourceConnection>
  /** A call on the first connection. */
  call(method: string, ...args: unknown[]): Promise<unknown>
}

async function bench(t: TestContext, more: object = {}, smscOptions: object = {}): Promise<Bench> {
  const smsc = await startSmsc(t, smscOptions)
  const options = smppOptions.parse({ url: `smpp://shop:secret@127.0.0.1:${smsc.port}`, from: 'Shop', ...more })
  const resource = await open(options, { cage: 'shop', name: 'sms', log: recordingLog().log })
  const connect = async (): Promise<ResourceConnection> => {
    const connection = await resource.connect(scope())
    atEnd(t, () => connection.close())
    return connection
  }
  let first: Promise<ResourceConnection> | undefined
  return {
    smsc,
    connect,
    call: async (method, ...args) => {
      first ??= connect()
      return await (await first).call(method, args, scope())
    },
  }
}

function scope(ms = 20_000, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

const fails =
  (code: string, details?: object) =>
  (error: CageError): boolean => {
    assert.equal(error.code, code, error.message)
    if (details) assert.deepEqual(error.details, details)
    return true
  }

const bytesOf = (message: unknown): Buffer => (message as { message: Buffer }).message

test('smpp: a message is submitted with its addresses, coded by its content', async (t) => {
  const { smsc, call } = await bench(t, { receipt: true, validity: 3_600_000, serviceType: 'VMA' })
  assert.deepEqual(await call('submit', { ...MESSAGE, text: '@ £ é €' }), { messageId: 'id1', messageIds: ['id1'], coding: 'gsm' })
  await call('submit', {
    to: '123',
    from: { address: '1000', ton: 3, npi: 0 },
    text: 'Привет',
    receipt: false,
    tlvs: { user_message_reference: 9 },
  })
  await call('submit', { to: '123', data: Uint8Array.from([0, 1, 255]), priority: 2, scheduleAt: new Date('2026-12-24T18:00:00Z') })
  const [gsm, ucs2, binary] = smsc.submitted
  const { source_addr, source_addr_ton, destination_addr, dest_addr_ton, data_coding, registered_delivery, service_type } =
    gsm ?? ({} as ForeignPdu)
  assert.deepEqual(
    { source_addr, source_addr_ton, destination_addr, dest_addr_ton, data_coding, registered_delivery, service_type },
    {
      source_addr: 'Shop',
      source_addr_ton: 5,
      destination_addr: '4912345',
      dest_addr_ton: 1,
      data_coding: 0,
      registered_delivery: 1,
      service_type: 'VMA',
    },
  )
  assert.equal(bytesOf(gsm?.short_message), '@ £ é €')
  assert.deepEqual([ucs2?.data_coding, ucs2?.source_addr, ucs2?.source_addr_ton, ucs2?.registered_delivery], [8, '1000', 3, 0])
  assert.equal(ucs2?.user_message_reference, 9)
  assert.deepEqual([binary?.data_coding, binary?.priority_flag], [4, 2])
  assert.deepEqual(bytesOf(binary?.short_message), Buffer.from([0, 1, 255]))
  assert.deepEqual(binary?.schedule_delivery_time, new Date('2026-12-24T18:00:00Z'))
})

test('smpp: a long message goes in parts, one after another, and has all their ids', async (t) => {
  const { smsc, call } = await bench(t)
  const sent = (await call('submit', { ...MESSAGE, text: 'x'.repeat(400) })) as { messageIds: string[] }
  assert.deepEqual(sent.messageIds, ['id1', 'id2', 'id3'])
  await call('submit', { ...MESSAGE, text: 'y'.repeat(400), split: 'payload' })
  assert.deepEqual(
    smsc.submitted.map(({ esm_class }) => esm_class),
    [0x40, 0x40, 0x40, 0],
  )
  assert.equal(smsc.submitted[3]?.message_payload && bytesOf(smsc.submitted[3].message_payload).length, 400)
  await assert.rejects(call('submit', { ...MESSAGE, text: 'x'.repeat(400), split: 'none' }), fails('PAYLOAD_TOO_LARGE'))
})

test('smpp: many connections share one session, or as many as are allowed', async (t) => {
  const { smsc, connect } = await bench(t, { window: 100 })
  const connections = await Promise.all(Array.from({ length: 20 }, connect))
  await Promise.all(connections.map((connection) => connection.call('submit', [MESSAGE], scope())))
  assert.equal(smsc.sessions.size, 1)
  assert.equal(smsc.submitted.length, 20)
  const two = await bench(t, { binds: 2 })
  const others = await Promise.all(Array.from({ length: 5 }, two.connect))
  await Promise.all(others.map((connection) => connection.call('submit', [MESSAGE], scope())))
  assert.equal(two.smsc.sessions.size, 2)
  await Promise.all(others.map((connection) => connection.close()))
  await eventually('none is left', () => two.smsc.sessions.size === 0)
  assert.deepEqual(
    two.smsc.asked.map(({ command }) => command).filter((command) => command === 'unbind'),
    ['unbind', 'unbind'],
  )
})

test('smpp: no more than the window is unanswered, and who waits does so in turn', async (t) => {
  const { smsc, connect } = await bench(t, { window: 2 })
  const connection = await connect()
  const calls = [1, 2, 3, 4].map(() => connection.call('submit', [{ to: SLOW, text: 'hello' }], scope()))
  await eventually('two are there', () => smsc.slow.length === 2)
  await assert.rejects(connection.call('submit', [MESSAGE], scope(50)), fails('DEADLINE_EXCEEDED', undefined))
  assert.equal(smsc.submitted.length, 2, 'and no more')
  for (let n = 0; n < 4; n++) {
    const { session, pdu } = await eventually('the next is there', () => smsc.slow.shift())
    session.send(pdu.response({ message_id: `late${n}` }))
  }
  assert.deepEqual(await Promise.all(calls).then((all) => all.map((sent) => (sent as { messageId: string }).messageId)), [
    'late0',
    'late1',
    'late2',
    'late3',
  ])
})

test('smpp: no more than so many are sent in a second, and what would be late is not sent', async (t) => {
  const { smsc, connect } = await bench(t, { maxPerSecond: 50 })
  const connection = await connect()
  const begun = performance.now()
  await Promise.all(Array.from({ length: 11 }, () => connection.call('submit', [MESSAGE], scope())))
  assert.ok(performance.now() - begun >= 190, 'ten gaps of 20 ms')
  const crowd = await Promise.allSettled(Array.from({ length: 10 }, () => connection.call('submit', [MESSAGE], scope(80))))
  const refused = crowd.filter((each) => each.status === 'rejected' && (each.reason as CageError).code === 'OVERLOADED')
  assert.ok(refused.length >= 5)
  assert.ok(smsc.submitted.length <= 16)
})

test('smpp: a server that has no room says so, and a part that it has no room for is tried again', async (t) => {
  const { smsc, call } = await bench(t)
  smsc.statuses.push(0x58)
  await assert.rejects(call('submit', MESSAGE), (error: CageError) => fails('OVERLOADED')(error) && error.retryAfterMs === 1_000)
  smsc.statuses.push(0, 0x58, 0)
  const { messageIds } = (await call('submit', { ...MESSAGE, text: 'x'.repeat(200) })) as { messageIds: string[] }
  assert.equal(messageIds.length, 2)
  assert.equal(smsc.submitted.length, 4)
  smsc.statuses.push(0, 0x45)
  const details = { commandStatus: 0x45, statusName: 'ESME_RSUBMITFAIL', accepted: ['id5'] }
  await assert.rejects(call('submit', { ...MESSAGE, text: 'x'.repeat(200) }), fails('CONFLICT', details))
})

test('smpp: of what is not answered in time nobody knows, and its session goes on', async (t) => {
  const { smsc, connect } = await bench(t, { responseTimeoutMs: 100 })
  const connection = await connect()
  await assert.rejects(connection.call('submit', [{ to: SLOW, text: 'x' }], scope()), fails('DEADLINE_EXCEEDED', { sent: true }))
  assert.equal(connection.broken, false)
  await connection.call('submit', [MESSAGE], scope())
  assert.equal(smsc.sessions.size, 1)
})

test('smpp: a message whose caller has left is cancelled once its id is known', async (t) => {
  const { smsc, connect } = await bench(t)
  const connection = await connect()
  await assert.rejects(connection.call('submit', [{ to: SLOW, text: 'x' }], scope(50)), fails('DEADLINE_EXCEEDED', { sent: true }))
  const { session, pdu } = await eventually('it is there', () => smsc.slow.shift())
  session.send(pdu.response({ message_id: 'late' }))
  const cancel = await eventually('it is cancelled', () => smsc.asked.find(({ command }) => command === 'cancel_sm'))
  assert.deepEqual([cancel.message_id, cancel.source_addr, cancel.destination_addr], ['late', 'Shop', 'slow'])
})

test('smpp: a long message that is not done by its deadline says which parts were', async (t) => {
  const { smsc, connect } = await bench(t)
  const connection = await connect()
  smsc.statuses.push(0, ...Array(50).fill(0x58))
  const long = { ...MESSAGE, text: 'x'.repeat(200) }
  await assert.rejects(connection.call('submit', [long], scope(300)), fails('DEADLINE_EXCEEDED', { accepted: ['id1'] }))
  assert.equal(smsc.submitted.length, 2)
})

test('smpp: a connection that is closed twice at once leaves the session to the others', async (t) => {
  const { smsc, connect } = await bench(t)
  const [one, two, other] = await Promise.all([connect(), connect(), connect()])
  await Promise.all([one.close(), one.close(), two.close()])
  assert.equal(other.broken, false)
  await other.call('submit', [MESSAGE], scope())
  assert.equal(
    smsc.asked.some(({ command }) => command === 'unbind'),
    false,
  )
})

test('smpp: a lost session fails what is unanswered, and the next connection binds again', async (t) => {
  const { smsc, connect } = await bench(t)
  const [one, other] = await Promise.all([connect(), connect()])
  const lost = assert.rejects(one.call('submit', [{ to: SLOW, text: 'x' }], scope()), fails('UNAVAILABLE', { sent: true }))
  await eventually('it is there', () => smsc.slow.length === 1)
  for (const session of smsc.sessions) session.destroy()
  await lost
  assert.deepEqual([one.broken, other.broken], [true, true])
  await (await connect()).call('submit', [MESSAGE], scope())
})

test('smpp: a silent server is asked, and lost when it does not answer that', async (t) => {
  const { smsc, connect } = await bench(t, { enquireLinkMs: 40, responseTimeoutMs: 80 })
  const connection = await connect()
  smsc.freeze()
  await eventually('the session is lost', () => connection.broken)
  smsc.thaw()
  await (await connect()).call('submit', [MESSAGE], scope())
})

test('smpp: messages are queried, cancelled, replaced, and sent as data_sm and to several', async (t) => {
  const { smsc, call } = await bench(t)
  assert.deepEqual(await call('query', 'id1'), {
    messageId: 'id1',
    state: 'DELIVERED',
    finalDate: new Date('2026-11-24T05:00:00Z'),
    errorCode: 0,
  })
  await call('cancel', 'id1', { to: '+49123' })
  await call('replace', 'id1', { text: 'another', receipt: true })
  await call('data', { ...MESSAGE, text: 'x'.repeat(300) })
  await call('submitMulti', { to: ['+491', '42'], text: 'all' })
  const [query, cancel, replace, data, multi] = smsc.asked
  assert.deepEqual([query?.message_id, query?.source_addr], ['id1', 'Shop'])
  assert.deepEqual([cancel?.message_id, cancel?.destination_addr, cancel?.source_addr], ['id1', '49123', 'Shop'])
  assert.equal(String(replace?.short_message), 'another')
  assert.equal(bytesOf(data?.message_payload).length, 300)
  assert.deepEqual(multi?.dest_address, [
    { dest_addr_ton: 1, dest_addr_npi: 1, destination_addr: '491' },
    { dest_addr_ton: 0, dest_addr_npi: 1, destination_addr: '42' },
  ])
  await assert.rejects(call('query', ''), fails('INVALID_ARGUMENT'))
  await assert.rejects(call('submit', { text: 'to nobody' }), fails('INVALID_ARGUMENT'))
})

/** A server of plain octets: it accepts the bind, and does what it is told with the next request. */
async function rawServer(t: TestContext, react: (socket: Socket, request: Pdu) => void): Promise<number> {
  const port = await freePort()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      const request = decode(bytes)
      if (request.command === 'unbind') return void socket.destroy()
      if (!request.command.startsWith('bind_')) return react(socket, request)
      socket.write(encode({ ...request, command: `${request.command}_resp`, fields: { system_id: 'raw' } }))
    })
  }).listen(port, '127.0.0.1')
  atEnd(t, () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await eventually('it listens', () => server.listening)
  return port
}

for (const [what, code, react] of [
  ['half an answer and the end', 'UNAVAILABLE', (socket) => socket.end(Buffer.from('000000148000000400', 'hex'))],
  ['rubbish', 'UNAVAILABLE', (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
  ['an answer of a terrible length', 'UNAVAILABLE', (socket) => socket.write(Buffer.from('7fffffff800000040000000000000002', 'hex'))],
  ['an answer that cannot be read', 'INTERNAL', (socket) => socket.write(Buffer.from('000000128000000400000000000000024142', 'hex'))],
  ['generic_nack', 'INVALID_ARGUMENT', (socket) => socket.write(Buffer.from('00000010800000000000000300000002', 'hex'))],
] as [string, string, (socket: Socket, request: Pdu) => void][]) {
  test(`smpp: ${what} fails the call, and nothing else`, async (t) => {
    const port = await rawServer(t, react)
    const resource = await open(smppOptions.parse({ url: `smpp://shop:secret@127.0.0.1:${port}`, from: 'Shop' }), {
      ...{ cage: 'shop', name: 'sms', log: recordingLog().log },
    })
    const connection = await resource.connect(scope())
    atEnd(t, () => connection.close())
    await assert.rejects(within('it fails', connection.call('submit', [MESSAGE], scope(3_000))), fails(code))
  })
}

test('smpp: an encrypted server is verified: its authority, its name, its time', async (t) => {
  const names = [{ type: 7, ip: '127.0.0.1' }]
  const right = await certificates(t, names)
  const elsewhere = await certificates(t, [{ type: 2, value: 'elsewhere.example' }])
  const expired = await certificates(t, names, 'test', new Date(Date.now() - 60_000))
  const secure = (files: typeof right, tls: unknown): Promise<Bench> =>
    bench(t, { tls }, { cert: readFileSync(files.cert), key: readFileSync(files.key) })
  const trusting = await secure(right, { caFile: right.ca })
  assert.equal(((await trusting.call('submit', MESSAGE)) as { messageId: string }).messageId, 'id1')
  const untrusted = (error: CageError): boolean => fails('UNAVAILABLE')(error) && /server's certificate is not trusted/.test(error.message)
  await assert.rejects((await secure(right, true)).connect(), untrusted)
  await assert.rejects((await secure(elsewhere, { caFile: elsewhere.ca })).connect(), untrusted)
  await assert.rejects((await secure(expired, { caFile: expired.ca })).connect(), untrusted)
  await (await secure(expired, { verify: false })).call('submit', MESSAGE)
  await assert.rejects((await secure(right, { caFile: '/nowhere/ca.pem' })).connect(), fails('UNAVAILABLE'))
})

test('smpp: Net::SMPP reads what we send, in every coding and in parts', async (t) => {
  const { port, said } = await startPerlSmsc(t)
  const host = { cage: 'shop', name: 'sms', log: recordingLog().log }
  const wrong = await open(smppOptions.parse({ url: `smpp://shop:wrong@127.0.0.1:${port}` }), host)
  await assert.rejects(wrong.connect(scope()), fails('UNAUTHENTICATED', { commandStatus: 0x0e, statusName: 'ESME_RINVPASWD' }))
  const resource = await open(smppOptions.parse({ url: `smpp://shop:secret@127.0.0.1:${port}`, from: '1000' }), host)
  const connection = await resource.connect(scope())
  const submit = (message: object): Promise<unknown> => connection.call('submit', [{ to: '+49123', ...message }], scope())
  assert.deepEqual(await submit({ text: '@ £ é €' }), { messageId: 'perl1', messageIds: ['perl1'], coding: 'gsm' })
  await submit({ text: 'Жл' })
  await submit({ text: 'çà' })
  assert.deepEqual(await submit({ text: 'x'.repeat(161) }), { messageId: 'perl4', messageIds: ['perl4', 'perl5'], coding: 'gsm' })
  await submit({ text: 'y'.repeat(200), split: 'payload' })
  await connection.check?.(scope())
  assert.equal(((await connection.call('query', ['perl1'], scope())) as { state: string }).state, 'DELIVERED')
  await connection.close()
  await eventually('it says goodbye', () => said.includes('unbind'))
  const submits = said.filter((line) => line.startsWith('submit'))
  assert.deepEqual(submits.slice(0, 3), ['submit 49123 0 0 0020012005201b65', 'submit 49123 0 8 0416043b', 'submit 49123 0 3 e7e0'])
  assert.match(submits[3] ?? '', /^submit 49123 64 0 050003..0201(78){153}$/)
  assert.match(submits[4] ?? '', /^submit 49123 64 0 050003..0202(78){8}$/)
  assert.match(submits[5] ?? '', /^submit 49123 0 0 (79){200}$/)
  assert.deepEqual(
    said.filter((line) => line.startsWith('bind')),
    ['bind shop 52 14', 'bind shop 52 0'],
  )
})
