/** Server-sent events of the HTTP interface: read by curl, and by a socket that sees every byte. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'
import { httpOptions } from '../../src/adapters/http/options.ts'
import { listen } from '../../src/adapters/http/server.ts'
import { CageError } from '../../src/errors.ts'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { eventually, within } from '../../src/testing/wait.ts'
import { curl, open } from '../support/http.ts'
import { type CalledMethod, type TestHost, testHost } from '../support/interface-host.ts'

interface Running extends TestHost {
  url: string
  port: number
  stop(): Promise<void>
}

const WAITS = (): Promise<never> => new Promise(() => {})

/** An interface whose events are what `answer` gives for the n-th call, from 0. */
async function serve(owner: Owner, answer: (n: number, called: CalledMethod) => unknown, more: object = {}): Promise<Running> {
  const cancels = new Map<object, (error: Error) => void>()
  const made = testHost((called) => {
    const { owner: whose = {} } = called.options
    const cancelled = new Promise((_, reject) => cancels.set(whose, reject))
    return Promise.race([answer(made.calls.length - 1, called), cancelled])
  })
  const host = Object.assign(made.host, {
    cancel: (whose: object) => {
      made.cancelled.push(whose)
      cancels.get(whose)?.(new CageError('CANCELLED', 'nobody wants it'))
    },
  })
  const options = httpOptions.parse({ port: 0, events: { 'GET /live/:what': 'live.next' }, ...more })
  const listener = await listen(options, host)
  atEnd(owner, () => listener.stop())
  return { ...made, url: listener.address, port: Number(new URL(listener.address).port), stop: () => listener.stop() }
}

/** curl -N, as it goes on. */
function follow(
  owner: Owner,
  ...words: string[]
): { text: () => string; until(part: string | RegExp): Promise<void>; ended: Promise<unknown>; end(): void } {
  const child = spawn('curl', ['--silent', '--show-error', '--no-buffer', '--include', '--max-time', '25', ...words], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let text = ''
  child.stdout.on('data', (data) => (text += String(data)))
  const ended = once(child, 'close')
  atEnd(owner, async () => {
    child.kill()
    await ended
  })
  return {
    text: () => text,
    until: (part) =>
      eventually(`curl has read ${part}`, () => (typeof part === 'string' ? text.includes(part) : part.test(text))).then(() => {}),
    ended,
    end: () => void child.kill(),
  }
}

test('http events: one event after the other, as they come, and the id goes back', async (t) => {
  const answers = [{ id: '1', event: 'news', data: { a: 1n } }, [{ data: 'two\nlines' }, { id: 'é2', data: '' }], { data: 'third' }]
  const { url, calls } = await serve(t, (n) => answers[n] ?? WAITS())
  const reader = follow(t, `${url}/live/x?y=1`, '-H', 'Last-Event-ID: 0')
  await reader.until('third')
  const [head = '', body] = reader.text().split('\r\n\r\n')
  assert.match(head, /^HTTP\/1.1 200 OK/)
  assert.match(head, /content-type: text\/event-stream; charset=utf-8/i)
  assert.match(head, /cache-control: no-store/i)
  assert.match(head, /request-id: \S+/i)
  assert.equal(body, 'id: 1\nevent: news\ndata: {"a":1}\n\ndata: two\ndata: lines\n\nid: é2\ndata: \n\ndata: third\n\n')
  await eventually('a fourth call waits', () => calls.length === 4)
  assert.deepEqual(
    calls.map(({ args }) => args[1]),
    ['0', '1', 'é2', 'é2'],
  )
  const request = calls[0]?.args[0] as { path: string; query: object }
  assert.deepEqual([request.path, request.query], ['/live/x', { y: '1' }])
  assert.deepEqual(new Set(calls.map(({ options }) => options.requestId)).size, 1)
})

test('http events: the id of a browser that connects again is read as UTF-8', async (t) => {
  const { url, calls } = await serve(t, WAITS)
  follow(t, `${url}/live/x`, '-H', 'Last-Event-ID: é2')
  await eventually('it is called', () => calls.length === 1)
  assert.equal(calls[0]?.args[1], 'é2')
})

test('http events: nothing new is a comment, be it undefined or a call that is late, and it is not asked in haste', async (t) => {
  const late = new CageError('DEADLINE_EXCEEDED', 'late')
  const { url, calls } = await serve(t, (n) =>
    n === 0 ? undefined : n === 1 ? Promise.reject(late) : n === 2 ? { data: 'news' } : WAITS(),
  )
  const before = performance.now()
  const reader = follow(t, `${url}/live/x`)
  await reader.until('data: news\n\n')
  assert.match(reader.text(), /\r\n\r\n:\n\n:\n\ndata: news\n\n$/)
  assert.ok(performance.now() - before > 1_500, 'two empty answers at once are two seconds')
  assert.ok(calls.length <= 4)
})

test('http events: a failure before the first answer is a status, later an event and the end', async (t) => {
  const forbidden = await serve(t, () => Promise.reject(new CageError('FORBIDDEN', 'not you')))
  const answer = await curl(`${forbidden.url}/live/x`)
  assert.deepEqual([answer.status, answer.json()], [403, { code: 'FORBIDDEN', message: 'not you' }])
  const broken = await serve(t, (n) => (n === 0 ? { data: 1 } : Promise.reject(new CageError('INTERNAL', 'the password is 12345'))))
  const later = await curl(`${broken.url}/live/x`)
  assert.deepEqual([later.status, later.text], [200, 'data: 1\n\nevent: error\ndata: {"code":"INTERNAL","message":"internal error"}\n\n'])
  for (const wrong of [5, { dta: 1 }, { id: 'a\nb', data: 1 }, { event: 5 }]) {
    const { url, said } = await serve(t, () => wrong)
    assert.equal((await curl(`${url}/live/x`)).status, 500)
    assert.ok(said.some(({ message }) => message === 'a request cannot be answered'))
  }
})

test('http events: a client that goes away has its call cancelled', async (t) => {
  const { url, calls, cancelled } = await serve(t, (n) => (n === 0 ? { data: 1 } : WAITS()))
  const reader = follow(t, `${url}/live/x`)
  await reader.until('data: 1')
  await eventually('the second call waits', () => calls.length === 2)
  reader.end()
  await eventually('it is cancelled', () => cancelled.includes(calls[1]?.options.owner ?? {}))
  assert.equal(calls.length, 2)
})

test('http events: the interface’s end ends the streams well, those too that have told nothing yet', async (t) => {
  const { url, calls, stop } = await serve(t, (n) => (n === 0 ? { data: 1 } : WAITS()))
  const told = follow(t, `${url}/live/x`)
  await told.until('data: 1')
  const silent = follow(t, `${url}/live/x`)
  await eventually('both wait', () => calls.length === 3)
  await within('it stops', stop())
  await within('both have ended', Promise.all([told.ended, silent.ended]))
  assert.match(told.text(), /data: 1\n\n$/)
  assert.match(silent.text(), /^HTTP\/1.1 200 OK[\s\S]*connection: close[\s\S]*\r\n\r\n$/i)
})

test('http events: a stream outlives requestTimeoutMs and keepAliveTimeoutMs, and HEAD calls nobody', async (t) => {
  const { url, port, calls } = await serve(t, (n) => (n < 3 ? new Promise((resolve) => setTimeout(resolve, 700, { data: n })) : WAITS()), {
    ...{ requestTimeoutMs: 1_000, headersTimeoutMs: 500, keepAliveTimeoutMs: 100 },
  })
  assert.equal((await curl('--head', `${url}/live/x`)).headers.get('content-type'), 'text/event-stream; charset=utf-8')
  assert.equal(calls.length, 0)
  const socket = await open(t, port)
  let text = ''
  socket.on('data', (data) => (text += String(data)))
  socket.write('GET /live/x HTTP/1.1\r\nHost: a\r\n\r\n')
  await eventually('it has all', () => text.includes('data: 2'))
  assert.match(text, /transfer-encoding: chunked/i)
  assert.equal(socket.readyState, 'open')
})

test('http events: a client that reads nothing is sent no more than fits', async (t) => {
  const { port, calls } = await serve(t, (n) => ({ id: String(n), data: 'x'.repeat(1_000_000) }))
  const socket = await open(t, port)
  socket.pause()
  socket.write('GET /live/x HTTP/1.1\r\nHost: a\r\n\r\n')
  let before = -1
  await eventually('nothing more is asked for', async () => {
    if (calls.length > 0 && calls.length === before) return true
    before = calls.length
    await new Promise((resolve) => setTimeout(resolve, 300))
    return false
  })
  assert.ok(calls.length < 50, `${calls.length} MB`)
  const held = calls.length
  socket.resume()
  await eventually('it goes on', () => calls.length > held + 5)
})

test('http events: what they may be is checked with the configuration', () => {
  const mistakes = (options: object): string[] =>
    httpOptions.safeParse({ port: 0, ...options }).error?.issues.map(({ message }) => message) ?? []
  assert.deepEqual(mistakes({ events: { 'POST /live': 'live.next' } }), ['events are read with GET'])
  assert.deepEqual(mistakes({ routes: { 'GET /:a': 'x.y' }, events: { 'GET /:b': 'live.next' } }), ['GET /:a takes the same requests'])
  assert.match(mistakes({})[0] ?? '', /routes, events or a handler are needed/)
  assert.deepEqual(mistakes({ events: { 'GET /live': 'live.next' } }), [])
})
