import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Decoder, encode, type Framing } from '../../src/adapters/tcp/framing.ts'
import { bytesOf, failureText, messageOf } from '../../src/adapters/tcp/message.ts'
import { CageError } from '../../src/errors.ts'

const LINE: Framing = { framing: 'line', lineEnding: '\n', lengthBytes: 4, lengthOrder: 'big', maxMessageBytes: 300 }
const LENGTH: Framing = { ...LINE, framing: 'length' }
const RAW: Framing = { ...LINE, framing: 'raw' }

/** All messages of a stream that comes in parts of this size. */
function decoded(framing: Framing, bytes: Buffer, part: number): string[] {
  const decoder = new Decoder(framing)
  const messages: string[] = []
  for (let at = 0; at < bytes.length; at += part) {
    decoder.push(bytes.subarray(at, at + part))
    for (let next = decoder.next(); next; next = decoder.next()) messages.push(next.toString())
  }
  const last = decoder.end()
  if (last) messages.push(last.toString())
  return messages
}

function code(expected: string): (error: unknown) => boolean {
  return (error) => error instanceof CageError && error.code === expected
}

test('tcp: lines are the same in whatever parts they come', () => {
  const bytes = Buffer.from('one\ntwo\r\n\n\r\nfour\rfive\nsíx\n')
  for (let part = 1; part <= bytes.length; part++) assert.deepEqual(decoded(LINE, bytes, part), ['one', 'two', '', '', 'four\rfive', 'síx'])
})

test('tcp: counted messages are the same in whatever parts they come, in either order of bytes', () => {
  for (const lengthBytes of [1, 2, 4] as const) {
    for (const lengthOrder of ['big', 'little'] as const) {
      const framing: Framing = { ...LENGTH, lengthBytes, lengthOrder, maxMessageBytes: 255 }
      const messages = ['a', '', 'x'.repeat(255), '\n\0']
      const bytes = Buffer.concat(messages.map((text) => encode(Buffer.from(text), framing)))
      for (const part of [1, 2, 3, 7, 100, 1_000]) assert.deepEqual(decoded(framing, bytes, part), messages)
    }
  }
  assert.deepEqual([...encode(Buffer.from('ab'), { ...LENGTH, lengthBytes: 2 })], [0, 2, 97, 98])
})

test('tcp: a raw message is everything', () => {
  assert.deepEqual(decoded(RAW, Buffer.from('a\nb'), 1), ['a\nb'])
  assert.deepEqual(decoded(RAW, Buffer.alloc(0), 1), [])
})

test('tcp: a message that is too long is refused before it is whole', () => {
  const long = Buffer.alloc(302, 'x')
  assert.throws(() => decoded(LINE, long, 100), code('PAYLOAD_TOO_LARGE'))
  assert.throws(() => decoded(LINE, Buffer.concat([long, Buffer.from('\n')]), 1_000), code('PAYLOAD_TOO_LARGE'))
  assert.throws(() => decoded(LENGTH, Buffer.from([0xff, 0xff, 0xff, 0xff]), 4), code('PAYLOAD_TOO_LARGE'))
  assert.throws(() => decoded(RAW, long, 100), code('PAYLOAD_TOO_LARGE'))
  assert.deepEqual(decoded(LINE, Buffer.from(`${'x'.repeat(300)}\r\n`), 7), ['x'.repeat(300)], 'exactly the limit is not')
})

test('tcp: what the end cuts off is an error', () => {
  assert.throws(() => decoded(LINE, Buffer.from('whole\nhalf'), 3), code('INVALID_ARGUMENT'))
  assert.throws(() => decoded(LENGTH, Buffer.from([0, 0, 0, 2, 97]), 3), code('INVALID_ARGUMENT'))
})

test('tcp: many small parts of large messages cost no quadratic time', () => {
  const framing = { ...LINE, maxMessageBytes: 4_000_000 }
  const decoder = new Decoder(framing)
  const begun = performance.now()
  for (let n = 0; n < 400_000; n++) {
    decoder.push(Buffer.from('xxxxxxxxxx'))
    assert.equal(decoder.next(), undefined)
  }
  decoder.push(Buffer.from('\n'))
  assert.equal(decoder.next()?.length, 4_000_000)
  assert.ok(performance.now() - begun < 10_000)
})

test('tcp: what cannot be told apart again is not sent', () => {
  assert.throws(() => encode(Buffer.from('a\nb'), LINE), code('INVALID_ARGUMENT'))
  assert.throws(() => encode(Buffer.alloc(301), LINE), code('PAYLOAD_TOO_LARGE'))
})

test('tcp: text is what the encoding says, or refused', () => {
  assert.equal(messageOf(Buffer.from('sí'), 'utf8'), 'sí')
  assert.equal(messageOf(Buffer.from([0xe9]), 'latin1'), 'é')
  assert.deepEqual(messageOf(Buffer.from([1, 2]), 'bytes'), Uint8Array.of(1, 2))
  assert.throws(() => messageOf(Buffer.from([0xe9]), 'utf8'), code('INVALID_ARGUMENT'))
  assert.throws(() => bytesOf('€', 'latin1'), code('INVALID_ARGUMENT'))
  assert.throws(() => bytesOf({ a: 1 }, 'utf8'), code('INVALID_ARGUMENT'))
  assert.deepEqual([...bytesOf('é', 'latin1')], [0xe9])
})

test('tcp: a failure names the code and nothing else', () => {
  assert.equal(failureText('! {code} {code}', new CageError('CONFLICT', 'secret')), '! CONFLICT CONFLICT')
  assert.equal(failureText('{code}', new CageError('a code\nof two lines', '')), 'INTERNAL')
})
