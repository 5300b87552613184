/** What an interface is run with in a test: its calls are answered here, its memory is a map. */
import type { InterfaceCallOptions, InterfaceHost } from '../../src/adapters/adapter.ts'
import { recordingLog, type Said } from '../../src/testing/log.ts'

export interface CalledMethod {
  target: string
  args: unknown[]
  options: InterfaceCallOptions
}

export interface TestHost {
  readonly host: InterfaceHost
  readonly calls: CalledMethod[]
  readonly said: Said[]
  /** Owners whose calls were cancelled. */
  readonly cancelled: object[]
  /** What it remembers; several copies can share it. */
  readonly memory: Map<string, unknown>
}

/** `answer` is what each call does. It neither enqueues nor exposes anything. */
export function testHost(answer: (called: CalledMethod) => unknown = () => {}, memory: Map<string, unknown> = new Map()): TestHost {
  const { log, said } = recordingLog()
  const calls: CalledMethod[] = []
  const cancelled: object[] = []
  const host = {
    ...{ cage: 'shop', name: 'tested', log, timeoutMs: 10_000, dataDir: '', newRequestId: () => `r${calls.length}` },
    call: async (target: string, args: unknown[], options: InterfaceCallOptions = {}) => {
      const called = { target, args, options }
      calls.push(called)
      return await answer(called)
    },
    cancel: (owner: object) => void cancelled.push(owner),
    memory: {
      get: async (key: string) => memory.get(key),
      update: async (key: string, change: (current: unknown) => unknown) => {
        const value = change(memory.get(key))
        if (value === undefined) memory.delete(key)
        else memory.set(key, value)
        return value
      },
    },
  } as unknown as InterfaceHost
  return { host, calls, said, cancelled, memory }
}
