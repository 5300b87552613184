/**
 * A peer's role as a process: `process.js PEER ROLE URL OPTIONS`, forked.
 * It says `{ ready: true }`; a caller then answers each plan (load.js) with what it measured.
 */
import { load } from '../load.js'

const [peer, role, url, options] = process.argv.slice(2)
const { respond, connect, front } = await import(`./${peer}.js`)

if (role === 'respond') await respond(url, JSON.parse(options))
if (role === 'front') await front(url, JSON.parse(options))
if (role === 'call') {
  const { call } = await connect(url)
  process.on('message', async (plan) => process.send?.(await load(call, plan)))
}
process.on('disconnect', () => process.exit(0))
process.send?.({ ready: true })
