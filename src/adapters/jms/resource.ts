/** JMS as a resource: makes connections. */
import type { Resource, ResourceHost } from '../adapter.ts'
import { JmsConnection } from './connection.ts'
import type { JmsOptions } from './options.ts'
import { Session } from './session.ts'

export async function open(options: JmsOptions, { name }: ResourceHost): Promise<Resource> {
  return {
    async connect(scope) {
      return new JmsConnection(await Session.open({ options, name }, scope), options, name)
    },
  }
}
