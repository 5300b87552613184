/**
 * Options of MySQL and MariaDB. docs/adapters/mysql.md explains each.
 *
 *   resources: { shop: { kind: 'mysql', url: env('SHOP_URL'), pool: { size: 20 } } },
 */
import { z } from 'zod'
import { checkServer, completeServer, type Schemes, type ServerOptions, serverFields } from '../client/server-options.ts'

/** Checked and complete. */
export interface MysqlOptions extends ServerOptions {
  /** Transactions of several resources are prepared (XA) where the server keeps such through a lost connection. */
  xa: boolean
  /** Session variables, e.g. `lock_wait_timeout`. */
  settings: Record<string, string | number>
}

const SCHEMES: Schemes = { mysql: undefined, mariadb: undefined }
const PORT = 3306

export const mysqlOptions: z.ZodType<MysqlOptions> = z
  .strictObject({
    ...serverFields,
    xa: z.boolean().default(true),
    settings: z.record(z.string().regex(/^[A-Za-z_]\w*$/, 'is no name of a variable'), z.union([z.string(), z.number()])).default({}),
  })
  .superRefine(checkServer(SCHEMES))
  .transform((given) => ({ ...completeServer(given, SCHEMES, PORT), xa: given.xa, settings: given.settings }))
