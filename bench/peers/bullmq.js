/** Durable jobs with BullMQ on Redis, as its documentation shows. */
import { Queue, Worker } from 'bullmq'

const QUEUE = 'bench'

export async function work(url) {
  const started = []
  const worker = new Worker(
    QUEUE,
    async ({ data }) => {
      started.push(Number(process.hrtime.bigint() - BigInt(data.at)) / 1e6)
    },
    { connection: connection(url), concurrency: 64 },
  )
  await worker.waitUntilReady()
  const queue = new Queue(QUEUE, { connection: connection(url) })
  return {
    latencies: () => started.splice(0),
    left: async () =>
      Object.values(await queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'failed')).reduce((a, b) => a + b, 0),
  }
}

export async function enqueuer(url) {
  const queue = new Queue(QUEUE, { connection: connection(url), defaultJobOptions: { removeOnComplete: true } })
  await queue.waitUntilReady()
  return () => queue.add('work', { at: String(process.hrtime.bigint()), name: 'World' })
}

function connection(url) {
  const { hostname, port } = new URL(url)
  return { host: hostname, port: Number(port), maxRetriesPerRequest: null }
}
