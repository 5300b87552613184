/** What the runtime tells, de-duplicated where it comes from. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Notification } from '../../src/bus/bus.ts'
import { Teller } from '../../src/bus/teller.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { startNats } from '../../src/testing/nats.ts'

const dead = (n: number, cage = 'shop'): Notification => ({
  level: 'error',
  kind: 'call.dead',
  cage,
  module: 'm',
  at: n,
  message: `call ${n}`,
})

function told(t: TestContext): { teller: Teller; sent: Notification[] } {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const sent: Notification[] = []
  return { teller: new Teller(async (notification) => void sent.push(notification), recordingLog().log, 1_000), sent }
}

test('teller: of ten thousand of the same the first is sent at once, and the last with their number', (t) => {
  const { teller, sent } = told(t)
  for (let n = 0; n < 10_000; n++) teller.tell(dead(n))
  teller.tell(dead(0, 'other'))
  assert.deepEqual(sent, [dead(0), dead(0, 'other')])
  t.mock.timers.tick(1_000)
  assert.deepEqual(sent.slice(2), [{ ...dead(9_999), repeated: 9_999 }])
})

test('teller: after the minute it is counted on, and after a quiet one it is news again', (t) => {
  const { teller, sent } = told(t)
  for (const n of [1, 2]) teller.tell(dead(n))
  t.mock.timers.tick(1_000)
  for (const n of [3, 4]) teller.tell(dead(n))
  assert.deepEqual(sent, [dead(1), dead(2)])
  t.mock.timers.tick(1_000)
  t.mock.timers.tick(1_000)
  teller.tell(dead(5))
  assert.deepEqual(sent, [dead(1), dead(2), { ...dead(4), repeated: 2 }, dead(5)])
})

test('teller: what it is about makes it another one; too many at once are sent early', (t) => {
  const { teller, sent } = told(t)
  teller.tell(dead(1), 'ledger')
  teller.tell(dead(2), 'mail')
  teller.tell(dead(3), 'ledger')
  assert.deepEqual(sent, [dead(1), dead(2)])
  for (let n = 0; n < 1_000; n++) teller.tell(dead(4), `resource ${n}`)
  assert.deepEqual(
    sent.filter(({ at }) => at === 3),
    [dead(3)],
  )
})

test('teller: what is counted at the end is sent then; what cannot be kept is logged, never thrown', async () => {
  const { log, said } = recordingLog()
  const sent: Notification[] = []
  const send = async (notification: Notification): Promise<void> => {
    sent.push(notification)
    if (notification.at > 1) throw new CageError('UNAVAILABLE', 'no JetStream')
  }
  const teller = new Teller(send, log)
  for (const n of [1, 2, 3]) teller.tell(dead(n))
  await teller.close(true)
  teller.tell(dead(4))
  assert.deepEqual(sent, [dead(1), { ...dead(3), repeated: 2 }])
  assert.deepEqual(
    said.map(({ level, message }) => `${level} ${message}`),
    ['warn a notification could not be kept'],
  )
})

test('teller: a bus without JetStream closes as soon as one with it', async (t) => {
  const server = await startNats(t, { jetStream: false })
  const bus = await testBus(t, server.url)
  bus.notifications.tell(dead(1))
  const begun = performance.now()
  await bus.close()
  t.diagnostic(`${Math.round(performance.now() - begun)} ms`)
})
