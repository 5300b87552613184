/** Kind → driver, loaded when something uses it. Apart from the schemas (registry.ts): workers need no zod, and start faster without. */
import type { Adapter, Driver } from './adapter.ts'

/** Every driver of the runtime. */
export const DRIVERS: ReadonlyMap<string, Driver> = new Map<string, Driver>([
  ['http', { ...listening(() => import('./http/server.ts')), ...opening(() => import('./http/client.ts')) }],
  ['notifications', listening(() => import('./notifications/server.ts'))],
  ['schedule', listening(() => import('./schedule/server.ts'))],
  ['mongodb', { ...listening(() => import('./mongodb/listener.ts')), ...opening(() => import('./mongodb/resource.ts')) }],
  ['oracle', opening(() => import('./oracle/resource.ts'))],
  ['postgresql', { ...listening(() => import('./postgresql/listener.ts')), ...opening(() => import('./postgresql/resource.ts')) }],
  ['tcp', { ...listening(() => import('./tcp/server.ts')), ...opening(() => import('./tcp/resource.ts')) }],
  ['udp', { ...listening(() => import('./udp/server.ts')), ...opening(() => import('./udp/resource.ts')) }],
  ['file', { ...listening(() => import('./file/listener.ts')), ...opening(() => import('./file/resource.ts')) }],
  ['exec', opening(() => import('./exec/resource.ts'))],
  ['xmlrpc', { ...listening(() => import('./xmlrpc/server.ts')), ...opening(() => import('./xmlrpc/resource.ts')) }],
  ['mysql', opening(() => import('./mysql/resource.ts'))],
  ['redis', { ...listening(() => import('./redis/listener.ts')), ...opening(() => import('./redis/resource.ts')) }],
  ['jms', { ...listening(() => import('./jms/listener.ts')), ...opening(() => import('./jms/resource.ts')) }],
  ['smpp', { ...listening(() => import('./smpp/listener.ts')), ...opening(() => import('./smpp/resource.ts')) }],
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
