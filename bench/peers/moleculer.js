/** Moleculer over NATS with its JSON serializer, the fastest of its own. */
import moleculer from 'moleculer'

/** @param {{ modules?: number, methods?: number }} options how many services and actions, beside the one that is called */
export async function respond(url, { modules = 0, methods = 0 }) {
  const broker = open(url)
  broker.createService({
    name: 'target',
    actions: {
      hello: ({ params: [name] }) => ({ greeting: `Hello, ${name}!`, n: 1 }),
    },
  })
  for (let m = 0; m < modules; m++) {
    const actions = Object.fromEntries(
      Array.from({ length: methods }, (_, i) => [`f${i}`, async ({ params: [name] }) => ({ greeting: `Hello, ${name}!`, n: i })]),
    )
    broker.createService({ name: `m${m}`, actions })
  }
  await broker.start()
  process.on('SIGTERM', () => broker.stop().then(() => process.exit(0)))
}

export async function connect(url) {
  const broker = open(url)
  await broker.start()
  if (process.send) await broker.waitForServices('target')
  return { call: () => broker.call('target.hello', ['World']), close: () => broker.stop() }
}

function open(url) {
  return new moleculer.ServiceBroker({
    nodeID: `bench-${process.pid}`,
    logger: false,
    transporter: { type: 'NATS', options: { url, servers: [url] } },
    requestTimeout: 5000,
    skipProcessEventRegistration: true,
  })
}
