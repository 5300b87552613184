/** MySQL and MariaDB as a resource: makes connections. */
import type { Resource, ResourceHost } from '../adapter.ts'
import { MysqlConnection } from './connection.ts'
import type { MysqlOptions } from './options.ts'
import { Session } from './session.ts'

export async function open(options: MysqlOptions, { name, log, maxCallMs }: ResourceHost): Promise<Resource> {
  const seen = new Map<string, number>()
  let told = false
  return {
    async connect(scope) {
      const session = await Session.open({ options, name, maxCallMs }, scope)
      const connection = new MysqlConnection(session, name, options.xa, seen)
      if (options.xa && connection.participant !== 'prepared' && !told) {
        told = true
        log.info({ resource: name }, 'the server forgets prepared transactions with their connection: commits are of one phase')
      }
      return connection
    },
  }
}
