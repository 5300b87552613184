/** The basics against RabbitMQ and its STOMP plugin, where it differs from ActiveMQ: docs/adapters/jms.md. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import { CageError } from '../../src/errors.ts'
import { suite } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { type JmsCall, jmsConnection, jmsInterface, within as scope } from '../support/jms-bench.ts'
import { startRabbitMq } from '../support/rabbitmq.ts'
import { tcpProxy } from '../support/tcp-proxy.ts'

let broker: { port: number; url: string }
before(async () => {
  broker = await startRabbitMq(suite)
})

test('jms: RabbitMQ keeps and gives messages, answers requests, and commits', async (t) => {
  const it = jmsInterface(t, 'in', async ({ body, message }) => {
    if (body === 'failing' && !message.redelivered) throw new CageError('CONFLICT', 'not yet')
    return `re: ${body}`
  })
  const destination = '/queue/orders'
  const listener = await it.start({ url: broker.url, destination, concurrency: 2 })
  const connection = await jmsConnection(t, { url: broker.url })
  const bodies = (): unknown[] => it.calls.map(({ body }) => (typeof body === 'string' ? body : Buffer.from(body).toString('hex')))
  const called = (n: number): Promise<true> => eventually('it is called', () => it.calls.length === n)
  await connection.call('send', [destination, 'grüße', { headers: { k: 'a:b\nc' }, priority: 3 }], scope())
  await connection.call('send', [destination, Buffer.from([0, 1, 255])], scope())
  await called(2)
  assert.deepEqual(bodies().sort(), ['0001ff', 'grüße'])
  assert.equal(it.calls.find(({ body }) => body === 'grüße')?.message.headers.k, 'a:b\nc')
  for (const text of ['one', 'two'])
    assert.equal(((await connection.call('request', [destination, text], scope())) as JmsCall['message']).body, `re: ${text}`)
  await connection.begin?.({ id: 'menagerie/a/b.1', options: {} }, scope())
  await connection.call('send', [destination, 'committed'], scope())
  await connection.commit?.(scope())
  await connection.begin?.({ id: 'menagerie/a/b.2', options: {} }, scope())
  await connection.call('send', [destination, 'rolled back'], scope())
  await connection.rollback?.(scope())
  await connection.check?.(scope())
  await connection.call('send', [destination, 'failing'], scope())
  await called(7)
  assert.deepEqual(bodies().slice(2), ['one', 'two', 'committed', 'failing', 'failing'])
  assert.equal(it.calls[6]?.message.redelivered, true)
  await listener.stop()
  await connection.call('send', [destination, 'short', { ttlMs: 1 }], scope())
  await connection.call('send', [destination, 'long', { ttlMs: 60_000 }], scope())
  await it.start({ url: broker.url, destination })
  await called(8)
  assert.equal(it.calls[7]?.body, 'long')
})

test('jms: RabbitMQ gives a message again whose connection was lost, keeps a durable subscription, and refuses the wrong', async (t) => {
  const it = jmsInterface(t, 'in', async ({ message, cancelled }) => (message.redelivered ? undefined : await cancelled))
  const door = await tcpProxy(t, broker.port)
  const lost = await it.start({ url: broker.url, port: door.port, destination: '/queue/lost' })
  const connection = await jmsConnection(t, { url: broker.url })
  await connection.call('send', ['/queue/lost', 'once'], scope())
  await eventually('it is called', () => it.calls.length === 1)
  const died = assert.rejects(lost.done)
  door.cut()
  await within('the interface tells', died)
  await it.start({ url: broker.url, destination: '/queue/lost' })
  await eventually('it is called again', () => it.calls.length === 2)
  const news = jmsInterface(t, 'news', async () => {})
  const options = { url: broker.url, destination: '/topic/news', durable: 'shop' }
  await (await news.start(options)).stop()
  await connection.call('send', ['/topic/news', 'while away'], scope())
  await news.start(options)
  await eventually('it has the news', () => news.calls.length === 1)
  await assert.rejects(
    news.start({ ...options, password: 'wrong' }),
    (error: CageError) => error.code === 'UNAUTHENTICATED' && error.retryable,
  )
  await assert.rejects(news.start({ ...options, virtualHost: 'nowhere' }), (error: CageError) =>
    ['FORBIDDEN', 'UNAUTHENTICATED'].includes(error.code),
  )
})

test('jms: an answer that RabbitMQ refuses costs nothing else, and its handler does not run again', async (t) => {
  const it = jmsInterface(t, 'asked', async () => 'answer')
  const destination = '/queue/asked'
  await it.start({ url: broker.url, destination, concurrency: 8 })
  const connection = await jmsConnection(t, { url: broker.url })
  await connection.call('send', [destination, 'poisoned', { replyTo: '/exchange/nope/x' }], scope())
  await eventually('it is told', () => it.said.some(({ message }) => message.startsWith('an answer was lost')))
  const answer = (await connection.call('request', [destination, 'sound'], scope())) as JmsCall['message']
  assert.equal(answer.body, 'answer')
  assert.deepEqual(
    it.calls.map(({ body }) => body),
    ['poisoned', 'sound'],
  )
})
