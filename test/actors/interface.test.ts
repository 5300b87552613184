import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InterfaceActor } from '../../src/actors/interface.ts'
import { Supervisor } from '../../src/actors/supervisor.ts'
import type { Listener } from '../../src/adapters/adapter.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { deferred, within } from '../../src/testing/wait.ts'

test('interface: stopped while it starts, it is stopped as soon as it has started, and its supervisor ends', async () => {
  const { log } = recordingLog()
  const starting = deferred<Listener>()
  const stopped = deferred<void>()
  const supervisor = new Supervisor(log, () => assert.fail('escalated'))
  const kept = supervisor.keep(new InterfaceActor('interface web', () => starting.promise, log))
  const stopping = supervisor.stop()
  starting.resolve({ address: 'test://', done: stopped.promise, stop: async () => stopped.resolve() })
  await within('the interface is stopped', stopped.promise)
  await within('the supervisor has stopped', stopping)
  await kept
})

test('interface: stopped while its start is tried again and again, it is not started any more', async () => {
  const { log } = recordingLog()
  let starts = 0
  const supervisor = new Supervisor(log, () => assert.fail('escalated'))
  const fails = (): Promise<Listener> => {
    starts++
    return Promise.reject(new Error('port taken'))
  }
  await supervisor.keep(new InterfaceActor('interface web', fails, log))
  await within('the supervisor has stopped', supervisor.stop())
  assert.equal(starts, 1)
})
