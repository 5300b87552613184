/** Kind → adapter: every driver with the schema of its options, which are loaded with the node. */
import type { ZodType } from 'zod'
import type { Adapter } from './adapter.ts'
import { DRIVERS } from './drivers.ts'
import { httpOptions } from './http/options.ts'
import { scheduleOptions } from './schedule/options.ts'

const OPTIONS: Readonly<Record<string, ZodType>> = { http: httpOptions, schedule: scheduleOptions }

/** Every adapter of the runtime. */
export const ADAPTERS: ReadonlyMap<string, Adapter> = new Map(
  Object.entries(OPTIONS).map(([kind, options]) => [kind, { kind, options, ...DRIVERS.get(kind) }]),
)
