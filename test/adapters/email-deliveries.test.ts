/** Deliveries from a mailbox that fails at the wrong moment. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InterfaceHost } from '../../src/adapters/adapter.ts'
import { Deliveries } from '../../src/adapters/email/deliveries.ts'
import { Ledger, type Mark } from '../../src/adapters/email/ledger.ts'
import type { Mailbox, Visit } from '../../src/adapters/email/mailbox.ts'
import { emailListenOptions } from '../../src/adapters/email/options.ts'
import { CageError } from '../../src/errors.ts'
import { pause } from '../../src/pause.ts'
import { recordingLog } from '../../src/testing/log.ts'
import { deferred, within } from '../../src/testing/wait.ts'

const RAW = Buffer.from('Subject: x\r\n\r\nhello\r\n')

/** A mailbox with these messages, and what reads it. */
function reading(
  names: string[],
  visit: Partial<Visit>,
  rest: Mailbox['rest'] = pause,
): { run(signal: AbortSignal): Promise<void>; book(): Record<string, Mark>; calls: number } {
  let value: unknown
  const state = { calls: 0 }
  const host = {
    ...{ log: recordingLog().log, newRequestId: () => 'r' },
    call: async () => void state.calls++,
    memory: {
      get: async () => value,
      update: async (_key: string, change: (current: unknown) => unknown) => {
        value = change(structuredClone(value))
        return value
      },
    },
  } as unknown as InterfaceHost // the rest is not used
  const all: Visit = { ended: false, list: async () => names, fetch: async () => RAW, dispose: async () => true, ...visit }
  const mailbox: Mailbox = { address: '', visit: async (work) => await work(all), rest, close: async () => {} }
  const options = emailListenOptions.parse({ protocol: 'imap', host: 'h', user: 'u', password: 'p', call: 'a.b', pollMs: 10 })
  const deliveries = new Deliveries(mailbox, new Ledger(host.memory, 'key'), options, host)
  return {
    run: (signal) => deliveries.run(signal),
    book: () => (value ?? {}) as Record<string, Mark>,
    get calls() {
      return state.calls
    },
  }
}

const attempts = (book: Record<string, Mark>): unknown =>
  Object.fromEntries(Object.entries(book).map(([name, mark]) => [name, 'attempts' in mark ? mark.attempts : mark.is]))

test('deliveries: a stop while a message is fetched gives the others back, without an attempt', async () => {
  const stopping = new AbortController()
  const { promise, resolve } = deferred<Buffer>()
  const asked = deferred<void>()
  const it = reading(['a', 'b', 'c'], {
    fetch: () => {
      asked.resolve()
      return promise
    },
  })
  const run = it.run(stopping.signal)
  await within('the first is fetched', asked.promise)
  stopping.abort()
  resolve(RAW)
  await within('it has ended', run)
  assert.equal(it.calls, 1)
  assert.deepEqual(attempts(it.book()), { a: 'gone', b: 0, c: 0 })
})

test('deliveries: a server that is lost at a fetch counts against that message alone', async () => {
  const lost = (): Promise<never> => Promise.reject(new CageError('UNAVAILABLE', 'lost'))
  const it = reading(['a', 'b', 'c'], { fetch: (name) => (name === 'b' ? lost() : Promise.resolve(RAW)) })
  await assert.rejects(it.run(new AbortController().signal), /lost/)
  assert.deepEqual(attempts(it.book()), { a: 'done', b: 1, c: 0 })
})

test('deliveries: a server that is lost at disposing counts against nobody', async () => {
  const done = deferred<void>()
  const it = reading([], {
    list: async () => (it.book().a?.is === 'done' ? ['a', 'b'] : ['a']),
    dispose: () => {
      done.resolve()
      return Promise.reject(new CageError('UNAVAILABLE', 'lost'))
    },
  })
  await assert.rejects(it.run(new AbortController().signal), /lost/)
  await within('it was disposed of', done.promise)
  assert.deepEqual(attempts(it.book()), { a: 'done', b: 0 })
})

test('deliveries: a mailbox that is empty is asked every pollMs, whatever has been in it', async () => {
  const stopping = new AbortController()
  const rests: number[] = []
  const names = ['a']
  const it = reading(
    names,
    { dispose: async (name) => names.pop() !== name }, // another client has taken it away meanwhile
    async (ms, signal) => {
      rests.push(ms)
      if (rests.length === 8) stopping.abort()
      await pause(ms, signal)
    },
  )
  await within('it has stopped', it.run(stopping.signal))
  assert.deepEqual(rests.slice(-4), [10, 10, 10, 10])
})
