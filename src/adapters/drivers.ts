/** Kind → driver, loaded when something uses it. Apart from the schemas (registry.ts): workers need no zod, and start faster without. */
import type { Adapter } from './adapter.ts'

/** What a worker knows of an adapter: its options have been checked. */
export type Driver = Pick<Adapter, 'listen'>

/** Every driver of the runtime. */
export const DRIVERS: ReadonlyMap<string, Driver> = new Map([
  ['http', driver(() => import('./http/server.ts'))],
  ['schedule', driver(() => import('./schedule/server.ts'))],
])

function driver<Options>(load: () => Promise<{ listen: NonNullable<Adapter<Options>['listen']> }>): Driver {
  return {
    listen: async (given, host) => (await load()).listen(given as Options, host), // checked against the schema when the configuration was read
  }
}
