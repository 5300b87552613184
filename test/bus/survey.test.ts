/** The survey: what copies remember is found and followed over the bus, whoever else answers. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { NatsConnection } from 'nats'
import { Trail } from '../../src/actors/trail.ts'
import type { Bus, Call } from '../../src/bus/bus.ts'
import type { CopyStatus, Step } from '../../src/bus/survey/contract.ts'
import { CageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { client, type NatsServer, startNats } from '../../src/testing/nats.ts'
import { atEnd, type Owner, suite } from '../../src/testing/owner.ts'
import { eventually } from '../../src/testing/wait.ts'
import { secretPlaces } from '../../src/words.ts'

let nats: NatsServer
let nc: NatsConnection
before(async () => {
  nats = await startNats(suite, { config: 'max_payload: 65536' })
  nc = await client(suite, nats.url)
})

interface Copy {
  bus: Bus
  trail: Trail
  /** Who is told its steps now. */
  followers(): number
  /** A method has run. */
  run(method: string, args: unknown[], more?: { request?: string; callId?: string; error?: CageError; ms?: number }): void
}

async function copy(owner: Owner, cage: string, node: string): Promise<Copy> {
  const bus = await testBus(owner, nats.url)
  const trail = new Trail(node, cage)
  const status = { cage, node, only: undefined, startedAt: 1, modules: [] } as Partial<CopyStatus> as CopyStatus
  let followers = 0
  const served = await bus.survey.serve(cage, {
    status: async () => status,
    find: (text) => trail.steps.find(text),
    onStep: (listener) => {
      const stop = trail.steps.onStep(listener)
      followers++
      return () => {
        stop()
        followers--
      }
    },
    setLogLevel: ({ module }) => module === undefined,
  })
  atEnd(owner, () => served.drain())
  return {
    bus,
    trail,
    followers: () => followers,
    run(method, args, { request = 'r', callId, error, ms = 1 } = {}) {
      const queued = callId === undefined ? undefined : { queue: 'retry', id: callId, attempt: 2, last: false }
      const call: Call = { module: 'orders', method, args, deadline: 0, oneWay: false, request: { id: request, queued } }
      const now = performance.now()
      const outcome = error ? ({ ok: false, error } as const) : ({ ok: true, result: undefined } as const)
      trail.ran({ call, stats: { name: `orders.${method}`, secrets: 0 }, span: undefined }, now - ms, now, outcome)
    },
  }
}

test('survey: a step is found by its request, its call, and a number of its arguments, on whichever copy', async (t) => {
  const [east, west] = await Promise.all([copy(t, 'shop', 'east'), copy(t, 'shop', 'west')])
  east.run('place', [{ order: 4711, customer: 'ann', token: 'hidden', apiKey: 'hidden too' }], { request: 'east-1', ms: 50 }) // begun before
  west.run('book', [4711n], { request: 'east-1', callId: 'saga-1/step', error: new CageError('CONFLICT', 'booked already') })
  const asker = await testBus(t, nats.url)
  const found = async (text: string): Promise<string[]> => (await asker.survey.find(text)).map(({ node, what }) => `${node} ${what}`)
  const both = ['east orders.place', 'west orders.book']
  assert.deepEqual(await found('4711'), both)
  assert.deepEqual(await found('east-1'), both)
  assert.deepEqual(await found('saga-1'), ['west orders.book'])
  assert.deepEqual(await found('ann'), ['east orders.place'])
  assert.deepEqual([await found('hidden'), await found('hidden too'), await found('nothing')], [[], [], []])
  const [step] = await asker.survey.find('saga-1/step')
  const { code, message, queue, attempt, words } = step as Step
  assert.deepEqual(
    { code, message, queue, attempt, words },
    { code: 'CONFLICT', message: 'booked already', queue: 'retry', attempt: 2, words: ['4711'] },
  )
})

test('survey: arguments whose names are secrets are not remembered', () => {
  assert.equal(
    secretPlaces(async function login(_ctx: unknown, _user: string, password: string) {
      return password
    }),
    0b10,
  )
  assert.equal(
    secretPlaces(async (_ctx: unknown, pin: string, _order: number, authToken: string) => [pin, authToken]),
    0b101,
  )
})

test('survey: steps are bounded, and those that failed outlive a flood of those that did not', async (t) => {
  const { run, trail } = await copy(t, 'shop', 'east')
  run('first', ['marked'])
  run('bad', ['marked'], { error: new CageError('INTERNAL', 'oops') })
  for (let n = 0; n < 4_096; n++) run('place', [n])
  assert.deepEqual(
    trail.steps.find('marked').map(({ what }) => what),
    ['orders.bad'],
  )
  assert.equal(trail.steps.find('r').length, 4_097)
})

test('survey: a tail tells what passes its filter, and ends when nobody follows', async (t) => {
  const { run, followers } = await copy(t, 'shop', 'east')
  const asker = await testBus(t, nats.url)
  const seen: Step[] = []
  const stop = await asker.survey.tail({ cage: 'shop', module: 'orders', errors: true, minMs: 5 }, (step) => seen.push(step))
  const bad = new CageError('CONFLICT', 'no')
  await eventually('the tail is there', () => {
    run('slow', [], { error: bad, ms: 10 })
    run('fast', [], { error: bad })
    run('good', [], { ms: 10 })
    return seen.length > 0
  })
  assert.deepEqual([...new Set(seen.map(({ what }) => what))], ['orders.slow'])
  assert.equal(followers(), 1)
  stop()
  await eventually('nobody is told any more', () => followers() === 0)
  await assert.rejects(
    asker.survey.tail({ cage: 'no cage.>' }, () => {}),
    { code: 'INVALID_ARGUMENT' },
  )
})

test('survey: steps that are too many for a tail, or for the bus, are counted', async (t) => {
  const copied = await copy(t, 'shop', 'east')
  const asker = await testBus(t, nats.url)
  let [told, lost, ran] = [0, 0, 0]
  const run = (method: string, args: unknown[]): void => {
    if (copied.followers() > 0) ran++
    copied.run(method, args)
  }
  const text = 'x'.repeat(60)
  const stop = await asker.survey.tail({ text }, (_step, dropped) => {
    told++
    lost += dropped
  })
  await eventually('the tail is there', () => {
    run('one', [text])
    return told > 0
  })
  for (let n = 0; n < 2_000; n++) run('many', [text, text, text, text])
  const begun = told
  await eventually('they are told', () => told > begun)
  run('last', [text])
  await eventually('all are accounted for', () => told + lost === ran)
  assert.ok(lost >= 1_500)
  stop()
})

test('survey: of more than the bus carries the newest is found', async (t) => {
  const { run } = await copy(t, 'shop', 'east')
  for (let n = 0; n < 2_000; n++) run(`m${n}`, [], { request: 'busy' })
  const asker = await testBus(t, nats.url)
  const found = await asker.survey.find('busy')
  assert.ok(found.length > 10 && found.length < 2_000, String(found.length))
  assert.equal(found.at(-1)?.what, 'orders.m1999')
})

test('survey: who answers rubbish harms nobody', async (t) => {
  await copy(t, 'shop', 'east')
  const asker = await testBus(t, nats.url)
  const answers = ['', 'rubbish', '{}', 'null', '[null, 7, {}]', '\u0080\u00ff']
  const rubbish = nc.subscribe('$CAGES.>', {
    callback: (_error, msg) => {
      for (const answer of answers) msg.respond(new TextEncoder().encode(answer))
    },
  })
  await nc.flush()
  assert.deepEqual(
    (await asker.survey.status()).map(({ node }) => node),
    ['east'],
  )
  assert.deepEqual(await asker.survey.find('nothing'), [])
  assert.equal(await asker.survey.setLogLevel({ cage: 'shop', level: 'debug', forMs: 1 }), 1)
  const stop = await asker.survey.tail({}, () => assert.fail('nothing is to be told'))
  await asker.survey.status()
  stop()
  rubbish.unsubscribe()
  for (const what of ['status', 'find', 'tail', 'log']) nc.publish(`$CAGES.${what}._`, 'rubbish', { reply: '_INBOX.nobody' })
  assert.deepEqual(
    (await asker.survey.status({ cage: 'shop' })).map(({ node }) => node),
    ['east'],
  )
})

test('survey: once copies are known it is not waited for more, and a cage that nobody runs is nobody', async (t) => {
  await Promise.all([copy(t, 'shop', 'east'), copy(t, 'shop', 'west')])
  const asker = await testBus(t, nats.url)
  const nodes = async (cage: string): Promise<string[]> => (await asker.survey.status({ cage })).map(({ node }) => node)
  assert.deepEqual(await nodes('shop'), ['east', 'west'])
  assert.deepEqual(await nodes('shop'), ['east', 'west'])
  assert.deepEqual(await nodes('nowhere'), [])
  await copy(t, 'nowhere', 'first')
  assert.deepEqual(await nodes('nowhere'), ['first'])
})
