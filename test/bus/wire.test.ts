import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeQuestion, decodeResult, encodeEnvelope, encodeResult } from '../../src/bus/wire.ts'
import { CageError } from '../../src/errors.ts'

const VALUES = [
  new Date(5),
  Buffer.from('ab'),
  5n,
  -(2n ** 90n),
  new Map<unknown, unknown>([[1, { a: new Map() }]]),
  new Set([1]),
  undefined,
  null,
  2 ** 40,
  'x',
  64,
  { a: undefined, b: [1] },
]

test('wire: what our own nodes send each other survives exactly', () => {
  const request = { id: 'r1', parameters: { user: 'u' } }
  const question = decodeQuestion(encodeEnvelope(VALUES, 1_500, request))
  assert.deepEqual(question, { format: 'envelope', args: VALUES, timeoutMs: 1_500, request, queued: undefined })
  const queued = { id: 'order/42', failures: [{ at: 1 }] }
  assert.deepEqual(decodeQuestion(encodeEnvelope([], 0, { id: 'r1' }, queued)).queued, queued)
  assert.deepEqual(decodeResult(encodeResult(VALUES, 'envelope')), VALUES)
})

test('wire: a log level travels with a request, and a word that is none is dropped', () => {
  const request = { id: 'r1', log: 'debug' } as const
  assert.deepEqual(decodeQuestion(encodeEnvelope([1], 1_500, request)).request, request)
  const queued = { id: 'order/42' }
  const both = decodeQuestion(encodeEnvelope([1], 0, { ...request, parameters: { user: 'u' } }, queued))
  assert.deepEqual([both.request, both.queued], [{ ...request, parameters: { user: 'u' } }, queued])
  const wrong = { id: 'r1', log: 'loud' as 'debug' }
  assert.deepEqual(decodeQuestion(encodeEnvelope([1], 1_500, wrong)).request, { id: 'r1' })
})

test('wire: JSON is a list of arguments, one argument, or none', () => {
  const args = (text: string): unknown[] => decodeQuestion(Buffer.from(text)).args
  assert.deepEqual(args('["World", 2]'), ['World', 2])
  assert.deepEqual(args(' {"a":1}'), [{ a: 1 }])
  assert.deepEqual(args('"x"'), ['x'])
  assert.deepEqual(args(''), [])
})

test('wire: a foreign 64-bit integer is a number where that is exact, a bigint elsewhere', () => {
  assert.deepEqual(decodeQuestion(Buffer.from('92cf0000010000000000cfffffffffffffffff', 'hex')).args, [2 ** 40, 2n ** 64n - 1n])
})

test('wire: the answer to JSON is JSON, whatever the result', () => {
  const json = (value: unknown): string => Buffer.from(encodeResult(value, 'json')).toString()
  assert.equal(
    json([1n, 2n ** 64n, new Map([['a', 1]]), new Set([1]), Buffer.from('hi'), undefined]),
    '[1,"18446744073709551616",{"a":1},[1],"aGk=",null]',
  )
  assert.equal(json(undefined), 'null')
})

const BAD = [
  'dd ff ff ff ff',
  'df ff ff ff ff',
  'db ff ff ff ff',
  'c1',
  'c1 90',
  'c1 c1',
  '7b',
  'c7 ff 74 01',
  'ef bb bf 31',
  'c1 93 c0 01 a1 61',
]
for (const hex of BAD) {
  test(`wire: the bytes ${hex} are refused as INVALID_ARGUMENT`, () => {
    assert.throws(
      () => decodeQuestion(Buffer.from(hex.replaceAll(' ', ''), 'hex')),
      (error) => error instanceof CageError && error.code === 'INVALID_ARGUMENT',
    )
  })
}

test('wire: a record definition in one message does not change how the next one is read', () => {
  decodeQuestion(Buffer.from('d4724091a16101', 'hex'))
  assert.deepEqual(decodeQuestion(Buffer.from('924041', 'hex')).args, [64, 65])
})

test('wire: a cycle is an error, not a stack overflow', () => {
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  for (const format of ['json', 'msgpack', 'envelope'] as const) assert.throws(() => encodeResult(cycle, format), { code: 'INTERNAL' })
})
