/** Kind → adapter. The options' schemas are loaded with the node; a driver only when something uses it. */
import type { Adapter } from './adapter.ts'
import { httpOptions } from './http/options.ts'

/** Every adapter of the runtime. */
export const ADAPTERS: ReadonlyMap<string, Adapter> = new Map<string, Adapter>([
  ['http', adapter('http', httpOptions, () => import('./http/server.ts'))],
])

function adapter<Options>(
  kind: string,
  options: Adapter<Options>['options'],
  load: () => Promise<{ listen: NonNullable<Adapter<Options>['listen']> }>,
): Adapter {
  return {
    kind,
    options,
    listen: async (given, host) => (await load()).listen(given as Options, host), // checked against the schema when the configuration was read
  }
}
