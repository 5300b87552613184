/** MongoDB as a resource: makes connections. */
import type { Resource, ResourceHost } from '../adapter.ts'
import { connectionOf } from './connection.ts'
import { Link } from './link.ts'
import type { MongoOptions } from './options.ts'

export async function open(options: MongoOptions, { name, log }: ResourceHost): Promise<Resource> {
  let told = false
  return {
    async connect(scope) {
      const link = await Link.open({ options, name }, scope)
      if (!link.deployment.transactions && !told) {
        told = true
        log.info({ resource: name }, 'the server is no replica set: it has no transactions')
      }
      return connectionOf(link, name)
    },
  }
}
