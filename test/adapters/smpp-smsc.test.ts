/** SMPP as an interface that is a server: who may bind, what becomes of what is asked, and what is delivered. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type TestContext, test } from 'node:test'
import { connect as connectSecure } from 'node:tls'
import type { Listener } from '../../src/adapters/adapter.ts'
import type { SmppOutgoing, SmppReceived } from '../../src/adapters/smpp/api.ts'
import { listen } from '../../src/adapters/smpp/listener.ts'
import { smppListenOptions, smppOptions } from '../../src/adapters/smpp/options.ts'
import { open } from '../../src/adapters/smpp/resource.ts'
import { CageError } from '../../src/errors.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { freePort } from '../../src/testing/port.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { certificates } from '../support/certificates.ts'
import { type CalledMethod, type TestHost, testHost } from '../support/interface-host.ts'
import { startKannel } from '../support/kannel.ts'
import { type ForeignPdu, type ForeignSession, foreign } from '../support/smsc.ts'

interface Bench extends TestHost {
  port: number
  listener: Listener
  /** A connection that is not bound. */
  connect(): Promise<ForeignSession>
  /** One that is. */
  bound(mode?: string, more?: object): Promise<ForeignSession>
}

async function bench(t: TestContext, answer: (called: CalledMethod) => unknown, more: object = {}): Promise<Bench> {
  const port = await freePort()
  const it = testHost(answer)
  const accounts = { esme: 'secret', kannel: 'secret' }
  const listener = await listen(smppListenOptions.parse({ mode: 'smsc', port, accounts, submit: 'sms.submit', ...more }), it.host)
  atEnd(t, () => listener.stop())
  const connect = async (): Promise<ForeignSession> => {
    const session = foreign.connect({ host: '127.0.0.1', port })
    session.on('error', () => {}) // a test is cut off
    atEnd(t, () => session.destroy())
    await within('it is connected', once(session.socket, 'connect'))
    return session
  }
  return {
    ...it,
    port,
    listener,
    connect,
    bound: async (mode = 'transceiver', words = {}) => {
      const session = await connect()
      const { command_status } = await ask(session, `bind_${mode}`, { system_id: 'esme', password: 'secret', ...words })
      assert.equal(command_status, 0)
      return session
    },
  }
}

async function ask(session: ForeignSession, command: string, fields: object = {}): Promise<ForeignPdu> {
  const asked = session as unknown as Record<string, (fields: object, answered: (answer: ForeignPdu) => void) => void>
  const answer = new Promise<ForeignPdu>((resolve, reject) => {
    session.on('close', () => reject(new Error('cut off')))
    asked[command]?.call(session, fields, resolve)
  })
  return await within(`${command} is answered`, answer)
}

const submit = (session: ForeignSession, short_message: unknown, more: object = {}): Promise<ForeignPdu> =>
  ask(session, 'submit_sm', { source_addr: '1000', destination_addr: '4912345', dest_addr_ton: 1, data_coding: 0, short_message, ...more })

test('smpp smsc: who has no account, or a wrong password, is refused and cut off', async (t) => {
  const it = await bench(t, () => 'id')
  for (const [words, status] of [
    [{ system_id: 'esme', password: 'wrong' }, 0x0e],
    [{ system_id: 'nobody', password: 'secret' }, 0x0f],
    [{ system_id: 'constructor', password: '' }, 0x0f],
  ] as const) {
    const session = await it.connect()
    const closed = once(session.socket, 'close')
    assert.equal((await ask(session, 'bind_transceiver', words)).command_status, status)
    await within('it is cut off', closed)
  }
  assert.equal(it.calls.length, 0)
  assert.doesNotMatch(JSON.stringify(it.said), /secret|wrong/)
})

test('smpp smsc: a method may decide who binds, and how', async (t) => {
  const it = await bench(
    t,
    ({ target, args: [bind] }) => {
      if (target !== 'sms.bind') return 'id'
      if ((bind as { password: string }).password !== 'right') throw new CageError('UNAUTHENTICATED', 'no')
      return undefined
    },
    { accounts: {}, bind: 'sms.bind' },
  )
  assert.equal((await ask(await it.connect(), 'bind_receiver', { system_id: 'shop', password: 'wrong' })).command_status, 0x0e)
  const answer = await ask(await it.connect(), 'bind_transmitter', { system_id: 'shop', password: 'right', system_type: 'VMA' })
  assert.deepEqual([answer.command_status, answer.system_id, answer.sc_interface_version], [0, 'menagerie', 0x34])
  assert.deepEqual(it.calls[1]?.args, [
    { systemId: 'shop', systemType: 'VMA', bindAs: 'transmitter', ip: '127.0.0.1', password: 'right', addressRange: '' },
  ])
})

test('smpp smsc: what is asked at the wrong time is refused, and the session goes on', async (t) => {
  const it = await bench(t, () => 'id')
  const session = await it.connect()
  assert.equal((await submit(session, 'too soon')).command_status, 0x04)
  assert.equal((await ask(session, 'bind_receiver', { system_id: 'esme', password: 'secret' })).command_status, 0)
  assert.equal((await ask(session, 'bind_receiver', { system_id: 'esme', password: 'secret' })).command_status, 0x05)
  assert.equal((await submit(session, 'as a receiver')).command_status, 0x04)
  assert.equal((await ask(session, 'enquire_link')).command_status, 0)
  assert.equal((await ask(session, 'unbind')).command_status, 0)
  assert.equal(it.calls.length, 0)
})

test('smpp smsc: what is submitted is a call, and its result the id', async (t) => {
  const it = await bench(t, ({ args: [message] }) => ((message as SmppReceived).data ? { messageId: 'bytes' } : 'text'))
  const session = await it.bound()
  const more = { registered_delivery: 1, schedule_delivery_time: '261224180000000+', user_message_reference: 9 }
  assert.equal((await submit(session, 'hello @€', more)).message_id, 'text')
  assert.equal((await submit(session, Buffer.from([1, 2]), { data_coding: 4 })).message_id, 'bytes')
  const [{ text, receipt, scheduleAt, tlvs } = {}] = it.calls.map(({ args }) => args[0] as Partial<SmppReceived>)
  assert.deepEqual(
    { text, receipt, scheduleAt, tlvs },
    {
      ...{ text: 'hello @€', receipt: true, scheduleAt: new Date('2026-12-24T18:00:00Z'), tlvs: { user_message_reference: 9 } },
    },
  )
  assert.deepEqual(it.calls[0]?.args[1], { systemId: 'esme', systemType: '', bindAs: 'transceiver', ip: '127.0.0.1' })
})

test('smpp smsc: messages are asked for, cancelled and replaced by their methods', async (t) => {
  const at = new Date('2026-11-24T05:00:00Z')
  const it = await bench(t, ({ target }) => (target === 'sms.query' ? { state: 'EXPIRED', finalDate: at, errorCode: 7 } : undefined), {
    ...{ query: 'sms.query', cancel: 'sms.cancel', replace: 'sms.replace' },
  })
  const session = await it.bound()
  const queried = await ask(session, 'query_sm', { message_id: 'id1', source_addr: '1000' })
  assert.deepEqual([queried.command_status, queried.message_id, queried.message_state, queried.error_code], [0, 'id1', 3, 7])
  assert.deepEqual(queried.final_date, at)
  assert.equal((await ask(session, 'cancel_sm', { message_id: 'id1', source_addr: '1000', destination_addr: '4912345' })).command_status, 0)
  assert.equal((await ask(session, 'replace_sm', { message_id: 'id1', short_message: Buffer.from('another') })).command_status, 0)
  assert.deepEqual(
    it.calls.map(({ target, args }) => [target, typeof args[0] === 'string' ? args[0] : (args[0] as { messageId: string }).messageId]),
    [
      ['sms.query', 'id1'],
      ['sms.cancel', 'id1'],
      ['sms.replace', 'id1'],
    ],
  )
  assert.equal((it.calls[2]?.args[1] as SmppReceived | undefined)?.text, 'another')
  const bare = await bench(t, () => 'id')
  assert.equal((await ask(await bare.bound(), 'query_sm', { message_id: 'id1' })).command_status, 0x03)
})

test('smpp smsc: a submit that returns no answer, or an id that cannot be sent, is logged and not to be repeated', async (t) => {
  const results = [undefined, 7, { id: 'x' }, { messageId: 'ž' }, 'a\0b', 'x'.repeat(65), { messageId: 'id', receipt: 7 }, 'x'.repeat(64)]
  const it = await bench(t, () => results.shift())
  const session = await it.bound()
  for (let n = 0; n < 7; n++) assert.equal((await submit(session, 'hello', { registered_delivery: 1 })).command_status, 0x45)
  assert.equal(it.said.filter(({ level }) => level === 'error').length, 7)
  assert.equal((await submit(session, 'hello')).message_id, 'x'.repeat(64))
})

test('smpp smsc: a query that returns no answer is logged, and the ESME may ask again', async (t) => {
  const it = await bench(t, () => undefined, { query: 'sms.query' })
  assert.equal((await ask(await it.bound(), 'query_sm', { message_id: 'id1' })).command_status, 0x08)
  assert.equal(it.said.filter(({ level }) => level === 'error').length, 1)
})

test('smpp smsc: who does not bind in time, or says nothing, is cut off', async (t) => {
  const it = await bench(t, () => 'id', { bindTimeoutMs: 60, enquireLinkMs: 60, responseTimeoutMs: 60 })
  const idle = await it.connect()
  await within('who does not bind is cut off', once(idle.socket, 'close'))
  const silent = await it.bound() // the package answers no enquire_link by itself
  await within('who does not answer is cut off', once(silent.socket, 'close'))
  const inactive = await bench(t, () => 'id', { inactivityMs: 80 })
  const session = await inactive.bound()
  const unbound = deferred<void>()
  session.on('unbind', (pdu) => {
    session.send(pdu.response())
    unbound.resolve()
  })
  await within('who asks nothing is told goodbye', unbound.promise)
})

test('smpp smsc: more than an ESME may have under way is refused for now, and more connections are not taken', async (t) => {
  const handled = deferred<string>()
  const it = await bench(t, () => handled.promise, { peerWindow: 2, maxConnections: 1 })
  const session = await it.bound()
  const answers = [1, 2, 3].map(() => submit(session, 'hello'))
  assert.equal((await answers[2])?.command_status, 0x58)
  const other = foreign.connect({ host: '127.0.0.1', port: it.port })
  other.on('error', () => {})
  await within('the other is cut off', once(other.socket, 'close'))
  handled.resolve('id')
  assert.deepEqual(await Promise.all(answers.slice(0, 2)).then((all) => all.map(({ message_id }) => message_id)), ['id', 'id'])
})

test('smpp smsc: a receipt that submit returns is told after the answer, if one was wanted', async (t) => {
  const it = await bench(t, () => ({ messageId: 'id1', receipt: { state: 'DELIVERED' } }))
  const session = await it.bound()
  let receipts = 0
  const told = deferred<ForeignPdu>()
  session.on('deliver_sm', (pdu) => {
    receipts++
    session.send(pdu.response())
    told.resolve(pdu)
  })
  await submit(session, 'none wanted')
  await submit(session, 'hello', { registered_delivery: 1 })
  const { esm_class, source_addr, destination_addr, receipted_message_id, message_state, short_message } = await within(
    'it is told',
    told.promise,
  )
  assert.deepEqual(
    { esm_class, source_addr, destination_addr, receipted_message_id, message_state },
    {
      ...{ esm_class: 4, source_addr: '4912345', destination_addr: '1000', receipted_message_id: 'id1', message_state: 2 },
    },
  )
  assert.match((short_message as { message: string }).message, /^id:id1 sub:001 dlvrd:001 .* stat:DELIVRD err:000 text:hello$/)
  assert.equal(receipts, 1)
})

test('smpp smsc: what the outbox has is delivered to who is bound, until the ESME has answered', async (t) => {
  const open: SmppOutgoing[] = [
    { id: 'a', message: { from: '+4912345', to: '1000', text: 'x'.repeat(200) } },
    { id: 'b', receipt: { messageId: 'id1', state: 'EXPIRED', from: '+4912345', to: '1000' } },
    { id: 'c', message: { from: '+4912345', to: 'ž', text: 'cannot be sent' } },
  ]
  const settled: unknown[] = []
  const it = await bench(
    t,
    ({ target, args }) => {
      if (target === 'sms.outgoing') return [...open]
      settled.push(args.slice(1))
      open.splice(
        open.findIndex(({ id }) => id === args[1]),
        1,
      )
      return undefined
    },
    { outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 20 }, responseTimeoutMs: 200 },
  )
  const deaf = await it.bound('receiver')
  deaf.on('enquire_link', (pdu) => deaf.send(pdu.response()))
  await eventually('what cannot be sent is settled', () => settled.length === 1)
  deaf.destroy() // it has answered nothing
  const session = await it.bound('receiver')
  const delivered: ForeignPdu[] = []
  session.on('deliver_sm', (pdu) => {
    delivered.push(pdu)
    session.send(pdu.response({ command_status: pdu.esm_class === 4 ? 0x66 : 0 }))
  })
  await eventually('all are settled', () => open.length === 0)
  assert.deepEqual(settled.sort(), [
    ['a', { delivered: true }],
    [
      'b',
      {
        delivered: false,
        code: 'CONFLICT',
        message: 'the ESME: deliver_sm was answered with ESME_RX_R_APPN',
        retryable: false,
        statusName: 'ESME_RX_R_APPN',
      },
    ],
    [
      'c',
      {
        delivered: false,
        code: 'INVALID_ARGUMENT',
        message: 'destination_addr has characters that are not ASCII, or a NUL',
        retryable: false,
      },
    ],
  ])
  assert.deepEqual(delivered.map(({ esm_class }) => esm_class).sort(), [4, 0x40, 0x40].sort())
})

test('smpp smsc: no more is begun at once than the window has room for, and what was begun comes whole', async (t) => {
  const text = 'x'.repeat(200) // two parts
  const open: SmppOutgoing[] = Array.from({ length: 20 }, (_, n) => ({ id: `${n}`, message: { from: '4999', to: '1000', text } }))
  const it = await bench(
    t,
    ({ target, args }) => {
      if (target === 'sms.outgoing') return [...open]
      open.splice(
        open.findIndex(({ id }) => id === args[1]),
        1,
      )
      return undefined
    },
    { outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 20 }, window: 2 },
  )
  const session = await it.connect()
  const halves = new Set<number>()
  let [most, parts] = [0, 0]
  session.on('deliver_sm', (pdu) => {
    const reference = (pdu.short_message as { udh: Buffer[] }).udh[0]?.[2] ?? -1
    if (!halves.delete(reference)) halves.add(reference)
    most = Math.max(most, halves.size)
    parts++
    session.send(pdu.response())
  })
  await ask(session, 'bind_receiver', { system_id: 'esme', password: 'secret' })
  await eventually('all are settled', () => open.length === 0)
  assert.deepEqual({ most: most <= 2, parts, halves: halves.size }, { most: true, parts: 40, halves: 0 }, `${most} at once`)
})

test('smpp smsc: what fetch returns that is no item is logged, and keeps the others from nothing', async (t) => {
  const good = { id: 'good', message: { from: '4999', to: '1000', text: 'hello' } }
  const open: unknown[] = [{ message: good.message }, null, good]
  const it = await bench(t, ({ target }) => (target === 'sms.outgoing' ? [...open] : void open.pop()), {
    outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 60_000 },
  })
  const session = await it.connect()
  session.on('deliver_sm', (pdu) => session.send(pdu.response()))
  await ask(session, 'bind_receiver', { system_id: 'esme', password: 'secret' })
  await eventually('it is settled', () => open.length === 2)
  assert.equal(it.said.filter(({ level }) => level === 'error').length, 2)
  assert.equal((await ask(session, 'enquire_link')).command_status, 0)
})

test('smpp smsc: what waits for its turn is not delivered by another session too', async (t) => {
  const open: SmppOutgoing[] = Array.from({ length: 9 }, (_, n) => ({ id: `${n}`, message: { from: '4999', to: '1000', text: `${n}` } }))
  const it = await bench(
    t,
    ({ target, args }) => {
      if (target === 'sms.outgoing') return [...open]
      open.splice(
        open.findIndex(({ id }) => id === args[1]),
        1,
      )
      return undefined
    },
    { outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 10 }, window: 1 },
  )
  let delivered = 0
  for (const session of [await it.connect(), await it.connect()]) {
    session.on('deliver_sm', (pdu) => {
      delivered++
      setTimeout(() => session.send(pdu.response()), 20)
    })
    await ask(session, 'bind_receiver', { system_id: 'esme', password: 'secret' })
  }
  await eventually('all are settled', () => open.length === 0)
  assert.equal(delivered, 9)
})

test('smpp smsc: each part of what is delivered has its own time to be answered', async (t) => {
  const open: SmppOutgoing[] = [{ id: 'a', message: { from: '4999', to: '1000', text: 'x'.repeat(153 * 5) } }]
  const it = await bench(t, ({ target }) => (target === 'sms.outgoing' ? [...open] : void open.pop()), {
    ...{ outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 20 }, responseTimeoutMs: 1_000 },
  })
  const session = await it.connect()
  let parts = 0
  session.on('deliver_sm', (pdu) => {
    parts++
    setTimeout(() => session.send(pdu.response()), 500) // in all longer than one part may take
  })
  session.on('enquire_link', (pdu) => session.send(pdu.response()))
  await ask(session, 'bind_receiver', { system_id: 'esme', password: 'secret' })
  await eventually('it is settled', () => open.length === 0)
  assert.equal(parts, 5)
})

test('smpp smsc: what an ESME does not take now is delivered again, but not at once', async (t) => {
  const fetched: number[] = []
  const it = await bench(
    t,
    ({ target }) => {
      if (target !== 'sms.outgoing') return undefined
      fetched.push(performance.now())
      return [{ id: 'a', message: { from: '+4912345', to: '1000', text: 'hello' } }]
    },
    { outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 100 } },
  )
  const session = await it.connect()
  session.on('deliver_sm', (pdu) => session.send(pdu.response({ command_status: 0x64 })))
  await ask(session, 'bind_receiver', { system_id: 'esme', password: 'secret' })
  await eventually('it is asked again', () => fetched.length === 3)
  const [first = 0, , third = 0] = fetched
  assert.ok(third - first >= 190)
})

test('smpp smsc: a stop says goodbye to who is bound, after what runs for it', async (t) => {
  const handled = deferred<string>()
  const it = await bench(t, () => handled.promise)
  const session = await it.bound()
  const answer = submit(session, 'hello')
  await eventually('it is called', () => it.calls.length === 1)
  const unbound = deferred<void>()
  session.on('unbind', (pdu) => {
    session.send(pdu.response())
    unbound.resolve()
  })
  const stopped = it.listener.stop()
  handled.resolve('id')
  assert.equal((await answer).message_id, 'id')
  await within('it is told', unbound.promise)
  await within('it stops', stopped)
  await within('and says so', it.listener.done)
})

test('smpp smsc: TLS, and clients with a certificate only', async (t) => {
  const files = await certificates(t, [{ type: 7, ip: '127.0.0.1' }])
  const it = await bench(t, () => 'id', { tls: { keyFile: files.key, certFile: files.cert, clientCaFile: files.ca } })
  assert.match(it.listener.address, /^ssmpp:/)
  const connectWith = async (tls: object): Promise<unknown> => {
    const options = smppOptions.parse({ url: `ssmpp://esme:secret@127.0.0.1:${it.port}`, tls })
    const resource = await open(options, { cage: 'c', name: 'sms', log: recordingLog().log })
    const connection = await resource.connect({ deadline: Date.now() + 5_000, signal: new AbortController().signal })
    atEnd(t, () => connection.close())
    return await connection.call('submit', [{ to: '1', text: 'hello' }], {
      deadline: Date.now() + 5_000,
      signal: new AbortController().signal,
    })
  }
  assert.deepEqual(await connectWith({ caFile: files.ca, certFile: files.cert, keyFile: files.key }), {
    messageId: 'id',
    messageIds: ['id'],
    coding: 'gsm',
  })
  await assert.rejects(connectWith({ caFile: files.ca }), (error: CageError) => error.code === 'UNAVAILABLE')
  const plain = connectSecure({ host: '127.0.0.1', port: it.port, ca: readFileSync(files.ca) })
  plain.on('error', () => {}) // that it has none
  await within('it is cut off', new Promise((resolve) => plain.once('close', resolve)))
})

test('smpp smsc: Kannel binds, sends short, long and Cyrillic messages, and gets receipts and messages', async (t) => {
  const outgoing: SmppOutgoing[] = []
  let ids = 0
  const it = await bench(
    t,
    ({ target, args }) => {
      if (target === 'sms.outgoing') return [...outgoing]
      if (target === 'sms.submit') return { messageId: `id${++ids}`, receipt: { state: 'DELIVERED' } }
      outgoing.splice(
        outgoing.findIndex(({ id }) => id === args[1]),
        1,
      )
      return undefined
    },
    { outbox: { fetch: 'sms.outgoing', settle: 'sms.settled', pollMs: 20 } },
  )
  const submitted = (): SmppReceived[] =>
    it.calls.filter(({ target }) => target === 'sms.submit').map(({ args }) => args[0] as SmppReceived)
  const kannel = await startKannel(t, it.port)
  await kannel.send({ text: 'hello @ é', 'dlr-mask': '31', 'dlr-url': `${kannel.callback}?type=%d` })
  const [short] = await eventually('it is submitted', () => submitted().length === 1 && submitted())
  assert.deepEqual(
    [short?.text, short?.from.address, short?.to, short?.receipt],
    ['hello @ é', '1000', { address: '4912345', ton: 1, npi: 1 }, true],
  )
  await eventually('its receipt arrives', () => kannel.received.some((query) => query.get('type') === '1'))
  await kannel.send({ text: 'x'.repeat(400) })
  await eventually('three parts are submitted', () => submitted().length === 4)
  const parts = submitted().slice(1)
  assert.deepEqual(
    parts.map(({ part, text }) => [part?.number, part?.total, text?.length]),
    [
      [1, 3, 153],
      [2, 3, 153],
      [3, 3, 94],
    ],
  )
  await kannel.send({ text: 'Привет 🎉', coding: '2' })
  const cyrillic = await eventually('it is submitted', () => submitted()[4])
  assert.deepEqual([cyrillic.text, cyrillic.dataCoding], ['Привет 🎉', 8])
  outgoing.push({ id: 'mo1', message: { from: '4999', to: '1000', text: 'to @£ é €' } })
  outgoing.push({ id: 'mo2', message: { from: '4999', to: '1000', text: 'y'.repeat(157) + 'z'.repeat(10) } })
  const texts = (): (string | null)[] => kannel.received.map((query) => query.get('text'))
  await eventually('both arrive', () => texts().includes('to @£ é €') && texts().includes('y'.repeat(157) + 'z'.repeat(10)))
  await eventually('and are settled', () => outgoing.length === 0)
})
