/** Proxies: objects that have whatever name is asked for, made at the first use of it. */
import type { UntypedModule } from './contract.ts'

/** A promise's `then` and a serialiser's `toJSON` must not look like names. */
const NOT_A_NAME = new Set<string | symbol>(['then', 'toJSON', 'constructor', 'prototype'])

/** An object whose properties are made of their names. */
export function proxyOf<T extends object>(make: (name: string) => unknown): T {
  const known = new Map<string, unknown>()
  return new Proxy({} as T, {
    get(_target, name) {
      if (typeof name === 'symbol' || NOT_A_NAME.has(name)) return undefined
      if (!known.has(name)) known.set(name, make(name))
      return known.get(name)
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
