/** Runs of a saga against a real journal. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type SagaEvent, viewOf } from '../../src/actors/saga/events.ts'
import { nextUndo, sagaOf } from '../../src/actors/saga/ids.ts'
import { nextKey } from '../../src/actors/saga/keys.ts'
import { finding } from '../../src/actors/saga/recovery.ts'
import { SagaRun } from '../../src/actors/saga/run.ts'
import type { Outcome } from '../../src/bus/bus.ts'
import { CageError, toCageError } from '../../src/errors.ts'
import { testBus } from '../../src/testing/bus.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { startNats } from '../../src/testing/nats.ts'
import { suite } from '../../src/testing/owner.ts'

const nats = await startNats(suite)
const bus = await testBus(suite, nats.url)
let sagas = 0

interface Delivery {
  version?: string
  last?: boolean
  callId?: string
  timeoutMs?: number
}

/** A saga that is delivered as often as a test says. */
function saga(): { id: string; run(code: (saga: SagaRun) => Promise<unknown>, delivery?: Delivery): Promise<Outcome> } {
  const id = `saga-${++sagas}`
  return {
    id,
    run: async (code, { version = 'v1', last = false, callId = id, timeoutMs = 10_000 } = {}) => {
      const run = new SagaRun({
        ...{ bus, cage: 'shop', deadline: Date.now() + timeoutMs, signal: new AbortController().signal, log: recordingLog().log },
        queued: { queue: 'orders', id: callId, attempt: 1, last },
        call: { module: 'order', method: 'place', version, args: [1], queue: 'orders', request: { id: 'test' } },
      })
      const outcome = await code(run).then(
        (result): Outcome => ({ ok: true, result }),
        (error: unknown): Outcome => ({ ok: false, error: toCageError(error) }),
      )
      return await run.conclude(outcome)
    },
  }
}

function codeOf(outcome: Outcome): string {
  return outcome.ok ? 'ok' : outcome.error.code
}

async function types(id: string): Promise<string[]> {
  return (await bus.journals.read<SagaEvent>('shop', 'saga', id)).map(({ event }) => event.type)
}

const refusal = (): never => {
  throw new CageError('REFUSED', 'no', { retryable: false })
}
const failure = (_?: unknown): never => {
  throw new CageError('BROKEN', 'not now')
}

test('saga: a recorded step is not run again, and gives its result with its types', async () => {
  const { run, id } = saga()
  const ran: string[] = []
  const code =
    (fail: boolean) =>
    async (one: SagaRun): Promise<unknown> => {
      const first = await one.step('first', () => {
        ran.push('first')
        return { at: new Date(5), big: 2n ** 70n, map: new Map([[1, new Set(['a'])]]) }
      })
      await one.step('second', () => {
        ran.push('second')
        if (fail) failure()
      })
      return first
    }
  assert.equal(codeOf(await run(code(true))), 'BROKEN')
  const outcome = await run(code(false))
  assert.deepEqual(outcome, { ok: true, result: { at: new Date(5), big: 2n ** 70n, map: new Map([[1, new Set(['a'])]]) } })
  assert.deepEqual(ran, ['first', 'second', 'second'])
  assert.deepEqual(await types(id), [])
})

test('saga: a delivery after its end gets the stored result and runs nothing', async () => {
  const { run } = saga()
  const code = (one: SagaRun): Promise<number> => one.step('only', () => 7)
  await run(code)
  const again = await run((one) =>
    one.step('only', () => {
      throw new Error('run again')
    }),
  )
  assert.deepEqual(again, { ok: true, result: 7 })
})

test('saga: a step is intended before it is run, and the one before is recorded by then', async () => {
  const { run, id } = saga()
  const seen: string[][] = []
  await run(async (one) => {
    await one.step('a', async () => void seen.push(await types(id)))
    await one.step('b', async () => void seen.push(await types(id)))
  })
  assert.deepEqual(seen, [
    ['begin', 'intent'],
    ['begin', 'intent', 'done', 'intent'],
  ])
})

test('saga: code that comes to another step than the journal ends in SAGA_MISMATCH, which says what was expected, and undoes nothing', async () => {
  const { run, id } = saga()
  await run(async (one) => {
    await one.step('reserve', () => 1, refusal)
    await one.step('charge', failure)
  })
  const before = await types(id)
  for (const last of [false, true]) {
    const outcome = await run(
      async (one) => {
        await one.step('check', () => 1).catch(() => {}) // the code cannot hide it
        await one.step('charge', () => 1)
      },
      { version: 'v2', last },
    )
    assert.ok(!outcome.ok)
    assert.equal(outcome.error.code, 'SAGA_MISMATCH')
    assert.equal(outcome.error.retryable, true)
    assert.match(outcome.error.message, /version v1 began it and came to step reserve as number 1, version v2 comes to step check/)
  }
  const short = await run((one) => one.step('reserve', () => 1), { version: 'v3' })
  assert.match(short.ok ? '' : short.error.message, /came to step charge as number 2, version v3 comes to its end/)
  assert.deepEqual(await types(id), before)
  const right = async (one: SagaRun): Promise<number> => (await one.step('reserve', () => 1)) + (await one.step('charge', () => 1))
  assert.deepEqual(await run(right), { ok: true, result: 2 })
})

test('saga: a failure that the code has handled is handled again', async () => {
  const { run } = saga()
  let tries = 0
  const code =
    (end: () => unknown) =>
    async (one: SagaRun): Promise<unknown> => {
      const way = await one.step('first', () => failure(tries++)).catch(() => 'around')
      await one.step('second', end)
      return way
    }
  assert.equal(codeOf(await run(code(failure))), 'BROKEN')
  assert.deepEqual(await run(code(() => 1)), { ok: true, result: 'around' })
  assert.equal(tries, 1)
})

test('saga: compensation goes backwards over what was done, with the results, and only what has one', async () => {
  const { run, id } = saga()
  const undone: unknown[] = []
  const code = async (one: SagaRun): Promise<void> => {
    for (const name of ['a', 'b', 'c']) {
      await one.step(name, () => `${name}-result`, name === 'b' ? undefined : (result, { key }) => void undone.push([result, key]))
    }
    await one.step('d', refusal, () => void undone.push('d'))
  }
  assert.equal(codeOf(await run(code)), 'SNOOZED')
  const outcome = await run(code)
  assert.deepEqual(undone, [
    ['c-result', `${id}/c/undo`],
    ['a-result', `${id}/a/undo`],
  ])
  assert.ok(!outcome.ok)
  assert.deepEqual(
    [outcome.error.code, outcome.error.retryable, outcome.error.details],
    ['REFUSED', false, { saga: id, outcome: 'compensated', details: undefined }],
  )
  assert.equal(codeOf(await run(code)), 'REFUSED', 'a later delivery is told the same')
})

test('saga: a retryable failure compensates on the last attempt only', async () => {
  const { run, id } = saga()
  const code = async (one: SagaRun): Promise<void> => {
    await one.step(
      'a',
      () => 1,
      () => {},
    )
    await one.step('b', failure)
  }
  assert.equal(codeOf(await run(code)), 'BROKEN')
  assert.equal((await types(id)).includes('compensating'), false)
  assert.equal(codeOf(await run(code, { last: true })), 'SNOOZED')
  assert.equal((await types(id)).at(-1), 'compensating')
})

test('saga: a step that was begun and not recorded is learned before it is undone', async () => {
  const { run, id } = saga()
  const keys: string[] = []
  let known = false
  const code = async (one: SagaRun): Promise<void> => {
    await one.step(
      'pay',
      ({ key }) => {
        keys.push(key)
        if (!known) throw new CageError('DEADLINE_EXCEEDED', 'who knows')
        return 'receipt'
      },
      (receipt, { key }) => void keys.push(`${receipt} ${key}`),
    )
  }
  assert.equal(codeOf(await run(code, { last: true })), 'SNOOZED')
  assert.equal(codeOf(await run(code)), 'SNOOZED', 'it is tried again')
  known = true
  assert.equal(codeOf(await run(code)), 'DEADLINE_EXCEEDED')
  assert.deepEqual(keys, [`${id}/pay/do`, `${id}/pay/do`, `${id}/pay/do`, `receipt ${id}/pay/undo`])
})

test('saga: a step that refuses when it is learned was not done', async () => {
  const { run } = saga()
  let refuses = false
  const code = async (one: SagaRun): Promise<void> => {
    await one.step(
      'pay',
      () => (refuses ? refusal() : Promise.reject(new CageError('DEADLINE_EXCEEDED', 'who knows'))),
      () => assert.fail('undone'),
    )
  }
  await run(code, { last: true })
  refuses = true
  assert.equal(codeOf(await run(code)), 'DEADLINE_EXCEEDED')
})

test('saga: an undo that fails is tried again and again, and is an incident at last; nothing goes on until people decide', async () => {
  const { run, id } = saga()
  let undos = 0
  const code = async (one: SagaRun): Promise<void> => {
    await one.step(
      'a',
      () => 1,
      () => void undos++,
    )
    await one.step('b', () => 1, failure)
    await one.step('c', refusal)
  }
  assert.equal(codeOf(await run(code)), 'SNOOZED')
  const delays: (number | undefined)[] = []
  let outcome = await run(code)
  for (; codeOf(outcome) === 'SNOOZED'; outcome = await run(code)) delays.push(outcome.ok ? 0 : outcome.error.retryAfterMs)
  assert.deepEqual(delays, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000])
  assert.equal(codeOf(outcome), 'INCIDENT')
  assert.equal(undos, 0, 'the order is kept')
  assert.equal(codeOf(await run(code)), 'INCIDENT')
  const view = viewOf(await bus.journals.read<SagaEvent>('shop', 'saga', id))
  assert.equal(view.incident?.n, 1)
})

test('saga: steps side by side are all waited for, the first failure in their order is thrown, and all that were done are undone', async () => {
  const { run } = saga()
  const undone: string[] = []
  const code = async (one: SagaRun): Promise<void> => {
    await one.all([
      one.step(
        'a',
        () => 'a',
        (it) => void undone.push(it),
      ),
      one.step('b', refusal),
      one.step(
        'c',
        async () => 'c',
        (it) => void undone.push(it),
      ),
    ])
  }
  assert.equal(codeOf(await run(code)), 'SNOOZED')
  assert.equal(codeOf(await run(code)), 'REFUSED')
  assert.deepEqual(undone, ['c', 'a'])
  const good = saga()
  assert.deepEqual(await good.run((one) => one.all([one.step('a', () => 1), one.step('b', () => 'two')])), { ok: true, result: [1, 'two'] })
})

test('saga: two steps of one name, and names that cannot be keys, are mistakes', async () => {
  for (const names of [['a', 'a'], ['a/b'], [''], ['x'.repeat(65)]]) {
    const outcome = await saga().run(async (one) => {
      for (const name of names) await one.step(name, () => 1)
    })
    assert.equal(codeOf(outcome), 'INVALID_ARGUMENT')
  }
})

test('saga: a step has no steps of its own', async () => {
  const outcome = await saga().run((one) => one.step('outer', () => one.step('inner', () => 1)))
  assert.equal(codeOf(outcome), 'INVALID_ARGUMENT')
})

test('saga: a result that cannot be recorded is told, and the step is undone', async () => {
  const { run } = saga()
  const undone: number[] = []
  const code = (one: SagaRun): Promise<unknown> =>
    one.step(
      'large',
      () => 'x'.repeat(2_000_000),
      (it) => void undone.push(it.length),
    )
  assert.equal(codeOf(await run(code)), 'SNOOZED')
  const outcome = await run(code)
  assert.match(outcome.ok ? '' : outcome.error.message, /the result of step large cannot be recorded: .*2000/)
  assert.deepEqual(undone, [2_000_000])
})

test('saga: calls of a step have its key, then numbered ones, and others have none', async () => {
  const { run, id } = saga()
  const keys: (string | undefined)[] = []
  const two = async (): Promise<void> => {
    keys.push(nextKey())
    await null
    keys.push(nextKey())
  }
  await run(async (one) => {
    await one.all(['a', 'b'].map((name) => one.step(name, two)))
    keys.push(nextKey())
  })
  assert.deepEqual(keys.sort(), [`${id}/a/do`, `${id}/a/do/2`, `${id}/b/do`, `${id}/b/do/2`, undefined])
})

test('saga: a run that another one has replaced stores nothing more, and leaves the call to it', async () => {
  const { run, id } = saga()
  let go = (): void => {}
  const gate = new Promise<void>((resolve) => (go = resolve))
  const begun = new Promise<void>((resolve) => {
    void run(async (one) => {
      await one.step('a', async () => {
        resolve()
        await gate
        return 'zombie'
      })
      await one.step('b', () => assert.fail('a zombie goes on'))
    }).then((outcome) => ends.push(codeOf(outcome)))
  })
  const ends: string[] = []
  await begun
  const outcome = await run(async (one) => {
    const a = await one.step('a', () => 'living')
    go()
    while (ends.length === 0) await new Promise((resolve) => setImmediate(resolve))
    return await one.step('b', () => a)
  })
  assert.deepEqual([outcome, ends], [{ ok: true, result: 'living' }, ['SUPERSEDED']])
  assert.deepEqual(await types(id), [])
})

test('saga: a short sleep is slept, a long one puts the call off until it is over', async () => {
  const { run } = saga()
  const begunAt = Date.now()
  assert.equal(codeOf(await run((one) => one.sleep(50))), 'ok')
  assert.ok(Date.now() - begunAt >= 50)
  const long = saga()
  const first = await long.run((one) => one.sleep(60_000))
  const second = await long.run((one) => one.sleep(60_000))
  assert.deepEqual([codeOf(first), codeOf(second)], ['SNOOZED', 'SNOOZED'])
  const [before = 0, after = 0] = [first, second].map((outcome) => (outcome.ok ? 0 : outcome.error.retryAfterMs))
  assert.ok(before > 59_000 && after <= before, `${before} ${after}`)
})

test('saga: a signal that has not come in time is an error, and stays one', async () => {
  const { run } = saga()
  const codes: string[] = []
  const code =
    (end: () => unknown) =>
    async (one: SagaRun): Promise<void> => {
      await one.waitFor('approved', 0).catch((error: unknown) => codes.push(toCageError(error).code))
      await one.step('after', end)
    }
  await run(code(failure))
  assert.equal(codeOf(await run(code(() => 1))), 'ok')
  assert.deepEqual(codes, ['SIGNAL_TIMEOUT', 'SIGNAL_TIMEOUT'])
})

test('saga: an undo of an unknown saga is no saga', async () => {
  const { id } = saga()
  const run = new SagaRun({
    ...{ bus, cage: 'shop', deadline: Date.now() + 10_000, signal: new AbortController().signal, log: recordingLog().log },
    queued: { queue: 'orders', id: `${id}~undo`, attempt: 1, last: false },
    call: { module: 'order', method: 'place', version: 'v1', args: [], queue: 'orders', request: { id: 'test' } },
  })
  await assert.rejects(run.begin(), { code: 'NOT_FOUND' })
  assert.deepEqual(await bus.journals.list('saga', 'shop').then((all) => all.filter(({ name }) => name === id)), [])
})

test('saga: the calls that compensate are numbered', () => {
  assert.deepEqual(
    [nextUndo('order:7', undefined), nextUndo('order:7', 'order:7~undo'), nextUndo('order:7', 'order:7~undo2'), sagaOf('order:7~undo12')],
    ['order:7~undo', 'order:7~undo2', 'order:7~undo3', 'order:7'],
  )
})

test('saga: what is done about a saga whose call is gone', () => {
  const at = 1
  const call = { module: 'm', method: 'f', version: 'v', args: [], queue: 'q', request: { id: '' } }
  const begin: SagaEvent = { type: 'begin', ...call, at }
  const compensating = { type: 'compensating', error: { code: 'X', message: '' }, call: 'a~undo', at } as const
  const incident = { type: 'incident', error: { code: 'X', message: '' }, at } as const
  const end = { type: 'end', outcome: 'done', at } as const
  const view = (...events: SagaEvent[]): ReturnType<typeof viewOf> => viewOf(events.map((event) => ({ event })))
  const status = (state: 'dead' | 'waiting'): Parameters<typeof finding>[1] => ({
    ...{ id: 'a', queue: 'q', target: 'c.m.f', state, attempts: 0, crashes: 0, enqueuedAt: 0, changedAt: 0 },
  })
  assert.deepEqual(
    [
      finding(view(), undefined),
      finding(view(begin), status('dead')),
      finding(view(begin, compensating), undefined),
      finding(view(begin, compensating), status('waiting')),
      finding(view(begin, compensating), status('dead')),
      finding(view(begin, compensating, incident), status('dead')),
      finding(view(begin, end), status('dead')),
    ],
    ['forget', 'compensate', 'enqueue', 'compensate', 'incident', 'nothing', 'finish'],
  )
})
