/** Kind → driver, loaded when something uses it. Apart from the schemas (registry.ts): workers need no zod, and start faster without. */
import type { Adapter, Driver } from './adapter.ts'

/** Every driver of the runtime. */
export const DRIVERS: ReadonlyMap<string, Driver> = new Map<string, Driver>([
  ['http', listening(() => import('./http/server.ts'))],
  ['schedule', listening(() => import('./schedule/server.ts'))],
  ['postgresql', { ...listening(() => import('./postgresql/listener.ts')), ...opening(() => import('./postgresql/resource.ts')) }],
  ['email', { ...listening(() => import('./email/listener.ts')), ...opening(() => import('./email/resource.ts')) }],
  ['void', opening(() => import('./void/resource.ts'))],
])

// options are checked against the schema when the configuration was read

function listening<Options>(load: () => Promise<{ listen: NonNullable<Adapter<Options>['listen']> }>): Pick<Driver, 'listen'> {
  return { listen: async (given, host) => (await load()).listen(given as Options, host) }
}

function opening<Options>(load: () => Promise<{ open: NonNullable<Adapter<Options>['open']> }>): Pick<Driver, 'open'> {
  return { open: async (given, host) => (await load()).open(given as Options, host) }
}
