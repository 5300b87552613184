/** Queued calls as messages. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  checkId,
  decodeCall,
  encodeCall,
  idOf,
  messageId,
  placeOf,
  type QueuedCall,
  subjectOf,
  tokenOf,
} from '../../../src/bus/queue/message.ts'

const CALL: QueuedCall = {
  queue: 'retry',
  cage: 'shop',
  module: 'orders',
  method: 'place',
  priority: 'high',
  args: [{ at: new Date(0), many: 2n ** 70n, map: new Map([[1, 'a']]) }],
  request: { id: 'r1', traceparent: '00-a-b-01', parameters: { user: 'u' } },
  id: 'order/42',
  attempts: 3,
  moves: 2,
  enqueuedAt: 1_700_000_000_000,
  expiresMs: 5_000,
  dueAt: 1_700_000_001_000,
  key: 'k',
  failures: [{ at: 1, attempt: 1, code: 'INTERNAL', message: 'x' }],
}

const noHeaders = (): undefined => undefined

test('message: everything about a call survives', () => {
  const parts = { subject: subjectOf('delayed', CALL), data: encodeCall(CALL), time: 1, header: noHeaders }
  assert.deepEqual(decodeCall(parts), CALL)
})

test('message: JSON of a foreign client is a call, with its headers', () => {
  const headers: Record<string, string> = { 'Nats-Msg-Id': 'mine', 'Delay-Ms': '500', 'Expires-Ms': '9000', Key: 'k', 'Request-Id': 'r' }
  const call = decodeCall({ subject: 'queue.retry.c.m.f', data: Buffer.from('["World"]'), time: 1_000, header: (name) => headers[name] })
  assert.deepEqual([call.args, call.id, call.dueAt, call.expiresMs, call.key, call.request.id], [['World'], 'mine', 1_500, 9_000, 'k', 'r'])
})

test('message: a bad header or bad bytes are INVALID_ARGUMENT', () => {
  const read = (data: string, header: (name: string) => string | undefined) => (): unknown =>
    decodeCall({ subject: 'queue.q.c.m.f', data: Buffer.from(data, 'latin1'), time: 0, header })
  assert.throws(
    read('[]', (name) => (name === 'Delay-Ms' ? 'soon' : undefined)),
    { code: 'INVALID_ARGUMENT' },
  )
  assert.throws(read('{', noHeaders), { code: 'INVALID_ARGUMENT' })
})

test('message: an id of any text is one token of a subject', () => {
  for (const id of ['order/42', 'a.b c*d>e', 'ö ☺', "it's (1)"]) {
    checkId(id)
    assert.match(tokenOf(id), /^[^\s.*>]+$/)
    assert.equal(decodeURIComponent(tokenOf(id)), id)
  }
})

test('message: an id that cannot be one is refused', () => {
  for (const id of ['', 'x'.repeat(251), '☺'.repeat(40), '\ud800', 'retry:12', 'retry@12'])
    assert.throws(() => checkId(id), { code: 'INVALID_ARGUMENT' }, id)
})

test('message: an id that a queue gives names its place', () => {
  assert.deepEqual(placeOf(idOf('retry', 12, false)), { queue: 'retry', seq: 12, delayed: false })
  assert.deepEqual(placeOf(idOf('retry', 12, true)), { queue: 'retry', seq: 12, delayed: true })
  assert.equal(placeOf('retry:12/step'), undefined)
})

test('message: each move has a message id of its own', () => {
  assert.equal(new Set([0, 1, 2].map((moves) => messageId('a', moves))).size, 3)
})
