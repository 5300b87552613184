/** Durable messages with nats.js alone: publish with acknowledgement; a pull consumer, 500 ahead, that acknowledges each message. */
import { pack, unpack } from 'msgpackr'
import { AckPolicy, connect, RetentionPolicy } from 'nats'

const [STREAM, SUBJECT] = ['RAW', 'raw-queue.bench.target.work']

export async function work(url) {
  const nc = await connect({ servers: url })
  const manager = await nc.jetstreamManager()
  await manager.streams.add({ name: STREAM, subjects: [SUBJECT], retention: RetentionPolicy.Workqueue })
  await manager.consumers.add(STREAM, { durable_name: 'worker', ack_policy: AckPolicy.Explicit, max_ack_pending: 1_000 })
  const consumer = await nc.jetstream().consumers.get(STREAM, 'worker')
  const started = []
  const handle = async (msg) => {
    const [at] = unpack(msg.data)
    started.push(Number(process.hrtime.bigint() - BigInt(at)) / 1e6)
    await null // the method
    msg.ack()
  }
  await consumer.consume({ max_messages: 500, callback: (msg) => void handle(msg) })
  return { latencies: () => started.splice(0), left: async () => (await manager.streams.info(STREAM)).state.messages }
}

export async function enqueuer(url) {
  const js = (await connect({ servers: url })).jetstream()
  return () => js.publish(SUBJECT, pack([String(process.hrtime.bigint()), 'World']))
}
