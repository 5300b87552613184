/** What a worker remembers of what it did. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Steps } from '../../src/actors/steps.ts'

test('steps: a step that is found again has the same time, so that it is known for the same', () => {
  const steps = new Steps('here', 'shop')
  const startedAt = performance.now()
  steps.add({
    ...{ kind: 'call', startedAt, endedAt: startedAt + 1, by: 'till.charge', to: undefined, request: 'r', queue: undefined },
    ...{ callId: undefined, attempt: undefined, words: ['4711'], error: undefined },
  })
  const times = new Set<number | undefined>()
  while (performance.now() - startedAt < 20) times.add(steps.find('4711')[0]?.at) // Date.now() ticks meanwhile
  assert.equal(times.size, 1)
})
