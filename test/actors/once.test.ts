import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Begun, Once } from '../../src/actors/once.ts'
import type { Bus, Call, Outcome } from '../../src/bus/bus.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { client, startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'

const server = await startNats(suite)
const [one, two] = await Promise.all([testBus(suite, server.url), testBus(suite, server.url)])

test('once: of 50 calls with one key on two copies one runs, and all have its result', async () => {
  const copies = [copy(one, 'fifty'), copy(two, 'fifty')]
  let runs = 0
  const run = async (): Promise<Outcome> => {
    const n = ++runs
    await Promise.resolve()
    return { ok: true, result: { n, at: new Date(7) } }
  }
  const outcomes = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(copies[i % 2], 'k', run)))
  assert.equal(runs, 1)
  for (const outcome of outcomes) assert.deepEqual(outcome, { ok: true, result: { n: 1, at: new Date(7) } })
  assert.deepEqual(await ask(copies[0], 'other', run), { ok: true, result: { n: 2, at: new Date(7) } })
})

test('once: after an error, or when nothing was begun, the key may run again', async () => {
  const once = copy(one, 'errors')
  const failing = async (): Promise<Outcome> => ({ ok: false, error: new CageError('MINE', 'no') })
  assert.equal(codeOf(await ask(once, 'k', failing)), 'MINE')
  assert.equal(codeOf(await ask(once, 'k', failing)), 'MINE')
  const refused: Begun = { settled: failing(), ended: Promise.resolve(undefined) }
  assert.equal(codeOf(await begin(once, call('k'), refused)), 'MINE')
  assert.deepEqual(await ask(once, 'k', ok(5)), { ok: true, result: 5 })
  assert.deepEqual(await ask(once, 'k', failing), { ok: true, result: 5 })
})

test('once: what runs on a live copy is waited for until the deadline, then it is CONFLICT and retryable', async () => {
  const { promise, resolve } = deferred<Outcome>()
  const running = ask(copy(two, 'waits'), 'k', () => promise)
  await eventually('it runs', async () => (await record('waits', 'k'))?.state === 'running')
  const early = await ask(copy(one, 'waits'), 'k', ok('twice'), { deadline: Date.now() + 400 })
  assert.equal(codeOf(early), 'CONFLICT')
  assert.equal(!early.ok && early.error.retryable, true)
  const late = ask(copy(one, 'waits'), 'k', ok('twice'))
  resolve({ ok: true, result: 'once' })
  assert.deepEqual(await running, { ok: true, result: 'once' })
  assert.deepEqual(await late, { ok: true, result: 'once' })
})

test('once: a method that ends after its caller was told that it is late has run all the same', async () => {
  const once = copy(one, 'late')
  const { promise, resolve } = deferred<Outcome>()
  const late: Outcome = { ok: false, error: new CageError('DEADLINE_EXCEEDED', 'late') }
  assert.equal(codeOf(await begin(once, call('k'), { settled: Promise.resolve(late), ended: promise })), 'DEADLINE_EXCEEDED')
  const again = ask(copy(two, 'late'), 'k', ok('twice'))
  resolve({ ok: true, result: 'once' })
  assert.deepEqual(await again, { ok: true, result: 'once' })
})

test('once: a run whose copy is dead is taken over', async (t) => {
  const dying = await testBus(t, server.url)
  void ask(copy(dying, 'dead'), 'k', () => new Promise(() => {}))
  await eventually('it runs', async () => (await record('dead', 'k'))?.state === 'running')
  const waiting = [ask(copy(one, 'dead'), 'k', ok('again')), ask(copy(two, 'dead'), 'k', ok('again'))]
  await dying.close()
  const before = performance.now()
  assert.deepEqual(await Promise.all(waiting), Array(2).fill({ ok: true, result: 'again' }))
  assert.ok(performance.now() - before < 3_000)
})

test('once: who goes away while it waits is told so', async () => {
  void ask(copy(two, 'gone'), 'k', () => new Promise(() => {}))
  await eventually('it runs', async () => (await record('gone', 'k'))?.state === 'running')
  const controller = new AbortController()
  const waiting = ask(copy(one, 'gone'), 'k', ok(1), { signal: controller.signal })
  controller.abort()
  assert.equal(codeOf(await within('it is told', waiting, 5_000)), 'CANCELLED')
})

test('once: what is cancelled before it came is never run, and its undoing is not either', async () => {
  const once = copy(one, 'before')
  let undone = 0
  const undo = async (): Promise<Outcome> => ({ ok: true, result: ++undone })
  assert.deepEqual(await ask(once, 'undo', undo, { cancels: 'do' }), { ok: true, result: undefined })
  assert.deepEqual(await ask(once, 'undo', undo, { cancels: 'do' }), { ok: true, result: undefined })
  assert.deepEqual(await ask(once, 'undo 2', undo, { cancels: 'do' }), { ok: true, result: undefined })
  const ran = await ask(copy(two, 'before'), 'do', ok(1))
  assert.equal(codeOf(ran), 'CANCELLED')
  assert.equal(!ran.ok && ran.error.retryable, false)
  assert.equal(undone, 0)
})

test('once: what is cancelled while it runs is undone when it has ended', async () => {
  const { promise, resolve } = deferred<Outcome>()
  const did = ask(copy(two, 'during'), 'do', () => promise)
  await eventually('it runs', async () => (await record('during', 'do'))?.state === 'running')
  const order: string[] = []
  const undo = async (): Promise<Outcome> => {
    order.push('undone')
    return { ok: true, result: 2 }
  }
  const undone = ask(copy(one, 'during'), 'undo', undo, { cancels: 'do' })
  order.push('done')
  resolve({ ok: true, result: 1 })
  assert.deepEqual(await did, { ok: true, result: 1 })
  assert.deepEqual(await undone, { ok: true, result: 2 })
  assert.deepEqual(order, ['done', 'undone'])
  assert.equal(codeOf(await ask(copy(two, 'during'), 'do', ok(1))), 'CANCELLED')
  const failing = deferred<Outcome>()
  const failed = ask(copy(two, 'during'), 'do 2', () => failing.promise)
  await eventually('it runs', async () => (await record('during', 'do 2'))?.state === 'running')
  const nothing = ask(copy(one, 'during'), 'undo 2', ok('odd'), { cancels: 'do 2' })
  failing.resolve({ ok: false, error: new CageError('MINE', 'no') })
  await failed
  assert.deepEqual(await nothing, { ok: true, result: undefined }, 'what failed has nothing to undo')
})

test('once: what is done, or whose copy died, is undone once; an undoing that fails may be tried again', async (t) => {
  const once = copy(one, 'after')
  await ask(once, 'do', ok(1))
  let tries = 0
  const undo = async (): Promise<Outcome> =>
    ++tries === 1 ? { ok: false, error: new CageError('MINE', 'not yet') } : { ok: true, result: tries }
  assert.equal(codeOf(await ask(once, 'undo', undo, { cancels: 'do' })), 'MINE')
  assert.equal(codeOf(await ask(once, 'do', ok(1))), 'CANCELLED')
  assert.deepEqual(await ask(copy(two, 'after'), 'undo', undo, { cancels: 'do' }), { ok: true, result: 2 })
  assert.deepEqual(await ask(once, 'undo', undo, { cancels: 'do' }), { ok: true, result: 2 })
  assert.deepEqual(await ask(once, 'undo with another key', undo, { cancels: 'do' }), { ok: true, result: undefined })
  assert.equal(tries, 2)
  const dying = await testBus(t, server.url)
  void ask(copy(dying, 'after'), 'died', () => new Promise(() => {}))
  await eventually('it runs', async () => (await record('after', 'died'))?.state === 'running')
  await dying.close()
  assert.deepEqual(await ask(once, 'undo died', ok('undone'), { cancels: 'died' }), { ok: true, result: 'undone' })
  assert.equal(codeOf(await ask(once, 'died', ok(1))), 'CANCELLED')
})

test('once: a key belongs to one method, and a result that is too large is remembered as done', async () => {
  const once = copy(one, 'odd')
  await ask(once, 'k', ok(1))
  assert.equal(codeOf(await ask(once, 'k', ok(1), { method: 'other' })), 'INVALID_ARGUMENT')
  assert.equal(codeOf(await ask(once, 'k'.repeat(257), ok(1))), 'INVALID_ARGUMENT')
  const large = Buffer.alloc(1_048_576)
  assert.deepEqual(await ask(once, 'large', ok(large)), { ok: true, result: large })
  const again = await ask(once, 'large', ok(large))
  assert.equal(codeOf(again), 'CONFLICT')
  assert.deepEqual(!again.ok && again.error.details, { done: true })
})

test('once: the server itself forgets a key three days after its last change', async () => {
  await ask(copy(one, 'age'), 'k', ok(1))
  const { config } = await (await (await client(suite, server.url)).jetstreamManager()).streams.info('KV__once_age')
  assert.equal(config.max_age, 3 * 86_400_000 * 1_000_000)
})

interface Asked {
  deadline?: number
  cancels?: string
  method?: string
  signal?: AbortSignal
}

function copy(bus: Bus, cage: string): Once {
  return new Once(bus, cage, recordingLog().log)
}

function call(key: string, { deadline = Date.now() + 20_000, cancels, method = 'm' }: Asked = {}): Call & { key: string } {
  return { module: 'mod', method, args: [], deadline, request: { id: 'r' }, oneWay: false, key, cancels }
}

/** One call with a key; `run` is its method. */
async function ask(once: Once | undefined, key: string, run: () => Promise<Outcome>, options: Asked = {}): Promise<Outcome> {
  assert.ok(once)
  return await new Promise((resolve) => {
    const beginning = (): Begun => {
      const ended = run()
      return { settled: ended, ended }
    }
    void once.handle(call(key, options), key, resolve, beginning, options.signal ?? new AbortController().signal)
  })
}

async function begin(once: Once, asked: Call & { key: string }, begun: Begun): Promise<Outcome> {
  return await new Promise((resolve) => void once.handle(asked, asked.key, resolve, () => begun, new AbortController().signal))
}

function ok(result: unknown): () => Promise<Outcome> {
  return () => Promise.resolve({ ok: true, result })
}

function codeOf(outcome: Outcome): string {
  return outcome.ok ? `ok ${String(outcome.result)}` : outcome.error.code
}

async function record(cage: string, key: string): Promise<{ state: string } | undefined> {
  return (await one.state(`_once_${cage}`, 'calls', 3 * 86_400_000).get(key, Date.now() + 5_000)) as { state: string } | undefined
}
