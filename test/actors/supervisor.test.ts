import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backOffMs, type Child, Supervisor, shouldRestart } from '../../src/actors/supervisor.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { deferred, eventually, within } from '../../src/testing/wait.ts'

/** A child whose every start is decided by the test, and whose death is a call of `die`. */
function child(
  id: string,
  restart: Child['restart'],
  starts: (n: number) => Promise<void> = () => Promise.resolve(),
  onStop: () => void = () => {},
) {
  let end: { resolve: () => void; reject: (error: Error) => void } | undefined
  const self = {
    id,
    restart,
    started: 0,
    done: Promise.resolve(),
    async start() {
      await starts(++self.started)
      self.done = new Promise<void>((resolve, reject) => (end = { resolve, reject }))
    },
    async stop() {
      onStop()
      end?.resolve()
    },
    die: (message = 'killed') => end?.reject(new Error(message)),
    finish: () => end?.resolve(),
  }
  return self
}

test('supervisor: a permanent child that dies is started again, and its siblings are left alone', async () => {
  const { log } = recordingLog()
  const supervisor = new Supervisor(log, () => assert.fail('escalated'))
  const [dying, quiet] = [child('dying', 'permanent'), child('quiet', 'permanent')]
  await supervisor.keep(dying)
  await supervisor.keep(quiet)
  dying.die()
  await eventually('the second start', () => dying.started === 2)
  assert.equal(quiet.started, 1)
  await supervisor.stop()
})

test('supervisor: a start that fails is tried again until it succeeds, however often, and escalates nothing', async () => {
  const { log, said } = recordingLog()
  const supervisor = new Supervisor(log, () => assert.fail('escalated'), { intensity: 1, periodMs: 10_000 })
  const late = child('late', 'permanent', (n) => (n < 4 ? Promise.reject(new Error('port taken')) : Promise.resolve()))
  await within('keep resolves after the first try', supervisor.keep(late))
  await eventually('the fourth start', () => late.started === 4)
  await eventually('the log says so', () => said.some((line) => line.message === 'child has started at last'))
  assert.equal(said.filter((line) => line.level === 'warn').length, 1, 'the same reason is told once')
  await supervisor.stop()
})

test('supervisor: a child that dies more often than its intensity allows escalates, with the last death as cause', async () => {
  const { log } = recordingLog()
  const escalated = deferred<Error>()
  const supervisor = new Supervisor(log, escalated.resolve, { intensity: 2, periodMs: 10_000 })
  const dying = child('dying', 'permanent')
  await supervisor.keep(dying)
  for (let n = 1; n <= 3; n++) {
    await eventually(`start ${n}`, () => dying.started === n)
    dying.die(`death ${n}`)
  }
  const error = await within('the escalation', escalated.promise)
  assert.equal(error.message, 'dying died more than 2 times in 10 s')
  assert.equal((error.cause as Error).message, 'death 3')
  assert.equal(dying.started, 3)
})

test('supervisor: a transient child is restarted after a death and not after a good end, a temporary one never', async () => {
  const { log } = recordingLog()
  const supervisor = new Supervisor(log, () => assert.fail('escalated'))
  const [transient, temporary, permanent] = [
    child('transient', 'transient'),
    child('temporary', 'temporary'),
    child('permanent', 'permanent'),
  ]
  for (const one of [transient, temporary, permanent]) await supervisor.keep(one)
  transient.die()
  temporary.die()
  permanent.finish()
  await eventually('the restarts', () => transient.started === 2 && permanent.started === 2)
  transient.finish()
  permanent.finish()
  await eventually('the permanent one again', () => permanent.started === 3)
  assert.deepEqual([transient.started, temporary.started], [2, 1])
  await supervisor.stop()
})

test('supervisor: stop ends the children in the reverse order of their start, also one that waits for its next try', async () => {
  const { log } = recordingLog()
  const supervisor = new Supervisor(log, () => assert.fail('escalated'))
  const order: string[] = []
  for (const id of ['first', 'second']) await supervisor.keep(child(id, 'permanent', undefined, () => order.push(id)))
  await supervisor.keep(
    child(
      'never',
      'permanent',
      () => Promise.reject(new Error('no')),
      () => order.push('never'),
    ),
  )
  await within('stop', supervisor.stop())
  await within('stop again', supervisor.stop())
  assert.deepEqual(order, ['never', 'second', 'first'])
})

test('supervisor: shouldRestart counts only the deaths of the period', () => {
  const limits = { intensity: 2, periodMs: 1_000 }
  assert.equal(shouldRestart([0, 100, 200], 200, limits), false)
  assert.equal(shouldRestart([0, 900, 1_100], 1_100, limits), true)
})

test('supervisor: the back-off doubles from 100 ms to 2 s, half of it at random', () => {
  assert.deepEqual(
    [1, 2, 3, 9].map((tries) => backOffMs(tries, 1)),
    [100, 200, 400, 2_000],
  )
  assert.equal(backOffMs(9, 0), 1_000)
})
