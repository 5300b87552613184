/** Transactions over void and callable participants, queues and modules, with a coordinator in this process and a real bus. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { before, test } from 'node:test'
import { Resources } from '../../../src/actors/resources.ts'
import { Trail } from '../../../src/actors/trail.ts'
import { endedTransactions, incidents, openTransactions, orderAbout } from '../../../src/actors/transaction/admin.ts'
import type { Boundary } from '../../../src/actors/transaction/boundary.ts'
import type { Callable, Transaction, TransactionOptions, TransactionReport } from '../../../src/actors/transaction/contract.ts'
import { Coordinator } from '../../../src/actors/transaction/coordinator.ts'
import { newTransaction } from '../../../src/actors/transaction/transaction.ts'
import { COMPENSATIONS } from '../../../src/actors/version.ts'
import { DRIVERS } from '../../../src/adapters/drivers.ts'
import { openPool } from '../../../src/adapters/pool/pool.ts'
import type { Bus } from '../../../src/bus/bus.ts'
import { openBus } from '../../../src/bus/nats.ts'
import { CageError } from '../../../src/errors.ts'
import { PENDING } from '../../../src/pending.ts'
import { recordingLog, type Said } from '../../../src/testing/log.ts'
import { type NatsServer, startNats } from '../../../src/testing/nats.ts'
import { atEnd, type Owner, suite } from '../../../src/testing/owner.ts'
import { deferred, eventually } from '../../../src/testing/wait.ts'

let nats: NatsServer
before(async () => {
  nats = await startNats(suite)
})

interface Worker {
  bus: Bus
  coordinator: Coordinator
  said: Said[]
  xa(options?: TransactionOptions, how?: { timeoutMs?: number; signal?: AbortSignal }): Transaction
}

const POOL = {
  size: 4,
  connectMs: 5_000,
  standby: 0,
  idleMs: 30_000,
  maxAgeMs: 300_000,
  minRemainingMs: 0,
  backoff: { firstMs: 100, maxMs: 1_000 },
}

/** What a cage's worker has of transactions. */
async function worker(owner: Owner, cage: string, { recovers = false } = {}): Promise<Worker> {
  const { log, said } = recordingLog()
  const bus = await openBus('test', { servers: [nats.url] }, log, new AbortController().signal)
  const resources = new Resources({ cage, log, drivers: DRIVERS, openPool, openCache: () => assert.fail('no cache is configured') })
  await resources.configure({ nothing: { kind: 'void', options: {}, pool: POOL } })
  const coordinator = new Coordinator({ bus, cage, log, resources, patienceMs: () => 500, recovers })
  coordinator.start()
  atEnd(owner, async () => {
    await coordinator.stop()
    await resources.stop()
    await bus.close()
  })
  const xa: Worker['xa'] = (options = {}, { timeoutMs = 10_000, signal = new AbortController().signal } = {}) => {
    const scope = { deadline: Date.now() + timeoutMs, signal }
    const idOf = (name: string | undefined): string => name ?? randomUUID()
    return newTransaction(
      {
        bus,
        cage,
        module: 'test',
        by: 'test.test',
        request: { id: 'r' },
        owner: {},
        scope,
        resources,
        coordinator,
        idOf,
        trail: new Trail('test', cage),
      },
      options,
    )
  }
  return { bus, coordinator, said, xa }
}

/** Names a participant that is nothing. */
function hello(xa: Transaction, ...args: unknown[]): void {
  xa.resource('nothing').hello?.(...args)
}

/** A participant that says what is done with it. */
function told(calls: string[], name: string, hooks: Partial<Callable> = {}): Callable {
  const tell = (what: string): void => void calls.push(`${name} ${what}`)
  return {
    name,
    async execute(scope) {
      tell('executes')
      return (await hooks.execute?.(scope)) ?? name
    },
    async commit() {
      await hooks.commit?.()
      tell('commits')
    },
    rollback: () => tell('rolls back'),
  }
}

async function failure(promise: Promise<unknown>): Promise<CageError & { report: TransactionReport }> {
  const error = await promise.then(
    () => assert.fail('it did not fail'),
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof CageError, String(error))
  return Object.assign(error, { report: (error.details as { transaction: TransactionReport }).transaction })
}

const refuses = (): never => {
  throw new CageError('CONFLICT', 'refused')
}
const hangs =
  (signals: string[] = []) =>
  ({ signal }: { signal: AbortSignal }): Promise<never> =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        signals.push(String(signal.reason.code))
        reject(signal.reason)
      })
    })

test('transaction: results come in the order named, whoever ends first', async (t) => {
  const { xa } = await worker(t, 'order')
  const all = xa()
  const first = deferred<string>()
  all.callable({ execute: () => first.promise })
  hello(all, 'World')
  all.callable({
    execute: () => {
      first.resolve('late')
      return 'soon'
    },
  })
  assert.deepEqual(await all.execute(), ['late', ['World'], 'soon'])
  assert.deepEqual(await xa().execute(), [])
})

test('transaction: a method without an undo that has refused is no incident, and all else is undone', async (t) => {
  const { xa, bus } = await worker(t, 'refusal')
  await bus.serve('refusal', 'strict', {
    handle: ({ method }, settle) =>
      settle(method === COMPENSATIONS ? { ok: true, result: {} } : { ok: false, error: new CageError('CONFLICT', 'no') }),
    cancel: () => {},
  })
  const calls: string[] = []
  const all = xa()
  all.callable(told(calls, 'a'))
  all.module('refusal', 'strict').take?.(1)
  const { code, report } = await failure(all.execute())
  assert.equal(code, 'CONFLICT')
  assert.equal(report.recoverable, true)
  assert.deepEqual(calls.at(-1), 'a rolls back')
  assert.deepEqual(await incidents(bus, 'refusal'), [])
})

test('transaction: one participant leaves no trace on the bus', async (t) => {
  const { xa, bus } = await worker(t, 'alone')
  const calls: string[] = []
  const one = xa()
  one.callable(told(calls, 'a'))
  assert.deepEqual(await one.execute(), ['a'])
  assert.deepEqual(calls, ['a executes', 'a commits'])
  const accepted = xa({ accept: ([result]) => (result === PENDING ? undefined : 'accepted') })
  accepted.callable(told(calls, 'b'))
  assert.equal(await accepted.execute(), 'accepted')
  assert.deepEqual(await openTransactions(bus, 'alone'), [])
  for await (const record of endedTransactions(bus, { cage: 'alone' })) assert.fail(JSON.stringify(record))
  assert.deepEqual(await bus.journals.list('tx', 'alone'), [])
})

test('transaction: the first failure undoes all; the error tells who failed and what came of each', async (t) => {
  const { xa } = await worker(t, 'failing')
  const calls: string[] = []
  const all = xa()
  all.callable(told(calls, 'a'))
  all.callable(told(calls, 'b', { execute: refuses }))
  hello(all)
  const { code, message, report } = await failure(all.execute())
  assert.equal(code, 'CONFLICT')
  assert.equal(message, 'b: refused')
  assert.deepEqual(report.participant, { index: 1, name: 'b' })
  assert.equal(report.recoverable, true)
  assert.deepEqual(
    report.outcomes.map(({ outcome }) => outcome),
    ['rolled back', 'rolled back', 'rolled back'],
  )
  assert.deepEqual(calls.sort(), ['a executes', 'a rolls back', 'b executes', 'b rolls back'])
})

test('transaction: accept takes the fastest, and the others are cancelled and rolled back', async (t) => {
  const { xa } = await worker(t, 'fastest')
  const calls: string[] = []
  const signals: string[] = []
  const race = xa({ accept: (results) => results.find((result) => result !== PENDING) })
  race.callable(told(calls, 'slow', { execute: hangs(signals) }))
  race.callable(told(calls, 'fast'))
  assert.equal(await race.execute(), 'fast')
  assert.deepEqual(signals, ['CANCELLED'])
  assert.deepEqual(calls.sort(), ['fast commits', 'fast executes', 'slow executes', 'slow rolls back'])
})

test('transaction: accept takes a quorum although one has failed, which is rolled back alone', async (t) => {
  const { xa } = await worker(t, 'quorum')
  const calls: string[] = []
  const isThere = (result: unknown): boolean => result !== PENDING && !(result instanceof CageError)
  const most = xa({ accept: (results) => (results.filter(isThere).length >= 2 ? results.filter(isThere) : undefined) })
  most.callable(told(calls, 'a', { execute: refuses }))
  most.callable(told(calls, 'b'))
  most.callable(told(calls, 'c'))
  assert.deepEqual(await most.execute(), ['b', 'c'])
  assert.deepEqual(calls.filter((call) => !call.endsWith('executes')).sort(), ['a rolls back', 'b commits', 'c commits'])
})

test('transaction: results that accept refuses, or never accepts, are undone', async (t) => {
  const { xa } = await worker(t, 'refusing')
  for (const [accept, code] of [
    [() => refuses(), 'CONFLICT'],
    [() => undefined, 'CONFLICT'],
  ] as const) {
    const calls: string[] = []
    const all = xa({ accept })
    all.callable(told(calls, 'a'))
    all.callable(told(calls, 'b'))
    assert.equal((await failure(all.execute())).code, code)
    assert.ok(!calls.some((call) => call.endsWith('commits')), String(calls))
  }
})

test('transaction: with syncCommit false it resolves at the decision, and the commits follow', async (t) => {
  const { xa } = await worker(t, 'async')
  const points: string[] = []
  const listen = (message: unknown): void => void points.push((message as Boundary).point)
  subscribe('menagerie:transaction', listen)
  t.after(() => unsubscribe('menagerie:transaction', listen))
  const all = xa({ syncCommit: false })
  all.queue('later').module('async', 'sink').take?.(1)
  hello(all)
  assert.equal((await all.execute()).length, 2)
  assert.ok(points.includes('decided') && !points.includes('enqueued'), points.join())
  await eventually('the call is enqueued', () => points.includes('enqueued'))
})

test('transaction: at the deadline between execution and decision everything is undone', async (t) => {
  const { xa, bus } = await worker(t, 'late')
  const calls: string[] = []
  const signals: string[] = []
  const all = xa({}, { timeoutMs: 200 })
  all.callable(told(calls, 'a'))
  all.callable(told(calls, 'b', { execute: hangs(signals) }))
  assert.equal((await failure(all.execute())).code, 'DEADLINE_EXCEEDED')
  await eventually('both are rolled back', () => calls.filter((call) => call.endsWith('rolls back')).length === 2)
  assert.deepEqual(signals, ['DEADLINE_EXCEEDED'])
  assert.deepEqual(await openTransactions(bus, 'late'), [])
})

test('transaction: a caller that goes away ends the work, and everything is undone', async (t) => {
  const { xa } = await worker(t, 'gone')
  const calls: string[] = []
  const caller = new AbortController()
  const all = xa({}, { signal: caller.signal })
  all.callable(told(calls, 'a'))
  all.callable(told(calls, 'b', { execute: hangs() }))
  const end = failure(all.execute())
  await eventually('both execute', () => calls.length === 2)
  caller.abort(new CageError('CANCELLED', 'the caller has gone'))
  assert.equal((await end).code, 'CANCELLED')
  await eventually('both are rolled back', () => calls.filter((call) => call.endsWith('rolls back')).length === 2)
})

test('transaction: more participants than a pool has connections are refused at once', async (t) => {
  const { xa } = await worker(t, 'crowded')
  const all = xa()
  for (let n = 0; n <= POOL.size; n++) hello(all, n)
  const { code, report } = await failure(all.execute())
  assert.equal(code, 'OVERLOADED')
  assert.equal(report.recoverable, true)
})

test('transaction: pools that are used in any order are not waited for in a circle', async (t) => {
  const { xa } = await worker(t, 'circle')
  const many = Array.from({ length: 40 }, async (_, n) => {
    const all = xa()
    for (let i = 0; i < (n % POOL.size) + 1; i++) hello(all, i)
    all.callable({ execute: () => n })
    return (await all.execute()).at(-1)
  })
  assert.deepEqual(
    await Promise.all(many),
    many.map((_, n) => n),
  )
})

test('transaction: a one-phase commit that is refused undoes all', async (t) => {
  const { xa } = await worker(t, 'onephase')
  const calls: string[] = []
  const all = xa()
  all.callable(told(calls, 'a', { commit: refuses }))
  hello(all)
  all.queue('later').module('onephase', 'sink').take?.(1)
  const { code, report } = await failure(all.execute())
  assert.equal(code, 'CONFLICT')
  assert.deepEqual(report.participant, { index: 0, name: 'a' })
  assert.equal(report.recoverable, true)
  assert.deepEqual(calls, ['a executes', 'a rolls back'])
})

test('transaction: a commit that fails after another has succeeded is an incident, which people resolve', async (t) => {
  const { xa, bus, said } = await worker(t, 'heuristic', { recovers: true })
  const calls: string[] = []
  const all = xa()
  all.callable(told(calls, 'a'))
  all.callable(told(calls, 'b', { commit: refuses }))
  all.queue('later').module('heuristic', 'sink').take?.(1)
  const { report } = await failure(all.execute())
  assert.equal(report.recoverable, false)
  const [incident, ...others] = await incidents(bus, 'heuristic')
  assert.ok(incident)
  assert.deepEqual(others, [])
  assert.equal(incident.participant, 'b')
  assert.ok(said.some(({ level, message }) => level === 'error' && message.startsWith('incident')))
  const order = { action: 'done', reason: 'booked by hand', by: 'alice' } as const
  await orderAbout(bus, incident.id, order, Date.now() + 20_000)
  assert.deepEqual(await incidents(bus, 'heuristic'), [])
  const kept = (await bus.journals.kept('heuristic', 'tx', incident.id)) as { resolution: { reason: string; by: string } }
  assert.deepEqual([kept.resolution.reason, kept.resolution.by], ['booked by hand', 'alice'])
})

test('transaction: what has ended is kept in the history, and its journal is trimmed', async (t) => {
  const { xa, bus } = await worker(t, 'history')
  for (let n = 0; n < 20; n++) {
    const all = xa()
    hello(all)
    all.callable({ name: 'b', execute: n === 7 ? refuses : () => n })
    await all.execute().catch(() => undefined)
  }
  const records = await eventually('all are in the history', async () => {
    const found = []
    for await (const record of endedTransactions(bus, { cage: 'history' })) found.push(record)
    return found.length >= 19 && found
  })
  const outcomes = records.map(({ outcome }) => outcome)
  assert.equal(outcomes.filter((outcome) => outcome === 'committed').length, 19)
  const [record] = records
  assert.deepEqual(
    record?.participants.map(({ name, outcome }) => `${name} ${outcome}`),
    ['nothing.hello committed', 'b committed'],
  )
  await eventually('the journal is trimmed', async () => {
    const [info] = await bus.journals.list('tx', 'history')
    return info && info.last - info.first <= 1
  })
})

test('transaction: a coordinator that was displaced commits nothing, and goes on in a new journal', async (t) => {
  const [dead, other] = [await worker(t, 'recovery'), await worker(t, 'recovery')]
  const calls: string[] = []
  const gate = deferred<void>()
  const all = dead.xa({}, { timeoutMs: 20_000 })
  hello(all)
  all.queue('later').module('recovery', 'sink').take?.(1)
  all.callable(told(calls, 'a', { execute: async () => await gate.promise }))
  const end = failure(all.execute())
  const { journals } = other.bus
  const [info] = await eventually('the plan is in the journal', async () => {
    const found = await journals.list('tx', 'recovery')
    return found.length === 1 && found
  })
  assert.ok(info)
  const { journal } = await journals.takeOver('recovery', 'tx', info.name) // as if it had been out of reach
  journal.close()
  gate.resolve()
  assert.equal((await end).report.recoverable, false)
  assert.ok(!calls.includes('a commits'), String(calls))
  const next = dead.xa()
  hello(next)
  hello(next)
  assert.equal((await next.execute()).length, 2, 'what comes next goes into a new journal')
})

test('transaction: an accept that returns a promise or a boolean commits nothing', async (t) => {
  const { xa } = await worker(t, 'hasty')
  for (const accept of [async () => undefined, () => false]) {
    const calls: string[] = []
    const all = xa({ accept })
    all.callable(told(calls, 'a'))
    all.callable(told(calls, 'b'))
    assert.equal((await failure(all.execute())).code, 'INVALID_ARGUMENT')
    assert.ok(!calls.some((call) => call.endsWith('commits')), String(calls))
  }
})

test('transaction: what ends after accept has decided is rolled back', async (t) => {
  const { xa } = await worker(t, 'tardy')
  const calls: string[] = []
  const race = xa({ accept: (results) => results.find((result) => result !== PENDING) })
  const gate = deferred<void>()
  race.callable(told(calls, 'fast', { execute: () => setImmediate(gate.resolve) && 'fast' }))
  race.callable(told(calls, 'late', { execute: async () => await gate.promise }))
  assert.equal(await race.execute(), 'fast')
  assert.deepEqual(calls.filter((call) => !call.endsWith('executes')).sort(), ['fast commits', 'late rolls back'])
})

test('transaction: mistakes are told when they are made, before anything is done', async (t) => {
  const { xa } = await worker(t, 'mistakes')
  const wrong: [what: RegExp, make: () => unknown][] = [
    [/unknown timeout, did you mean timeoutMs/, () => xa({ timeout: 1 } as TransactionOptions)],
    [/timeoutMs must be a positive number/, () => xa({ timeoutMs: Number.NaN })],
    [/accept must be a function/, () => xa({ accept: true } as unknown as TransactionOptions)],
    [/no resource nothin, did you mean nothing/, () => xa().resource('nothin')],
    [/a callable needs a function execute/, () => xa().callable({} as Callable)],
    [/unknown rolback, did you mean rollback/, () => xa().callable({ execute() {}, rolback() {} } as Callable)],
    [/a key is text of 1 to 256 bytes/, () => xa().state.set('', 1)],
    [/is no name of a queue/, () => xa().queue('no such queue')],
    [/is no method/, () => xa().module('a', 'b').c?.().undo('no-such')],
    [/is rolled back by itself/, () => xa().state.set('k', 1).undo('x')],
  ]
  for (const [message, make] of wrong)
    assert.throws(make, (error: CageError) => error.code === 'INVALID_ARGUMENT' && message.test(error.message))
  for (const options of [{ delayMs: -1 }, { priority: 'urgent' }, { id: 'i'.repeat(300) }]) {
    const all = xa()
    hello(all)
    all
      .queue('later', options as { delayMs: number })
      .module('mistakes', 'sink')
      .take?.(1)
    const { code, report } = await failure(all.execute())
    assert.deepEqual([code, report.recoverable], ['INVALID_ARGUMENT', true], JSON.stringify(options))
  }
})

test('transaction: a callable that never ends holds nobody past the deadline; one whose rollback fails is an incident', async (t) => {
  const { xa, bus } = await worker(t, 'hanging')
  const stuck = xa({}, { timeoutMs: 200 })
  for (let n = 0; n < POOL.size; n++) hello(stuck)
  stuck.callable({ execute: () => new Promise(() => {}) })
  assert.equal((await failure(stuck.execute())).code, 'DEADLINE_EXCEEDED')
  const next = xa()
  for (let n = 0; n < POOL.size; n++) hello(next)
  assert.equal((await next.execute()).length, POOL.size, 'all connections are free again')
  const broken = xa()
  broken.callable({ name: 'broken', execute: () => 1, rollback: refuses })
  broken.callable({ execute: refuses })
  const { report } = await failure(broken.execute())
  assert.equal(report.recoverable, false)
  const [incident] = await incidents(bus, 'hanging')
  assert.deepEqual([incident?.participant, incident?.problem], ['broken', 'undo failed'])
  const told = await eventually('people are told', async () => {
    for await (const kept of bus.notifications.list({ cage: 'hanging' })) return kept
    return undefined
  })
  assert.equal(told.level, 'alert')
  assert.deepEqual(told.details, {
    incident: incident?.id,
    problem: 'undo failed',
    participant: 'broken',
    code: 'CONFLICT',
    reason: 'refused',
  })
})
