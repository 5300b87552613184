/** Kind → adapter: every driver with the schemas of its options, which are loaded with the node. */
import type { ZodType } from 'zod'
import type { Adapter } from './adapter.ts'
import { DRIVERS } from './drivers.ts'
import { emailListenOptions, emailOptions } from './email/options.ts'
import { httpOptions } from './http/options.ts'
import type { CacheSettings, PoolSettings } from './pool/contract.ts'
import { cacheOptions, poolOptions } from './pool/options.ts'
import { postgresListenOptions, postgresOptions } from './postgresql/options.ts'
import { scheduleOptions } from './schedule/options.ts'
import { voidOptions } from './void/options.ts'

const SCHEMAS: Readonly<Record<string, Pick<Adapter, 'options' | 'resourceOptions'>>> = {
  http: { options: httpOptions },
  schedule: { options: scheduleOptions },
  postgresql: { options: postgresListenOptions, resourceOptions: postgresOptions },
  email: { options: emailListenOptions, resourceOptions: emailOptions },
  void: { resourceOptions: voidOptions },
}

/** Every adapter of the runtime. */
export const ADAPTERS: ReadonlyMap<string, Adapter> = new Map(
  Object.entries(SCHEMAS).map(([kind, schemas]) => [kind, { kind, ...schemas, ...DRIVERS.get(kind) }]),
)

/** What every resource can be configured with, whatever its kind. */
export const RESOURCE_SCHEMAS: { pool: ZodType<PoolSettings>; cache: ZodType<CacheSettings> } = { pool: poolOptions, cache: cacheOptions }
