/** A cage's resources: by name, through pools, changed while work runs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Resources } from '../../src/actors/resources.ts'
import type { Driver, Scope } from '../../src/adapters/adapter.ts'
import { DRIVERS } from '../../src/adapters/drivers.ts'
import { openCache } from '../../src/adapters/pool/cache.ts'
import { openPool } from '../../src/adapters/pool/pool.ts'
import { RESOURCE_SCHEMAS } from '../../src/adapters/registry.ts'
import { CageError } from '../../src/errors.ts'
import type { ResourceSettings } from '../../src/settings.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'

const scope = (): Scope => ({ deadline: Date.now() + 20_000, signal: new AbortController().signal })

function settings(kind: string, options: unknown = {}, pool: object = {}): ResourceSettings {
  return { kind, options, pool: RESOURCE_SCHEMAS.pool.parse(pool) }
}

function resources(drivers: ReadonlyMap<string, Driver> = DRIVERS): Resources {
  return new Resources({ cage: 'shop', log: recordingLog().log, drivers, openPool, openCache: async (...words) => openCache(...words) })
}

test('resources: a call goes through the pool of its resource; an unknown name is told with the nearest', async () => {
  const known = resources()
  await known.configure({ nothing: settings('void') })
  assert.deepEqual(known.names(), ['nothing'])
  assert.deepEqual(await known.call('nothing', 'anything', [1, 'two'], scope()), [1, 'two'])
  assert.equal(known.get('nothing')?.stats().connects, 1)
  await assert.rejects(
    known.call('nothin', 'x', [], scope()),
    (error) => error instanceof CageError && /did you mean nothing\?/.test(error.message),
  )
  await known.stop()
})

test('resources: a driver is loaded with the first call, and not before', async () => {
  let opened = 0
  const voidDriver = DRIVERS.get('void')
  const counting: Driver = {
    open: async (options, host) => {
      opened++
      if (!voidDriver?.open) throw new Error('unreachable')
      return await voidDriver.open(options, host)
    },
  }
  const known = resources(new Map([['void', counting]]))
  await known.configure({ nothing: settings('void') })
  assert.equal(opened, 0)
  await Promise.all([known.call('nothing', 'x', [], scope()), known.call('nothing', 'x', [], scope())])
  assert.equal(opened, 1)
  await known.stop()
})

test('resources: a changed configuration serves new work at once, and the old pool ends when its work has', async () => {
  const running = deferred<void>()
  const closed: string[] = []
  const driver: Driver = {
    open: async (options) => ({
      connect: async () => ({
        participant: 'one-phase',
        broken: false,
        call: async (method) => {
          if (method === 'slow') await running.promise
          return options
        },
        close: async () => void closed.push(String(options)),
      }),
      close: async () => void closed.push(`resource ${options}`),
    }),
  }
  const known = resources(new Map([['test', driver]]))
  await known.configure({ it: settings('test', 'old'), other: settings('test', 'same') })
  const [before, other] = [known.get('it'), known.get('other')]
  const slow = known.call('it', 'slow', [], scope())
  await eventually('it runs', () => before?.stats().busy === 1)
  const ended = known.configure({ it: settings('test', 'new'), other: settings('test', 'same') })
  assert.equal(known.get('other'), other, 'what has not changed stays')
  assert.equal(await known.call('it', 'quick', [], scope()), 'new')
  await assert.rejects(before?.acquire(scope()) ?? Promise.resolve(), (error: CageError) => error.code === 'UNAVAILABLE')
  assert.deepEqual(closed, [])
  running.resolve()
  assert.equal(await slow, 'old')
  await within('the old one has ended', ended)
  assert.deepEqual(closed, ['old', 'resource old'])
  await known.configure({ it: settings('test', 'new') })
  await assert.rejects(known.call('other', 'quick', [], scope()), (error: CageError) => error.code === 'INVALID_ARGUMENT')
  await known.stop()
  assert.equal(closed.at(-1), 'resource new')
})

test('resources: calls are kept where the resource has a cache and the call asks for it, or where all are', async () => {
  const known = resources()
  const cache = RESOURCE_SCHEMAS.cache.parse({})
  await known.configure({
    none: settings('void'),
    some: { ...settings('void'), cache },
    all: { ...settings('void'), cache: { ...cache, always: true } },
  })
  const kept = async (name: string): Promise<number | undefined> => (await known.cache(name))?.stats().kept
  for (const name of known.names()) {
    await known.call(name, 'x', [1], scope())
    await known.call(name, 'x', [2], scope(), {})
    await known.call(name, 'x', [3], scope(), false)
  }
  assert.deepEqual([await kept('none'), await kept('some'), await kept('all')], [undefined, 1, 2])
  await known.stop()
})
