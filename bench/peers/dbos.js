/** A durable workflow of three steps with DBOS Transact on PostgreSQL, as its documentation shows. */
import { DBOS } from '@dbos-inc/dbos-sdk'

async function steps() {
  await DBOS.runStep(async () => 1, { name: 'one' })
  await DBOS.runStep(async () => 2, { name: 'two' })
  await DBOS.runStep(async () => 3, { name: 'three' })
  return { greeting: 'Hello, World!' }
}

export async function connect(url) {
  const workflow = DBOS.registerWorkflow(steps, { name: 'steps' })
  DBOS.setConfig({ name: 'bench', systemDatabaseUrl: url, runAdminServer: false, logLevel: 'error' })
  await DBOS.launch()
  return { call: async () => (await DBOS.startWorkflow(workflow)()).getResult() }
}
