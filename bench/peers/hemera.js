/** Hemera, on the client of NATS that it asks for. */

import nats from 'nats-1'
import Hemera from 'nats-hemera'

const PATTERN = { topic: 'target', cmd: 'hello' }

export async function respond(url) {
  const hemera = open(url)
  await hemera.ready()
  hemera.add(PATTERN, ({ args: [name] }, reply) => reply(null, { greeting: `Hello, ${name}!`, n: 1 }))
  await new Promise((resolve) => hemera.transport.flush(resolve))
}

export async function connect(url) {
  const hemera = open(url)
  await hemera.ready()
  return { call: async () => (await hemera.act({ ...PATTERN, args: ['World'] })).data, close: () => hemera.close() }
}

function open(url) {
  return new Hemera(nats.connect({ url, preserveBuffers: true }), { logLevel: 'silent', timeout: 5000 })
}
