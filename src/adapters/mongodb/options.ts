/**
 * Options of MongoDB. docs/adapters/mongodb.md explains each.
 *
 *   resources: { shop: { kind: 'mongodb', url: env('SHOP_URL'), database: 'shop' } },
 *   interfaces: { orders: { kind: 'mongodb', url: env('SHOP_URL'), database: 'shop', collection: 'orders', call: 'orders.changed' } },
 */
import { z } from 'zod'
import { isName, isTarget } from '../../names.ts'
import { isLocal } from '../client/tls-options.ts'
import { type MongoUrl, parseUrl } from './url.ts'

/** Where the servers are, and who we are; checked and complete. */
export interface MongoOptions {
  /** It holds the password. */
  url: string
  database: string
  user?: string | undefined
  password?: string | undefined
  authSource?: string | undefined
  /** False: not encrypted. */
  tls: false | MongoTls
  applicationName: string
}

export interface MongoTls {
  /** Authorities besides the well-known ones are not trusted then, only these. */
  caFile?: string | undefined
  certFile?: string | undefined
  keyFile?: string | undefined
  /** Certificate and name of the server are checked. */
  verify: boolean
}

/** Of the interface that reads a change stream. */
export interface MongoListenOptions extends MongoOptions {
  /** Default: all of the database. */
  collection?: string | undefined
  /** Stages that the events pass at the server. */
  pipeline: Record<string, unknown>[]
  fullDocument?: FullDocument | undefined
  fullDocumentBeforeChange?: FullDocumentBeforeChange | undefined
  call: string
  onReset?: string | undefined
  queue?: string | undefined
  /** An event whose call fails so often is passed over. */
  attempts: number
  timeoutMs?: number | undefined
}

export type FullDocument = 'updateLookup' | 'whenAvailable' | 'required'
export type FullDocumentBeforeChange = 'whenAvailable' | 'required'

const LONGEST_MS = 2 ** 31 - 1 // Node's timers count no further
const text = z.string().min(1)
const target = z
  .string()
  .refine(isTarget, { error: ({ input }) => `${JSON.stringify(input)} is neither module.method nor cage.module.method` })

const tls = z
  .strictObject({ caFile: text.optional(), certFile: text.optional(), keyFile: text.optional(), verify: z.boolean().default(true) })
  .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
    error: 'certFile and keyFile are needed together',
  })

const server = {
  url: text,
  database: text
    .max(63)
    .regex(/^[^\s/\\."$*<>:|?]+$/, 'is no name of a database')
    .optional(),
  user: text.optional(),
  password: z.string().optional(),
  authSource: text.optional(),
  tls: z.union([z.boolean(), tls]).optional(),
  applicationName: text.max(128).default('menagerie'),
}

type Server = z.infer<z.ZodObject<typeof server>>

export const mongoOptions: z.ZodType<MongoOptions> = z.strictObject(server).superRefine(checkServer).transform(complete)

export const mongoListenOptions: z.ZodType<MongoListenOptions> = z
  .strictObject({
    ...server,
    collection: text.optional(),
    pipeline: z.array(z.record(z.string().startsWith('$'), z.unknown())).default([]),
    fullDocument: z.enum(['updateLookup', 'whenAvailable', 'required']).optional(),
    fullDocumentBeforeChange: z.enum(['whenAvailable', 'required']).optional(),
    call: target,
    onReset: target.optional(),
    queue: z
      .string()
      .refine(isName, { error: ({ input }) => `${JSON.stringify(input)} is no name of a queue` })
      .optional(),
    attempts: z.number().int().min(1).max(1_000).default(5),
    timeoutMs: z.number().int().min(1).max(LONGEST_MS).optional(),
  })
  .superRefine(checkServer)
  .transform((given) => {
    const { collection, pipeline, fullDocument, fullDocumentBeforeChange, call, onReset, queue, attempts, timeoutMs } = given
    return { ...complete(given), collection, pipeline, fullDocument, fullDocumentBeforeChange, call, onReset, queue, attempts, timeoutMs }
  })

function checkServer({ url, database, user, password }: Server, context: z.RefinementCtx): void {
  const mistake = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
  const parsed = parseUrl(url)
  if (typeof parsed === 'string') return mistake('url', parsed) // never the url itself: it holds the password
  if ((database ?? parsed.database) === undefined) mistake('database', 'a database is needed, here or in the url')
  if (password !== undefined && user === undefined) mistake('user', 'a password needs its user')
  if (user !== undefined && parsed.hasUser) mistake('user', 'the url names a user too')
}

function complete({ url, database, user, password, authSource, tls: given, applicationName }: Server): MongoOptions {
  const parsed = parseUrl(url)
  const fromUrl: Partial<MongoUrl> = typeof parsed === 'string' ? {} : parsed // mistakes were told above
  const wished = given ?? fromUrl.tls ?? !(fromUrl.hosts ?? []).every(isLocal)
  return {
    url: url.replace(/([?&])(?:tls|ssl)=[^&]*&?/gi, '$1'), // said once, below
    database: database ?? fromUrl.database ?? '',
    ...{ user, password, authSource },
    tls: wished === true ? { verify: true } : wished,
    applicationName,
  }
}
