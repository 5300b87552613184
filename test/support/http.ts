/** Clients of HTTP: curl, openssl, and bytes on a socket. */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { atEnd, type Owner } from '../../src/testing/owner.ts'
import { within } from '../../src/testing/wait.ts'

/** A response as a client reads it. */
export interface Response {
  status: number
  /** Names in lower case. */
  headers: Map<string, string>
  /** Bytes as Latin-1; `text` is the same in UTF-8. */
  body: Buffer
  text: string
  json: () => unknown
}

/** What a program printed, and its exit status. */
export interface Ran {
  status: number
  stdout: Buffer
  stderr: string
}

/** Runs a program to its end, with `input` on its standard input. */
export async function run(program: string, words: string[], input: string | Buffer = ''): Promise<Ran> {
  return await within(
    `${program} ends`,
    new Promise((resolve) => {
      const child = execFile(program, words, { encoding: 'buffer', maxBuffer: 2 ** 26 }, (error, stdout, stderr) => {
        resolve({ status: error ? Number(error.code) : 0, stdout, stderr: stderr.toString() })
      })
      child.stdin?.on('error', () => {}) // it ended without reading all
      child.stdin?.end(input)
    }),
  )
}

/** One request with curl; the last response that it got. Rejects with curl's status if there was none. */
export async function curl(...words: string[]): Promise<Response> {
  const ran = await run('curl', ['--silent', '--show-error', '--include', '--path-as-is', '--max-time', '25', ...words])
  if (ran.status !== 0) throw new Error(`curl ended with ${ran.status}: ${ran.stderr}`)
  return lastResponse(ran.stdout)
}

/** A connection that ends with its owner. */
export async function open(owner: Owner, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {}) // a reset is an end too: 'close' follows
  atEnd(owner, () => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Sends bytes; everything that comes back until the server closes. */
export async function exchange(owner: Owner, port: number, bytes: string | Buffer): Promise<string> {
  const socket = await open(owner, port)
  const received = untilClosed(socket)
  socket.write(bytes)
  return await received
}

/** Everything that comes until the other side closes. */
export async function untilClosed(socket: Socket): Promise<string> {
  let received = ''
  socket.on('data', (data) => (received += data.toString('latin1')))
  await within('the server closes the connection', once(socket, 'close'))
  return received
}

/** curl prints every response: a redirect, 100 Continue. */
function lastResponse(bytes: Buffer): Response {
  const end = bytes.indexOf('\r\n\r\n')
  const [first = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n')
  const status = Number(first.split(' ')[1])
  const body = bytes.subarray(end + 4)
  if (status === 100) return lastResponse(body)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value)
  }
  return { status, headers, body, text: body.toString(), json: () => JSON.parse(body.toString()) }
}
