/**
 * A peer's role as a process: `process.js PEER ROLE URL OPTIONS`, forked.
 * It says `{ ready: true }`; a caller then answers each plan (load.js) with what it measured, an enqueuer when all is enqueued, a worker
 * the questions `latencies` and `left`.
 */
import { enqueue, load } from '../load.js'

const [peer, role, url, options] = process.argv.slice(2)
const { respond, connect, front, work, enqueuer } = await import(`./${peer}.js`)

if (role === 'respond') await respond(url, JSON.parse(options))
if (role === 'front') await front(url, JSON.parse(options))
if (role === 'call') {
  const { call } = await connect(url)
  process.on('message', async (plan) => process.send?.(await load(call, plan)))
}
if (role === 'work') {
  const questions = await work(url)
  process.on('message', async (question) => process.send?.(await questions[question]()))
}
if (role === 'enqueue') {
  const one = await enqueuer(url)
  process.on('message', async (plan) => process.send?.({ done: await enqueue(one, plan) }))
}
process.on('disconnect', () => process.exit(0))
process.send?.({ ready: true })
