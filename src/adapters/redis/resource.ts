/** Redis as a resource: makes connections. */
import type { Resource, ResourceHost } from '../adapter.ts'
import { RedisConnection } from './connection.ts'
import type { RedisOptions } from './options.ts'
import { Session } from './session.ts'

export async function open(options: RedisOptions, { name, log }: ResourceHost): Promise<Resource> {
  const readers = new Map<string, boolean>()
  return { connect: async (scope) => new RedisConnection(await Session.open(options, name, scope), name, log, readers) }
}
