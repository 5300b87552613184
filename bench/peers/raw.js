/** nats.js itself with MessagePack: what the bus gives without a runtime. */
import { pack, unpack } from 'msgpackr'
import { connect as connectNats } from 'nats'

const SUBJECT = 'raw.target.hello'

export async function respond(url) {
  const nc = await connectNats({ servers: url })
  nc.subscribe(SUBJECT, {
    queue: 'raw',
    callback: (error, msg) => {
      if (error) throw error
      const [name] = unpack(msg.data)
      msg.respond(pack({ greeting: `Hello, ${name}!`, n: 1 }))
    },
  })
  await nc.flush()
}

export async function connect(url) {
  const nc = await connectNats({ servers: url })
  return {
    call: async (name = 'World') => unpack((await nc.request(SUBJECT, pack([name]), { timeout: 5000 })).data),
    close: () => nc.close(),
  }
}
