/** What SMPP is made of, without a network: PDUs, alphabets, parts, receipts, times, statuses, options. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addressOf } from '../../src/adapters/smpp/address.ts'
import type { SmppSplit } from '../../src/adapters/smpp/api.ts'
import { decodeText, encodeText, onWire } from '../../src/adapters/smpp/coding.ts'
import { fromStatus, receiverStatus, serverStatus, statusOf } from '../../src/adapters/smpp/errors.ts'
import { Frames } from '../../src/adapters/smpp/frames.ts'
import { pack, toSeptets, unpack } from '../../src/adapters/smpp/gsm.ts'
import { compose } from '../../src/adapters/smpp/message.ts'
import { smppListenOptions, smppOptions } from '../../src/adapters/smpp/options.ts'
import { contentOf, split } from '../../src/adapters/smpp/parts.ts'
import { decode, encode, type Fields, MalformedPdu, type Pdu } from '../../src/adapters/smpp/pdu.ts'
import { parseReceipt, receiptText } from '../../src/adapters/smpp/receipt.ts'
import { absoluteTime, parseTime, relativeTime } from '../../src/adapters/smpp/time.ts'
import { CageError } from '../../src/errors.ts'

const pduOf = (command: string, fields: Fields, status = 0): Pdu => ({ command, status, sequence: 7, fields })
const again = (pdu: Pdu): Pdu => decode(encode(pdu))
const septets = (text: string): Uint8Array => new Uint8Array(toSeptets(text) ?? [])

test('smpp: a PDU is read as it was written, with TLVs known and unknown', () => {
  const fields = {
    ...{ service_type: 'CMT', source_addr_ton: 5, source_addr: 'Shop', dest_addr_npi: 1, destination_addr: '4912345', esm_class: 3 },
    ...{ data_coding: 0, short_message: Buffer.from('hello'), user_message_reference: 513, '0x1400': Buffer.from([1, 2, 3]) },
    ...{ receipted_message_id: 'id1', message_payload: Buffer.alloc(60_000, 7) },
  }
  const { fields: read, ...head } = again(pduOf('submit_sm', fields))
  assert.deepEqual(head, { command: 'submit_sm', status: 0, sequence: 7 })
  for (const [name, value] of Object.entries(fields)) assert.deepEqual(read[name], value, name)
  const dest_address = [
    { ton: 1, npi: 1, address: '49123' },
    { ton: 0, npi: 0, address: '42' },
  ]
  assert.deepEqual(again(pduOf('submit_multi', { dest_address })).fields.dest_address, dest_address)
  const unsuccess_sme = [{ ton: 1, npi: 1, address: '49123', status: 0x0b }]
  assert.deepEqual({ ...again(pduOf('submit_multi_resp', { message_id: 'x', unsuccess_sme })).fields }, { message_id: 'x', unsuccess_sme })
})

test('smpp: the octets of the specification’s example of a bind are those', () => {
  // SMPP 3.4, 3.2.3
  const expected = '0000002f000000020000000000000001534d50503354455354007365637265743038005355424d4954310000010100'
  const bind = { system_id: 'SMPP3TEST', password: 'secret08', system_type: 'SUBMIT1', addr_ton: 1, addr_npi: 1 }
  assert.equal(encode({ ...pduOf('bind_transmitter', { ...bind, interface_version: 0 }), sequence: 1 }).toString('hex'), expected)
  assert.equal(decode(Buffer.from(expected, 'hex')).fields.password, 'secret08')
})

test('smpp: whatever is cut off a request, it is malformed, and never read past its end', () => {
  const whole = encode(pduOf('submit_sm', { source_addr: '1000', destination_addr: '4912345', short_message: Buffer.from('hello') }))
  for (let length = 16; length < whole.length; length++) {
    assert.throws(
      () => decode(whole.subarray(0, length)),
      (error) => error instanceof MalformedPdu && error.sequence === 7,
      String(length),
    )
  }
  const tlv = Buffer.concat([whole, Buffer.from('0424ffff01', 'hex')])
  assert.throws(
    () => decode(tlv),
    (error) => error instanceof MalformedPdu && error.status === 0xc0,
  )
})

test('smpp: an answer is read as far as it goes', () => {
  assert.deepEqual({ ...decode(Buffer.from('00000010800000040000000000000007', 'hex')).fields }, {})
  assert.deepEqual({ ...decode(Buffer.from('0000001180000004000000580000000700', 'hex')).fields }, { message_id: '' })
  assert.equal(decode(Buffer.from('00000010800000000000000300000007', 'hex')).command, 'generic_nack')
})

test('smpp: text that does not fit its parameter is never written', () => {
  const bad = (fields: Fields): void =>
    assert.throws(
      () => encode(pduOf('submit_sm', fields)),
      (error) => error instanceof CageError && error.code === 'INVALID_ARGUMENT',
    )
  bad({ destination_addr: '49\u0000123' })
  bad({ destination_addr: 'Žluť' })
  bad({ destination_addr: '1'.repeat(21) })
  bad({ short_message: Buffer.alloc(255) })
  bad({ priority_flag: 256 })
  bad({ priority_flag: -1 })
  bad({ no_such_tlv: 'x' })
  bad({ message_payload: Buffer.alloc(65_536) })
})

test('smpp: a stream is cut into PDUs, however small its pieces are', () => {
  const one = encode(pduOf('enquire_link', {}))
  const other = encode(pduOf('submit_sm', { message_payload: Buffer.alloc(300) }))
  const stream = Buffer.concat([one, other, one, other])
  for (const size of [1, 3, 15, 16, 17, 100, stream.length]) {
    const frames = new Frames(1_000)
    const found: string[] = []
    for (let at = 0; at < stream.length; at += size) {
      for (const frame of frames.push(stream.subarray(at, at + size))) found.push(frame.toString('hex'))
    }
    assert.deepEqual(
      found,
      [one, other, one, other].map((frame) => frame.toString('hex')),
    )
  }
  assert.throws(() => [...new Frames(100).push(Buffer.from('7fffffff000000150000000000000001', 'hex'))], MalformedPdu)
  assert.throws(() => [...new Frames(100).push(Buffer.from('0000000f000000150000000000000001', 'hex'))], MalformedPdu)
})

test('smpp: text is coded by its content', () => {
  const coding = (text: string): string => encodeText(text).coding
  assert.deepEqual(['hello @£ é €[]{}', 'Français: ç', 'Привет', '🎉', ''].map(coding), ['gsm', 'latin1', 'ucs2', 'ucs2', 'gsm'])
  assert.throws(() => encodeText('Привет', 'gsm'), /gsm has not/)
  assert.throws(() => encodeText('Привет', 'latin1'), /latin1 has not/)
  assert.equal(encodeText('hello', 'ucs2').coding, 'ucs2')
})

test('smpp: every text is read as it was written, packed or not', () => {
  const texts = ['hello @£ é €[]{}~^|\\', '@@@@@@@', '1234567', '12345678', 'seven:@', 'Çà', 'Français: ç', 'Привет 🎉', '']
  for (const text of texts) {
    for (const packed of [false, true]) {
      for (const header of [0, 6, 7]) {
        const coded = encodeText(text)
        const octets = onWire(coded.coding, coded.octets, packed, header)
        const dataCoding = { gsm: 0, latin1: 3, ucs2: 8, binary: 4 }[coded.coding]
        assert.equal(decodeText(octets, dataCoding, packed, header), text, `${text} ${packed} ${header}`)
      }
    }
  }
})

test('smpp: seven bits are packed as GSM 03.38 has it', () => {
  assert.equal(pack(septets('hellohello')).toString('hex'), 'e8329bfd4697d9ec37')
  assert.equal(pack(septets('1234567')).length, 7)
  assert.equal(pack(septets('1234567')).toString('hex'), '31d98c56b3dd1a', 'the last septet is CR, not @')
  assert.deepEqual(unpack(pack(septets('1234567'))), septets('1234567'))
  const header = 6
  assert.equal(pack(septets('a'), header)[0], 0x61 << 1, 'one bit is left out after a header of six octets')
})

test('smpp: unknown codings are bytes, and an escape that leads nowhere is a space', () => {
  assert.equal(decodeText(Buffer.from([1, 2]), 4, false, 0), undefined)
  assert.equal(decodeText(Buffer.from([0x41]), 8, false, 0), undefined, 'half a character')
  assert.equal(decodeText(Buffer.from([0x1b, 0x00, 0x41]), 0, false, 0), ' A')
  assert.equal(decodeText(Buffer.from([0x1b]), 0, false, 0), ' ')
  assert.equal(decodeText(Buffer.from('hi'), 0xf1, false, 0), 'hi')
  assert.equal(decodeText(Buffer.from('hi'), 0xf5, false, 0), undefined)
})

const texts: Record<string, { text: string; sizes: Record<SmppSplit, number[] | 'refused'> }> = {
  'GSM 03.38': {
    text: 'x'.repeat(400),
    sizes: { udh8: [153, 153, 94], udh16: [152, 152, 96], sar: [152, 152, 96], payload: [400], none: 'refused' },
  },
  'UCS-2': {
    text: 'ж'.repeat(150),
    sizes: { udh8: [134, 134, 32], udh16: [132, 132, 36], sar: [132, 132, 36], payload: [300], none: 'refused' },
  },
  'Latin-1': { text: 'ç'.repeat(141), sizes: { udh8: [134, 7], udh16: [133, 8], sar: [133, 8], payload: [141], none: 'refused' } },
}

for (const [coding, { text, sizes }] of Object.entries(texts)) {
  test(`smpp: a long message in ${coding} is cut into parts that say which they are`, () => {
    const coded = encodeText(text)
    for (const [how, expected] of Object.entries(sizes) as [SmppSplit, number[] | 'refused'][]) {
      const cut = (): Fields[] => split(coded, how, false, 0x1234)
      if (expected === 'refused') {
        assert.throws(cut, (error) => error instanceof CageError && error.code === 'PAYLOAD_TOO_LARGE')
        continue
      }
      const contents = cut().map((fields) => contentOf(again(pduOf('submit_sm', fields))))
      assert.deepEqual(
        contents.map(({ octets }) => octets.length),
        expected,
      )
      if (how !== 'payload') {
        assert.deepEqual(
          contents.map(({ part }) => [part?.number, part?.total]),
          expected.map((_, n) => [n + 1, expected.length]),
        )
        const key = { udh8: '8-52', udh16: '16-4660', sar: 'sar-4660', none: '' }[how]
        assert.equal(contents[0]?.part?.key, `${key}-${expected.length}`)
      }
      const dataCoding = { gsm: 0, latin1: 3, ucs2: 8, binary: 4 }[coded.coding]
      assert.equal(decodeText(Buffer.concat(contents.map(({ octets }) => octets)), dataCoding, false, 0), text)
    }
  })
}

test('smpp: neither a pair of surrogates nor an escaped character is cut through', () => {
  const parts = (text: string): string[] =>
    split(encodeText(text), 'udh8', false, 1).map((fields) => {
      const { octets } = contentOf(again(pduOf('submit_sm', fields)))
      return decodeText(octets, encodeText(text).coding === 'gsm' ? 0 : 8, false, 0) ?? ''
    })
  assert.deepEqual(parts(`${'x'.repeat(152)}€${'y'.repeat(20)}`), ['x'.repeat(152), `€${'y'.repeat(20)}`])
  assert.deepEqual(parts(`${'ж'.repeat(66)}🎉${'y'.repeat(20)}`), ['ж'.repeat(66), `🎉${'y'.repeat(20)}`])
})

test('smpp: 160 characters are one message, packed or not, and 161 are two', () => {
  for (const packed of [false, true]) {
    assert.equal(split(encodeText('x'.repeat(160)), 'udh8', packed, 1).length, 1)
    assert.equal(split(encodeText('x'.repeat(161)), 'udh8', packed, 1).length, 2)
  }
  const [first] = split(encodeText('x'.repeat(320)), 'udh8', true, 1)
  assert.ok(Buffer.isBuffer(first?.short_message) && first.short_message.length === 140)
  assert.throws(() => split(encodeText('x'.repeat(153 * 255 + 1)), 'udh8', false, 1), /256 parts/)
})

test('smpp: what says that it is a part and cannot be one is a message of its own', () => {
  const part = (header: number[]): unknown =>
    contentOf(pduOf('deliver_sm', { esm_class: 0x40, short_message: Buffer.from([...header, 0x41]) })).part
  assert.equal(part([5, 0, 3, 9, 2, 0]), undefined)
  assert.equal(part([5, 0, 3, 9, 2, 3]), undefined)
  assert.equal(part([5, 0, 3, 9, 1, 1]), undefined, 'one of one')
  assert.equal(part([200]), undefined)
  assert.equal(part([2, 0, 200]), undefined)
  assert.deepEqual(part([10, 5, 3, 1, 2, 3, 0, 3, 9, 2, 1]), { key: '8-9-2', total: 2, number: 1 }, 'after ports')
  assert.equal(contentOf(pduOf('deliver_sm', { esm_class: 0x40 })).octets.length, 0)
})

test('smpp: a receipt is read from its text and its TLVs, and ours are such', () => {
  const text = 'id:0A1B sub:001 dlvrd:001 submit date:2611240500 done date:2611240501 stat:DELIVRD err:000 text:Hello you'
  const expected = {
    ...{ messageId: '0A1B', state: 'DELIVERED', error: '000', submitted: 1, delivered: 1, submitDate: '2611240500' },
    ...{ doneDate: '2611240501', text: 'Hello you', networkError: undefined },
  }
  assert.deepEqual(parseReceipt(pduOf('deliver_sm', {}), text), expected)
  const tlvs = { receipted_message_id: '2587', message_state: 5, network_error_code: Buffer.from([3, 1, 2]) }
  const { messageId, state, networkError } = parseReceipt(pduOf('deliver_sm', tlvs), text)
  assert.deepEqual(
    { messageId, state, networkError },
    { messageId: '2587', state: 'UNDELIVERABLE', networkError: { network: 3, code: 258 } },
  )
  assert.equal(parseReceipt(pduOf('deliver_sm', {}), 'nonsense').state, 'UNKNOWN')
  const written = receiptText({ messageId: '7', state: 'EXPIRED', error: '011', text: 'hi' }, new Date('2026-11-24T05:06:07Z'))
  assert.equal(written, 'id:7 sub:001 dlvrd:000 submit date:2611240506 done date:2611240506 stat:EXPIRED err:011 text:hi')
})

test('smpp: times are written and read', () => {
  const at = new Date('2026-11-24T05:06:07.800Z')
  assert.equal(absoluteTime(at), '261124050607800+')
  assert.deepEqual(parseTime('261124050607800+', 0), at)
  assert.deepEqual(parseTime('261124060607804+', 0), at, 'four quarters of an hour ahead of UTC')
  assert.equal(relativeTime(90_500), '000000000131000R')
  assert.equal(relativeTime(25 * 3_600_000), '000001010000000R')
  assert.equal(parseTime('000001010000000R', at.getTime())?.getTime(), at.getTime() + 25 * 3_600_000)
  assert.equal(parseTime('', 0), undefined)
})

test('smpp: a message is checked before anything is sent', () => {
  const defaults = { serviceType: '', split: 'udh8', packed: false, receipt: false } as const
  const bad = (message: unknown, words: RegExp): void =>
    assert.throws(
      () => compose(message, defaults, Date.now() + 1_000, 1),
      (error) => error instanceof CageError && error.code === 'INVALID_ARGUMENT' && words.test(error.message),
    )
  bad(undefined, /message must be an object/)
  bad({ to: '1' }, /text must be text/)
  bad({ to: '1', text: 'x', txet: 'y' }, /no txet, did you mean text/)
  bad({ to: '1', text: 'x', data: new Uint8Array() }, /without a text/)
  bad({ to: '1', text: 'x', coding: 'morse' }, /one of gsm/)
  bad({ to: '1', text: 'x', validity: -1 }, /validity/)
  bad({ to: '1', text: 'x', scheduleAt: 'tomorrow' }, /a Date/)
  bad({ to: '1', text: 'x', from: 7 }, /from is neither/)
  const { common } = compose({ to: '1', text: 'x', validity: 'deadline' }, defaults, Date.now() + 4_500, 1)
  assert.equal(common.validity_period, '000000000005000R')
})

test('smpp: addresses as text have a type of number', () => {
  assert.deepEqual(addressOf('+4912345', 'to'), { address: '4912345', ton: 1, npi: 1 })
  assert.deepEqual(addressOf('12345', 'to'), { address: '12345', ton: 0, npi: 1 })
  assert.deepEqual(addressOf('Shop', 'to'), { address: 'Shop', ton: 5, npi: 0 })
})

test('smpp: statuses are errors of ours, and errors are statuses', () => {
  const codeOf = (name: string): string => fromStatus(statusOf(name), 'sms', 'submit_sm').code
  const names = ['RTHROTTLED', 'RMSGQFUL', 'RINVPASWD', 'RBINDFAIL', 'RINVDSTADR', 'RINVMSGID', 'RSYSERR', 'RSUBMITFAIL', 'RX_T_APPN']
  assert.deepEqual(names.map(codeOf), [
    ...[
      'OVERLOADED',
      'OVERLOADED',
      'UNAUTHENTICATED',
      'UNAUTHENTICATED',
      'INVALID_ARGUMENT',
      'NOT_FOUND',
      'UNAVAILABLE',
      'CONFLICT',
      'UNAVAILABLE',
    ],
  ])
  const throttled = fromStatus(0x58, 'sms', 'submit_sm')
  assert.deepEqual(
    [throttled.retryable, throttled.retryAfterMs, throttled.details],
    [true, 1_000, { commandStatus: 0x58, statusName: 'ESME_RTHROTTLED' }],
  )
  assert.equal(fromStatus(0x400, 'sms', 'submit_sm').code, 'INTERNAL')
  assert.equal(serverStatus(new CageError('TOO_LONG', ''), 'submit_sm', { TOO_LONG: 0x401 }), 0x401)
  assert.equal(serverStatus(new CageError('NOT_FOUND', ''), 'query_sm', {}), statusOf('RINVMSGID'))
  assert.equal(receiverStatus(new CageError('INTERNAL', '')), statusOf('RX_T_APPN'))
  assert.equal(receiverStatus(new CageError('INVALID_ARGUMENT', '')), statusOf('RX_R_APPN'))
})

test('smpp: options come from a url and besides it, and what is wrong is told without the password', () => {
  const { host, port, systemId, password, tls, bindAs } = smppOptions.parse({ url: 'ssmpp://shop:se%40cret@smsc.example' })
  assert.deepEqual(
    { host, port, systemId, password, tls, bindAs },
    {
      ...{ host: 'smsc.example', port: 3550, systemId: 'shop', password: 'se@cret', tls: { verify: true }, bindAs: 'transmitter' },
    },
  )
  assert.equal(smppOptions.parse({ url: 'smpp://shop:x@smsc.example' }).tls, false)
  const wrong = (options: object): string => JSON.stringify(smppOptions.safeParse(options).error?.issues)
  assert.match(wrong({ url: 'http://shop:secret@smsc' }), /neither an smpp/)
  assert.doesNotMatch(wrong({ url: 'http://shop:secret@smsc' }), /secret/)
  assert.match(wrong({ systemId: 'x' }), /host or a url/)
  const listening = (options: object): unknown =>
    smppListenOptions.safeParse(options).error?.issues.map(({ path, message }) => [path.join('.'), message])
  assert.deepEqual(listening({ mode: 'smsc', submit: 'a.b' }), [['accounts', 'accounts or a method to bind are needed, nobody could bind']])
  assert.deepEqual(listening({ mode: 'esme', messages: 'a.b', systemId: 'x' }), [['host', 'a host or a url is needed']])
})
