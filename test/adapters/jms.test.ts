/** JMS over STOMP, against ActiveMQ, with a Java JMS client and a plain STOMP client on the other side: docs/adapters/jms.md. */
import assert from 'node:assert/strict'
import { before, type TestContext, test } from 'node:test'
import { CageError } from '../../src/errors.ts'
import { suite } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'
import { type ActiveMq, type JmsPeer, startActiveMq, startJmsPeer } from '../support/activemq.ts'
import { type JmsCall, type JmsInterface, jmsConnection, jmsInterface, within as scope } from '../support/jms-bench.ts'
import { type PlainStomp, plainStomp, type StompFrame } from '../support/stomp.ts'
import { tcpProxy } from '../support/tcp-proxy.ts'

let broker: ActiveMq
let peer: JmsPeer
let outside: PlainStomp
let names = 0

before(async () => {
  broker = await startActiveMq(suite)
  const starting = startJmsPeer(suite, broker)
  outside = await plainStomp(suite, broker.port)
  peer = await starting
})

/** A queue that nobody has used yet. */
const fresh = (): string => `/queue/test.${++names}`

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof CageError, String(error))
  assert.equal(error.code, expected, error.message)
  return true
}

/** What is in a queue, as a browser sees it. */
async function contents(queue: string, client: PlainStomp = outside): Promise<StompFrame[]> {
  const id = `browser.${++names}`
  client.send('SUBSCRIBE', { id, destination: queue, ack: 'auto', browser: 'true' })
  for (const found: StompFrame[] = []; ; ) {
    const frame = await client.message(({ headers }) => headers.subscription === id)
    if (frame.headers.browser === 'end') return found
    found.push(frame)
  }
}

const isEmpty = (queue: string): Promise<boolean> => eventually('the queue is empty', async () => (await contents(queue)).length === 0)
const put = (queue: string, body: string, headers: Record<string, string | number> = {}): Promise<void> =>
  outside.confirm('SEND', { destination: queue, persistent: 'true', ...headers }, body)

/** An interface; by default its calls succeed. */
function interfaceOf(t: TestContext, answer: (call: JmsCall) => Promise<unknown> = async () => {}): JmsInterface {
  return jmsInterface(t, `in${++names}`, answer)
}

test('jms: a Java client gets text and bytes with their headers, and answers', async (t) => {
  const connection = await jmsConnection(t, { url: broker.url })
  const send = (body: string | Uint8Array, options?: object): Promise<unknown> =>
    connection.call('send', ['/queue/to.jms', body, options], scope())
  await send('grüße', { headers: { k: 'a:b\\c\r\né', n: 5, yes: true }, priority: 7, ttlMs: 60_000, correlationId: 'c1' })
  assert.equal(await peer.told('GOT text|grüße'), 'GOT text|grüße|c1|7|persistent|expires|{k=a:b\\c')
  await send(Buffer.from([0, 1, 255]), { persistent: false })
  assert.equal(await peer.told('GOT bytes'), 'GOT bytes|0001ff|null|4|volatile|stays|{}')
  await send('')
  assert.equal(await peer.told('GOT text'), 'GOT text||null|4|persistent|stays|{}')
  await send('nul\0in')
  assert.match(await peer.told('GOT text'), /^GOT text\|nul\0in\|null\|4\|persistent\|stays/)
  const answer = (await connection.call('request', ['/queue/to.jms', 'ask'], scope())) as JmsCall['message']
  assert.equal(answer.body, 're: ask')
  assert.equal(answer.headers.n, '7')
  const again = (await connection.call('request', ['/queue/to.jms', 'ask again'], scope())) as JmsCall['message']
  assert.equal(again.body, 're: ask again')
})

test('jms: what a Java client sends becomes calls, and what it asks is answered', async (t) => {
  const it = interfaceOf(t, async ({ body }) => `you said ${body}`)
  const queue = fresh()
  await it.start({ url: broker.url, destination: queue, timeoutMs: 5_000 })
  const name = queue.slice('/queue/'.length)
  for (const order of [`text ${name} grüße`, `bytes ${name} 0001ff`, `ask ${name} what?`]) peer.say(order)
  assert.match(await peer.told('ANSWER'), /^ANSWER text\|you said what\?\|ask-1\|4\|persistent\|stays/)
  await eventually('all are called', () => it.calls.length === 3)
  const [text, bytes, ask] = it.calls
  assert.deepEqual([text?.target, text?.body], ['orders.take', 'grüße'])
  const { destination, redelivered, headers = {}, id } = text?.message ?? {}
  assert.deepEqual(
    [destination, redelivered, headers.n, headers.k, headers.priority, headers.type],
    [queue, false, '5', 'a:b\\c é', '7', 'greeting'],
  )
  assert.equal(headers.long, 'é'.repeat(5_000), 'a header of 10,000 bytes is whole')
  const { timeoutMs, protocol, parameters } = text?.options ?? {}
  assert.deepEqual([timeoutMs, protocol, parameters], [5_000, 'jms', { messageId: id, destination: queue }])
  assert.deepEqual(bytes?.body, Buffer.from([0, 1, 255]))
  assert.equal(ask?.message.correlationId, 'ask-1')
  await isEmpty(queue)
})

test('jms: results are answered as text, bytes or JSON, with the correlation id or else the message id', async (t) => {
  const results: unknown[] = ['text', Buffer.from([65, 66]), { n: 1n, at: [1] }, undefined]
  const it = interfaceOf(t, async ({ body }) => results[Number(body)])
  const [queue, answers] = [fresh(), fresh()]
  await it.start({ url: broker.url, destination: queue, concurrency: 1 })
  await outside.confirm('SUBSCRIBE', { id: answers, destination: answers, ack: 'auto' })
  for (const n of results.keys()) await put(queue, String(n), { 'reply-to': answers, ...(n === 0 ? { 'correlation-id': 'first' } : {}) })
  const bodies: string[] = []
  for (const n of results.keys()) {
    const { body, headers } = await outside.message(({ headers }) => headers.subscription === answers)
    bodies.push(body)
    assert.equal(headers['correlation-id'], n === 0 ? 'first' : it.calls[n]?.message.id)
    assert.equal(headers['content-length'], n === 1 ? '2' : undefined)
  }
  assert.deepEqual(bodies, ['text', 'AB', '{"n":1,"at":[1]}', ''])
})

test('jms: a message is acknowledged after its call has succeeded, and is given again if the connection was lost before', async (t) => {
  const { promise, resolve } = deferred<void>()
  const it = interfaceOf(t, ({ message }) => (message.redelivered ? promise : new Promise(() => {})))
  const queue = fresh()
  const door = await tcpProxy(t, broker.port)
  const options = { url: broker.url, port: door.port, destination: queue }
  const first = await it.start(options)
  await put(queue, 'once')
  await eventually('it is called', () => it.calls.length === 1)
  const died = assert.rejects(first.done, code('UNAVAILABLE'))
  door.cut()
  await within('the interface tells', died)
  await assert.rejects(it.calls[0]?.cancelled ?? Promise.resolve(), code('CANCELLED'))
  const second = await it.start(options)
  await eventually('it is called again', () => it.calls.length === 2)
  assert.equal(it.calls[1]?.message.redelivered, true)
  assert.equal((await contents(queue)).length, 1, 'it is not acknowledged yet')
  const stopped = second.stop()
  resolve()
  await within('it ends', stopped)
  await isEmpty(queue)
})

test('jms: a message whose call fails is refused, and the broker keeps it as a dead letter', async (t) => {
  const it = interfaceOf(t, async ({ body }) => {
    if (body === 'bad') throw new CageError('INVALID_ARGUMENT', 'no such order')
    if (body === 'bug') throw new TypeError('oh')
  })
  const queue = fresh()
  const dead = queue.replace('/queue/', '/queue/DLQ.')
  await it.start({ url: broker.url, destination: queue, maxBodyBytes: 1_000 })
  for (const body of ['bad', 'bug', 'x'.repeat(1_001), 'good']) await put(queue, body)
  await isEmpty(queue)
  await eventually('they are dead letters', async () => (await contents(dead)).length === 3)
  assert.deepEqual(
    it.calls.map(({ body }) => body),
    ['bad', 'bug', 'good'],
    'what is too long is not called',
  )
  assert.equal(it.said.filter(({ message }) => message.startsWith('a message was refused')).length, 3)
})

test('jms: a call that could not be made is no verdict: its message is left, and comes again after a pause', async (t) => {
  let away = true
  const it = interfaceOf(t, async () => {
    if (away) throw new CageError('UNAVAILABLE', 'the bus is away')
  })
  const queue = fresh()
  await it.start({ url: broker.url, destination: queue, concurrency: 2 })
  for (const n of [1, 2, 3]) await put(queue, String(n))
  await eventually('it is tried again', () => it.calls.length >= 4)
  away = false
  await isEmpty(queue)
  assert.deepEqual([...new Set(it.calls.map(({ body }) => body))].sort(), ['1', '2', '3'])
  assert.equal((await contents(queue.replace('/queue/', '/queue/DLQ.'))).length, 0)
})

test('jms: with onFailure leave every failed message comes again, and what runs besides is acknowledged', async (t) => {
  const { promise: slow, resolve: finish } = deferred<void>()
  let failures = 0
  const it = interfaceOf(t, async ({ body }) => {
    if (body === 'slow') return await slow
    if (++failures < 3) throw new CageError('CONFLICT', 'not yet')
  })
  const queue = fresh()
  await it.start({ url: broker.url, destination: queue, onFailure: 'leave' })
  await put(queue, 'slow')
  await put(queue, 'failing')
  await eventually('one has failed', () => failures === 1)
  finish()
  await isEmpty(queue)
  assert.deepEqual([failures, it.calls.filter(({ body }) => body === 'slow').length], [3, 1])
})

test('jms: no more calls run at once than are allowed, and none is lost by a stop', async (t) => {
  let [running, most, ended] = [0, 0, 0]
  const it = interfaceOf(t, async () => {
    most = Math.max(most, ++running)
    await new Promise(setImmediate)
    running--
    ended++
  })
  const queue = fresh()
  const listener = await it.start({ url: broker.url, destination: queue, concurrency: 3 })
  for (let n = 0; n < 60; n++) outside.send('SEND', { destination: queue, persistent: 'true' }, String(n))
  await eventually('some are done', () => ended > 5)
  await listener.stop()
  assert.equal(running, 0)
  const left = (await contents(queue)).length
  assert.equal(ended + left, 60, 'what has ended is acknowledged, what is not begun is there')
  await it.start({ url: broker.url, destination: queue, concurrency: 3 })
  await isEmpty(queue)
  assert.deepEqual([ended, most], [60, 3])
})

test('jms: a selector chooses, and each subscriber of a topic has its copy', async (t) => {
  const [queue, topic] = [fresh(), `/topic/test.${++names}`]
  const [choosing, one, two] = [interfaceOf(t), interfaceOf(t), interfaceOf(t)]
  await choosing.start({ url: broker.url, destination: queue, selector: "kind = 'new'" })
  for (const it of [one, two]) await it.start({ url: broker.url, destination: topic })
  await put(queue, 'old', { kind: 'old' })
  await put(queue, 'new', { kind: 'new' })
  await put(topic, 'news')
  await eventually('all are called', () => choosing.calls.length + one.calls.length + two.calls.length === 3)
  assert.equal(choosing.calls[0]?.body, 'new')
  assert.deepEqual(
    (await contents(queue)).map(({ body }) => body),
    ['old'],
  )
})

test('jms: a durable subscription has what was said while it was away, and one connection at a time', async (t) => {
  const it = interfaceOf(t)
  const topic = `/topic/test.${++names}`
  const options = { url: broker.url, destination: topic, durable: 'news' }
  const first = await it.start(options)
  await assert.rejects(it.start(options), code('UNAVAILABLE'))
  await first.stop()
  await put(topic, 'while away')
  await eventually('it may subscribe again', () =>
    it.start(options).then(
      () => true,
      () => false,
    ),
  )
  await eventually('it is called', () => it.calls.length === 1)
  assert.equal(it.calls[0]?.body, 'while away')
})

test('jms: an answer that nobody can have any more costs neither the message nor the subscription', async (t) => {
  const { promise, resolve } = deferred<void>()
  const it = interfaceOf(t, async ({ body }) => (body === 'gone' ? await promise : 'here'))
  const [queue, answers] = [fresh(), fresh()]
  await it.start({ url: broker.url, destination: queue })
  const asker = await plainStomp(t, broker.port)
  await asker.confirm('SUBSCRIBE', { id: 'a', destination: '/temp-queue/a', ack: 'auto' })
  await asker.confirm('SEND', { destination: queue, 'reply-to': '/temp-queue/a' }, 'gone')
  await eventually('it is called', () => it.calls.length === 1)
  asker.close()
  await asker.closed
  await eventually('the broker has noticed', async () => {
    const probe = await plainStomp(t, broker.port)
    return await probe.confirm('SEND', { destination: it.calls[0]?.message.replyTo ?? '' }).then(
      () => false,
      () => true,
    )
  })
  resolve()
  await eventually('it is told', () => it.said.some(({ message }) => message.startsWith('an answer was lost')))
  await outside.confirm('SUBSCRIBE', { id: answers, destination: answers, ack: 'auto' })
  await put(queue, 'still there?', { 'reply-to': answers })
  assert.equal((await outside.message(({ headers }) => headers.subscription === answers)).body, 'here')
  await isEmpty(queue)
  assert.equal(it.calls.length, 2)
})

test('jms: a start that the broker refuses fails with its reason', async (t) => {
  const it = interfaceOf(t)
  const destination = fresh()
  await assert.rejects(it.start({ url: broker.url, password: 'wrong', destination }), code('UNAUTHENTICATED'))
  await assert.rejects(it.start({ url: broker.url, destination, selector: 'this is none' }), code('INVALID_ARGUMENT'))
  await assert.rejects(it.start({ url: 'stomp://127.0.0.1:1', destination }), code('UNAVAILABLE'))
  await assert.rejects(it.start({ url: broker.url, user: 'reader', destination }), code('FORBIDDEN'))
})

test('jms: a request between cages has its answer or its failure, in a temporary queue or in one of its own', async (t) => {
  const it = interfaceOf(t, async ({ body }) => {
    if (body !== 'fail') return `re: ${body}`
    throw new CageError('CONFLICT', 'sold out', { details: { left: 0 } })
  })
  const queue = fresh()
  await it.start({ url: broker.url, destination: queue, errorReplies: true })
  const replyQueue = fresh()
  const [temporary, named, other] = await Promise.all([
    jmsConnection(t, { url: broker.url }),
    jmsConnection(t, { url: broker.url, replyQueue }),
    jmsConnection(t, { url: broker.url, replyQueue }),
  ])
  for (const connection of [temporary, named, other, temporary, named]) {
    const answer = (await connection.call('request', [queue, 'ask'], scope())) as JmsCall['message']
    assert.equal(answer.body, 're: ask')
  }
  await assert.rejects(
    temporary.call('request', [queue, 'fail'], scope()),
    (error: CageError) => error.code === 'CONFLICT' && error.message === 'sold out' && (error.details as { left: number }).left === 0,
  )
  assert.equal(temporary.broken, false)
})

test('jms: a request whose caller goes away is taken back', async (t) => {
  const connection = await jmsConnection(t, { url: broker.url })
  const queue = fresh()
  const leaving = new AbortController()
  const asked = assert.rejects(connection.call('request', [queue, 'anybody?'], scope(20_000, leaving.signal)), code('CANCELLED'))
  await eventually('it is there', async () => (await contents(queue)).length === 1)
  leaving.abort()
  await asked
  assert.equal((await contents(queue)).length, 0)
  assert.equal(connection.broken, false)
})

test('jms: a batch and a transaction are all or nothing', async (t) => {
  const connection = await jmsConnection(t, { url: broker.url })
  const queue = fresh()
  const bodies = async (): Promise<string[]> => (await contents(queue)).map(({ body }) => body)
  await connection.call(
    'batch',
    [
      [
        [queue, '1'],
        [queue, '2', { priority: 4 }],
      ],
    ],
    scope(),
  )
  assert.deepEqual(await bodies(), ['1', '2'])
  await assert.rejects(
    connection.call(
      'batch',
      [
        [
          [queue, '3'],
          [queue, 4],
        ],
      ],
      scope(),
    ),
    code('INVALID_ARGUMENT'),
  )
  await connection.begin?.({ id: 'menagerie/a/b.1', options: {} }, scope())
  await connection.call('send', [queue, '5'], scope())
  await connection.call('batch', [[[queue, '6']]], scope())
  await assert.rejects(connection.call('request', [queue, 'x'], scope()), code('INVALID_ARGUMENT'))
  assert.deepEqual(await bodies(), ['1', '2'], 'nothing is seen before the commit')
  await connection.commit?.(scope())
  assert.deepEqual(await bodies(), ['1', '2', '5', '6'])
  await connection.begin?.({ id: 'menagerie/a/b.2', options: {} }, scope())
  await connection.call('send', [queue, '7'], scope())
  await connection.rollback?.(scope())
  await connection.check?.(scope())
  assert.deepEqual(await bodies(), ['1', '2', '5', '6'])
  assert.deepEqual([connection.participant, connection.broken], ['one-phase', false])
})

test('jms: a transaction whose connection is lost is rolled back, one whose commit is not confirmed is told as uncertain', async (t) => {
  const door = await tcpProxy(t, broker.port)
  const queue = fresh()
  const [lost, silent] = await Promise.all([
    jmsConnection(t, { url: broker.url, port: door.port }),
    jmsConnection(t, { url: broker.url, port: door.port }),
  ])
  for (const connection of [lost, silent]) {
    await connection.begin?.({ id: 'one', options: {} }, scope()) // ids are a connection's own
    await connection.call('send', [queue, 'x'], scope())
  }
  door.hold()
  await assert.rejects(silent.commit?.(scope(100)) ?? Promise.resolve(), code('DEADLINE_EXCEEDED'))
  assert.equal(silent.broken, true, 'nothing is left open')
  door.release()
  door.cut()
  await eventually('it is known to be lost', () => lost.broken)
  await lost.rollback?.(scope())
  await assert.rejects(lost.call('send', [queue, 'y'], scope()), code('UNAVAILABLE'))
})

test('jms: what is wrong with a message is said before it is sent', async (t) => {
  const connection = await jmsConnection(t, { url: broker.url })
  const wrong: unknown[][] = [
    [],
    ['/queue/x', 1],
    ['/queue/x', 'x', { prioritty: 1 }],
    ['/queue/x', 'x', { priority: 10 }],
    ['/queue/x', 'x', { ttlMs: 0 }],
    ['/queue/x', 'x', { persistent: 'yes' }],
    ['/queue/x', 'x', { headers: { receipt: 'r' } }],
    ['/queue/x', 'x', { headers: { k: {} } }],
    ['/queue/x', 'x', { headers: { k: 'a\0b' } }],
  ]
  for (const args of wrong) await assert.rejects(connection.call('send', args, scope()), code('INVALID_ARGUMENT'), JSON.stringify(args))
  await assert.rejects(connection.call('sendd', [], scope()), /did you mean send/)
  await assert.rejects(connection.call('request', ['/queue/x', 'x', { replyTo: '/queue/y' }], scope()), code('INVALID_ARGUMENT'))
  assert.equal(connection.broken, false)
})

test('jms: kill -9 of the broker in the middle of sends and of calls loses nothing', async (t) => {
  const queue = fresh()
  const confirmed = new Set<string>()
  const done = new Set<string>()
  let [given, stop] = [0, false]
  const it = interfaceOf(t, async ({ body }) => {
    given++
    await new Promise(setImmediate)
    done.add(String(body))
  })
  let listener = await it.start({ url: broker.url, destination: queue, concurrency: 4 })
  let deaths = 0
  const keep = async (): Promise<void> => {
    while (!stop) {
      await listener.done.catch((error: unknown) => {
        deaths++
        code('UNAVAILABLE')(error)
      })
      if (stop) return
      listener = await eventually('it starts again', () =>
        it.start({ url: broker.url, destination: queue, concurrency: 4 }).catch(() => undefined),
      )
    }
  }
  const kept = keep()
  const produce = async (producer: number): Promise<void> => {
    let connection = await jmsConnection(t, { url: broker.url })
    for (let n = 0; n < 150; ) {
      const body = `${producer}.${n}`
      try {
        await connection.call('send', [queue, body], scope())
        confirmed.add(body)
        n++
      } catch (error) {
        code('UNAVAILABLE')(error)
        connection = await eventually('it connects again', () => jmsConnection(t, { url: broker.url }).catch(() => undefined))
      }
    }
  }
  const producing = Promise.all([1, 2, 3].map(produce))
  await eventually('it is under way', () => confirmed.size > 60 && done.size > 20)
  await broker.kill()
  await broker.restart()
  await producing
  await eventually('all are done', () => [...confirmed].every((body) => done.has(body)))
  stop = true
  await listener.stop()
  await kept
  const client = await plainStomp(t, broker.port) // the other one died with the broker
  assert.equal((await contents(queue, client)).length, 0, 'all are acknowledged')
  assert.equal(confirmed.size, 450)
  assert.ok(deaths >= 1 && given >= 450)
})
