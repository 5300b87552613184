/** PostgreSQL as a resource: makes connections. */
import type { Resource, ResourceHost } from '../adapter.ts'
import { PostgresConnection } from './connection.ts'
import type { PostgresOptions } from './options.ts'
import { Session } from './session.ts'

export async function open(options: PostgresOptions, { name, log, maxCallMs }: ResourceHost): Promise<Resource> {
  let told = false
  return {
    async connect(scope) {
      const session = await Session.open({ options, name, maxCallMs }, scope)
      const connection = new PostgresConnection(session, name)
      if (connection.participant !== 'prepared' && !told) {
        told = true
        log.info({ resource: name }, 'the server allows no prepared transactions (max_prepared_transactions): commits are of one phase')
      }
      return connection
    },
  }
}
