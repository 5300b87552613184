/** Kind → adapter: every driver with the schemas of its options, which are loaded with the node. */
import type { ZodType } from 'zod'
import type { Adapter } from './adapter.ts'
import { DRIVERS } from './drivers.ts'
import { emailListenOptions, emailOptions } from './email/options.ts'
import { execOptions } from './exec/options.ts'
import { fileListenOptions, fileOptions } from './file/options.ts'
import { httpClientOptions } from './http/client-options.ts'
import { httpOptions } from './http/options.ts'
import { jmsListenOptions, jmsOptions } from './jms/options.ts'
import { mongoListenOptions, mongoOptions } from './mongodb/options.ts'
import { mysqlOptions } from './mysql/options.ts'
import { notificationsOptions } from './notifications/options.ts'
import { oracleOptions } from './oracle/options.ts'
import type { CacheSettings, PoolSettings } from './pool/contract.ts'
import { cacheOptions, poolOptions } from './pool/options.ts'
import { postgresListenOptions, postgresOptions } from './postgresql/options.ts'
import { redisListenOptions, redisOptions } from './redis/options.ts'
import { scheduleOptions } from './schedule/options.ts'
import { smppListenOptions, smppOptions } from './smpp/options.ts'
import { tcpListenOptions, tcpOptions } from './tcp/options.ts'
import { udpListenOptions, udpOptions } from './udp/options.ts'
import { voidOptions } from './void/options.ts'
import { xmlrpcListenOptions, xmlrpcOptions } from './xmlrpc/options.ts'

const SCHEMAS: Readonly<Record<string, Pick<Adapter, 'options' | 'resourceOptions'>>> = {
  http: { options: httpOptions, resourceOptions: httpClientOptions },
  notifications: { options: notificationsOptions },
  schedule: { options: scheduleOptions },
  mongodb: { options: mongoListenOptions, resourceOptions: mongoOptions },
  oracle: { resourceOptions: oracleOptions },
  postgresql: { options: postgresListenOptions, resourceOptions: postgresOptions },
  tcp: { options: tcpListenOptions, resourceOptions: tcpOptions },
  udp: { options: udpListenOptions, resourceOptions: udpOptions },
  file: { options: fileListenOptions, resourceOptions: fileOptions },
  exec: { resourceOptions: execOptions },
  xmlrpc: { options: xmlrpcListenOptions, resourceOptions: xmlrpcOptions },
  mysql: { resourceOptions: mysqlOptions },
  redis: { options: redisListenOptions, resourceOptions: redisOptions },
  jms: { options: jmsListenOptions, resourceOptions: jmsOptions },
  smpp: { options: smppListenOptions, resourceOptions: smppOptions },
  email: { options: emailListenOptions, resourceOptions: emailOptions },
  void: { resourceOptions: voidOptions },
}

/** Every adapter of the runtime. */
export const ADAPTERS: ReadonlyMap<string, Adapter> = new Map(
  Object.entries(SCHEMAS).map(([kind, schemas]) => [kind, { kind, ...schemas, ...DRIVERS.get(kind) }]),
)

/** What every resource can be configured with, whatever its kind. */
export const RESOURCE_SCHEMAS: { pool: ZodType<PoolSettings>; cache: ZodType<CacheSettings> } = { pool: poolOptions, cache: cacheOptions }
