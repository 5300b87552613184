/** Proxies: objects that have whatever name is asked for, made at the first use of it. */
import type { UntypedModule } from './contract.ts'

/** A promise's `then` and a serialiser's `toJSON` must not look like names. */
const NOT_A_NAME = new Set<string | symbol>(['then', 'toJSON', 'constructor', 'prototype'])

export function isNoName(name: string | symbol): name is symbol {
  return typeof name === 'symbol' || NOT_A_NAME.has(name)
}

/** An object whose properties are made of their names. Most are asked for one name: the last one is at hand without a map. */
export function proxyOf<T extends object>(make: (name: string) => unknown): T {
  let last: string | undefined
  let value: unknown
  let known: Map<string, unknown> | undefined
  return new Proxy({} as T, {
    get(_target, name) {
      if (name === last) return value
      if (isNoName(name)) return undefined
      if (last !== undefined) {
        known ??= new Map()
        known.set(last, value)
      }
      value = known?.has(name) ? known.get(name) : make(name)
      last = name
      return value
    },
  })
}

/** Makes a call. */
export type CallFunction = (cage: string, module: string, method: string, args: unknown[]) => Promise<unknown>

/** Cages whose modules' methods make calls. */
export function cagesProxy(call: CallFunction): Record<string, Record<string, UntypedModule>> {
  return proxyOf((cage) => cageProxy(cage, call))
}

export function cageProxy(cage: string, call: CallFunction): Record<string, UntypedModule> {
  return proxyOf((module) => moduleProxy(cage, module, call))
}

export function moduleProxy(cage: string, module: string, call: CallFunction): UntypedModule {
  return proxyOf(
    (method) =>
      (...args: unknown[]) =>
        call(cage, module, method, args),
  )
}
