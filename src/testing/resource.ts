/**
 * What every resource does (src/adapters/adapter.ts, R1 to R3) behind its pool (src/adapters/pool/pool.ts, P1 to P6), with a real server of its
 * protocol. An adapter's test states what its server looks like from outside, and calls `resourceConforms`; without a server it states none.
 * It is long, because it is one list of everything that a resource does.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Resources } from '../actors/resources.ts'
import type { Adapter, Driver, Scope } from '../adapters/adapter.ts'
import { openCache } from '../adapters/pool/cache.ts'
import type { Lease, Pool } from '../adapters/pool/contract.ts'
import { openPool } from '../adapters/pool/pool.ts'
import { RESOURCE_SCHEMAS } from '../adapters/registry.ts'
import { CageError } from '../errors.ts'
import type { ResourceSettings } from '../settings.ts'
import { recordingLog, type Said } from './log.ts'
import { atEnd, type Owner } from './owner.ts'
import { eventually, within } from './wait.ts'

/** A protocol, as its users know it. */
export interface ResourceProtocol {
  /** For the tests' names. */
  name: string
  adapter: Adapter
  /** As written in the configuration. */
  options(): object
  /** A call that succeeds at once, and its result. */
  quick: Work & { result: unknown }
  server?: ServerFeatures
}

type Work = { method: string; args: unknown[] }

/** Of a protocol that has a server. */
export interface ServerFeatures {
  /** A call that would take a minute. */
  slow: Work
  /** The protocol has nothing that stops what runs: it ends for its caller only. */
  unstoppable?: boolean
  /** The protocol cannot stop a call but by ending its connection. */
  lateCostsConnection?: true
  /** Slow calls that run at the server. */
  running(): Promise<number>
  /** Connections that the server has of ours. */
  sessions(): Promise<number>
  /** It is gone, and what ran is lost. */
  stop(): Promise<void>
  start(): Promise<void>
  /** It is there and does not answer. Left out where connecting says nothing to the server, so that nobody notices. */
  freeze?(): void
  thaw?(): void
  /** Options with which the server refuses us. Left out where nobody says who he is when he connects. */
  refused?(): object
}

const PATIENT_MS = 20_000

interface Bench {
  resources: Resources
  /** Attempts to connect, the failed ones too. */
  attempts(): number
  said: Said[]
  /** Configures the resource `tested`. */
  configure(pool?: object, options?: object): Pool
}

/** Holds a protocol to the contracts. */
export function resourceConforms(protocol: ResourceProtocol): void {
  const { name, quick, server } = protocol
  const it = (behaviour: string, run: (bench: Bench, t: TestContext) => Promise<void>): void => {
    test(`${name}: ${behaviour}`, async (t) => await run(bench(t, protocol), t))
  }
  const call = (pool: Pool, { method, args }: Work, given: Scope = scope()): Promise<unknown> =>
    pool.use(given, (lease) => lease.connection.call(method, args, lease.scope))

  it('nothing is connected before the first call, and a connection is used again', async ({ configure, attempts }) => {
    const pool = configure()
    assert.deepEqual([attempts(), pool.participant], [0, undefined])
    for (let n = 0; n < 3; n++) assert.deepEqual(await call(pool, quick), quick.result)
    assert.equal(attempts(), 1)
    assert.notEqual(pool.participant, undefined)
    const { busy, idle, waiting, connects, failures, open, retryAt } = pool.stats()
    assert.deepEqual(
      { busy, idle, waiting, connects, failures, open, retryAt },
      { busy: 0, idle: 1, waiting: 0, connects: 1, failures: 0, open: false, retryAt: undefined },
    )
  })

  it('more work than the pool has connections is done, in turn', async ({ configure }) => {
    const pool = configure({ size: 3 })
    let most = 0
    const work = async (): Promise<unknown> =>
      await pool.use(scope(), async (lease) => {
        most = Math.max(most, pool.stats().busy)
        return await lease.connection.call(quick.method, quick.args, lease.scope)
      })
    const results = await Promise.all(Array.from({ length: 30 }, work))
    assert.equal(results.length, 30)
    assert.ok(most <= 3 && pool.stats().connects <= 3)
    if (server) await eventually('the server has no more of them', async () => (await server.sessions()) <= 3)
  })

  it('several connections at once are had all or none, first come first served', async ({ configure }) => {
    const pool = configure({ size: 3 })
    const [one, two] = await pool.acquire(scope(), 2)
    const order: string[] = []
    const note = (what: string) => (leases: Lease[]) => {
      order.push(what)
      return leases
    }
    const pair = pool.acquire(scope(), 2).then(note('pair'))
    const single = pool.acquire(scope()).then(note('single'))
    assert.equal(pool.stats().waiting, 2, 'one is free, and not enough for the first who waits')
    one?.release()
    const leases = await pair
    assert.equal(leases.length, 2)
    leases[0]?.release()
    leases[0]?.release() // twice is once
    for (const lease of await single) lease.release()
    leases[1]?.release()
    two?.release()
    assert.deepEqual(order, ['pair', 'single'])
    assert.equal(pool.stats().busy, 0)
  })

  it('more than the pool has, and less time than it asks for, are refused at once', async ({ configure, attempts }) => {
    const pool = configure({ size: 2, minRemainingMs: 5_000 })
    await refused(pool.acquire(scope(), 3), 'OVERLOADED')
    await refused(pool.acquire(scope(1_000)), 'OVERLOADED')
    await refused(pool.acquire(scope(-1)), 'DEADLINE_EXCEEDED')
    assert.equal(attempts(), 0)
    assert.deepEqual(await call(pool, quick), quick.result)
  })

  it('who waits does so within its scope, and holds nobody up afterwards', async ({ configure }) => {
    const pool = configure({ size: 1 })
    const [held] = await pool.acquire(scope())
    const gone = new AbortController()
    const leaving = pool.acquire(scope(PATIENT_MS, gone.signal))
    await refused(pool.acquire(scope(30)), 'DEADLINE_EXCEEDED')
    const staying = pool.acquire(scope())
    gone.abort()
    await refused(leaving, 'CANCELLED')
    assert.equal(pool.stats().waiting, 1)
    held?.release()
    for (const lease of await staying) lease.release()
  })

  it('standby connections are there before anybody asks, and again when they are lost', async ({ configure }) => {
    const pool = configure({ size: 3, standby: 2 })
    await eventually('two are there', () => pool.stats().idle === 2)
    const [lease] = await pool.acquire(scope())
    lease?.destroy()
    await eventually('two are there again', () => pool.stats().idle === 2)
  })

  it('what is idle for long is closed, but for the standby', async ({ configure }) => {
    const pool = configure({ size: 3, standby: 1, idleMs: 40 })
    for (const lease of await pool.acquire(scope(), 3)) lease.release()
    await eventually('the others are closed', () => pool.stats().idle === 1)
    if (server) await eventually('at the server too', async () => (await server.sessions()) === 1)
  })

  it('a connection that is old is not used again', async ({ configure }) => {
    const pool = configure({ maxAgeMs: 30 })
    await eventually('another one is made', async () => {
      await call(pool, quick)
      return pool.stats().connects > 1
    })
  })

  it('an unknown method is a mistake of the caller’s or none, and costs no connection', async ({ configure }) => {
    const pool = configure()
    await call(pool, { method: 'thereIsNoSuchMethod', args: [] }).catch((error: CageError) => assert.equal(error.code, 'INVALID_ARGUMENT'))
    await call(pool, quick)
    assert.equal(pool.stats().connects, 1)
  })

  it('a changed configuration serves new work, and the old pool ends when its work has', async ({ configure, resources }) => {
    const before = configure({ size: 1 })
    const [lease] = await before.acquire(scope())
    const waiting = before.use(scope(), async () => 'served')
    const after = configure({ size: 2 })
    assert.notEqual(after, before)
    assert.equal(resources.get('tested'), after)
    await refused(before.acquire(scope()), 'UNAVAILABLE')
    assert.deepEqual(await call(after, quick), quick.result)
    assert.deepEqual(await lease?.connection.call(quick.method, quick.args, scope()), quick.result)
    lease?.release()
    assert.equal(await waiting, 'served')
    await within('the old one has ended', before.stop())
    await within('the new one ends', resources.stop())
    if (server) await eventually('the server has none of them', async () => (await server.sessions()) === 0)
  })

  if (!server) return

  it('a call that is late ends at the server, and its connection is used again', async ({ configure }) => {
    const pool = configure()
    await call(pool, quick)
    const late = refused(call(pool, server.slow, scope(1_500)), 'DEADLINE_EXCEEDED')
    await eventually('it runs', async () => (await server.running()) === 1)
    await late
    if (!server.unstoppable) assert.equal(await server.running(), 0)
    await call(pool, quick)
    assert.equal(pool.stats().connects, server.lateCostsConnection ? 2 : 1)
  })

  it('no call takes longer than the pool allows', async ({ configure }) => {
    const pool = configure({ maxCallMs: 300 })
    await refused(call(pool, server.slow), 'DEADLINE_EXCEEDED')
    if (!server.unstoppable) assert.equal(await server.running(), 0)
  })

  it('a caller that goes away ends its call at the server, and nobody else’s', async ({ configure }) => {
    const pool = configure()
    const [leaves, stays] = [new AbortController(), new AbortController()]
    const [leaving, staying] = [leaves, stays].map(({ signal }) => call(pool, server.slow, scope(PATIENT_MS, signal)))
    await eventually('both run', async () => (await server.running()) === 2)
    leaves.abort()
    await refused(leaving ?? Promise.resolve(), 'CANCELLED')
    if (!server.unstoppable) assert.equal(await server.running(), 1)
    stays.abort()
    await refused(staying ?? Promise.resolve(), 'CANCELLED')
  })

  it('a server that is not there yet is told, refused at once meanwhile, and used when it comes', async ({ configure, said }, t) => {
    await server.stop()
    atEnd(t, () => server.start())
    const pool = configure({ backoff: { firstMs: 10_000, maxMs: 10_000 } })
    await refused(call(pool, quick), 'UNAVAILABLE')
    const { open, retryAt = 0, failures } = pool.stats()
    assert.deepEqual([open, failures], [true, 1])
    assert.ok(retryAt > Date.now())
    await assert.rejects(
      call(pool, quick),
      (error: CageError) =>
        error.code === 'UNAVAILABLE' && (error.details as { retryAfterMs: number }).retryAfterMs > 0 && error.retryAfterMs === undefined,
    )
    assert.equal(pool.stats().failures, 1, 'nothing was tried')
    assert.equal(said.filter(({ level }) => level === 'warn').length, 1)
    const quicker = configure({ backoff: { firstMs: 20, maxMs: 50 } })
    await refused(call(quicker, quick), 'UNAVAILABLE')
    await server.start()
    await eventually('it is served', () =>
      call(quicker, quick).then(
        () => true,
        () => false,
      ),
    )
    assert.equal(quicker.stats().open, false)
  })

  it('a broken server is tried once for all who ask', async ({ configure, attempts }, t) => {
    const pool = configure({ backoff: { firstMs: 40, maxMs: 40 } })
    await call(pool, quick)
    await server.stop()
    atEnd(t, () => server.start())
    await eventually('it is known to be broken', async () => {
      await call(pool, quick).catch(() => {})
      return pool.stats().open
    })
    await eventually('it may be tried again', () => Date.now() > (pool.stats().retryAt ?? Number.POSITIVE_INFINITY))
    const before = attempts()
    const calls = await Promise.allSettled(Array.from({ length: 20 }, () => call(pool, quick)))
    assert.ok(calls.every(({ status }) => status === 'rejected'))
    assert.equal(attempts(), before + 1)
    await server.start()
    await eventually('all are served', async () => {
      const again = await Promise.allSettled(Array.from({ length: 20 }, () => call(pool, quick)))
      return again.every(({ status }) => status === 'fulfilled')
    })
  })

  it('a server that dies during a call fails it, and serves again when it is back', async ({ configure }, t) => {
    const pool = configure({ standby: 1 })
    const running = call(pool, server.slow)
    await eventually('it runs', async () => (await server.running()) === 1)
    const failed = refused(running, 'UNAVAILABLE')
    await server.stop()
    atEnd(t, () => server.start())
    await failed
    await server.start()
    await eventually(
      'it is served',
      () =>
        call(pool, quick).then(
          () => true,
          () => false,
        ),
      5_000,
    )
  })

  const { refused: refusedOptions, freeze, thaw } = server
  if (refusedOptions)
    it('a server that refuses us is told as that, and may be tried again', async ({ configure }) => {
      const pool = configure({}, refusedOptions())
      await assert.rejects(call(pool, quick), (error: CageError) => error.code === 'UNAUTHENTICATED' && error.retryable)
      await assert.rejects(
        call(pool, quick),
        (error: CageError) => error.code === 'UNAVAILABLE' && (error.details as { reason?: string }).reason === 'UNAUTHENTICATED',
      )
    })

  if (freeze && thaw)
    it('a server that does not answer holds nobody past its deadline, and is tried anew when it does', async ({ configure }, t) => {
      const pool = configure({ size: 2, connectMs: 300, backoff: { firstMs: 20, maxMs: 50 } })
      await call(pool, quick)
      freeze()
      atEnd(t, () => thaw())
      await refused(call(pool, quick, scope(200)), 'DEADLINE_EXCEEDED')
      assert.equal(pool.stats().idle, 0, 'the silent connection is not used again')
      await refused(call(pool, quick), 'UNAVAILABLE')
      await refused(
        call(pool, quick, scope(1)).catch((error) => Promise.reject(error)),
        'UNAVAILABLE',
      )
      thaw()
      await eventually('it is served', () =>
        call(pool, quick).then(
          () => true,
          () => false,
        ),
      )
    })
}

function scope(ms: number = PATIENT_MS, signal: AbortSignal = new AbortController().signal): Scope {
  return { deadline: Date.now() + ms, signal }
}

function refused(work: Promise<unknown>, code: string): Promise<void> {
  return assert.rejects(work, (error) => {
    assert.ok(error instanceof CageError, String(error))
    assert.equal(error.code, code, error.message)
    return true
  })
}

/** The resource under test, as a cage has it. */
function bench(owner: Owner, { adapter, options: written }: ResourceProtocol): Bench {
  const { log, said } = recordingLog()
  let tried = 0
  const driver: Driver = {
    async open(options, host) {
      if (!adapter.open) throw new Error(`${adapter.kind} is no resource`)
      const resource = await adapter.open(options, host)
      const connect = (given: Scope): ReturnType<typeof resource.connect> => {
        tried++
        return resource.connect(given)
      }
      return { ...resource, connect }
    },
  }
  const resources = new Resources({
    cage: 'conformance',
    log,
    drivers: new Map([[adapter.kind, driver]]),
    openPool,
    openCache: async (...words) => openCache(...words),
  })
  atEnd(owner, () => resources.stop())
  return {
    resources,
    said,
    attempts: () => tried,
    configure(pool = {}, options = written()) {
      const settings: ResourceSettings = {
        kind: adapter.kind,
        options: adapter.resourceOptions?.parse(options),
        pool: RESOURCE_SCHEMAS.pool.parse(pool),
      }
      void resources.configure({ tested: settings }) // what it replaces ends by itself
      return resources.pool('tested')
    },
  }
}
