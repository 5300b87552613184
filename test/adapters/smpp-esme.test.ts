/** SMPP as an interface that binds to a server and takes what that delivers. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { interfaceHost } from '../../src/actors/interface.ts'
import { Trail } from '../../src/actors/trail.ts'
import type { Listener } from '../../src/adapters/adapter.ts'
import type { SmppReceipt, SmppReceived } from '../../src/adapters/smpp/api.ts'
import { pack } from '../../src/adapters/smpp/gsm.ts'
import { listen } from '../../src/adapters/smpp/listener.ts'
import { smppListenOptions } from '../../src/adapters/smpp/options.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { startNats } from '../../src/testing/nats.ts'
import { atEnd } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { type CalledMethod, type TestHost, testHost } from '../support/interface-host.ts'
import { startPerlSmsc } from '../support/perl-smsc.ts'
import { type ForeignPdu, type ForeignSession, type Smsc, startSmsc } from '../support/smsc.ts'

const PHONE = { source_addr: '4912345', source_addr_ton: 1, source_addr_npi: 1, destination_addr: '1000' }

interface Bench extends TestHost {
  smsc: Smsc
  start(): Promise<Listener>
  /** Delivers, and resolves with the answer's status. */
  deliver(fields: object): Promise<number>
  texts(): (string | undefined)[]
}

async function bench(
  t: TestContext,
  answer?: (called: CalledMethod) => unknown,
  more: object = {},
  memory?: Map<string, unknown>,
): Promise<Bench> {
  const smsc = await startSmsc(t)
  const it = testHost(answer, memory)
  const session = (): Promise<ForeignSession> => eventually('it is bound', () => [...smsc.sessions][0])
  return {
    ...it,
    smsc,
    async start() {
      const url = `smpp://shop:secret@127.0.0.1:${smsc.port}`
      const listener = await listen(
        smppListenOptions.parse({ mode: 'esme', url, messages: 'sms.received', receipts: 'sms.delivered', ...more }),
        it.host,
      )
      atEnd(t, () => listener.stop())
      return listener
    },
    deliver: async (fields) => await deliver(await session(), fields),
    texts: () => it.calls.map(({ args }) => (args[0] as SmppReceived).text),
  }
}

async function deliver(session: ForeignSession, fields: object): Promise<number> {
  const answer = new Promise<ForeignPdu>((resolve) => session.deliver_sm({ ...PHONE, data_coding: 0, ...fields }, resolve))
  return (await within('it is answered', answer)).command_status
}

const part = (number: number, total: number, message: string, reference = 9): object => ({
  esm_class: 0x40,
  short_message: { udh: Buffer.from([5, 0, 3, reference, total, number]), message },
})

test('smpp esme: what is delivered is a call, and acknowledged once that has succeeded', async (t) => {
  const handled = deferred<void>()
  const it = await bench(t, () => handled.promise)
  const { address } = await it.start()
  assert.equal(address, `smpp://127.0.0.1:${it.smsc.port}`)
  let answered = false
  const answer = it.deliver({ short_message: 'hello @£é€' }).finally(() => (answered = true))
  const { target, args, options } = await eventually('it is called', () => it.calls[0])
  const { from, to, text, dataCoding } = args[0] as SmppReceived
  assert.deepEqual(
    { target, from, to, text, dataCoding },
    {
      ...{ target: 'sms.received', from: { address: '4912345', ton: 1, npi: 1 }, to: { address: '1000', ton: 0, npi: 0 } },
      ...{ text: 'hello @£é€', dataCoding: 0 },
    },
  )
  assert.equal(options.protocol, 'smpp')
  assert.equal(answered, false)
  handled.resolve()
  assert.equal(await answer, 0)
  assert.equal(await it.deliver({ data_coding: 8, short_message: 'Привет' }), 0)
  assert.equal(await it.deliver({ data_coding: 4, short_message: Buffer.from([1, 2]) }), 0)
  assert.equal(await it.deliver({ message_payload: 'P'.repeat(500) }), 0)
  assert.deepEqual(it.texts().slice(1), ['Привет', undefined, 'P'.repeat(500)])
  assert.deepEqual(it.calls.map(({ args }) => (args[0] as SmppReceived).data)[2], Uint8Array.from([1, 2]))
})

test('smpp esme: what was not handled is answered with an error: later, or never', async (t) => {
  const codes = ['INTERNAL', 'UNAVAILABLE', 'DEADLINE_EXCEEDED', 'INVALID_ARGUMENT']
  const it = await bench(t, () => {
    throw new CageError(codes.shift() ?? 'OWN', 'no')
  })
  await it.start()
  const statuses: number[] = []
  for (let n = 0; n < 4; n++) statuses.push(await it.deliver({ short_message: 'hello' }))
  assert.deepEqual(statuses, [0x64, 0x64, 0x64, 0x66], 'RX_T_APPN, and RX_R_APPN of what is not retryable')
})

test('smpp esme: receipts are read and go to their own method', async (t) => {
  const it = await bench(t)
  await it.start()
  const short_message = 'id:0A1B sub:001 dlvrd:001 submit date:2611240500 done date:2611240501 stat:UNDELIV err:011 text:Hello'
  assert.equal(await it.deliver({ esm_class: 4, short_message }), 0)
  assert.equal(await it.deliver({ esm_class: 4, receipted_message_id: '77', message_state: 2 }), 0)
  assert.deepEqual(
    it.calls.map(({ target, args: [receipt] }) => [target, (receipt as SmppReceipt).messageId, (receipt as SmppReceipt).state]),
    [
      ['sms.delivered', '0A1B', 'UNDELIVERABLE'],
      ['sms.delivered', '77', 'DELIVERED'],
    ],
  )
})

test('smpp esme: parts are put together in whatever order they come, each message by itself', async (t) => {
  const it = await bench(t)
  await it.start()
  assert.equal(await it.deliver(part(2, 3, 'two, ')), 0)
  assert.equal(await it.deliver(part(1, 2, 'other ', 10)), 0)
  assert.equal(await it.deliver(part(3, 3, 'three')), 0)
  assert.equal(await it.deliver(part(3, 3, 'three')), 0, 'it was repeated')
  assert.equal(it.calls.length, 0)
  assert.equal(await it.deliver(part(1, 3, 'one, ')), 0)
  assert.equal(await it.deliver(part(2, 2, 'message', 10)), 0)
  const sar = { sar_msg_ref_num: 7, sar_total_segments: 2 }
  assert.equal(await it.deliver({ ...sar, sar_segment_seqnum: 1, short_message: 'by ' }), 0)
  assert.equal(await it.deliver({ ...sar, sar_segment_seqnum: 2, short_message: 'SAR' }), 0)
  assert.deepEqual(it.texts(), ['one, two, three', 'other message', 'by SAR'])
  assert.equal(it.memory.size, 0, 'nothing is kept')
})

test('smpp esme: parts of a server that packs septets are unpacked if they are septets, and only then', async (t) => {
  const it = await bench(t, undefined, { packed: true })
  await it.start()
  const ucs2 = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16()
  const codings: [number, Buffer, Buffer][] = [
    [0x03, Buffer.from('déjà ', 'latin1'), Buffer.from('vu', 'latin1')],
    [0x01, Buffer.from('plain '), Buffer.from('ASCII')],
    [0xe0, ucs2('Жд'), ucs2('ём')],
    [0xf0, Buffer.from(pack(Buffer.from('seven '), 6)), Buffer.from(pack(Buffer.from('bits'), 6))],
  ]
  for (const [at, [data_coding, ...octets]] of codings.entries()) {
    for (const [n, message] of octets.entries()) {
      const short_message = { udh: Buffer.from([5, 0, 3, at, 2, n + 1]), message }
      assert.equal(await it.deliver({ esm_class: 0x40, data_coding, short_message }), 0)
    }
  }
  assert.deepEqual(it.texts(), ['déjà vu', 'plain ASCII', 'Ждём', 'seven bits'])
})

test('smpp esme: the last part is acknowledged when the whole was handled, and repeated until then', async (t) => {
  let failing = true
  const it = await bench(t, () => {
    if (failing) throw new CageError('UNAVAILABLE', 'not now')
  })
  await it.start()
  assert.equal(await it.deliver(part(1, 2, 'hello ')), 0)
  assert.equal(await it.deliver(part(2, 2, 'you')), 0x64)
  failing = false
  assert.equal(await it.deliver(part(2, 2, 'you')), 0)
  assert.deepEqual(it.texts(), ['hello you', 'hello you'])
  assert.equal(it.memory.size, 0)
})

test('smpp esme: parts outlive the copy that took them', async (t) => {
  const memory = new Map<string, unknown>()
  const one = await bench(t, undefined, {}, memory)
  const listener = await one.start()
  assert.equal(await one.deliver(part(1, 2, 'hello ')), 0)
  await listener.stop()
  const other = await bench(t, undefined, {}, memory)
  await other.start()
  assert.equal(await other.deliver(part(2, 2, 'you')), 0)
  assert.deepEqual(other.texts(), ['hello you'])
})

test('smpp esme: parts lie in the memory that the bus has', async (t) => {
  const server = await startNats(t)
  const bus = await testBus(t, server.url)
  const { log } = recordingLog()
  const source = {
    bus,
    cage: 'shop',
    name: 'inbox',
    log,
    dataDir: '',
    timeoutMs: () => 5_000,
    newRequestId: () => 'r',
    trail: new Trail('test', 'shop'),
  }
  const it = await bench(t)
  Object.assign(it.host, { memory: interfaceHost(source).memory })
  await it.start()
  const statuses = await Promise.all([1, 2, 3, 4].map((reference) => it.deliver(part(1, 2, 'hello ', reference))))
  assert.deepEqual(statuses, [0, 0, 0, 0])
  assert.deepEqual(await Promise.all([1, 2, 3, 4].map((reference) => it.deliver(part(2, 2, 'you', reference)))), [0, 0, 0, 0])
  assert.deepEqual(it.texts(), Array(4).fill('hello you'))
  assert.deepEqual(it.calls.map(({ args }) => args[0] as SmppReceived)[0]?.from, { address: '4912345', ton: 1, npi: 1 })
  assert.equal(await it.host.memory.get('parts'), undefined)
})

test('smpp esme: what never becomes whole is handed over with the numbers that are missing', async (t) => {
  let failures = 1
  const it = await bench(
    t,
    () => {
      if (failures-- > 0) throw new CageError('UNAVAILABLE', 'not now')
    },
    { partsTimeoutMs: 80 },
  )
  await it.start()
  await it.deliver(part(2, 3, 'two'))
  await eventually('it is tried again until it is handled', () => it.calls.length === 2 && it.memory.size === 0)
  const [, { text, missing } = { text: '', missing: [] }] = it.calls.map(({ args }) => args[0] as SmppReceived)
  assert.deepEqual({ text, missing }, { text: 'two', missing: [1, 3] })
})

test('smpp esme: more messages in parts than are allowed stay with the server', async (t) => {
  const it = await bench(t, undefined, { maxPartialMessages: 2 })
  await it.start()
  assert.deepEqual(await Promise.all([1, 2].map((reference) => it.deliver(part(1, 2, 'x', reference)))), [0, 0])
  assert.equal(await it.deliver(part(1, 2, 'x', 3)), 0x64)
  assert.equal(await it.deliver(part(2, 2, 'y', 1)), 0)
  assert.equal(await it.deliver(part(1, 2, 'x', 3)), 0, 'there is room again')
})

test('smpp esme: a start without a server, or with a wrong password, fails and leaves nothing behind', async (t) => {
  const it = await bench(t)
  await it.smsc.stop()
  await assert.rejects(it.start(), (error: CageError) => error.code === 'UNAVAILABLE')
  await it.smsc.start()
  const wrong = await bench(t, undefined, { password: 'wrong' })
  await assert.rejects(wrong.start(), (error: CageError) => error.code === 'UNAUTHENTICATED')
  await it.start()
  assert.equal(await it.deliver({ short_message: 'hello' }), 0)
})

test('smpp esme: a lost session is bound again, and its calls are cancelled', async (t) => {
  const it = await bench(t, ({ args: [message] }) => ((message as SmppReceived).text === 'first' ? new Promise(() => {}) : undefined))
  const listener = await it.start()
  void it.deliver({ short_message: 'first' }).catch(() => {}) // nobody answers it any more
  await eventually('it is called', () => it.calls.length === 1)
  await it.smsc.stop()
  await eventually('its call is cancelled', () => it.cancelled.length === 1)
  assert.equal(it.cancelled[0], it.calls[0]?.options.owner)
  await it.smsc.start()
  assert.equal(await it.deliver({ short_message: 'back' }), 0)
  await within('it stops', listener.stop())
  await within('and says so', listener.done)
  await eventually('it has said goodbye', () => it.smsc.asked.some(({ command }) => command === 'unbind'))
})

test('smpp esme: a stop lets what runs be answered', async (t) => {
  const handled = deferred<void>()
  const it = await bench(t, () => handled.promise)
  const listener = await it.start()
  const answer = it.deliver({ short_message: 'hello' })
  await eventually('it is called', () => it.calls.length === 1)
  const stopped = listener.stop()
  assert.notEqual(await it.deliver({ short_message: 'late' }), 0)
  handled.resolve()
  assert.equal(await answer, 0)
  await within('it stops', stopped)
  assert.equal(it.calls.length, 1)
})

test('smpp esme: more than `concurrency` at once is refused for now', async (t) => {
  const handled = deferred<void>()
  const it = await bench(t, () => handled.promise, { concurrency: 2 })
  await it.start()
  const answers = [1, 2, 3].map(() => it.deliver({ short_message: 'hello' }))
  assert.equal(await answers[2], 0x64)
  handled.resolve()
  assert.deepEqual(await Promise.all(answers.slice(0, 2)), [0, 0])
})

test('smpp esme: what Net::SMPP delivers arrives, and is acknowledged', async (t) => {
  const { port, said } = await startPerlSmsc(t)
  const it = testHost()
  const url = `smpp://shop:secret@127.0.0.1:${port}`
  const listener = await listen(
    smppListenOptions.parse({ mode: 'esme', url, messages: 'sms.received', receipts: 'sms.delivered' }),
    it.host,
  )
  atEnd(t, () => listener.stop())
  await eventually('all are answered', () => said.filter((line) => line === 'answered 0').length === 5)
  const texts = it.calls.map(({ target, args: [first] }) => [target, (first as SmppReceived).text])
  assert.deepEqual(texts.sort(), [
    ['sms.delivered', 'abc'],
    ['sms.received', 'hello'],
    ['sms.received', 'hello there'],
    ['sms.received', 'Жл'],
  ])
})
