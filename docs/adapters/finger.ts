/**
 * Finger, an adapter of one's own, both ways (writing.md explains it): RFC 1288, without the forwarding.
 *
 *   interfaces: { who: { kind: 'docs/adapters/finger.ts', port: 79, target: 'people.find' } }
 *   resources: { office: { kind: 'docs/adapters/finger.ts', host: 'office.example' } }
 *   export async function find(ctx: Context, name: string): Promise<string> { return await ctx.resources.office.finger(name) }
 */
import { once } from 'node:events'
import { createServer, connect as dial, type Server, type Socket } from 'node:net'
import { CageError, defineAdapter, type InterfaceHost, type Listener, type Resource, type ResourceConnection, type Scope } from 'menagerie'
import { z } from 'zod'

/** A question's longest line, and an answer's bytes, that we take. */
const LONGEST_QUESTION = 512
const LONGEST_ANSWER = 65_536

const port = z.int().min(0).max(65_535).default(79) // RFC 1288, 2.1
const options = z.strictObject({ host: z.string().default('127.0.0.1'), port, target: z.string() })
const resourceOptions = z.strictObject({ host: z.string().default('127.0.0.1'), port })

export const adapter = defineAdapter({
  options,
  listen,
  resourceOptions,
  open: async (given) => ({ connect: async () => office(given) }) satisfies Resource,
})

/** The world asks us. */
async function listen({ host, port, target }: z.infer<typeof options>, runtime: InterfaceHost): Promise<Listener> {
  const talks = new Set<Promise<void>>()
  let stopping = false
  const server = createServer((socket) => {
    const talk = answer(socket, target, runtime).finally(() => talks.delete(talk))
    talks.add(talk)
  })
  server.listen(port, host)
  await once(server, 'listening') // rejects if the port is taken: the cage tries again
  const done = once(server, 'close').then(() => {
    if (!stopping) throw new CageError('UNAVAILABLE', `nobody listens on port ${port} any more`)
  })
  done.catch(() => {}) // the runtime looks at it too
  return {
    address: `finger://${host}:${portOf(server)}`,
    done,
    async stop() {
      stopping = true
      server.close()
      await Promise.all(talks)
    },
  }
}

/** One line in, text out, and the connection ends. */
async function answer(socket: Socket, target: string, runtime: InterfaceHost): Promise<void> {
  socket.on('error', () => {}) // it ends with 'close'
  socket.once('close', () => runtime.cancel(socket))
  try {
    const line = await question(socket)
    if (line === undefined) return void socket.destroy()
    socket.resume() // so that its going away is noticed
    const found = await runtime.call(target, [line], { owner: socket, protocol: 'finger' }).then(String, failure)
    socket.end(`${found}\r\n`)
  } finally {
    if (!socket.destroyed) await once(socket, 'close')
  }
}

/** What a client sees of an error: an unforeseen one says nothing of us. */
function failure(error: CageError): string {
  return `! ${error.code} ${error.code === 'INTERNAL' ? 'it is our fault' : error.message}`
}

/** The line, without its end; undefined if it is too long or the client has gone. */
async function question(socket: Socket): Promise<string | undefined> {
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += chunk
    const end = text.indexOf('\n')
    if (end >= 0) return text.slice(0, end).replace(/\r$/, '')
    if (text.length > LONGEST_QUESTION) return undefined
  }
  return undefined
}

/** We ask the world: a connection for each question, so that nothing is kept open. */
function office({ host, port }: z.infer<typeof resourceOptions>): ResourceConnection {
  return {
    participant: 'irreversible',
    broken: false,
    async call(method, [name = ''], scope) {
      if (method !== 'finger') throw new CageError('INVALID_ARGUMENT', `finger has no method ${method}, only finger`)
      if (typeof name !== 'string' || /[\r\n]/.test(name)) throw new CageError('INVALID_ARGUMENT', 'a name is one line of text')
      return await ask(host, port, name, scope)
    },
    async close() {},
  }
}

/** The signal ends it at the deadline, and when the caller has gone. */
async function ask(host: string, port: number, name: string, { signal }: Scope): Promise<string> {
  const socket = dial({ host, port })
  const abort = (): void => void socket.destroy(signal.reason)
  signal.addEventListener('abort', abort)
  try {
    socket.end(`${name}\r\n`)
    let text = ''
    for await (const chunk of socket) {
      text += chunk
      if (text.length > LONGEST_ANSWER) throw new CageError('PAYLOAD_TOO_LARGE', `${host} answers with more than ${LONGEST_ANSWER} bytes`)
    }
    return text.replaceAll('\r\n', '\n').trimEnd()
  } catch (error) {
    throw error instanceof CageError ? error : new CageError('UNAVAILABLE', `${host} cannot be asked`, { cause: error })
  } finally {
    signal.removeEventListener('abort', abort)
    socket.destroy()
  }
}

function portOf(server: Server): number {
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
