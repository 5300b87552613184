/**
 * Options of Oracle Database. docs/adapters/oracle.md explains each.
 *
 *   resources: { erp: { kind: 'oracle', connectString: 'tcps://db.example.com:2484/erp', user: 'app', password: env('ERP_PASSWORD') } },
 */
import { z } from 'zod'

/** Where the database is, and who we are; checked and complete. */
export interface OracleOptions {
  /** Easy Connect, a descriptor, or a name in `configDir`'s tnsnames.ora. */
  connectString: string
  user: string
  password: string
  configDir?: string | undefined
  /** The folder of ewallet.pem: whom we trust with tcps, and our own certificate. */
  walletDir?: string | undefined
  walletPassword?: string | undefined
  applicationName: string
  /** Session parameters, e.g. `{ current_schema: 'erp' }`. */
  settings: Record<string, string>
}

const text = z.string().min(1)

export const oracleOptions: z.ZodType<OracleOptions> = z.strictObject({
  connectString: text.refine((given) => !/^[^(]*\/[^(]*@/.test(given), 'names a user: give user and password besides'),
  user: text,
  password: z.string(),
  configDir: text.optional(),
  walletDir: text.optional(),
  walletPassword: text.optional(),
  applicationName: text.max(48).default('menagerie'), // v$session.module
  settings: z
    .record(z.string().regex(/^[A-Za-z_]\w*$/, 'is no name of a session parameter'), z.union([z.string(), z.number()]))
    .default({})
    .transform((given) => Object.fromEntries(Object.entries(given).map(([name, value]) => [name, String(value)]))),
})
