/** Oracle Database as a resource: makes connections. */
import oracledb from 'oracledb'
import type { Resource, ResourceHost } from '../adapter.ts'
import { OracleConnection } from './connection.ts'
import type { OracleDriver } from './driver.ts'
import type { OracleOptions } from './options.ts'
import { Session } from './session.ts'

const DRIVER: OracleDriver = { getConnection: (attributes) => oracledb.getConnection(attributes) }

/** `driver`: for tests. */
export async function open(options: OracleOptions, { name }: ResourceHost, driver: OracleDriver = DRIVER): Promise<Resource> {
  return {
    async connect(scope) {
      return new OracleConnection(await Session.open({ options, name, driver }, scope), name)
    },
  }
}
